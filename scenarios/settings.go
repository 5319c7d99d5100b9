package scenarios

import (
	"regexp"
	"strings"
	"time"
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

// setting is what there is to know about one value of the file beside its Go type. It is the one
// place that the loader, the defaults and the schema take it from.
type setting struct {
	path     string // dotted; [] stands for any element of a list
	choices  []Choice
	joined   bool    // choices may be joined by +
	min, max float64 // durations in ns, rates in attempts/s
	above    bool    // min itself is not allowed
	orZero   bool    // 0 is allowed beside min to max
	def      string  // the default as it would be written; "": none
	example  string  // for a hint
}

// settings lists every single value of a scenario file that is not free text.
func settings() []setting {
	const (
		ms     = float64(time.Millisecond)
		minute = float64(time.Minute)
		hour   = float64(time.Hour)
	)
	return []setting{
		{path: "network", choices: Networks(), def: "loopback"},
		{path: "family", choices: Families(), def: "ipv4"},
		{path: "path", choices: Paths(), def: "direct"},
		{path: "haproxy.checks", choices: HealthChecks()},
		{path: "haproxy.redispatch", choices: Redispatches()},
		{path: "dns.cache", choices: DNSCaches()},
		{path: "dns.ttl", max: hour, def: "0s", example: "5s"},
		{path: "dns.clients", max: 1024, def: "0"},
		{path: "kube.placement", choices: Placements()},
		{path: "kube.users", choices: UserIDs()},
		{path: "kube.endpoint_lag", max: minute, def: "0s", example: "100ms"},
		{path: "kube.rules_lag", max: minute, def: "0s", example: "100ms"},
		{path: "kube.min_sync_period", max: minute, def: "0s", example: "1s"},
		{path: "kube.readiness", choices: Readinesses()},
		{path: "kube.probe_period", max: minute, def: "0s", example: "1s"},
		{path: "kube.min_ready", max: minute, def: "0s", example: "1s"},
		{path: "kube.max_surge", max: 1024, def: "0"},
		{path: "kube.max_unavailable", max: 1024, def: "0"},
		{path: "kube.min_available", max: 1024, def: "0"},
		{path: "kube.pre_stop", max: minute, def: "0s", example: "2s"},
		{path: "kube.grace", max: minute, def: "0s", example: "30s"},
		{path: "kube.node_lag", max: minute, def: "0s", example: "2s"},
		{path: "kube.teardown", max: minute, def: "0s", example: "200ms"},
		{path: "workers", min: 1, max: 1024, def: "2"},
		{path: "workers_per_cpu", max: 64, def: "0"},
		{path: "pin", choices: Pins(), def: "none"},
		{path: "sockets", choices: SocketsModes(), def: "reuseport"},
		{path: "accept", choices: AcceptModes()},
		{path: "selector", choices: Selectors(), def: "hash"},
		{path: "canary", max: 1, def: "0"},
		{path: "stop", choices: Stops()},
		{path: "stall", choices: Stalls(), def: "sigstop"},
		{path: "trace", choices: Traces(), def: "on"},
		{path: "server.kind", choices: ServerKinds(), def: "loop"},
		{path: "server.work.sleep", max: minute, def: "0s", example: "100us"},
		{path: "server.work.burn", max: minute, def: "0s", example: "100us"},
		{path: "server.work.distribution", choices: Distributions(), def: "fixed"},
		{path: "server.work.slow", max: minute, def: "0s", example: "10ms"},
		{path: "server.work.slow_share", max: 1, def: "0"},
		{path: "server.startup", max: 10_000 * ms, def: "0s", example: "300ms"},
		{path: "server.cold", max: minute, def: "0s", example: "5ms"},
		{path: "server.backlog", min: 1, max: 65535, def: "4096"},
		{path: "server.fault.resets", max: 100_000, def: "0"},
		{path: "server.fault.reset_every", max: 1_000_000, def: "0"},
		{path: "server.fault.half_open", max: 1000, def: "0"},
		{path: "server.fault.dropped_syns", max: 100_000, def: "0"},
		{path: "server.fault.rejected_syns", max: 100_000, def: "0"},
		{path: "server.fault.time_wait", max: 100_000, def: "0"},
		{path: "load.rate", above: true, max: 1e6, example: "2000/s"},
		{path: "load.duration", min: 100 * ms, max: hour, example: "3s"},
		{path: "load.pace", choices: Paces(), def: "constant"},
		{path: "load.from", max: 1e6, def: "0/s", example: "100/s"},
		{path: "load.burst", min: 2, max: 100_000, orZero: true, def: "0"},
		{path: "load.body", max: 4096, def: "0"},
		{path: "load.aborts", max: 100_000, def: "0"},
		{path: "load.ports", max: 50_000, def: "0"},
		{path: "load.processes", max: 64, def: "0"},
		{path: "load.connections", choices: ConnectionsModes(), def: "new"},
		{path: "load.retry.max", max: 10, def: "0"},
		{path: "load.retry.on", choices: RetryCauses(), joined: true, example: "refused+unsent"},
		{path: "load.retry.backoff", max: minute, def: "0s", example: "50ms"},
		{path: "load.retry.max_backoff", max: minute, def: "0s", example: "1s"},
		{path: "load.retry.jitter", choices: Jitters()},
		{path: "load.retry.connect_timeout", max: minute, def: "0s", example: "300ms"},
		{path: "load.retry.budget", max: 1000, def: "0"},
		{path: "load.retry.budget_ratio", max: 1, def: "0"},
		{path: "load.timeout", min: ms, max: minute, def: "900ms", example: "900ms"},
		{path: "search.p99", max: minute, def: "0s", example: "20ms"},
		{path: "search.precision", min: 0.005, max: 0.5, orZero: true, def: "0"},
		{path: "timeline[].at", max: hour, example: "500ms"},
		{path: "timeline[].every", min: 10 * ms, max: hour, orZero: true, example: "200ms"},
		{path: "timeline[].do", choices: stepChoices()},
		{path: "timeline[].target", max: 1023},
		{path: "timeline[].replicas", min: 1, max: 1024},
		{path: "timeline[].for", max: hour, example: "50ms"},
		{path: "validity.lag_floor", max: minute, def: "500us", example: "500us"},
		{path: "validity.step_lag", above: true, max: minute, def: "20ms", example: "20ms"},
		{path: "validity.achieved", above: true, max: 1, def: "0.99"},
		{path: "validity.steal", max: 1, def: "0.5"},
		{path: "validity.run_queue", max: 1, def: "0.3"},
		{path: "trials", min: 1, max: 1000, def: "8"},
		{path: "min_valid", min: 1, max: 1000},
	}
}

// findSetting returns the setting at path, in which elements of lists may be numbered: a zero
// setting (no choices, no bounds) for free text.
func findSetting(path string) setting {
	path = listIndex.ReplaceAllString(path, "[]")
	for _, s := range settings() {
		if s.path == path {
			return s
		}
	}
	return setting{path: path}
}

// values are the allowed values, for a message.
func (s setting) values() []string {
	values := make([]string, len(s.choices))
	for i, c := range s.choices {
		values[i] = c.Value
	}
	return values
}

// allows reports whether x, in the unit of min and max, is in range. NaN never is.
func (s setting) allows(x float64) bool {
	if s.orZero && x == 0 {
		return true
	}
	return (x > s.min || x == s.min && !s.above) && x <= s.max
}

// rangeText says what is allowed, with bounds written by text.
func (s setting) rangeText(text func(float64) string) string {
	bounds := "allowed: " + text(s.min) + " to " + text(s.max)
	if s.above {
		bounds = "allowed: more than " + text(s.min) + ", up to " + text(s.max)
	}
	if s.orZero {
		bounds += ", or 0"
	}
	return bounds
}

// durationText writes d as a scenario would: ASCII, without trailing zero parts.
func durationText(d time.Duration) string {
	s := strings.Replace(d.String(), "µs", "us", 1)
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// String writes r as a scenario would: "2000/s" or "0.7*capacity".
func (r Rate) String() string {
	if r.OfCapacity != 0 {
		return numberText(r.OfCapacity) + ofCapacity
	}
	return numberText(r.PerSecond) + "/s"
}

// ofCapacity ends a rate that is a share of the capacity.
const ofCapacity = "*capacity"

// maxOfCapacity bounds the share: twice the capacity overloads any server.
const maxOfCapacity = 2

var listIndex = regexp.MustCompile(`\[\d+\]`)
