package scenarios

import (
	"time"

	"reuseport-bench/scenarios/strictyaml"
)

// Bounds on a whole file, so that no input makes the loader work for long.
const (
	maxFileSize = 1 << 20 // a file of this many bytes or more is refused
	maxVariants = 256
	maxListLen  = 256 // steps, gates, blocks of the matrix
	maxAttempts = 10_000_000
)

// Choice is one allowed value of a setting.
type Choice struct {
	Value string
	Doc   string
}

// Networks are the values of network.
func Networks() []Choice {
	return []Choice{
		{"loopback", "the loopback interface of a private network namespace"},
		{"veth", "a namespace for the servers and one for the load, joined by a veth pair, so that every segment crosses a device"},
		{"cluster", "a clients' node and two more, joined by veth pairs and routed, and a namespace for each pod (IPv4)"},
	}
}

// Pins are the values of pin.
func Pins() []Choice {
	return []Choice{
		{"none", "any of the servers' CPUs, as the scheduler likes"},
		{"cpu", "one CPU each: worker i of a generation on the servers' CPU i, starting over where there are more workers"},
	}
}

// Families are the values of family.
func Families() []Choice {
	return []Choice{
		{"ipv4", "IPv4 addresses"},
		{"ipv6", "IPv6 addresses"},
	}
}

// Paces are the values of load.pace.
func Paces() []Choice {
	return []Choice{
		{"constant", "evenly spread"},
		{"poisson", "independent arrivals with exponential intervals, the same for every variant of a block"},
		{"ramp", "evenly spread, at a rate that grows from load.from to load.rate"},
		{"burst", "load.burst attempts at once, then a pause"},
	}
}

// Paths are the values of path.
func Paths() []Choice {
	return []Choice{
		{"direct", "the load connects to the workers' own address"},
		{"service", "a Kubernetes Service, in a cluster: the clients' node rewrites its address to that of a pod (nftables and conntrack, as kube-proxy's); each worker is in a pod of its own"},
		{"dns", "a headless Kubernetes Service, in a cluster: clients look its name up and connect to a pod's own address; with service and dns they look up the Service's"},
		{"pod", "in a cluster: clients know one pod's own address, that of the first worker's, and ask for no other when it has gone"},
		{"haproxy", "HAProxy stands in front: of one address with sockets reuseport, of one address for each worker with sockets exclusive"},
	}
}

// DNSCaches are the values of dns.cache.
func DNSCaches() []Choice {
	return []Choice{
		{"ttl", "an answer is kept for as long as it says; its age at the begin is random"},
		{"none", "every connection asks"},
		{"forever", "the first answer is kept for good, as JVMs did"},
		{"pool", "an answer is kept for as long as a connection is open that was opened with it"},
	}
}

// Readinesses are the values of kube.readiness.
func Readinesses() []Choice {
	return []Choice{
		{"listening", "at the instant its process listens: a probe could not be better"},
		{"started", "as soon as its process has been started, listening or not: a pod without a readiness probe"},
		{"probe", "when an HTTP request to it is answered, asked by its node every probe_period"},
	}
}

// Placements are the values of kube.placement.
func Placements() []Choice {
	return []Choice{
		{"pods", "each worker is a pod of its own, on the two nodes in turn"},
		{"one-node", "each worker is a pod of its own, all on one node"},
		{"containers", "the workers are containers of one pod: one network namespace, one address, one port"},
		{"host-network", "each worker is a pod with hostNetwork: true, all on one node: they have the node's address, and one port (path pod)"},
	}
}

// UserIDs are the values of kube.users.
func UserIDs() []Choice {
	return []Choice{
		{"one", "all workers run under the user id of this program"},
		{"each", "each worker runs under a user id of its own, so that of those in one network only the first gets the port (path pod; needs root)"},
	}
}

// HealthChecks are the values of haproxy.checks.
func HealthChecks() []Choice {
	return []Choice{
		{"default", "HAProxy's own defaults: every 2 s, down after 3 failures, up after 2 successes"},
		{"fast", "every 100 ms, down after 2 failures, up after 1 success"},
		{"off", "none: a worker is taken for up until HAProxy is told otherwise"},
	}
}

// Redispatches are the values of haproxy.redispatch.
func Redispatches() []Choice {
	return []Choice{
		{"off", "HAProxy's own default: three retries at the same worker, a second apart"},
		{"on", "\"option redispatch\": at another worker, at once"},
	}
}

// SocketsModes are the values of sockets.
func SocketsModes() []Choice {
	return []Choice{
		{"shared", "one listening socket, which all workers inherit"},
		{"reuseport", "one listening socket each, bound with SO_REUSEPORT"},
		{"exclusive", "one worker's own listening socket, bound without SO_REUSEPORT"},
	}
}

// AcceptModes are the values of accept.
func AcceptModes() []Choice {
	return []Choice{
		{"epoll", "level-triggered epoll: a connection on a shared socket wakes every idle worker (kind loop)"},
		{"epoll-exclusive", "the same, but it wakes only one or a few (EPOLLEXCLUSIVE; kind loop)"},
		{"epoll-edge", "edge-triggered epoll: who is woken accepts until the queue is empty (EPOLLET; kind loop)"},
		{"blocking", "accept(2) itself: one connection at a time, served to its end (kind loop)"},
		{"acceptor", "one process more accepts for all workers and passes the connections round in turn (SCM_RIGHTS; kind loop)"},
		{"netpoll", "Go's own poller (kind http)"},
	}
}

// Selectors are the values of selector.
func Selectors() []Choice {
	return []Choice{
		{"hash", "the kernel's hash of addresses and ports"},
		{"cpu", "the CPU that handles the SYN, modulo the number of workers (classic BPF)"},
		{"incoming-cpu", "the worker that is pinned to the CPU that handles the SYN (SO_INCOMING_CPU; needs pin: cpu)"},
		{"round-robin", "each worker in turn (eBPF; needs root)"},
		{"weighted", "at random, the last worker with probability canary (eBPF; needs root)"},
		{"slow-start", "at random; a worker that a cold-start adds gets its share by and by, over that step's for (eBPF; needs root)"},
		{"least-loaded", "the worker with the least in its queue and in its hands, but none that is stuck (eBPF; needs root; kind loop)"},
	}
}

// Traces are the values of trace.
func Traces() []Choice {
	return []Choice{
		{"on", "where it may be asked (root, Linux 6.10), the kernel says why each connection was lost; elsewhere causes are inferred"},
		{"off", "causes are inferred"},
	}
}

// Stalls are the values of stall.
func Stalls() []Choice {
	return []Choice{
		{"sigstop", "SIGSTOP, and SIGCONT after for: the process is not run"},
		{"spin", "the worker's loop turns on the spot: it uses its CPU and serves nobody (kind loop)"},
	}
}

// Stops are the values of stop.
func Stops() []Choice {
	return []Choice{
		{"kill", "SIGKILL, whatever is queued or being served"},
		{"close", "close the listener, finish what was accepted, exit"},
		{"drain", "accept until the queue is empty, then close"},
		{"migrate", "close, and let the kernel move the queue to a surviving socket of the group (net.ipv4.tcp_migrate_req)"},
		{"bpf-migrate", "close, and let an eBPF program move the queue to the new workers (sockets reuseport; needs root)"},
		{"bpf-drain", "an eBPF selector first sends new connections to the new workers only; then, once no handshake is under way at the old one, drain (sockets reuseport; needs root)"},
		{"inherit", "a supervisor holds the listening sockets and passes them to each worker at exec (LISTEN_FDS, as systemd); finish what was accepted, exit"},
		{"handoff", "the successor asks the old worker for its listening socket (SCM_RIGHTS over a Unix socket, as HAProxy); finish what was accepted, exit"},
		{"tableflip", "cloudflare/tableflip: the old worker starts its successor and passes it the socket, then http.Server.Shutdown (kind http)"},
		{"bind-after-close", "close; the successor, started before, tries to bind every 10 ms and succeeds only then (sockets exclusive)"},
		{"lb-drain", "the load balancer first sends the old worker nothing any more; then bind-after-close (path haproxy)"},
		{"shutdown", "Go's http.Server.Shutdown, which closes what was accepted and is read only then (kind http)"},
	}
}

// ServerKinds are the values of server.kind.
func ServerKinds() []Choice {
	return []Choice{
		{"loop", "one thread, one epoll loop that accepts and serves in line"},
		{"http", "Go's net/http, a goroutine per connection"},
	}
}

// Distributions are the values of server.work.distribution.
func Distributions() []Choice {
	return []Choice{
		{"fixed", "every request takes sleep or burn"},
		{"exponential", "sleep or burn is the mean of exponentially distributed times"},
		{"bimodal", "sleep or burn, but slow for a share of the requests, slow_share"},
	}
}

// ConnectionsModes are the values of load.connections.
func ConnectionsModes() []Choice {
	return []Choice{
		{"new", "one connection per attempt"},
		{"reused", "an idle connection if there is one (keep-alive), a new one otherwise"},
		{"mixed", "attempts take turns, one new, one reused"},
	}
}

// Jitters are the values of load.retry.jitter.
func Jitters() []Choice {
	return []Choice{
		{"none", "every wait is as long as the backoff says"},
		{"full", "evenly between nothing and that, so that clients which failed together do not come back together"},
	}
}

// RetryCauses are the names that load.retry.on joins.
func RetryCauses() []Choice {
	return []Choice{
		{"safe", "all that follow but non-idempotent"},
		{"refused", "the connection was refused"},
		{"unreachable", "there was no way to the address"},
		{"connect-timeout", "there was no connection within connect_timeout"},
		{"unsent", "the connection ended before any of the request was sent"},
		{"unanswered", "it ended when some of the request had been sent, and nothing was answered; of GET only"},
		{"non-idempotent", "unanswered, of POST too: a server may then do twice what was asked for once"},
	}
}

// choices converts choices for the decoder.
func choices(of []Choice) []strictyaml.Choice {
	all := make([]strictyaml.Choice, len(of))
	for i, c := range of {
		all[i] = strictyaml.Choice(c)
	}
	return all
}

// settings lists every single value of a scenario file that is not free text.
func settings() []strictyaml.Setting {
	const (
		ms     = float64(time.Millisecond)
		minute = float64(time.Minute)
		hour   = float64(time.Hour)
	)
	return []strictyaml.Setting{
		{Path: "network", Choices: choices(Networks()), Default: "loopback"},
		{Path: "family", Choices: choices(Families()), Default: "ipv4"},
		{Path: "path", Choices: choices(Paths()), Default: "direct"},
		{Path: "haproxy.checks", Choices: choices(HealthChecks())},
		{Path: "haproxy.redispatch", Choices: choices(Redispatches())},
		{Path: "dns.cache", Choices: choices(DNSCaches())},
		{Path: "dns.ttl", Max: hour, Default: "0s", Example: "5s"},
		{Path: "dns.clients", Max: 1024, Default: "0"},
		{Path: "kube.placement", Choices: choices(Placements())},
		{Path: "kube.users", Choices: choices(UserIDs())},
		{Path: "kube.endpoint_lag", Max: minute, Default: "0s", Example: "100ms"},
		{Path: "kube.rules_lag", Max: minute, Default: "0s", Example: "100ms"},
		{Path: "kube.min_sync_period", Max: minute, Default: "0s", Example: "1s"},
		{Path: "kube.readiness", Choices: choices(Readinesses())},
		{Path: "kube.probe_period", Max: minute, Default: "0s", Example: "1s"},
		{Path: "kube.min_ready", Max: minute, Default: "0s", Example: "1s"},
		{Path: "kube.max_surge", Max: 1024, Default: "0"},
		{Path: "kube.max_unavailable", Max: 1024, Default: "0"},
		{Path: "kube.min_available", Max: 1024, Default: "0"},
		{Path: "kube.pre_stop", Max: minute, Default: "0s", Example: "2s"},
		{Path: "kube.grace", Max: minute, Default: "0s", Example: "30s"},
		{Path: "kube.node_lag", Max: minute, Default: "0s", Example: "2s"},
		{Path: "kube.teardown", Max: minute, Default: "0s", Example: "200ms"},
		{Path: "workers", Min: 1, Max: 1024, Default: "2"},
		{Path: "workers_per_cpu", Max: 64, Default: "0"},
		{Path: "pin", Choices: choices(Pins()), Default: "none"},
		{Path: "sockets", Choices: choices(SocketsModes()), Default: "reuseport"},
		{Path: "accept", Choices: choices(AcceptModes())},
		{Path: "selector", Choices: choices(Selectors()), Default: "hash"},
		{Path: "canary", Max: 1, Default: "0"},
		{Path: "stop", Choices: choices(Stops())},
		{Path: "stall", Choices: choices(Stalls()), Default: "sigstop"},
		{Path: "trace", Choices: choices(Traces()), Default: "on"},
		{Path: "server.kind", Choices: choices(ServerKinds()), Default: "loop"},
		{Path: "server.work.sleep", Max: minute, Default: "0s", Example: "100us"},
		{Path: "server.work.burn", Max: minute, Default: "0s", Example: "100us"},
		{Path: "server.work.distribution", Choices: choices(Distributions()), Default: "fixed"},
		{Path: "server.work.slow", Max: minute, Default: "0s", Example: "10ms"},
		{Path: "server.work.slow_share", Max: 1, Default: "0"},
		{Path: "server.startup", Max: 10_000 * ms, Default: "0s", Example: "300ms"},
		{Path: "server.cold", Max: minute, Default: "0s", Example: "5ms"},
		{Path: "server.backlog", Min: 1, Max: 65535, Default: "4096"},
		{Path: "server.fault.resets", Max: 100_000, Default: "0"},
		{Path: "server.fault.reset_every", Max: 1_000_000, Default: "0"},
		{Path: "server.fault.half_open", Max: 1000, Default: "0"},
		{Path: "server.fault.dropped_syns", Max: 100_000, Default: "0"},
		{Path: "server.fault.rejected_syns", Max: 100_000, Default: "0"},
		{Path: "server.fault.time_wait", Max: 100_000, Default: "0"},
		{Path: "load.rate", Above: true, Max: 1e6, Example: "2000/s"},
		{Path: "load.duration", Min: 100 * ms, Max: hour, Example: "3s"},
		{Path: "load.pace", Choices: choices(Paces()), Default: "constant"},
		{Path: "load.from", Max: 1e6, Default: "0/s", Example: "100/s"},
		{Path: "load.burst", Min: 2, Max: 100_000, OrZero: true, Default: "0"},
		{Path: "load.body", Max: 4096, Default: "0"},
		{Path: "load.aborts", Max: 100_000, Default: "0"},
		{Path: "load.ports", Max: 50_000, Default: "0"},
		{Path: "load.processes", Max: 64, Default: "0"},
		{Path: "load.connections", Choices: choices(ConnectionsModes()), Default: "new"},
		{Path: "load.retry.max", Max: 10, Default: "0"},
		{Path: "load.retry.on", Choices: choices(RetryCauses()), Joined: true, Example: "refused+unsent"},
		{Path: "load.retry.backoff", Max: minute, Default: "0s", Example: "50ms"},
		{Path: "load.retry.max_backoff", Max: minute, Default: "0s", Example: "1s"},
		{Path: "load.retry.jitter", Choices: choices(Jitters())},
		{Path: "load.retry.connect_timeout", Max: minute, Default: "0s", Example: "300ms"},
		{Path: "load.retry.budget", Max: 1000, Default: "0"},
		{Path: "load.retry.budget_ratio", Max: 1, Default: "0"},
		{Path: "load.timeout", Min: ms, Max: minute, Default: "900ms", Example: "900ms"},
		{Path: "search.p99", Max: minute, Default: "0s", Example: "20ms"},
		{Path: "search.precision", Min: 0.005, Max: 0.5, OrZero: true, Default: "0"},
		{Path: "timeline[].at", Max: hour, Example: "500ms"},
		{Path: "timeline[].every", Min: 10 * ms, Max: hour, OrZero: true, Example: "200ms"},
		{Path: "timeline[].do", Choices: choices(stepChoices())},
		{Path: "timeline[].target", Max: 1023},
		{Path: "timeline[].replicas", Min: 1, Max: 1024},
		{Path: "timeline[].for", Max: hour, Example: "50ms"},
		{Path: "validity.lag_floor", Max: minute, Default: "500us", Example: "500us"},
		{Path: "validity.step_lag", Above: true, Max: minute, Default: "20ms", Example: "20ms"},
		{Path: "validity.achieved", Above: true, Max: 1, Default: "0.99"},
		{Path: "validity.steal", Max: 1, Default: "0.5"},
		{Path: "validity.run_queue", Max: 1, Default: "0.3"},
		{Path: "trials", Min: 1, Max: 1000, Default: "8"},
		{Path: "min_valid", Min: 1, Max: 1000},
	}
}

// format describes scenario files to the decoder.
func format() *strictyaml.Format {
	return &strictyaml.Format{
		Noun:      "scenario",
		FirstLine: "name: my-scenario",
		Template:  "the output of: reuseport-bench show steady",
		MaxSize:   maxFileSize,
		MaxLen:    maxListLen,
		Settings:  settings(),
	}
}
