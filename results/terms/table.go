package terms

// all has one row per term, in alphabetical order.
var all = []Term{
	{
		Name: "≤ 3/R", Also: []string{"rule of three", "≤", "≤ 3/N", "none in N", "at most 3 in N"},
		Doc: "None was lost in R restarts. With 95 % confidence at most 3 in R restarts lose " +
			"any. A loss that was not seen is never printed as 0.",
		Related: []string{"dropped_per_restart", "too few", "interval"},
		Source:  "Hanley and Lippman-Hand, JAMA 1983; 249: 1743–1745",
	},
	{
		Name: "A/A", Also: []string{"control arm", "arm=control", "arm=again"},
		Doc: "The baseline measured a second time, as one more variant of each block. Where it " +
			"differs from itself by more than chance, the machine did not repeat itself, and " +
			"gates and comparisons decide nothing.",
		Related: []string{"baseline", "gate", "block"},
	},
	{
		Name: "accept queue", Also: []string{"queue"},
		Doc: "The connections of a listening socket that are established and that no process has " +
			"accepted. It belongs to the socket; when the last descriptor of the socket is " +
			"closed, the kernel resets the connections in it.",
		Related: []string{"backlog", "reset_at_close", "accept_overflow", "queue_max"},
		Source:  "listen(2); inet_csk_listen_stop, net/ipv4/inet_connection_sock.c",
	},
	{
		Name: "attempt", Also: []string{"attempts"},
		Doc: "One request that the schedule called for, or that a client of a closed loop sent. " +
			"It is served or lost. Its identity travels in the request, so that both sides can " +
			"be compared.",
		Related: []string{"try", "served", "lost", "schedule"},
	},
	{
		Name: "backlog",
		Doc: "How many connections the accept queue of a socket holds: the argument of " +
			"listen(2), cut to net.core.somaxconn.",
		Unit:    "connections",
		Related: []string{"accept queue", "server.backlog", "sysctl.somaxconn"},
		Source:  "listen(2)",
	},
	{
		Name:    "baseline",
		Doc:     "The variant that the others are compared with.",
		Related: []string{"variant", "A/A", "ratio to the baseline"},
	},
	{
		Name: "block", Also: []string{"blocks"},
		Doc: "One trial of each variant, in random order. Comparisons are made within a block, " +
			"so that what the machine does for minutes at a time affects both sides.",
		Related: []string{"trial", "variant", "interval"},
	},
	{
		Name: "busiest worker ÷ mean", Also: []string{"max/mean", "max over mean"},
		Doc: "The connections (or requests, or busy time) of the worker that got the most, " +
			"divided by the mean over workers. 1 is perfectly even; the number of workers is the " +
			"most.",
		Unit:    "ratio, 1 to the number of workers",
		Related: []string{"max_over_mean", "requests_max_over_mean", "Jain's index", "top share"},
	},
	{
		Name: "capacity",
		Doc: "The rate that the servers of a variant reach when they always have something to " +
			"do, measured before the trials. A load.rate such as 0.7*capacity is a share of it.",
		Unit:    "attempts per second",
		Related: []string{"capacity_per_second", "load.rate", "workers occupied"},
	},
	{
		Name: "cause", Also: []string{"lost by cause", "causes", "cause (known from)"},
		Doc: "Why an attempt was lost: one of a fixed list, decided from evidence of both " +
			"sides.",
		Related: []string{"known from", "phase", "ledger", "reset_at_close", "closed_by_worker"},
	},
	{
		Name: "claim", Also: []string{"claims"},
		Doc: "A widely repeated sentence about SO_REUSEPORT or restarts, with the figures that " +
			"decide it. A run makes it hold, fail, hold on a condition, or leaves it not tested.",
		Related: []string{"run"},
	},
	{
		Name: "closed loop", Also: []string{"closed loop, clients"},
		Doc: "A load of a fixed number of clients, each of which sends its next attempt when its " +
			"last one has ended. It has no schedule, so response times count from when attempts " +
			"were sent, and there is no schedule lag, gap, outage or drop window.",
		Related: []string{"open loop", "load.concurrency", "coordinated omission", "concurrency"},
	},
	{
		Name: "cold",
		Doc: "A worker whose process is started by its step, so that the step includes the start " +
			"of the process; and, after a step cold-start, a worker that still answers slowly.",
		Related: []string{"parked", "server.start", "server.cold", "cold-start"},
	},
	{
		Name: "context switches/connection", Also: []string{"context switches"},
		Doc: "How often threads of the workers were put on a CPU, per connection. Waking workers " +
			"that get nothing shows here.",
		Unit:    "per connection",
		Related: []string{"context_switches_per_connection", "herd"},
	},
	{
		Name: "coordinated omission",
		Doc: "The error of a load that waits for slow servers before it sends more: it measures " +
			"fewer attempts just when servers are slow. An open loop with response times from " +
			"the schedule avoids it.",
		Related: []string{"open loop", "closed loop", "response time"},
		Source:  "Gil Tene, \"How NOT to Measure Latency\"",
	},
	{
		Name: "drop window",
		Doc: "Dropped attempts per restart, divided by the offered attempts per second: the time " +
			"for which the service seems shut at each restart. HAProxy's manual puts a plain " +
			"reload at about 100 µs.",
		Unit:    "time",
		Related: []string{"drop_window_ns", "loss window", "dropped/restart", "gap"},
		Source:  "HAProxy management guide, 4",
	},
	{
		Name: "dropped",
		Doc: "Lost for any cause but client: what the servers, the kernel or the network lost. " +
			"Reports, gates, claims and comparisons rank by it.",
		Unit:    "attempts",
		Related: []string{"lost", "dropped/restart", "dropped_per_attempt", "client"},
	},
	{
		Name: "dropped/restart", Also: []string{"dropped per restart"},
		Doc: "How many attempts were dropped each time all workers were replaced, or one crashed " +
			"and was started again, with the 95 % interval.",
		Unit:    "attempts per restart",
		Related: []string{"dropped_per_restart", "restart", "drop window", "≤ 3/R"},
	},
	{
		Name: "embedded control plane", Also: []string{"control plane"},
		Doc: "This program's own stand-in for Kubernetes' control plane, with lags that the " +
			"scenario sets. Rules and connection tracking are the kernel's own.",
		Related: []string{"kube.endpoint_lag", "kube.rules_lag", "predicted"},
	},
	{
		Name: "gap", Also: []string{"gap ± resolution"},
		Doc: "The longest stretch with nothing served: from when the first of a row of attempts " +
			"without a response was due, at least one of them dropped because of the step, to " +
			"when the next served one was due. 0 if the step dropped none.",
		Unit:    "time, in multiples of the resolution",
		Related: []string{"gap_ns", "resolution", "outage", "stall", "drop window"},
	},
	{
		Name: "gate", Also: []string{"gates"},
		Doc: "An expectation about a variant's metrics. It passes, fails, or stays undecided " +
			"while its interval lies on both sides of the bound. A failed gate makes run end " +
			"with status 1, an undecided one with status 3 unless it is soft.",
		Related: []string{"gates[].expect", "gates[].soft", "undecided", "A/A"},
	},
	{
		Name: "generation", Also: []string{"generations"},
		Doc: "The workers that serve together. A restart replaces a generation, at once or one " +
			"by one.",
		Related: []string{"worker", "restart", "replace", "roll"},
	},
	{
		Name: "half-open", Also: []string{"half-open lost/held", "handshake"},
		Doc: "A connection whose SYN the kernel has answered and whose last ACK has not arrived. " +
			"A close of the listener loses it, whatever is done about the accept queue.",
		Related: []string{"reset_half_open", "half_open_lost", "round trip", "accept queue"},
	},
	{
		Name: "handled twice", Also: []string{"handled twice or more/attempt"},
		Doc: "Given to a server's handler more than once, because the client retried: what the " +
			"request asked for may have been done twice.",
		Unit:    "attempts",
		Related: []string{"handled_twice_per_attempt", "repeated", "load.retry.on"},
		Source:  "RFC 9110, 9.2.2",
	},
	{
		Name: "harness' share of a CPU",
		Also: []string{"harness", "harness' share", "of it watching", "of it standing in"},
		Doc: "The CPU time that this program itself used while the load ran, as a share of one " +
			"CPU: watching, and standing in for a supervisor, a control plane or a DNS server.",
		Unit:    "share",
		Related: []string{"harness_cpu_share", "watch_cpu_share", "stand_in_cpu_share"},
	},
	{
		Name: "herd", Also: []string{"thundering herd"},
		Doc: "All idle workers wake up for one connection on a shared socket, and one gets it. " +
			"Plain epoll does it; epoll-exclusive and blocking do not.",
		Related: []string{"epoll", "epoll-exclusive", "context switches/connection"},
		Source:  "epoll_ctl(2), EPOLLEXCLUSIVE",
	},
	{
		Name: "interval", Also: []string{"[lo, hi]", "95 %"},
		Doc: "The range in brackets after a figure: at a confidence of 95 %, or the next level " +
			"above that so few trials allow. Under six trials there is none.",
		Related: []string{"trial", "≤ 3/R", "too few"},
	},
	{
		Name: "Jain's index", Also: []string{"Jain", "Jain of requests", "Jain of busy time"},
		Doc: "How even n workers' shares are: (sum of x)² ÷ (n × sum of x²). 1 is perfectly " +
			"even, 1/n is all for one.",
		Unit:    "number, 1/n to 1",
		Related: []string{"jain", "requests_jain", "busy_time_jain", "max/mean", "χ² p"},
		Source:  "Jain, Chiu and Hawe, DEC-TR-301, 1984",
	},
	{
		Name: "known from", Also: []string{"evidence", "known from kernel/counter/worker/client"},
		Doc: "What the causes rest on, strongest first: an event or a record of the kernel about " +
			"this very connection, a kernel counter, a worker's journal, or the client's view " +
			"alone. Four counts of lost attempts, in that order.",
		Related: []string{"cause", "trace"},
	},
	{
		Name: "lab",
		Doc: "The private network and process namespaces that a trial runs in. Each trial makes " +
			"its own, and they end with it.",
		Related: []string{"network", "trial"},
	},
	{
		Name: "labels", Also: []string{"label"},
		Doc: "What sets a variant apart: settings of the matrix, as sockets=reuseport " +
			"stop=drain.",
		Related: []string{"variant", "matrix"},
	},
	{
		Name: "ledger",
		Doc: "What became of every attempt, as the clients and the servers tell it, in one table " +
			"that must balance: served plus lost by cause.",
		Related: []string{"residual", "cause", "attempt"},
	},
	{
		Name: "loss window",
		Doc:  "As drop window, of all lost attempts, the load's own failures included.",
		Unit: "time", Related: []string{"loss_window_ns", "drop window", "lost"},
	},
	{
		Name: "lost", Also: []string{"loss", "losses"},
		Doc: "Of an attempt: without a full, valid response before its timeout. It has a phase, " +
			"a cause, and evidence for the cause.",
		Unit:    "attempts",
		Related: []string{"dropped", "cause", "phase", "lost_per_attempt", "load.timeout"},
	},
	{
		Name: "lost share",
		Doc:  "The share of the attempts in the longest outage that was dropped.",
		Unit: "share", Related: []string{"lost_share", "outage"},
	},
	{
		Name: "masked", Also: []string{"masked/attempt", "masked p50", "masked p99"},
		Doc: "Served, but not by the first try: a retry hid a failure. Its response time " +
			"includes the failed tries and the waits between.",
		Unit:    "attempts",
		Related: []string{"masked_per_attempt", "masked_p50_ns", "try", "load.retry.max"},
	},
	{
		Name: "mean wait", Also: []string{"wait"},
		Doc: "The mean response time beyond the time for which a connection keeps a worker: what " +
			"clients wait for a worker, with the client's own time.",
		Unit:    "time",
		Related: []string{"wait_mean_ns", "predicted_wait_mean_ns", "workers occupied"},
	},
	{
		Name: "never sent", Also: []string{"of these never sent", "unsent"},
		Doc: "An attempt that the load did not come to before the trial ended. It is lost by the " +
			"cause client, and is in no figure about the servers.",
		Unit:    "attempts",
		Related: []string{"client", "lost", "dropped", "schedule lag"},
	},
	{
		Name: "open loop",
		Doc: "A load that sends attempts when its schedule says so, whether or not earlier ones " +
			"have been answered.",
		Related: []string{"closed loop", "schedule", "load.rate", "load.stages"},
	},
	{
		Name: "outage",
		Doc: "The time from the first to the last attempt dropped because of a step, plus one " +
			"spacing. Some attempts in between may have been served; lost share says how many " +
			"were not.",
		Unit:    "time, in multiples of the resolution",
		Related: []string{"outage_ns", "gap", "lost share", "resolution"},
	},
	{
		Name: "parked",
		Doc: "Of a process: started and initialised before the load, and waiting until a step " +
			"makes it a worker. The step then costs bind, listen and ready.",
		Related: []string{"cold", "server.start"},
	},
	{
		Name: "phase",
		Doc: "How far a lost attempt had come: connecting, sending its request, waiting for the " +
			"response, or reading it.",
		Related: []string{"cause", "lost"},
	},
	{
		Name: "predicted",
		Doc: "What a step behind a Service should lose by arithmetic: offered rate × time in " +
			"which rules led to pods where no process listened, weighted with their share. " +
			"Beside mean wait: what queueing theory expects.",
		Unit:    "attempts per step, or time",
		Related: []string{"predicted_lost_per_step", "predicted_wait_mean_ns", "mean wait"},
	},
	{
		Name: "quick look",
		Doc: "A run with --quick: as many trials as fit into a minute. A gate that needs more " +
			"trials stays undecided.",
		Related: []string{"run", "gate"},
	},
	{
		Name: "ratio to the baseline",
		Also: []string{"variant ÷ baseline", "ratios to the baseline"},
		Doc: "A variant's figure divided by the baseline's, block by block, with the interval of " +
			"the pairs. = means the same within a change that matters, ? that the interval is " +
			"too wide to tell.",
		Related: []string{"baseline", "block", "interval"},
	},
	{
		Name: "repeated", Also: []string{"read twice or more/attempt", "read twice"},
		Doc:  "Of an attempt: read by a server more than once, because the client retried.",
		Unit: "attempts", Related: []string{"repeated_per_attempt", "handled twice"},
	},
	{
		Name: "residual",
		Doc:  "Attempts that no row of the ledger explains. A trial with any is invalid.",
		Unit: "attempts", Related: []string{"ledger", "unknown", "valid/all"},
	},
	{
		Name: "resolution",
		Doc: "The spacing of attempts at a step. Gaps and outages are multiples of it and cannot " +
			"be known better.",
		Unit: "time", Related: []string{"resolution_ns", "gap", "outage", "load.rate"},
	},
	{
		Name: "response time",
		Also: []string{"p50", "p90", "p99", "p99.9", "max", "mean ± SD", "SD"},
		Doc: "From when an attempt was due to the last byte of its response; in a closed loop, " +
			"from when it was sent. p99 is the time that 99 % of the served attempts of a trial " +
			"do not exceed; a figure is the median over trials.",
		Unit: "time",
		Related: []string{"response_p50_ns", "response_p99_ns", "response_sd_ns", "service time",
			"schedule lag", "coordinated omission"},
	},
	{
		Name: "restart", Also: []string{"restarts"},
		Doc: "A step that replaces every worker, at once or one by one, or a crash after which a " +
			"worker is started again.",
		Related: []string{"step", "replace", "roll", "crash", "rolling-update", "dropped/restart"},
	},
	{
		Name: "reuseport group", Also: []string{"group", "SO_REUSEPORT"},
		Doc: "The sockets that listen at one address and port with SO_REUSEPORT, in one network " +
			"namespace and under one user id. The kernel gives each connection to one of them, " +
			"which then has it in an accept queue of its own.",
		Related: []string{"reuseport", "selector", "accept queue", "server.users"},
		Source:  "socket(7); reuseport_select_sock, net/core/sock_reuseport.c",
	},
	{
		Name: "round trip",
		Doc: "The time that the lab adds to the way between clients and servers, both directions " +
			"together.",
		Unit: "time", Related: []string{"round_trip", "round_trip_ns", "half-open"},
	},
	{
		Name: "run", Also: []string{"run.json"},
		Doc:     "Everything that one invocation of run did: a directory with run.json.",
		Related: []string{"scenario", "trial"},
	},
	{
		Name: "scenario",
		Doc: "A YAML file: a network, servers, a load, a timeline of steps, a matrix of " +
			"variants, and gates.",
		Related: []string{"variant", "timeline", "matrix", "gate"},
	},
	{
		Name: "schedule", Also: []string{"due", "scheduled", "offered [1/s]", "offered"},
		Doc:     "When each attempt of an open loop is due. Offered is the rate that it calls for.",
		Unit:    "attempts per second",
		Related: []string{"offered_per_second", "open loop", "schedule lag", "load.pace"},
	},
	{
		Name: "schedule lag", Also: []string{"lag", "lag p99"},
		Doc: "How late the load sent an attempt: from when it was due to when it was sent. It is " +
			"part of the response time. Where it is large the load generator, and not the " +
			"servers, was measured, and the trial is invalid.",
		Unit: "time",
		Related: []string{"schedule_lag_p99_ns", "validity.lag_floor", "validity.step_lag",
			"response time"},
	},
	{
		Name: "served",
		Doc:  "Of an attempt: with a full, valid response before its timeout.",
		Unit: "attempts", Related: []string{"attempt", "lost", "served_per_second"},
	},
	{
		Name: "service time",
		Doc: "From when an attempt was sent to the last byte of its response: response time " +
			"without schedule lag.",
		Unit: "time", Related: []string{"service_p50_ns", "service_p99_ns", "response time"},
	},
	{
		Name: "SIGTERM first",
		Doc: "The share of the deleted pods that were told to end before their Service's " +
			"endpoints had changed.",
		Unit: "share", Related: []string{"sigterm_first", "kube.pre_stop", "stale_endpoint"},
	},
	{
		Name: "stage", Also: []string{"stages"},
		Doc:     "A part of an open loop's schedule, with a rate of its own.",
		Related: []string{"load.stages", "open loop", "schedule"},
	},
	{
		Name: "stall",
		Doc: "The longest response time of an attempt that was served, around a step. The step " +
			"stall is another thing: it keeps workers from running.",
		Unit: "time", Related: []string{"stall_ns", "gap", "response_max_ns"},
	},
	{
		Name: "step", Also: []string{"steps", "timeline"},
		Doc: "Something that the timeline does to workers while the load runs. Its window lasts " +
			"from its trigger to that of the next step, or to the end of the schedule.",
		Related: []string{"trigger", "restart", "timeline[].do"},
	},
	{
		Name: "tail",
		Doc: "From the trigger to the last connection that a worker accepted which the step " +
			"stopped: how long the old workers kept accepting.",
		Unit: "time", Related: []string{"tail_ns", "takeover", "trigger"},
	},
	{
		Name: "takeover",
		Doc: "From the trigger to the first response of a worker that the step started; 0 if one " +
			"had responded before.",
		Unit: "time", Related: []string{"takeover_ns", "tail", "trigger"},
	},
	{
		Name: "too few",
		Doc: "Of a rate: so few restarts, less than ten, that only the count is printed, as 0 in " +
			"2.",
		Related: []string{"≤ 3/R", "restart", "interval"},
	},
	{
		Name: "top share", Also: []string{"largest share", "smallest share"},
		Doc:  "The share of all connections that the worker with the most of them got.",
		Unit: "share", Related: []string{"top_share", "share_max", "share_min", "max/mean"},
	},
	{
		Name: "trial", Also: []string{"trials"},
		Doc: "One timed execution of one variant, with fresh processes in a fresh network. It is " +
			"one observation: requests of one trial share its luck.",
		Related: []string{"block", "valid/all", "interval"},
	},
	{
		Name: "trigger",
		Doc: "The instant just before the first stop signal of a step; for a step that stops no " +
			"worker, just before it starts one.",
		Related: []string{"step", "takeover", "tail"},
	},
	{
		Name: "try", Also: []string{"tries", "tries/attempt", "retry"},
		Doc: "One effort of an attempt. An attempt has exactly one unless clients retry; later " +
			"tries carry their number in the request.",
		Related: []string{"tries_per_attempt", "load.retry.max", "masked", "repeated"},
	},
	{
		Name: "undecided",
		Doc: "Of a gate: the interval lies on both sides of the bound, or too few trials are " +
			"valid. Where it can be told, the report says how many more trials would decide it.",
		Related: []string{"gate", "interval"},
	},
	{
		Name: "valid/all", Also: []string{"valid/all trials", "valid", "invalid"},
		Doc: "How many trials of a variant count, of how many were made. A trial is invalid when " +
			"the load generator was late, the machine stood still or the ledger does not " +
			"balance: it is listed with the reason, repeated within limits, and in no figure.",
		Unit:    "trials",
		Related: []string{"trial", "validity", "min_valid", "schedule lag", "residual"},
	},
	{
		Name: "variant", Also: []string{"variants"},
		Doc: "One point of a scenario's matrix, known by its labels: sockets=reuseport " +
			"stop=migrate.",
		Related: []string{"labels", "matrix", "trial"},
	},
	{
		Name: "worker", Also: []string{"workers"},
		Doc:     "One process that listens and serves.",
		Related: []string{"generation", "server.kind", "parked"},
	},
	{
		Name: "workers occupied",
		Doc:  "The share of the time for which workers were busy with a connection.",
		Unit: "share", Related: []string{"load", "capacity", "mean wait"},
	},
	{
		Name: "χ² p",
		Doc: "The probability that a fair die would spread the connections over the workers at " +
			"least as unevenly. Near 0: the spread is no chance; a hash gives what a fair die " +
			"gives, not equal shares.",
		Unit: "probability", Related: []string{"chi2_p", "hash", "Jain's index", "max/mean"},
		Source: "Pearson's chi-squared test",
	},
}
