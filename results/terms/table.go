package terms

// all has one row per term, in alphabetical order.
var all = []Term{
	{
		Name: "≤ 3/R", Also: []string{"rule of three", "≤", "≤ 3/N", "none in N", "at most 3 in N"},
		Doc: "Nothing was lost in R restarts. So we can say with 95 % confidence that at most 3 " +
			"in R restarts lose an attempt. Reports never print such a rate as 0.",
		Related: []string{"dropped_per_restart", "too few", "interval"},
		Source:  "Hanley and Lippman-Hand, JAMA 1983; 249: 1743–1745",
	},
	{
		Name: "A/A", Also: []string{"control arm", "arm=control", "arm=again"},
		Doc: "A second measurement of the baseline, as one more variant in each block. If the " +
			"two measurements of the baseline differ by more than chance, results on this " +
			"machine are not repeatable. Gates and comparisons then decide nothing.",
		Related: []string{"baseline", "gate", "block"},
	},
	{
		Name: "accept queue", Also: []string{"queue"},
		Doc: "The established connections of a listening socket that no process has accepted " +
			"yet. Each listening socket has its own accept queue. When the last descriptor of " +
			"the socket is closed, the kernel resets the connections in the queue.",
		Related: []string{"backlog", "reset_at_close", "accept_overflow", "queue_max"},
		Source:  "listen(2); inet_csk_listen_stop, net/ipv4/inet_connection_sock.c",
	},
	{
		Name: "attempt", Also: []string{"attempts"},
		Doc: "One request of the load. In an open loop, the schedule calls for each attempt. In " +
			"a closed loop, a client sends its next attempt when its previous attempt has ended. " +
			"An attempt is either served or lost. The request carries the attempt's identity, so " +
			"that the client's record can be matched with the server's record.",
		Related: []string{"try", "served", "lost", "schedule"},
	},
	{
		Name: "backlog",
		Doc: "The largest number of connections that a socket's accept queue can hold. It is the " +
			"argument of listen(2), limited by net.core.somaxconn.",
		Unit:    "connections",
		Related: []string{"accept queue", "server.backlog", "sysctl.somaxconn"},
		Source:  "listen(2)",
	},
	{
		Name:    "baseline",
		Doc:     "The variant with which the other variants of a scenario are compared.",
		Related: []string{"variant", "A/A", "ratio to the baseline"},
	},
	{
		Name: "block", Also: []string{"blocks"},
		Doc: "One trial of each variant, in random order. Comparisons are made within a block. " +
			"So a disturbance that lasts for minutes affects all compared variants.",
		Related: []string{"trial", "variant", "interval"},
	},
	{
		Name: "busiest worker ÷ mean", Also: []string{"max/mean", "max over mean"},
		Doc: "The number of connections of the worker that got the most, divided by the mean " +
			"over all workers. The ratio can also be computed from requests or from busy time. 1 " +
			"means an even spread. The largest possible value is the number of workers.",
		Unit:    "ratio, 1 to the number of workers",
		Related: []string{"max_over_mean", "requests_max_over_mean", "Jain's index", "top share"},
	},
	{
		Name: "capacity",
		Doc: "The highest rate that the servers of a variant can answer. It is measured before " +
			"the trials, with servers that always have a request to answer. A load.rate of " +
			"0.7*capacity is 70 % of this rate.",
		Unit:    "attempts per second",
		Related: []string{"capacity_per_second", "load.rate", "workers occupied"},
	},
	{
		Name: "cause", Also: []string{"lost by cause", "causes", "cause (known from)"},
		Doc: "The reason why an attempt was lost. The program chooses the cause from a fixed " +
			"list. It bases the choice on the records of clients, servers and kernel.",
		Related: []string{"known from", "phase", "ledger", "reset_at_close", "closed_by_worker"},
	},
	{
		Name: "claim", Also: []string{"claims"},
		Doc: "A widely repeated sentence about SO_REUSEPORT or restarts, with the figures that " +
			"decide whether the sentence is true. In a run, a claim holds, fails, holds under a " +
			"condition (conditional), or is not tested.",
		Related: []string{"run"},
	},
	{
		Name: "closed loop", Also: []string{"closed loop, clients"},
		Doc: "A load with a fixed number of clients. Each client sends its next attempt when its " +
			"previous attempt has ended. A closed loop has no schedule, so it has no schedule " +
			"lag, gap, outage or drop window. Response times are measured from the moment each " +
			"attempt was sent.",
		Related: []string{"open loop", "load.concurrency", "coordinated omission", "concurrency"},
	},
	{
		Name: "cold",
		Doc: "Of a worker: a step starts its process, so the step's duration includes the start " +
			"of the process. After the step named cold-start, a worker is also called cold while " +
			"it still answers slowly.",
		Related: []string{"parked", "server.start", "server.cold", "cold-start"},
	},
	{
		Name: "connections of each worker",
		Doc: "The number of connections that each worker accepted in one trial, in the order of " +
			"the workers. Its chart shows each as a share, beside the shares to expect if a fair " +
			"die chose the worker.",
		Related: []string{"busiest worker ÷ mean", "max_over_mean"},
	},
	{
		Name: "context switches/connection", Also: []string{"context switches"},
		Doc: "The number of times that the kernel put a worker's thread on a CPU, divided by the " +
			"number of connections. The value is high if workers wake up and get no connection.",
		Unit:    "per connection",
		Related: []string{"context_switches_per_connection", "herd"},
	},
	{
		Name: "coordinated omission",
		Doc: "A measurement error of loads that wait for a slow server before they send the next " +
			"request. Such a load sends fewer requests just when the server is slow. An open " +
			"loop avoids this error, because its response times are measured from the scheduled " +
			"time.",
		Related: []string{"open loop", "closed loop", "response time"},
		Source:  "Gil Tene, \"How NOT to Measure Latency\"",
	},
	{
		Name: "drop window",
		Doc: "The number of dropped attempts per restart, divided by the number of attempts " +
			"offered per second. The result is a time: how long the service seems to be down at " +
			"each restart. HAProxy's manual estimates about 100 µs for a plain reload.",
		Unit:    "time",
		Related: []string{"drop_window_ns", "loss window", "dropped/restart", "gap"},
		Source:  "HAProxy management guide, 4",
	},
	{
		Name: "dropped",
		Doc: "Said of an attempt that was lost because of the servers, the kernel or the " +
			"network: for any cause except client. Reports rank variants by dropped attempts. " +
			"Gates, claims and comparisons also use dropped attempts.",
		Unit:    "attempts",
		Related: []string{"lost", "dropped/restart", "dropped_per_attempt", "client"},
	},
	{
		Name: "dropped some at", Also: []string{"dropped some", "steps in each try"},
		Doc: "In a search for a setting, the value nearest to the one that was found with which " +
			"attempts were dropped. The true limit is between the two. The column beside it has " +
			"the number of steps in each try.",
		Related: []string{"search", "least_found_ns"},
	},
	{
		Name: "dropped/restart", Also: []string{"dropped per restart"},
		Doc: "The mean number of attempts dropped per restart, with its 95 % interval. A restart " +
			"replaces all workers, or starts a worker again after a crash.",
		Unit:    "attempts per restart",
		Related: []string{"dropped_per_restart", "restart", "drop window", "≤ 3/R"},
	},
	{
		Name: "embedded control plane", Also: []string{"control plane"},
		Doc: "The part of this program that takes the place of Kubernetes' control plane. The " +
			"scenario sets the delays (lags) of this control plane. Rules and connection " +
			"tracking are the kernel's own.",
		Related: []string{"kube.endpoint_lag", "kube.rules_lag", "predicted"},
	},
	{
		Name: "gap", Also: []string{"gap ± resolution"},
		Doc: "The longest time without a served attempt in which the step dropped at least one " +
			"attempt. The gap begins at the due time of the first attempt that was not served. " +
			"The gap ends at the due time of the next served attempt. The gap is 0 if the step " +
			"dropped no attempt.",
		Unit:    "time, in multiples of the resolution",
		Related: []string{"gap_ns", "resolution", "outage", "stall", "drop window"},
	},
	{
		Name: "gate", Also: []string{"gates"},
		Doc: "An expectation about a variant's metrics. A gate passes, fails or stays undecided. " +
			"It is undecided while the interval includes values on both sides of the bound. If a " +
			"gate fails, the run command exits with status 1. If a gate stays undecided, the run " +
			"command exits with status 3, unless the gate is soft.",
		Related: []string{"gates[].expect", "gates[].soft", "undecided", "A/A"},
	},
	{
		Name: "generation", Also: []string{"generations"},
		Doc: "The workers that serve together. A restart replaces a generation. The workers are " +
			"replaced all at once or one by one.",
		Related: []string{"worker", "restart", "replace", "roll"},
	},
	{
		Name: "half by", Also: []string{"all by", "the first due", "outside of the chart"},
		Doc: "When attempts were dropped, counted from the stop signal to the instant at which " +
			"they were due: half of them, and all of them, were due by then. Outside of the " +
			"chart are those that were due further than 50 ms from the stop.",
		Unit:    "milliseconds",
		Related: []string{"dropped", "drop window"},
	},
	{
		Name: "half-open", Also: []string{"half-open lost/held", "handshake"},
		Doc: "Of a connection: its handshake is unfinished. The kernel has answered the SYN, but " +
			"the client's last ACK has not arrived yet. If the listener is closed in this state, " +
			"the connection is lost, even if the accept queue was emptied before.",
		Related: []string{"reset_half_open", "half_open_lost", "round trip", "accept queue"},
	},
	{
		Name: "handled twice", Also: []string{"handled twice or more/attempt"},
		Doc: "Of an attempt: a server's handler got its request more than once, because the " +
			"client retried. So the server may have carried out the requested action twice.",
		Unit:    "attempts",
		Related: []string{"handled_twice_per_attempt", "repeated", "load.retry.on"},
		Source:  "RFC 9110, 9.2.2",
	},
	{
		Name: "harness' share of a CPU",
		Also: []string{"harness", "harness' share", "of it watching", "of it standing in"},
		Doc: "The CPU time that this program itself used while the load ran, as a share of one " +
			"CPU. One part is the time spent on watching the trial. Another part is the time " +
			"spent standing in for a supervisor, a control plane or a DNS server.",
		Unit:    "share",
		Related: []string{"harness_cpu_share", "watch_cpu_share", "stand_in_cpu_share"},
	},
	{
		Name: "herd", Also: []string{"thundering herd"},
		Doc: "The thundering herd: one connection on a shared socket wakes all idle workers, and " +
			"only one worker gets the connection. A herd occurs with the accept mode epoll, and " +
			"not with epoll-exclusive or blocking.",
		Related: []string{"epoll", "epoll-exclusive", "context switches/connection"},
		Source:  "epoll_ctl(2), EPOLLEXCLUSIVE",
	},
	{
		Name: "interval", Also: []string{"[lo, hi]", "95 %"},
		Doc: "The range in brackets after a figure. Its confidence is 95 %, or the next higher " +
			"level that the number of trials allows. With fewer than six trials there is no " +
			"interval.",
		Related: []string{"trial", "≤ 3/R", "too few"},
	},
	{
		Name: "Jain's index", Also: []string{"Jain", "Jain of requests", "Jain of busy time"},
		Doc: "A measure of how evenly n workers share the connections. If x is each worker's " +
			"share, the index is (sum of x)² ÷ (n × sum of x²). 1 means equal shares. 1/n means " +
			"that one worker got everything.",
		Unit:    "number, 1/n to 1",
		Related: []string{"jain", "requests_jain", "busy_time_jain", "max/mean", "χ² p"},
		Source:  "Jain, Chiu and Hawe, DEC-TR-301, 1984",
	},
	{
		Name: "known from", Also: []string{"evidence", "known from kernel/counter/worker/client"},
		Doc: "The kind of evidence for the causes of lost attempts. Reports print four counts of " +
			"lost attempts, beginning with the strongest evidence. The kinds are: an event or a " +
			"record of the kernel about the connection itself; a kernel counter; a worker's " +
			"journal (its record of each connection); and only the client's view.",
		Related: []string{"cause", "trace"},
	},
	{
		Name: "lab",
		Doc: "The private network and process namespaces in which a trial runs. Each trial " +
			"creates its own lab. The lab is removed when the trial ends.",
		Related: []string{"network", "trial"},
	},
	{
		Name: "labels", Also: []string{"label"},
		Doc: "The matrix settings that distinguish a variant from the other variants, such as " +
			"sockets=reuseport stop=drain.",
		Related: []string{"variant", "matrix"},
	},
	{
		Name: "ledger",
		Doc: "A table of all attempts, by the client's view and the server's record. The ledger " +
			"must balance: the attempts served and the attempts lost by each cause must add up " +
			"to all attempts.",
		Related: []string{"residual", "cause", "attempt"},
	},
	{
		Name: "loss window",
		Doc: "The number of lost attempts per restart, divided by the number of attempts offered " +
			"per second. The result is a time. Unlike the drop window, the loss window includes " +
			"failures of the load itself.",
		Unit: "time", Related: []string{"loss_window_ns", "drop window", "lost"},
	},
	{
		Name: "lost", Also: []string{"loss", "losses"},
		Doc: "Of an attempt: the client got no complete, valid response before its timeout. A " +
			"lost attempt has a phase, a cause, and evidence for the cause.",
		Unit:    "attempts",
		Related: []string{"dropped", "cause", "phase", "lost_per_attempt", "load.timeout"},
	},
	{
		Name: "lost share",
		Doc:  "The share of attempts that were dropped, among the attempts in the longest outage.",
		Unit: "share", Related: []string{"lost_share", "outage"},
	},
	{
		Name: "masked", Also: []string{"masked/attempt", "masked p50", "masked p99"},
		Doc: "Of an attempt: served, but not by its first try. The retry hid the failure from " +
			"the client's user. The response time includes the failed tries and the waits " +
			"between tries.",
		Unit:    "attempts",
		Related: []string{"masked_per_attempt", "masked_p50_ns", "try", "load.retry.max"},
	},
	{
		Name: "mean wait", Also: []string{"wait"},
		Doc: "The mean response time minus the mean time for which a connection occupies a " +
			"worker. The rest is the time for which clients wait for a worker, plus the clients' " +
			"own time.",
		Unit:    "time",
		Related: []string{"wait_mean_ns", "predicted_wait_mean_ns", "workers occupied"},
	},
	{
		Name: "never sent", Also: []string{"of these never sent", "unsent"},
		Doc: "Of an attempt: the load did not send it before the trial ended. Such an attempt is " +
			"lost with the cause named client. Figures about the servers exclude it.",
		Unit:    "attempts",
		Related: []string{"client", "lost", "dropped", "schedule lag"},
	},
	{
		Name: "open loop",
		Doc: "A load that sends each attempt when the schedule says so, whether or not earlier " +
			"attempts have been answered.",
		Related: []string{"closed loop", "schedule", "load.rate", "load.stages"},
	},
	{
		Name: "outage",
		Doc: "The time from the first to the last attempt dropped because of a step, plus the " +
			"time between two scheduled attempts. Some attempts in the outage may have been " +
			"served. The lost share says which share of them was dropped.",
		Unit:    "time, in multiples of the resolution",
		Related: []string{"outage_ns", "gap", "lost share", "resolution"},
	},
	{
		Name: "parked",
		Doc: "Of a process: started and initialised before the load, and waiting until a step " +
			"turns it into a worker. The step's duration then includes only bind, listen and the " +
			"worker's report that it is ready.",
		Related: []string{"cold", "server.start"},
	},
	{
		Name: "phase",
		Doc: "The point that a lost attempt had reached when it failed: connecting, sending its " +
			"request, waiting for the response, or reading the response.",
		Related: []string{"cause", "lost"},
	},
	{
		Name: "predicted",
		Doc: "A figure from theory, printed beside the measured figure. For a step behind a " +
			"Service, it is the number of attempts that should be lost. This prediction is the " +
			"offered rate times the time in which rules sent traffic to pods where no process " +
			"listened. The time is weighted by the share of such pods. For the mean wait, the " +
			"prediction comes from queueing theory.",
		Unit:    "attempts per step, or time",
		Related: []string{"predicted_lost_per_step", "predicted_wait_mean_ns", "mean wait"},
	},
	{
		Name: "quick look",
		Doc: "A run with --quick. A quick look makes only as many trials of a scenario as fit " +
			"into a minute. A gate that needs more trials stays undecided.",
		Related: []string{"run", "gate"},
	},
	{
		Name: "ratio to the baseline",
		Also: []string{"variant ÷ baseline", "ratios to the baseline"},
		Doc: "A variant's figure divided by the baseline's figure within each block, with an " +
			"interval. The sign = means that the two figures are the same, apart from " +
			"differences too small to matter. The sign ? means that the interval is too wide to " +
			"tell.",
		Related: []string{"baseline", "block", "interval"},
	},
	{
		Name: "repeated", Also: []string{"read twice or more/attempt", "read twice"},
		Doc: "Of an attempt: a server read the attempt's request more than once, because the " +
			"client retried.",
		Unit: "attempts", Related: []string{"repeated_per_attempt", "handled twice"},
	},
	{
		Name: "residual",
		Doc: "Attempts that no row of the ledger explains. A trial with such an attempt is " +
			"invalid.",
		Unit: "attempts", Related: []string{"ledger", "unknown", "valid/all"},
	},
	{
		Name: "resolution",
		Doc: "The time between two scheduled attempts at a step. Gaps and outages are multiples " +
			"of the resolution and cannot be measured more exactly.",
		Unit: "time", Related: []string{"resolution_ns", "gap", "outage", "load.rate"},
	},
	{
		Name: "response time",
		Also: []string{"p50", "p90", "p99", "p99.9", "max", "mean ± SD", "SD"},
		Doc: "The time from the moment an attempt was scheduled until the last byte of its " +
			"response arrived. In a closed loop, it is measured from the moment the attempt was " +
			"sent. p99 is the response time that 99 % of a trial's served attempts did not " +
			"exceed. Reported values are medians over trials.",
		Unit: "time",
		Related: []string{"response_p50_ns", "response_p99_ns", "response_sd_ns", "service time",
			"schedule lag", "coordinated omission"},
	},
	{
		Name: "restart", Also: []string{"restarts"},
		Doc: "A step that replaces every worker, all at once or one by one. A crash also counts " +
			"as a restart if a supervisor starts the worker again.",
		Related: []string{"step", "replace", "roll", "crash", "rolling-update", "dropped/restart"},
	},
	{
		Name: "reuseport group", Also: []string{"group", "SO_REUSEPORT"},
		Doc: "The sockets that listen with SO_REUSEPORT at one address and port, in one network " +
			"namespace and under one user id. The kernel assigns each new connection to one " +
			"socket of the group. Each socket has its own accept queue.",
		Related: []string{"reuseport", "selector", "accept queue", "server.users"},
		Source:  "socket(7); reuseport_select_sock, net/core/sock_reuseport.c",
	},
	{
		Name: "round trip",
		Doc:  "The delay that the lab adds to a packet on its way from client to server and back.",
		Unit: "time", Related: []string{"round_trip", "round_trip_ns", "half-open"},
	},
	{
		Name: "run", Also: []string{"run.json"},
		Doc: "One use of the run command. A run consists of all its trials. Its results are in " +
			"one directory, in the file run.json.",
		Related: []string{"scenario", "trial"},
	},
	{
		Name: "scenario",
		Doc: "A YAML file that describes an experiment. It contains a network, servers, a load, " +
			"a timeline of steps, a matrix of variants, and gates.",
		Related: []string{"variant", "timeline", "matrix", "gate"},
	},
	{
		Name: "schedule", Also: []string{"due", "scheduled", "offered [1/s]", "offered"},
		Doc: "The times at which the attempts of an open loop are due. The offered rate is the " +
			"number of attempts due per second.",
		Unit:    "attempts per second",
		Related: []string{"offered_per_second", "open loop", "schedule lag", "load.pace"},
	},
	{
		Name: "schedule lag", Also: []string{"lag", "lag p99"},
		Doc: "The delay between the time at which an attempt was due and the time at which the " +
			"load sent it. The response time includes the schedule lag. If the lag is large, the " +
			"trial is invalid, because it measured the load generator and not the servers.",
		Unit: "time",
		Related: []string{"schedule_lag_p99_ns", "validity.lag_floor", "validity.step_lag",
			"response time"},
	},
	{
		Name: "served",
		Doc:  "Of an attempt: the client got a complete, valid response before its timeout.",
		Unit: "attempts", Related: []string{"attempt", "lost", "served_per_second"},
	},
	{
		Name: "served terminating",
		Doc: "The number of attempts per deleted pod that the pod served, of those that were " +
			"sent after its deletion had begun. A preStop delay lets it serve on. Rules lead to " +
			"it until they have followed the deletion, or while no other pod is ready.",
		Unit:    "attempts",
		Related: []string{"served_while_terminating", "kube.pre_stop"},
		Source:  "KEP-1669",
	},
	{
		Name: "service time",
		Doc: "The time from the moment an attempt was sent until the last byte of its response " +
			"arrived. It is the response time without the schedule lag.",
		Unit: "time", Related: []string{"service_p50_ns", "service_p99_ns", "response time"},
	},
	{
		Name: "SIGTERM first",
		Doc: "The share of the deleted pods that got SIGTERM before their Service's endpoints " +
			"had changed.",
		Unit: "share", Related: []string{"sigterm_first", "kube.pre_stop", "stale_endpoint"},
	},
	{
		Name: "stage", Also: []string{"stages"},
		Doc:     "A part of an open loop's schedule. Each stage has its own rate.",
		Related: []string{"load.stages", "open loop", "schedule"},
	},
	{
		Name: "stall",
		Doc: "The longest response time of a served attempt around a step. The step named stall " +
			"is something else: it stops workers from running for a time.",
		Unit: "time", Related: []string{"stall_ns", "gap", "response_max_ns"},
	},
	{
		Name: "step", Also: []string{"steps", "timeline"},
		Doc: "An action of the timeline that changes workers while the load runs, such as a " +
			"restart. A step's window begins at the step's trigger. The window ends at the " +
			"trigger of the next step, or at the end of the schedule.",
		Related: []string{"trigger", "restart", "timeline[].do"},
	},
	{
		Name: "tail",
		Doc: "The time for which old workers kept accepting connections after the trigger. The " +
			"tail ends at the last connection accepted by a worker that the step stopped.",
		Unit: "time", Related: []string{"tail_ns", "takeover", "trigger"},
	},
	{
		Name: "takeover",
		Doc: "The time from the trigger to the first response of a worker that the step started. " +
			"The takeover is 0 if one of these workers had already responded before the trigger.",
		Unit: "time", Related: []string{"takeover_ns", "tail", "trigger"},
	},
	{
		Name: "too few",
		Doc: "Of a rate: measured in fewer than ten restarts. Reports then print only the count, " +
			"such as 0 in 2.",
		Related: []string{"≤ 3/R", "restart", "interval"},
	},
	{
		Name: "top share", Also: []string{"largest share", "smallest share"},
		Doc:  "The share of all connections that went to the worker with the most connections.",
		Unit: "share", Related: []string{"top_share", "share_max", "share_min", "max/mean"},
	},
	{
		Name: "trial", Also: []string{"trials"},
		Doc: "One timed execution of one variant, with new processes in a new network. All " +
			"requests of a trial share the same conditions, so a trial counts as one " +
			"observation.",
		Related: []string{"block", "valid/all", "interval"},
	},
	{
		Name: "trigger",
		Doc: "The moment just before a step sends its first stop signal. If a step stops no " +
			"worker, the trigger is the moment just before the step starts its first worker.",
		Related: []string{"step", "takeover", "tail"},
	},
	{
		Name: "try", Also: []string{"tries", "tries/attempt", "retry"},
		Doc: "One effort of a client to get an attempt served. An attempt has exactly one try " +
			"unless the client retries. Each later try carries its number in the request.",
		Related: []string{"tries_per_attempt", "load.retry.max", "masked", "repeated"},
	},
	{
		Name: "undecided",
		Doc: "Of a gate: the interval includes values on both sides of the bound, or too few " +
			"trials are valid. The report then estimates how many more trials would decide the " +
			"gate, where an estimate is possible.",
		Related: []string{"gate", "interval"},
	},
	{
		Name: "valid/all", Also: []string{"valid/all trials", "valid", "invalid"},
		Doc: "The number of valid trials of a variant, and the number of all its trials. A trial " +
			"is invalid if the load generator was late, if the machine paused, or if the ledger " +
			"does not balance. The report lists each invalid trial with the reason. The program " +
			"repeats invalid trials, within limits. Figures exclude invalid trials.",
		Unit:    "trials",
		Related: []string{"trial", "validity", "min_valid", "schedule lag", "residual"},
	},
	{
		Name: "variant", Also: []string{"variants"},
		Doc: "One combination of the values in a scenario's matrix. Its labels identify it, such " +
			"as sockets=reuseport stop=migrate.",
		Related: []string{"labels", "matrix", "trial"},
	},
	{
		Name: "worker", Also: []string{"workers"},
		Doc:     "One server process under test. It listens and serves.",
		Related: []string{"generation", "server.kind", "parked"},
	},
	{
		Name: "workers occupied",
		Doc:  "The share of the time in which workers were busy with a connection.",
		Unit: "share", Related: []string{"load", "capacity", "mean wait"},
	},
	{
		Name: "χ² p",
		Doc: "The probability that a random assignment would spread the connections over the " +
			"workers at least as unevenly. A value near 0 means that the spread is not due to " +
			"chance. A hash spreads connections as a random assignment does, and not in equal " +
			"shares.",
		Unit: "probability", Related: []string{"chi2_p", "hash", "Jain's index", "max/mean"},
		Source: "Pearson's chi-squared test",
	},
}
