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
	maxDuration    = time.Hour // the maximum of all stages together
	maxSteps       = 20_000    // in a trial; a step every 100 ms for half an hour makes 18,000
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
	oneSecond = time.Second          // dns.ttl, server.defer_accept, fields of a real pod
	twoHalves = 2 * time.Microsecond // round_trip: half of it in each direction
)

// Values of Needs that several settings share.
const (
	aService   = "path: service"
	aCluster   = "path: service, dns or pod"
	ownControl = "kube.control: embedded"
	aProxy     = "path: haproxy"
	aUpdate    = "a step rolling-update"
	retries    = "load.retry.max"
	kept       = "load.connections: reused, mixed or a number"
)

// labSettings returns the settings of the network between clients and workers, and of the observers
// in the lab.
func labSettings() []strictyaml.Setting {
	return []strictyaml.Setting{
		{Path: "network", Default: string(vocabulary.NetworkLoopback),
			Doc: "The network that the trial runs in."},
		{Path: "round_trip", Max: 900 * ms, Default: "0s", Example: "20ms", Multiple: twoHalves,
			Needs: "network: veth; twice the value must be less than load.timeout",
			Doc: "The round trip time that the lab adds between clients and servers, an even " +
				"number of microseconds. Each direction gets half of it. The kernel delays " +
				"packets (netem); if it cannot, a relay process of this program does."},
		{Path: "family", Default: string(vocabulary.IPv4), Doc: "The IP version."},
		{Path: "path", Default: string(vocabulary.PathDirect),
			Doc: "What stands between the load and the workers."},
		{Path: "haproxy.checks", Needs: aProxy, Unset: string(vocabulary.ChecksDefault),
			Doc: "HAProxy's health checks of the workers."},
		{Path: "haproxy.redispatch", Needs: aProxy, Unset: string(vocabulary.Off),
			Doc: "Whether HAProxy retries a refused connection at another worker."},
		{Path: "dns.cache", Needs: "path: dns or service", Unset: string(vocabulary.DNSCacheTTL),
			Doc: "How long a client keeps a DNS answer."},
		{Path: "dns.ttl", Max: hour, Default: "0s", Example: "5s", Multiple: oneSecond,
			Needs: "path: dns or service",
			Unset: "5s, as in CoreDNS's kubernetes plugin",
			Doc:   "The TTL of DNS answers, in whole seconds."},
		{Path: "dns.clients", Max: 1024, Default: "0", Needs: "path: dns or service", Unset: "16",
			Doc: "The number of clients that share the load, each with a DNS cache of its own."},
		{Path: "trace", Default: string(vocabulary.On),
			Doc: "Whether eBPF programs record the kernel's reasons for lost connections."},
		{Path: "queue_depth", Default: string(vocabulary.DepthComputed),
			Doc: "How the lengths of accept queues are found. With path: haproxy they are " +
				"always sampled, because the proxy opens the connections to the workers."},
	}
}

// podSettings returns the settings of the control plane and its pods.
func podSettings() []strictyaml.Setting {
	return []strictyaml.Setting{
		{Path: "kube.control", Needs: aCluster, Unset: string(vocabulary.ControlEmbedded),
			Doc: "The control plane of the pods. With real, kube.pre_stop, grace, probe_period " +
				"and min_ready are whole seconds, and the settings of delays are not allowed."},
		{Path: "kube.placement", Needs: aCluster, Unset: string(vocabulary.PlacementPods),
			Doc: "Where the pods are placed."},
		{Path: "kube.users", Needs: aCluster, Unset: string(vocabulary.UsersOne),
			Doc: "The user ids that workers in pods run under."},
		{Path: "kube.endpoint_lag", Max: minute, Default: "0s", Example: "100ms",
			Needs: aCluster + "; " + ownControl,
			Doc: "The delay between a pod's becoming ready, or its deletion, and the change of " +
				"its Service's endpoints: fixed, or drawn anew for each change. measured/NAME " +
				"draws from lags of a real Kubernetes, listed in scenarios/measured."},
		{Path: "kube.ready_lag", Max: minute, Default: "0s", Example: "5ms",
			Needs: aCluster + "; " + ownControl, Unset: "kube.endpoint_lag",
			Doc: "The delay between what a pod's kubelet reports (its address, or that it is " +
				"ready or not) and the change of its Service's endpoints. 0s counts as unset; " +
				"kube.endpoint_lag is then for both. Otherwise that is for deletions only."},
		{Path: "kube.rules_lag", Max: minute, Default: "0s", Example: "100ms",
			Needs: aService + "; " + ownControl,
			Doc: "The delay between a change of endpoints and the start of the node's sync of " +
				"its rules: fixed, or drawn anew for each change. measured/NAME draws from lags " +
				"of a real Kubernetes, listed in scenarios/measured."},
		{Path: "kube.kubelet_lag", Max: minute, Default: "0s", Example: "20ms",
			Needs: aCluster + "; " + ownControl,
			Doc: "The delay between a pod's deletion and the moment at which its kubelet acts on " +
				"it (with preStop, then SIGTERM): fixed, or drawn anew for each deletion."},
		{Path: "kube.controller_lag", Max: minute, Default: "0s", Example: "20ms",
			Needs: "a step that waits for new pods; " + ownControl,
			Doc: "The delay between a new pod's becoming available and the moment at which the " +
				"controller of the update, drain, move or scale acts on it: fixed, or drawn anew " +
				"for each pod."},
		{Path: "kube.relist_period", Max: minute, Default: "0s", Example: "1s",
			Needs: aCluster + "; " + ownControl,
			Doc: "The time between two looks of a kubelet at its containers: 1 s in Kubernetes. " +
				"Only then does it learn that a container has started. It reports the pod's " +
				"address, which joins the endpoints as not ready, and sends the first readiness " +
				"probe. With 0s it learns at once."},
		{Path: "kube.relist_offset", Max: minute, Default: "0s", Example: "100ms",
			Needs: "kube.relist_period",
			Doc:   "How much later the kubelet of the second node looks than that of the first."},
		{Path: "kube.container_start", Max: minute, Default: "0s", Example: "500ms",
			Needs: aCluster + "; " + ownControl,
			Doc: "The time from a pod's creation until its container has started. server.startup " +
				"counts from then."},
		{Path: "kube.proxy_mode", Needs: "kube.control: real, path: service",
			Unset: string(vocabulary.ProxyNftables),
			Doc:   "How kube-proxy programs the rules that lead from a Service to its pods."},
		{Path: "kube.min_sync_period", Max: minute, Default: "0s", Example: "1s", Needs: aService,
			Unset: "no minimum; 1s with kube.control: real",
			Doc: "The minimum time between two syncs of a node's rules: kube-proxy's " +
				"minSyncPeriod (1 s by default in Kubernetes)."},
		{Path: "kube.readiness", Needs: aCluster,
			Unset: "listening; probe with server.kind: command or kube.control: real",
			Doc:   "When a pod counts as ready."},
		{Path: "kube.probe_period", Max: minute, Default: "0s", Example: "1s",
			Needs: "kube.readiness: probe", Unset: "1s, the minimum in Kubernetes (10s by default)",
			Doc: "The time between two readiness probes of a pod. The first probe is sent when " +
				"the pod's process has started."},
		{Path: "kube.min_ready", Max: minute, Default: "0s", Example: "1s",
			Needs: "a step that waits for new pods",
			Doc: "The time for which a new pod must have been ready before a rolling update or " +
				"a drain continues (minReadySeconds)."},
		{Path: "kube.max_surge", Max: 1024, Default: "0", Needs: aUpdate,
			Unset: "1 if kube.max_unavailable is 0, else 0",
			Doc:   "The number of pods that a rolling update may run beyond the present number."},
		{Path: "kube.max_unavailable", Max: 1024, Default: "0", Needs: aUpdate,
			Doc: "The number of pods by which the ready pods may fall below the present number " +
				"during a rolling update."},
		{Path: "kube.min_available", Max: 1024, Default: "0", Needs: "a step drain-node",
			Doc: "The number of pods that must be ready before a drain evicts another pod: a " +
				"PodDisruptionBudget."},
		{Path: "kube.pre_stop", Max: minute, Default: "0s", Example: "2s",
			Needs: "a step that deletes pods",
			Doc: "The time for which a deleted pod keeps serving before it gets SIGTERM: a " +
				"preStop hook that sleeps."},
		{Path: "kube.grace", Max: minute, Default: "0s", Example: "30s",
			Needs: "a step that deletes pods",
			Unset: "30s, or 5s after kube.pre_stop if that is later",
			Doc: "The time after its deletion at which a pod that still runs is killed " +
				"(terminationGracePeriodSeconds), but at least 2 s after SIGTERM. See " +
				"server.grace."},
		{Path: "kube.node_lag", Max: minute, Default: "0s", Example: "2s",
			Needs: "a step node-down",
			Unset: "0s; Kubernetes' 50s with kube.control: real",
			Doc: "The time after which the pods of a node that has gone down become unready " +
				"(node-monitor-grace-period: 50 s by default in Kubernetes, 40 s before 1.32)."},
		{Path: "kube.churn", Max: 500, Default: "0", Needs: "kube.control: real",
			Doc: "The number of changes per second to objects that no pod uses, which keep the " +
				"API server busy while the load runs."},
		{Path: "kube.teardown", Max: minute, Default: "0s", Example: "200ms",
			Needs: aCluster + "; " + ownControl,
			Unset: "200ms, about what containerd takes",
			Doc: "The time for which a pod's network outlives its processes. In this time it " +
				"refuses connections; afterwards it does not answer."},
	}
}

// workerSettings returns the settings of the workers and their sockets.
func workerSettings() []strictyaml.Setting {
	return []strictyaml.Setting{
		{Path: "workers", Min: 1, Max: 1024, Default: "2",
			Doc: "The number of worker processes in a generation. With server.kind: command, it " +
				"is the value of {{workers}}. If the server is in pods, it is the number of " +
				"pods, and {{workers}} is 1."},
		{Path: "workers_per_cpu", Max: 64, Default: "0", Unset: "workers as given",
			Doc: "Sets workers to this number times the number of the servers' CPUs."},
		{Path: "pin", Default: string(vocabulary.PinNone),
			Doc: "The CPUs that a worker may run on."},
		{Path: "sockets", Unset: "reuseport, or server with server.kind: command",
			Doc: "How the workers of a generation listen. With server.kind: command, shared and " +
				"reuseport mean that this program opens the sockets and passes them to the " +
				"server (LISTEN_FDS, sd_listen_fds(3)): one socket with shared, as many as " +
				"workers with reuseport."},
		{Path: "accept", Unset: "epoll, or netpoll with server.kind: http",
			Doc: "How a worker gets the connections of its socket."},
		{Path: "selector", Default: string(vocabulary.SelectorHash), Needs: "sockets: reuseport",
			Doc: "What decides which socket of a reuseport group gets a connection."},
		{Path: "canary", Max: 1, Default: "0", Needs: "selector: weighted",
			Doc: "The share of the connections that the last worker of a generation gets, more " +
				"than 0 and less than 1. The other workers share the rest."},
		{Path: "stop", Unset: "none; steps that stop workers need one",
			Doc: "How a worker ends when a step stops it."},
		{Path: "restart", Example: "reload", Needs: "server.restarts",
			Unset: "the only one of server.restarts",
			Doc:   "How a step restart restarts the server: the name of a way in server.restarts."},
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
			Doc: "net.core.somaxconn, the upper limit of a socket's backlog: listen(2) reduces " +
				"server.backlog to this number."},
		{Path: "sysctl.abort_on_overflow", Max: 1, Unset: kernels,
			Doc: "net.ipv4.tcp_abort_on_overflow: the kernel's answer to the last ACK of a " +
				"handshake when the accept queue is full. 1 sends a reset, 0 drops the ACK."},
		{Path: "sysctl.syncookies", Max: 2, Unset: kernels,
			Doc: "net.ipv4.tcp_syncookies: how SYNs are answered when as many handshakes are in " +
				"flight as the backlog allows. 0 drops the SYNs, 1 answers them with cookies. 2 " +
				"answers every SYN with a cookie at any time."},
		{Path: "sysctl.max_syn_backlog", Min: 1, Max: 65535, Unset: "65535",
			Doc: "net.ipv4.tcp_max_syn_backlog: without cookies, SYNs are dropped when " +
				"handshakes in flight leave less than a quarter of this number free."},
		{Path: "sysctl.synack_retries", Max: 255, Unset: kernels,
			Doc: "net.ipv4.tcp_synack_retries: the number of times that the answer to a SYN is " +
				"repeated."},
		{Path: "sysctl.syn_retries", Min: 1, Max: 127, Unset: kernels,
			Doc: "net.ipv4.tcp_syn_retries: the number of times that a client's SYN is repeated."},
		{Path: "sysctl.migrate_req", Max: 1, Unset: "0, or 1 with stop: migrate",
			Doc: "net.ipv4.tcp_migrate_req: 1 moves the accept queue of a closing listener to " +
				"another socket of its group."},
		{Path: "sysctl.fin_timeout", Min: 1, Max: 120, Unset: kernels,
			Doc: "net.ipv4.tcp_fin_timeout: the number of seconds for which a connection that " +
				"one end has closed waits for the other end's FIN."},
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
			Unset: "parked; cold with stop: tableflip or kube.control: real, or if kube.users " +
				"is not one",
			Doc: "When the processes of workers that steps start are started. With server.kind: " +
				"command, it is the command that starts the server: a text, which is split at " +
				"spaces as a shell would split it, or a list of words. No shell runs the " +
				"command."},
		{Path: "server.work.sleep", Max: minute, Default: "0s", Example: "100us",
			Doc: "The time for which a request waits without using the CPU, as for a database."},
		{Path: "server.work.burn", Max: minute, Default: "0s", Example: "100us",
			Doc: "The CPU time that a request uses (CLOCK_THREAD_CPUTIME_ID)."},
		{Path: "server.work.distribution", Default: string(vocabulary.DistributionFixed),
			Needs: "server.work.sleep or burn",
			Doc: "How the service time varies from request to request. Each worker has its own " +
				"sequence of random times, which is the same for every variant of a block."},
		{Path: "server.work.slow", Max: minute, Default: "0s", Example: "10ms",
			Needs: "server.work.distribution: bimodal",
			Doc: "The time that a slow request takes: a wait with server.work.sleep, CPU time " +
				"with server.work.burn."},
		{Path: "server.work.slow_share", Max: 1, Default: "0",
			Needs: "server.work.distribution: bimodal",
			Doc:   "The probability that a request is slow."},
		{Path: "server.startup", Max: 10_000 * ms, Default: "0s", Example: "300ms",
			Doc: "The time that a worker takes to load its data before it listens. It begins at " +
				"the start of the process, or for a parked process at its step."},
		{Path: "server.grace", Min: ms, Max: 10 * minute, Default: "30s", Example: "30s",
			Doc: "The time that a worker may take to finish its requests after it is told to " +
				"stop. Then it closes its remaining connections. A worker that is too busy for " +
				"that is killed a second later."},
		{Path: "server.cold", Max: minute, Default: "0s", Example: "5ms",
			Needs: "a step cold-start",
			Doc: "The additional time that a request takes at a worker that a step cold-start " +
				"has just added: a wait or CPU time, as in server.work. It falls evenly to 0 " +
				"within the step's time (for)."},
		{Path: "server.backlog", Min: 1, Max: 65535, Default: "4096",
			Doc: "The listen(2) backlog of each socket, limited by sysctl.somaxconn. 4096 is " +
				"the kernel's default for net.core.somaxconn since Linux 5.4."},
		{Path: "server.listen", Joined: true, Default: string(vocabulary.ListenSpecific),
			Example: "any+specific",
			Doc: "The address to which listening sockets are bound. If two names are joined by " +
				"+, the second is for workers that steps start."},
		{Path: "server.defer_accept", Max: minute, Default: "0s", Example: "1s",
			Multiple: oneSecond,
			Doc: "A worker accepts a connection only when the client has sent data, or after " +
				"this many whole seconds (TCP_DEFER_ACCEPT)."},
		{Path: "server.users", Default: string(vocabulary.UsersOne),
			Needs: "path: direct or haproxy; in pods it is kube.users",
			Doc:   "The user ids that workers run under."},
		{Path: "server.idle_timeout", Min: ms, Max: hour, OrZero: true,
			Default: "0s", Example: "5s", Needs: kept, Unset: "no limit",
			Doc: "The time for which a worker waits for the next request on a connection before " +
				"it closes the connection."},
		{Path: "server.max_requests", Max: 1_000_000, Default: "0", Needs: kept, Unset: "no limit",
			Doc: "The number of requests after which a worker closes a connection. The last " +
				"response announces this (Connection: close)."},
		{Path: "server.fault.resets", Max: 100_000, Default: "0",
			Doc: "The number of attempts whose first try the workers answer with a RST."},
		{Path: "server.fault.reset_every", Max: 1_000_000, Default: "0",
			Needs: "server.fault.resets", Unset: "1, consecutive attempts",
			Doc: "The distance between two attempts that are answered with a RST. If the " +
				"distance is the number of attempts between two restarts, each restart loses " +
				"one more attempt."},
		{Path: "server.fault.half_open", Max: 1000, Default: "0", Needs: "steps replace only",
			Doc: "The number of handshakes that a firewall delays at each step replace: the SYN " +
				"is answered, and the client's ACK arrives 50 ms after the stop."},
		{Path: "server.fault.dropped_syns", Max: 100_000, Default: "0",
			Needs: "network: loopback or veth",
			Doc: "The number of connections, from the first of the trial, whose SYN a " +
				"firewall drops."},
		{Path: "server.fault.rejected_syns", Max: 100_000, Default: "0",
			Needs: "network: loopback or veth",
			Doc: "The number of connections, from the first of the trial, whose SYN a firewall " +
				"answers with a RST."},
		{Path: "server.fault.time_wait", Max: 100_000, Default: "0",
			Unset: "enough for any trial",
			Doc: "The maximum number of connections in TIME_WAIT in the lab. A low number " +
				"shows the effect of reaching this limit."},
	}
}

// loadSettings returns the settings of the load.
func loadSettings() []strictyaml.Setting {
	return []strictyaml.Setting{
		{Path: "load.rate", Above: true, Max: 1e6, Example: "2000/s",
			Unset: "required without load.concurrency, load.stages and search",
			Doc: "The number of attempts per second; or a share, up to 2, of the rate that the " +
				"servers reach before the trials, such as 0.7*capacity."},
		{Path: "load.concurrency", Max: 10_000, Default: "0",
			Unset: "an open loop",
			Doc: "Makes the load a closed loop of this many clients, instead of a rate. Each " +
				"client sends its next attempt when its previous attempt has ended. A closed " +
				"loop has no schedule, and so no schedule lag, gap, outage or drop window. " +
				"Percentiles do not include the first attempt of each client."},
		{Path: "load.stages[].rate", Above: true, Max: 1e6, Example: "2000/s", Unset: "required",
			Doc: "The number of attempts per second in this stage."},
		{Path: "load.stages[].duration", Min: ms, Max: hour, Example: "3s", Unset: "required",
			Doc: "The length of the stage."},
		{Path: "load.stages[].ramp", Unset: "false",
			Doc: "Whether the rate changes evenly, from the rate of the stage before (in the " +
				"first stage, from load.from) to this stage's rate, as in k6's " +
				"ramping-arrival-rate."},
		{Path: "load.duration", Min: 100 * ms, Max: hour, Example: "3s",
			Unset: "required without load.stages",
			Doc:   "The time for which attempts are scheduled or, in a closed loop, sent."},
		{Path: "load.pace", Default: string(vocabulary.PaceConstant),
			Doc: "How attempts are spread over the duration. With load.stages, only constant " +
				"and poisson are possible."},
		{Path: "load.from", Max: 1e6, Default: "0/s", Example: "100/s",
			Needs: "load.pace: ramp, or a first stage with ramp",
			Doc:   "The rate at which a ramp starts."},
		{Path: "load.burst", Min: 2, Max: 100_000, OrZero: true, Default: "0",
			Needs: "load.pace: burst",
			Doc:   "The number of attempts that are due at once. load.rate is the mean rate."},
		{Path: "load.body", Max: 4096, Default: "0", Unset: "GET",
			Doc: "The length of each request's body, in bytes. Requests with a body are POSTs."},
		{Path: "load.aborts", Max: 100_000, Default: "0",
			Doc: "The number of attempts that the load itself resets after it has sent the " +
				"request, from the hundredth attempt on: a defect of known size."},
		{Path: "load.ports", Max: 50_000, Default: "0",
			Needs: "path: service, load.pace: constant, load.connections: new",
			Unset: "a port of its own for every connection",
			Doc: "The number of source ports that new connections use in turn, like a client " +
				"with one address."},
		{Path: "load.processes", Max: 64, Default: "0",
			Unset: "as many as the rate needs and the machine has CPUs for",
			Doc:   "The number of load processes that share the schedule."},
		{Path: "load.connections", Min: 1, Max: 10_000, Default: string(vocabulary.ConnectionsNew),
			Doc: "How attempts get a connection. A number means that this many connections are " +
				"opened before the load and kept. An attempt takes the connection that has been " +
				"idle longest, and waits if none is idle."},
		{Path: "load.max_requests", Max: 1_000_000, Default: "0", Needs: kept, Unset: "no limit",
			Doc: "The number of requests after which the client closes a kept connection."},
		{Path: "load.lifetime", Min: ms, Max: hour, OrZero: true, Default: "0s", Example: "1s",
			Needs: kept, Unset: "no limit",
			Doc: "The age at which the client closes a kept connection, as soon as the " +
				"connection is idle."},
		{Path: "load.idle_timeout", Min: ms, Max: hour, OrZero: true, Default: "0s", Example: "1s",
			Needs: kept, Unset: "no limit",
			Doc: "The time for which a kept connection may be idle before the client closes it."},
		{Path: "load.timeout", Min: ms, Max: minute, Default: "900ms", Example: "900ms",
			Doc: "The time limit of one attempt with all its tries, from when the attempt is " +
				"sent. The default of 900 ms is less than the time until the first SYN " +
				"retransmission (1 s). So a SYN dropped at a full queue counts as a loss and " +
				"not as a long response time."},
	}
}

// retrySettings returns the settings of retries by clients.
func retrySettings() []strictyaml.Setting {
	return []strictyaml.Setting{
		{Path: "load.retry.max", Max: 10, Default: "0", Unset: "0, no retries",
			Doc: "The number of further tries that an attempt may make after its first try."},
		{Path: "load.retry.on", Joined: true, Example: "refused+unsent", Needs: retries,
			Unset: string(vocabulary.RetrySafe),
			Doc: "The failures that are retried, joined by +. No attempt is retried once a " +
				"response has begun."},
		{Path: "load.retry.backoff", Max: minute, Default: "0s", Example: "50ms", Needs: retries,
			Doc: "The wait before the second try. Each later wait is twice as long."},
		{Path: "load.retry.max_backoff", Max: minute, Default: "0s", Example: "1s",
			Needs: "load.retry.backoff", Unset: "no limit",
			Doc: "The longest wait before a try."},
		{Path: "load.retry.jitter", Needs: "load.retry.backoff",
			Unset: string(vocabulary.JitterNone),
			Doc:   "How the waits vary at random."},
		{Path: "load.retry.connect_timeout", Max: minute, Default: "0s", Example: "300ms",
			Needs: "load.retry.on with connect-timeout", Unset: "a third of load.timeout",
			Doc: "The time limit of each try's handshake, less than load.timeout."},
		{Path: "load.retry.budget", Max: 1000, Default: "0", Needs: retries, Unset: "no limit",
			Doc: "Limits the retries of a load process by a number of tokens, as gRPC's retry " +
				"throttling does. A failed try costs one token, and a served try gives back " +
				"budget_ratio tokens. Nothing is retried while at most half of the tokens are " +
				"left."},
		{Path: "load.retry.budget_ratio", Max: 1, Default: "0", Needs: "load.retry.budget",
			Unset: "0.1",
			Doc:   "The number of tokens that a served try gives back."},
	}
}

// runSettings returns the settings of the search, the timeline and the validity of trials.
func runSettings() []strictyaml.Setting {
	return []strictyaml.Setting{
		{Path: "search.setting", Example: "kube.pre_stop", Unset: "the rate of the load",
			Doc: "The setting whose value is searched for: any number or duration that the " +
				"matrix could vary."},
		{Path: "search.from", Example: "0s", Needs: "search.setting", Unset: "required",
			Doc: "A value of the setting that is expected to drop attempts. The search looks " +
				"for the value nearest to it with which nothing is dropped."},
		{Path: "search.to", Example: "2s", Needs: "search.setting", Unset: "required",
			Doc: "A value of the setting that is expected to drop nothing. It may be smaller " +
				"than search.from."},
		{Path: "search.p99", Max: minute, Default: "0s", Example: "20ms", Unset: "no limit",
			Doc: "The limit of the 99th percentile of response time, in addition to dropping " +
				"nothing. Without search.setting, it makes the trial look for the highest rate."},
		{Path: "search.precision", Min: 0.005, Max: 0.5, OrZero: true, Default: "0",
			Needs: "search.p99 or search.setting", Unset: "0.03",
			Doc: "The search ends when the lowest rate that failed exceeds the highest rate " +
				"that passed by at most this share. For a setting, it ends when the two values " +
				"differ by at most this share of the distance from search.from to search.to."},
		{Path: "step", Unset: "each step says it", Doc: "What the steps of the timeline do that " +
			"have no do of their own. So variants can differ in what they do."},
		{Path: "timeline[].at", Max: hour, Example: "500ms", Unset: "0s",
			Doc: "The time at which the step is first due, counted from the first scheduled " +
				"attempt."},
		{Path: "timeline[].every", Min: 10 * ms, Max: hour, OrZero: true, Example: "200ms",
			Unset: "once",
			Doc:   "The interval at which the step is repeated until the load ends."},
		{Path: "timeline[].do", Unset: "step, or required", Doc: "What the step does."},
		{Path: "timeline[].target", Max: 1023, Unset: "0, the first; a stall stalls every worker",
			Doc: "The worker, node or socket that the step acts on, counted from 0 among those " +
				"that exist at that time."},
		{Path: "timeline[].replicas", Min: 1, Max: 1024, Needs: "do: scale", Unset: "required",
			Doc: "The number of pods after a step scale."},
		{Path: "timeline[].for", Max: hour, Example: "50ms", Needs: "do: stall, crash or " +
			"cold-start",
			Unset: "required",
			Doc: "The length of a stall; the time from a crash until the supervisor starts " +
				"another worker; or the time from a cold-start until the worker is warm."},
		{Path: "validity.lag_floor", Max: minute, Default: "30ms", Example: "5ms",
			Doc: "A trial is invalid if its p99 schedule lag (the delay between due and sent) " +
				"exceeds both this time and a tenth of the p99 response time."},
		{Path: "validity.step_lag", Above: true, Max: minute, Default: "100ms", Example: "20ms",
			Doc: "The longest schedule lag that an attempt in a step's window may have."},
		{Path: "validity.achieved", Above: true, Max: 1, Default: "0.99",
			Doc: "The smallest share of the offered rate that the load must send on schedule."},
		{Path: "validity.steal", Max: 1, Default: "0.5",
			Doc: "The largest share of a step's window, and of the trial, for which the " +
				"hypervisor may take CPU time from the servers' CPUs."},
		{Path: "validity.run_queue", Max: 1, Default: "0.3",
			Doc: "The largest share of a step's window, and of the trial, for which a worker " +
				"may wait for a CPU that another program uses."},
		{Path: "validity.harness", Max: 1, Default: "0.02",
			Doc: "The largest share of the servers' CPU time that this program itself may use " +
				"while the load runs. The work that it does in place of a supervisor, a control " +
				"plane or a DNS server does not count. 1 % of one CPU is always allowed."},
		{Path: "trials", Min: 1, Max: 1000, Default: "8",
			Doc: "The number of blocks to run. A block is one trial of each variant. \"How many " +
				"trials\" in docs/comparing.md says how many trials are needed to show a " +
				"difference."},
		{Path: "min_valid", Min: 1, Max: 1000, Unset: "half of trials, rounded up",
			Doc: "The number of valid trials that a variant needs before its figures count. run " +
				"--trials N lowers it to N. \"How many trials\" in docs/comparing.md says how " +
				"many trials are needed to show a difference."},
	}
}

// A section is a key that contains other keys or free text.
type section struct{ path, doc, unset string }

// sections lists the keys that are not in settings.
func sections() []section {
	return []section{
		{"name", "The scenario's name: lower-case words and numbers joined by hyphens, " +
			"at most 64 characters.", "required"},
		{"about", "The question that the scenario answers, in a sentence or two.", ""},
		{"haproxy", "How the HAProxy of path: haproxy is configured.", ""},
		{"dns", "How clients find the pods of path: dns, or the address of path: service.", ""},
		{"kube", "The settings of pods and of their control plane. The embedded control plane " +
			"replaces that of Kubernetes; its lags can be set.", ""},
		{"sysctl", "Kernel parameters of the lab's network namespaces. They do not " +
			"change anything outside the lab.", ""},
		{"server", "The process under test.", ""},
		{"server.work", "The service time of one request: sleep or burn. Without either, " +
			"a request is answered at once.", ""},
		{"server.fault", "Defects of known size, to check that the program reports them " +
			"at this size.", ""},
		{"load", "The requests that clients send. The load is an open loop unless " +
			"concurrency is set: attempts are sent when the schedule says so, whether or not " +
			"earlier attempts have been answered. At most 10 million attempts.", ""},
		{"load.stages", "The parts of a schedule, instead of rate and duration: first " +
			"the first stage's rate for its duration, then the next stage's rate, and so on.", ""},
		{"load.stages[]", "One part of the schedule.", ""},
		{"load.retry", "How clients retry an attempt that has failed.", "no retries"},
		{"search", "Looks for the highest rate that the servers can serve within a limit, or " +
			"for the least or greatest value of a setting with which nothing is dropped. Each " +
			"trial is then a bisection.", ""},
		{"server.files", "Files of the server, by their names below {{directory}}, which is new " +
			"and in memory for each trial. They are written before the start and again before " +
			"each restart. A text may contain variables; a name that ends in / makes a " +
			"directory; {copy: PATH} copies a file as it is.", "none"},
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
		{"timeline", "The steps that happen while the load runs: at most 256 entries, " +
			"and at most 20,000 steps with repetitions.", "nothing happens"},
		{"timeline[]", "One step of the timeline.", ""},
		{"validity", "The limits that a trial must keep to be valid. A valid trial " +
			"measured the servers, and not the load generator or the machine.", ""},
		{"matrix", "The variants to compare, as a list of product blocks. A block lists " +
			"values for settings, which are named by their dotted paths. It stands for all " +
			"combinations of these values. At most 256 variants.", "one variant"},
		{"matrix[]", "A product block: settings, each with a list of values.", ""},
		{"baseline", "The variant with which the others are compared, named by labels " +
			"that select exactly one variant.",
			"the first variant"},
		{"gates", "Expectations about the variants' metrics. The run fails if a variant " +
			"does not meet one.", ""},
		{"gates[]", "One expectation.", ""},
		{"gates[].when", "Selects the variants whose labels include all of " +
			"these.", "every variant"},
		{"gates[].expect", "An expression over the variant's metrics that must be true, " +
			"such as lost_by_cause.reset_at_close == 0. Metrics are named as in run.json. A " +
			"time such as 5ms is converted to nanoseconds. baseline.NAME is the baseline's " +
			"value.", "required"},
		{"gates[].soft", "Whether the run passes if this gate stays undecided.", "false"},
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
		CheckName: checkName,
	}
}
