package scenarios

import (
	"slices"
	"time"

	"reuseport-bench/scenarios/strictyaml"
	"reuseport-bench/scenarios/vocabulary"
)

// Limits on a file, so that no input makes Load take long.
const (
	maxFileSize    = 128 << 10 // bytes; the largest embedded scenario has 2700
	maxDepth       = 20        // levels of nested lists and mappings; a scenario needs 4
	maxAbout       = 2000      // bytes
	maxExpectation = 1000      // bytes
	maxVariants    = 256
	maxListLen     = 256 // steps, gates, stages, blocks of the matrix
	maxAttempts    = 10_000_000
	maxDuration    = time.Hour // of all stages together
	maxSteps       = 20_000    // in a trial; one every 100 ms for half an hour is 18,000
)

// settings lists every single value of a scenario file that is not free text. A value that is a
// word has its choices from package vocabulary. The decoder, the schema, the command explain and
// docs/reference.md all use this list.
func settings() []strictyaml.Setting {
	all := slices.Concat(labSettings(), podSettings(), workerSettings(), sysctlSettings(),
		serverSettings(), commandSettings(), besideSettings(), requestSettings(), loadSettings(),
		retrySettings(), runSettings())
	for i := range all {
		for _, v := range vocabulary.Values(all[i].Path) {
			all[i].Choices = append(all[i].Choices, strictyaml.Choice{Value: v.Name, Doc: v.Doc})
		}
	}
	return all
}

// Units for the bounds of settings.
const (
	ms     = float64(time.Millisecond)
	minute = float64(time.Minute)
	hour   = float64(time.Hour)
)

// Units in which the kernel or a protocol counts, and the durations that must be multiples of them.
const (
	wholeSeconds = time.Second          // dns.ttl, server.defer_accept
	twoHalves    = 2 * time.Microsecond // round_trip: half of it in each direction
)

// Values of Needs that several settings share.
const (
	aService = "path: service"
	aCluster = "path: service, dns or pod"
	aProxy   = "path: haproxy"
	aUpdate  = "a step rolling-update"
	retries  = "load.retry.max"
	kept     = "load.connections: reused, mixed or a number"
)

// labSettings returns the settings of the network between clients and workers, and of the observers
// in the lab.
func labSettings() []strictyaml.Setting {
	return []strictyaml.Setting{
		{Path: "network", Default: string(vocabulary.NetworkLoopback),
			Doc: "The network that the trial runs in."},
		{Path: "round_trip", Max: 900 * ms, Default: "0s", Example: "20ms", Multiple: twoHalves,
			Needs: "network: veth; twice the value must be less than load.timeout",
			Doc: "The round trip time, an even number of microseconds, that the lab adds between " +
				"clients and servers, half of it in each direction. The kernel delays packets " +
				"(netem) or, where it cannot, a relay process of this program does."},
		{Path: "family", Default: string(vocabulary.IPv4), Doc: "The IP version."},
		{Path: "path", Default: string(vocabulary.PathDirect),
			Doc: "What stands between the load and the workers."},
		{Path: "haproxy.checks", Needs: aProxy, Unset: string(vocabulary.ChecksDefault),
			Doc: "HAProxy's health checks of the workers."},
		{Path: "haproxy.redispatch", Needs: aProxy, Unset: string(vocabulary.Off),
			Doc: "Whether HAProxy retries a refused connection at another worker."},
		{Path: "dns.cache", Needs: "path: dns or service", Unset: string(vocabulary.DNSCacheTTL),
			Doc: "What a client keeps of a DNS answer."},
		{Path: "dns.ttl", Max: hour, Default: "0s", Example: "5s", Multiple: wholeSeconds,
			Needs: "path: dns or service",
			Unset: "5s, as in CoreDNS's kubernetes plugin",
			Doc:   "The TTL of DNS answers, in whole seconds."},
		{Path: "dns.clients", Max: 1024, Default: "0", Needs: "path: dns or service", Unset: "16",
			Doc: "The number of clients that share the load, each with a DNS cache of its own."},
		{Path: "trace", Default: string(vocabulary.On),
			Doc: "Whether the kernel is asked why connections are lost."},
		{Path: "queue_depth", Default: string(vocabulary.DepthComputed),
			Doc: "Where the lengths of accept queues come from. With path: haproxy they are " +
				"always sampled, because the workers' connections are the proxy's."},
	}
}

// podSettings returns the settings of the embedded control plane and its pods.
func podSettings() []strictyaml.Setting {
	return []strictyaml.Setting{
		{Path: "kube.placement", Needs: aCluster, Unset: string(vocabulary.PlacementPods),
			Doc: "Where the pods are placed."},
		{Path: "kube.users", Needs: aCluster, Unset: string(vocabulary.UsersOne),
			Doc: "The user ids that workers in pods run under."},
		{Path: "kube.endpoint_lag", Max: minute, Default: "0s", Example: "100ms", Needs: aCluster,
			Doc: "The time from a pod's becoming ready, or its deletion, to the change of its " +
				"Service's endpoints: fixed, or drawn anew for each change."},
		{Path: "kube.rules_lag", Max: minute, Default: "0s", Example: "100ms", Needs: aService,
			Doc: "The time from changed endpoints to the start of the node's sync of its rules: " +
				"fixed, or drawn anew for each change."},
		{Path: "kube.min_sync_period", Max: minute, Default: "0s", Example: "1s", Needs: aService,
			Doc: "The minimum time between two syncs of a node's rules, kube-proxy's " +
				"minSyncPeriod (1 s by default there)."},
		{Path: "kube.readiness", Needs: aCluster, Unset: string(vocabulary.ReadinessListening),
			Doc: "When a pod counts as ready."},
		{Path: "kube.probe_period", Max: minute, Default: "0s", Example: "1s",
			Needs: "kube.readiness: probe", Unset: "1s, the minimum in Kubernetes (10s by default)",
			Doc: "The time between two readiness probes of a pod; the first comes when its " +
				"process has started."},
		{Path: "kube.min_ready", Max: minute, Default: "0s", Example: "1s",
			Needs: "a step that waits for new pods",
			Doc: "How long a new pod must have been ready before a rolling update or a drain " +
				"continues (minReadySeconds)."},
		{Path: "kube.max_surge", Max: 1024, Default: "0", Needs: aUpdate,
			Unset: "1 if kube.max_unavailable is 0, else 0",
			Doc:   "How many pods beyond their present number a rolling update may run."},
		{Path: "kube.max_unavailable", Max: 1024, Default: "0", Needs: aUpdate,
			Doc: "How many pods below their present number may be ready during a rolling update."},
		{Path: "kube.min_available", Max: 1024, Default: "0", Needs: "a step drain-node",
			Doc: "How many pods must be ready before a drain evicts another one: a " +
				"PodDisruptionBudget."},
		{Path: "kube.pre_stop", Max: minute, Default: "0s", Example: "2s",
			Needs: "a step that deletes pods",
			Doc: "How long a deleted pod keeps serving before it gets SIGTERM: a preStop hook " +
				"that sleeps."},
		{Path: "kube.grace", Max: minute, Default: "0s", Example: "30s",
			Needs: "a step that deletes pods",
			Unset: "30s, or 5s after kube.pre_stop if that is later",
			Doc: "How long after its deletion a pod that still runs is killed " +
				"(terminationGracePeriodSeconds), but at least 2 s after SIGTERM. See " +
				"server.grace."},
		{Path: "kube.node_lag", Max: minute, Default: "0s", Example: "2s",
			Needs: "a step node-down",
			Doc: "How long after a node has gone down its pods become unready " +
				"(node-monitor-grace-period, 50 s by default in Kubernetes, 40 s before 1.32)."},
		{Path: "kube.teardown", Max: minute, Default: "0s", Example: "200ms", Needs: aCluster,
			Unset: "200ms, about what containerd takes",
			Doc: "How long a pod's network outlives its processes: it refuses connections until " +
				"then, and does not answer at all afterwards."},
	}
}

// workerSettings returns the settings of the workers and their sockets.
func workerSettings() []strictyaml.Setting {
	return []strictyaml.Setting{
		{Path: "workers", Min: 1, Max: 1024, Default: "2",
			Doc: "The number of worker processes in a generation."},
		{Path: "workers_per_cpu", Max: 64, Default: "0", Unset: "workers as given",
			Doc: "Sets workers to this many for each of the servers' CPUs."},
		{Path: "pin", Default: string(vocabulary.PinNone),
			Doc: "Which CPUs a worker may run on."},
		{Path: "sockets", Unset: "reuseport, or server with server.kind: command",
			Doc: "How the workers of a generation listen. With server.kind: command, shared and " +
				"reuseport mean that this program opens the sockets, one or one for each of " +
				"workers, and passes them to the server (LISTEN_FDS, sd_listen_fds(3))."},
		{Path: "accept", Unset: "epoll, or netpoll with server.kind: http",
			Doc: "How a worker gets the connections of its socket."},
		{Path: "selector", Default: string(vocabulary.SelectorHash), Needs: "sockets: reuseport",
			Doc: "What decides which socket of a reuseport group gets a connection."},
		{Path: "canary", Max: 1, Default: "0", Needs: "selector: weighted",
			Doc: "The share of the connections, more than 0 and less than 1, that the last " +
				"worker of a generation gets; the others share the rest."},
		{Path: "stop", Unset: "none; steps that stop workers need one",
			Doc: "How a worker ends when a step stops it."},
		{Path: "restart", Example: "reload", Needs: "server.restarts",
			Unset: "the only one of server.restarts",
			Doc:   "How a step restart restarts the server: a name in server.restarts."},
		{Path: "stall", Default: string(vocabulary.StallSignal),
			Doc: "How a step stall keeps a worker from running."},
	}
}

// sysctlSettings returns the kernel parameters. Documentation/networking/ip-sysctl.rst explains
// them.
func sysctlSettings() []strictyaml.Setting {
	const kernels = "the kernel's default"
	return []strictyaml.Setting{
		{Path: "sysctl.somaxconn", Min: 1, Max: 65535, Unset: "65535",
			Doc: "net.core.somaxconn, the upper limit of a socket's backlog: listen(2) cuts " +
				"server.backlog to it."},
		{Path: "sysctl.abort_on_overflow", Max: 1, Unset: kernels,
			Doc: "net.ipv4.tcp_abort_on_overflow: when the accept queue is full, 1 resets the " +
				"last ACK of a handshake, 0 drops it."},
		{Path: "sysctl.syncookies", Max: 2, Unset: kernels,
			Doc: "net.ipv4.tcp_syncookies, for SYNs that arrive when as many handshakes are in " +
				"flight as the backlog allows: 0 drops them, 1 answers them with cookies; 2 " +
				"answers every SYN with a cookie."},
		{Path: "sysctl.max_syn_backlog", Min: 1, Max: 65535, Unset: "65535",
			Doc: "net.ipv4.tcp_max_syn_backlog: without cookies, SYNs are dropped when " +
				"handshakes in flight leave less than a quarter of it."},
		{Path: "sysctl.synack_retries", Max: 255, Unset: kernels,
			Doc: "net.ipv4.tcp_synack_retries: how often the answer to a SYN is repeated."},
		{Path: "sysctl.syn_retries", Min: 1, Max: 127, Unset: kernels,
			Doc: "net.ipv4.tcp_syn_retries: how often a client's SYN is repeated."},
		{Path: "sysctl.migrate_req", Max: 1, Unset: "0, or 1 with stop: migrate",
			Doc: "net.ipv4.tcp_migrate_req: 1 moves the accept queue of a closing listener to " +
				"another socket of its group."},
		{Path: "sysctl.fin_timeout", Min: 1, Max: 120, Unset: kernels,
			Doc: "net.ipv4.tcp_fin_timeout: for how many seconds a connection that one end has " +
				"closed waits for the other end's FIN."},
		{Path: "sysctl.tw_reuse", Max: 2, Unset: kernels,
			Doc: "net.ipv4.tcp_tw_reuse: whether new connections may take ports in TIME_WAIT: 0 " +
				"never, 1 always, 2 on loopback only."},
	}
}

// serverSettings returns the settings of the server that a worker runs.
func serverSettings() []strictyaml.Setting {
	return []strictyaml.Setting{
		{Path: "server.kind", Default: string(vocabulary.ServerLoop),
			Doc: "The architecture of a worker."},
		{Path: "server.start", Needs: "a step that starts workers, or server.kind: command",
			Unset: "parked; cold with stop: tableflip, or if kube.users is not one",
			Doc: "When the processes of workers that steps start are started. With server.kind: " +
				"command it is the command that starts the server: one text, which is split at " +
				"spaces as by a shell, or a list of words. No shell runs it."},
		{Path: "server.work.sleep", Max: minute, Default: "0s", Example: "100us",
			Doc: "How long a request waits without using the CPU, as for a database."},
		{Path: "server.work.burn", Max: minute, Default: "0s", Example: "100us",
			Doc: "How much CPU time a request uses (CLOCK_THREAD_CPUTIME_ID)."},
		{Path: "server.work.distribution", Default: string(vocabulary.DistributionFixed),
			Needs: "server.work.sleep or burn",
			Doc: "How the service time varies from request to request. Each worker draws from a " +
				"stream of its own, the same for every variant of a block."},
		{Path: "server.work.slow", Max: minute, Default: "0s", Example: "10ms",
			Needs: "server.work.distribution: bimodal",
			Doc:   "How long a slow request takes, in the kind of time that sleep or burn uses."},
		{Path: "server.work.slow_share", Max: 1, Default: "0",
			Needs: "server.work.distribution: bimodal",
			Doc:   "The probability that a request is slow."},
		{Path: "server.startup", Max: 10_000 * ms, Default: "0s", Example: "300ms",
			Doc: "How long a worker takes to load its data before it listens. It counts from the " +
				"start of the process or, for a parked one, from the step."},
		{Path: "server.grace", Min: ms, Max: 10 * minute, Default: "30s", Example: "30s",
			Doc: "How long a worker that is told to stop may take to finish its requests. Then " +
				"it closes what is left; a worker that is too busy for that is killed a second " +
				"later."},
		{Path: "server.cold", Max: minute, Default: "0s", Example: "5ms",
			Needs: "a step cold-start",
			Doc: "How much longer a request takes at a worker that a cold-start has just added, " +
				"in the kind of time that server.work uses. It falls evenly to nothing over the " +
				"step's for."},
		{Path: "server.backlog", Min: 1, Max: 65535, Default: "4096",
			Doc: "The listen(2) backlog of each socket; sysctl.somaxconn limits it. 4096 is the " +
				"kernel's default for net.core.somaxconn since Linux 5.4."},
		{Path: "server.listen", Joined: true, Default: string(vocabulary.ListenSpecific),
			Example: "any+specific",
			Doc: "What listening sockets are bound to. In two names joined by +, the second is " +
				"for workers that steps start."},
		{Path: "server.defer_accept", Max: minute, Default: "0s", Example: "1s",
			Multiple: wholeSeconds,
			Doc: "Accept a connection only when it has sent data, or after this many whole " +
				"seconds (TCP_DEFER_ACCEPT)."},
		{Path: "server.users", Default: string(vocabulary.UsersOne),
			Needs: "path: direct or haproxy; in pods it is kube.users",
			Doc:   "The user ids that workers run under."},
		{Path: "server.idle_timeout", Min: ms, Max: hour, OrZero: true,
			Default: "0s", Example: "5s", Needs: kept, Unset: "no limit",
			Doc: "How long a worker waits for the next request on a connection before it closes " +
				"it."},
		{Path: "server.max_requests", Max: 1_000_000, Default: "0", Needs: kept, Unset: "no limit",
			Doc: "After how many requests a worker closes a connection; the last response says " +
				"so (Connection: close)."},
		{Path: "server.fault.resets", Max: 100_000, Default: "0",
			Doc: "How many attempts the workers answer with a RST, on the first try of each."},
		{Path: "server.fault.reset_every", Max: 1_000_000, Default: "0",
			Needs: "server.fault.resets", Unset: "1, consecutive attempts",
			Doc: "The distance between attempts that are answered with a RST. With as many as " +
				"lie between two restarts, each restart loses one more."},
		{Path: "server.fault.half_open", Max: 1000, Default: "0", Needs: "steps replace only",
			Doc: "How many handshakes a firewall holds up at each replace: the SYN is answered, " +
				"and the client's ACK arrives 50 ms after the stop."},
		{Path: "server.fault.dropped_syns", Max: 100_000, Default: "0",
			Needs: "network: loopback or veth",
			Doc:   "Of how many connections, the first of the trial, a firewall drops the SYN."},
		{Path: "server.fault.rejected_syns", Max: 100_000, Default: "0",
			Needs: "network: loopback or veth",
			Doc: "Of how many connections, the first of the trial, a firewall answers the SYN " +
				"with a RST."},
		{Path: "server.fault.time_wait", Max: 100_000, Default: "0",
			Unset: "enough for any trial",
			Doc:   "How many connections the lab may have in TIME_WAIT, to see them overflow."},
	}
}

// loadSettings returns the settings of the load.
func loadSettings() []strictyaml.Setting {
	return []strictyaml.Setting{
		{Path: "load.rate", Above: true, Max: 1e6, Example: "2000/s",
			Unset: "required without load.concurrency, load.stages and search",
			Doc: "Attempts per second; or a share, up to 2, of the rate that the servers reach " +
				"before the trials, as 0.7*capacity."},
		{Path: "load.concurrency", Max: 10_000, Default: "0",
			Unset: "an open loop",
			Doc: "Makes the load a closed loop of this many clients, instead of a rate: each " +
				"sends its next attempt when its last one has ended. A closed loop has no " +
				"schedule, and so no schedule lag, gap, outage or drop window. The first attempt " +
				"of each client is in no percentile."},
		{Path: "load.stages[].rate", Above: true, Max: 1e6, Example: "2000/s", Unset: "required",
			Doc: "Attempts per second in this stage."},
		{Path: "load.stages[].duration", Min: ms, Max: hour, Example: "3s", Unset: "required",
			Doc: "How long the stage lasts."},
		{Path: "load.stages[].ramp", Unset: "false",
			Doc: "Change the rate evenly from that of the stage before, or from load.from in the " +
				"first stage, as k6's ramping-arrival-rate does."},
		{Path: "load.duration", Min: 100 * ms, Max: hour, Example: "3s",
			Unset: "required without load.stages",
			Doc:   "How long attempts are scheduled or, in a closed loop, sent."},
		{Path: "load.pace", Default: string(vocabulary.PaceConstant),
			Doc: "How attempts are spread over the duration; with load.stages constant or " +
				"poisson."},
		{Path: "load.from", Max: 1e6, Default: "0/s", Example: "100/s",
			Needs: "load.pace: ramp, or a first stage with ramp",
			Doc:   "The rate that a ramp starts at."},
		{Path: "load.burst", Min: 2, Max: 100_000, OrZero: true, Default: "0",
			Needs: "load.pace: burst",
			Doc:   "How many attempts are due at once. load.rate is the mean rate."},
		{Path: "load.body", Max: 4096, Default: "0", Unset: "GET",
			Doc: "The length of each request's body in bytes, which makes the requests POSTs."},
		{Path: "load.aborts", Max: 100_000, Default: "0",
			Doc: "How many attempts, from the hundredth on, the load itself resets once it has " +
				"sent the request: a defect of known size."},
		{Path: "load.ports", Max: 50_000, Default: "0",
			Needs: "path: service, load.pace: constant, load.connections: new",
			Unset: "a port of its own for every connection",
			Doc: "How many source ports new connections use in turn, as a client with one " +
				"address does."},
		{Path: "load.processes", Max: 64, Default: "0",
			Unset: "as many as the rate needs and the machine has CPUs for",
			Doc:   "How many load processes share the schedule."},
		{Path: "load.connections", Min: 1, Max: 10_000, Default: string(vocabulary.ConnectionsNew),
			Doc: "How attempts get a connection. A number of connections is opened before the " +
				"load and kept: an attempt takes the one that has been idle longest, and waits " +
				"while none is."},
		{Path: "load.max_requests", Max: 1_000_000, Default: "0", Needs: kept, Unset: "no limit",
			Doc: "After how many requests the client closes a kept connection."},
		{Path: "load.lifetime", Min: ms, Max: hour, OrZero: true, Default: "0s", Example: "1s",
			Needs: kept, Unset: "no limit",
			Doc: "The age at which the client closes a kept connection, once it is idle."},
		{Path: "load.idle_timeout", Min: ms, Max: hour, OrZero: true, Default: "0s", Example: "1s",
			Needs: kept, Unset: "no limit",
			Doc: "How long a kept connection may be idle before the client closes it."},
		{Path: "load.timeout", Min: ms, Max: minute, Default: "900ms", Example: "900ms",
			Doc: "The limit of one attempt with all its tries, from when it is sent. 900 ms is " +
				"less than the first SYN retransmission (1 s), so that a SYN dropped at a full " +
				"queue is a loss and not a latency."},
	}
}

// retrySettings returns the settings of retries by clients.
func retrySettings() []strictyaml.Setting {
	return []strictyaml.Setting{
		{Path: "load.retry.max", Max: 10, Default: "0", Unset: "0, no retries",
			Doc: "How many tries an attempt may make after its first."},
		{Path: "load.retry.on", Joined: true, Example: "refused+unsent", Needs: retries,
			Unset: string(vocabulary.RetrySafe),
			Doc: "The failures that are retried, joined by +. Nothing is retried once a response " +
				"has begun."},
		{Path: "load.retry.backoff", Max: minute, Default: "0s", Example: "50ms", Needs: retries,
			Doc: "The wait before the second try; each later wait is twice as long."},
		{Path: "load.retry.max_backoff", Max: minute, Default: "0s", Example: "1s",
			Needs: "load.retry.backoff", Unset: "no limit",
			Doc: "The longest wait before a try."},
		{Path: "load.retry.jitter", Needs: "load.retry.backoff",
			Unset: string(vocabulary.JitterNone),
			Doc:   "How the waits are spread."},
		{Path: "load.retry.connect_timeout", Max: minute, Default: "0s", Example: "300ms",
			Needs: "load.retry.on with connect-timeout", Unset: "a third of load.timeout",
			Doc: "The limit of each try's handshake, less than load.timeout."},
		{Path: "load.retry.budget", Max: 1000, Default: "0", Needs: retries, Unset: "no limit",
			Doc: "Limits the retries of a load process by tokens, as gRPC's retry throttling " +
				"does: a failed try costs one token, a served one gives back budget_ratio, and " +
				"nothing is retried while at most half of the tokens are left."},
		{Path: "load.retry.budget_ratio", Max: 1, Default: "0", Needs: "load.retry.budget",
			Unset: "0.1",
			Doc:   "What a served try gives back, in tokens."},
	}
}

// runSettings returns the settings of the search, the timeline and the validity of trials.
func runSettings() []strictyaml.Setting {
	return []strictyaml.Setting{
		{Path: "search.p99", Max: minute, Default: "0s", Example: "20ms", Unset: "no search",
			Doc: "The limit of the 99th percentile of response time: the trial looks for the " +
				"highest rate that keeps it and drops nothing."},
		{Path: "search.precision", Min: 0.005, Max: 0.5, OrZero: true, Default: "0",
			Needs: "search.p99", Unset: "0.03",
			Doc: "The search ends when the lowest rate that failed is at most this share above " +
				"the highest one that passed."},
		{Path: "timeline[].at", Max: hour, Example: "500ms", Unset: "0s",
			Doc: "When the step is first due, from the first scheduled attempt."},
		{Path: "timeline[].every", Min: 10 * ms, Max: hour, OrZero: true, Example: "200ms",
			Unset: "once",
			Doc:   "Repeats the step at this interval until the load ends."},
		{Path: "timeline[].do", Unset: "required", Doc: "What the step does."},
		{Path: "timeline[].target", Max: 1023, Unset: "0, the first; a stall stalls every worker",
			Doc: "Which worker, node or socket the step is for, counted from 0 among those that " +
				"exist at that time."},
		{Path: "timeline[].replicas", Min: 1, Max: 1024, Needs: "do: scale", Unset: "required",
			Doc: "How many pods a scale leaves."},
		{Path: "timeline[].for", Max: hour, Example: "50ms", Needs: "do: stall, crash or " +
			"cold-start",
			Unset: "required",
			Doc: "How long a stall lasts; from a crash until the supervisor starts another " +
				"worker; from a cold-start until the worker is warm."},
		{Path: "validity.lag_floor", Max: minute, Default: "30ms", Example: "5ms",
			Doc: "A p99 schedule lag above this, and above a tenth of p99 response time, makes a " +
				"trial invalid."},
		{Path: "validity.step_lag", Above: true, Max: minute, Default: "100ms", Example: "20ms",
			Doc: "The longest schedule lag of any attempt in a step's window."},
		{Path: "validity.achieved", Above: true, Max: 1, Default: "0.99",
			Doc: "The smallest share of the offered rate that must be sent on schedule."},
		{Path: "validity.steal", Max: 1, Default: "0.5",
			Doc: "The largest share of a step's window, and of the trial, that the hypervisor " +
				"may take from the servers' CPUs."},
		{Path: "validity.run_queue", Max: 1, Default: "0.3",
			Doc: "The largest share of a step's window, and of the trial, for which a worker may " +
				"wait for a CPU that other programs use."},
		{Path: "validity.harness", Max: 1, Default: "0.02",
			Doc: "The largest share of the servers' CPU time that this program itself may use " +
				"while the load runs, its stand-ins for a control plane excepted. 1 % of one CPU " +
				"is always allowed."},
		{Path: "trials", Min: 1, Max: 1000, Default: "8",
			Doc: "The number of blocks to run: one trial of each variant in each. \"How many " +
				"trials\" in docs/comparing.md says how many a difference needs."},
		{Path: "min_valid", Min: 1, Max: 1000, Unset: "half of trials, rounded up",
			Doc: "How many valid trials a variant needs before its figures count; run --trials N " +
				"lowers it to N. \"How many trials\" in docs/comparing.md says how many a " +
				"difference needs."},
	}
}

// A section is a key that contains other keys or free text.
type section struct{ path, doc, unset string }

// sections lists the keys that are not in settings.
func sections() []section {
	return []section{
		{"name", "The scenario's name: lower-case words and numbers joined by hyphens, at most " +
			"64 characters.", "required"},
		{"about", "The question that the scenario answers, in a sentence or two.", ""},
		{"haproxy", "How the HAProxy of path: haproxy is configured.", ""},
		{"dns", "How clients find the pods of path: dns, or the address of path: service.", ""},
		{"kube", "How the embedded control plane behaves: a stand-in for Kubernetes' own, with " +
			"lags that can be set.", ""},
		{"sysctl", "Kernel parameters of the lab's network namespaces; nothing outside them " +
			"changes.", ""},
		{"server", "The process under test.", ""},
		{"server.work", "The service time of one request: sleep or burn, or neither to answer at " +
			"once.", ""},
		{"server.fault", "A defect of known size, to see whether it is reported at its size.", ""},
		{"load", "What clients send. It is an open loop unless concurrency is set: attempts are " +
			"sent when the schedule says so, whether or not earlier ones have been answered. At " +
			"most 10 million attempts.", ""},
		{"load.stages", "The parts of a schedule, instead of rate and duration: the rate of the " +
			"first one for its duration, then that of the next.", ""},
		{"load.stages[]", "One part of the schedule.", ""},
		{"load.retry", "When clients retry an attempt that has failed.", "no retries"},
		{"search", "Looks for the highest rate that the servers can serve within a limit, " +
			"instead of measuring at one rate. Each trial is then a bisection.", ""},
		{"server.files", "Files of the server, by their names below its directory. They are " +
			"written before the start and again before each restart. A text may contain " +
			"variables; a name that ends in / makes a directory; {copy: PATH} copies a file as " +
			"it is.", "none"},
		{"server.env", "Environment variables of the server, in addition to PATH, LANG, HOME, " +
			"TMPDIR, USER, HOST, PORT, WORKERS and GENERATION.", "none"},
		{"server.vars", "Variables of your own: {{vars.NAME}} in texts of server. The matrix " +
			"may vary each of them, for example server.vars.binary: [old, new].", "none"},
		{"server.ready", "When the server is ready, by one condition.", "when it listens"},
		{"server.stop", "How the server is stopped.", ""},
		{"server.identify", "The response headers by which the server says who answers.", "none"},
		{"server.restarts", "The ways to restart the server, by name. Each is a list of " +
			"actions. The key restart chooses one.", "none"},
		{"server.restarts.NAME", "The actions of this restart, in order.", ""},
		{"server.restarts.NAME[]", "One action: exactly one of signal, run, start, stop, write " +
			"and wait.", ""},
		{"server.restarts.NAME[].set", "New values of variables, by name. They stay set.", "none"},
		{"server.restarts.NAME[].wait", "Waits for one condition.", ""},
		{"server.beside", "Processes that the server needs, such as a database, by name. They " +
			"start before it, in the same network. The lab has no way out.", "none"},
		{"server.beside.NAME", "One process.", ""},
		{"server.beside.NAME.files", "Its files; see server.files.", "none"},
		{"server.beside.NAME.env", "Its environment variables; see server.env.", "none"},
		{"server.beside.NAME.ready", "When it is ready; see server.ready.", "when it listens at port"},
		{"server.beside.NAME.stop", "How it is stopped; see server.stop.", ""},
		{"request", "What the load asks of a server of your own, and which answers count as " +
			"served.",
			"GET /, answered by 200"},
		{"request.headers", "Headers of the request, by name.", "none"},
		{"timeline", "What happens while the load runs: at most 256 entries, and 20,000 steps " +
			"with those that are repeated.", "nothing happens"},
		{"timeline[]", "One step of the timeline.", ""},
		{"validity", "The limits that a trial must keep to count as a measurement of the " +
			"servers.", ""},
		{"matrix", "The variants to compare, as a list of product blocks. A block lists values " +
			"for settings, named by dotted path, and stands for all combinations of them. At " +
			"most 256 variants.", "one variant"},
		{"matrix[]", "A product block: settings, each with a list of values.", ""},
		{"baseline", "The variant that comparisons start from, by labels that select exactly one.",
			"the first variant"},
		{"gates", "Expectations that make the run fail when a variant does not meet them.", ""},
		{"gates[]", "One expectation.", ""},
		{"gates[].when", "Selects the variants whose labels include all of " +
			"these.", "every variant"},
		{"gates[].expect", "An expression over the variant's metrics that must be true, such as " +
			"lost_by_cause.reset_at_close == 0. Metrics are named as in run.json; 5ms stands for " +
			"its nanoseconds; baseline.NAME is the baseline's.", "required"},
		{"gates[].soft", "Whether the run passes although this gate stays undecided.", "false"},
	}
}

// format returns the description of scenario files for the decoder.
func format() *strictyaml.Format {
	return &strictyaml.Format{
		Noun:      "scenario",
		FirstLine: "name: my-scenario",
		Template:  "the output of: reuseport-bench show steady",
		MaxSize:   maxFileSize,
		MaxDepth:  maxDepth,
		MaxLen:    maxListLen,
		Settings:  settings(),
	}
}
