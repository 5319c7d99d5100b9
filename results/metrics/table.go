package metrics

import (
	"reuseport-bench/results"
	"reuseport-bench/results/unit"
)

// Shorter names for the columns of registry.
const (
	ratio      = results.ScaleRatio
	difference = results.ScaleDifference
)

// registry has one row per metric, in the order of benchstat's tables and of comparisons.
var registry = []Metric{
	{
		Name: HighestRate,
		Doc: "the highest rate of a search at which nothing was dropped and p99 stayed within " +
			"its limit",
		Unit: unit.PerSecond, Loop: OpenLoop, Better: Higher, Scale: ratio, Threshold: 0.05,
		Bench: "highest-rate/s", Pool: highestRate,
	},

	found(LeastDuration, least, unit.Nanoseconds),
	found(LeastNumber, least, unit.None),
	found(GreatestDuration, greatest, unit.Nanoseconds),
	found(GreatestNumber, greatest, unit.None),
	{
		Name: DroppedPerRestart,
		Doc:  "attempts lost per restart, without the load's own failures",
		Unit: unit.PerRestart, Better: Lower, Scale: difference, Threshold: 0.05, Needs: Restarts,
		OverRestarts: true, Bench: "dropped/restart",
		Tally: perRestart((*results.Trial).StepDropped),
	},
	{
		Name: DropWindow,
		Doc: "dropped_per_restart divided by the offered rate: the time in which as many " +
			"connections arrive as a restart drops",
		Unit: unit.Nanoseconds, Loop: OpenLoop, Needs: Restarts, OverRestarts: true,
	},
	{
		Name: DroppedPerAttempt,
		Doc:  "share of all attempts that were lost, without the load's own failures",
		Unit: unit.PerAttempt, Most: 1, Better: Lower, Scale: difference, Threshold: 1e-4,
		Bench: "dropped/attempt", Tally: droppedPerAttempt,
	},
	{
		Name: LostPerRestart,
		Doc:  "attempts lost per restart, with the load's own failures",
		Unit: unit.PerRestart, Better: Lower, Scale: difference, Threshold: 0.05, Needs: Restarts,
		OverRestarts: true, Bench: "lost/restart", Tally: perRestart(stepLost),
	},
	{
		Name: LossWindow,
		Doc: "lost_per_restart divided by the offered rate: the time in which as many " +
			"connections arrive as a restart loses",
		Unit: unit.Nanoseconds, Loop: OpenLoop, Needs: Restarts, OverRestarts: true,
	},
	{
		Name: LostPerAttempt,
		Doc:  "share of all attempts that were lost, with the load's own failures",
		Unit: unit.PerAttempt, Most: 1, Better: Lower, Scale: difference, Threshold: 1e-4,
		Bench: "lost/attempt", Tally: lostPerAttempt,
	},
	{
		Name: ResetAtClosePer,
		Doc: "attempts lost per restart because a closed listener reset the connections in its " +
			"queue",
		Unit: unit.PerRestart, Better: Lower, Scale: difference, Threshold: 0.05, Needs: Restarts,
		OverRestarts: true, Tally: resetAtClosePerRestart,
	},
	{
		Name: SentAfterClose,
		Doc:  "total of lost attempts that were sent after the last old listener had been closed",
		Unit: unit.Count, Needs: Ends, OverRestarts: true,
	},
	{
		Name: SentAfterClosePer,
		Doc:  "lost_sent_after_close per restart",
		Unit: unit.PerRestart, Needs: Restarts, OverRestarts: true,
	},
	{
		Name: HalfOpenLost,
		Doc:  "share of the delayed handshakes that were lost",
		Unit: unit.Share, Most: 1, Better: Lower, Scale: difference, Threshold: 0.01, Needs: Ends,
		Bench: "half-open-lost/held", Pool: halfOpenLost,
	},

	// Of several steps, the largest value counts, because users notice a single bad switchover.
	{
		Name: Gap,
		Doc: "the longest time in which nothing was served and a step dropped at least one " +
			"attempt",
		Unit: unit.Nanoseconds, Loop: OpenLoop, Better: Lower, Scale: difference, Threshold: 1e6,
		Needs: Steps, Bench: "gap-sec",
		Pool: largest(func(s *results.Step) *int64 { return s.GapNS }),
	},
	{
		Name: Outage,
		Doc: "the time from the first to the last attempt dropped because of a step, plus the " +
			"time between two attempts",
		Unit: unit.Nanoseconds, Loop: OpenLoop, Better: Lower, Scale: difference, Threshold: 1e6,
		Needs: Steps, Bench: "outage-sec",
		Pool: largest(func(s *results.Step) *int64 { return s.OutageNS }),
	},
	{
		Name: Resolution,
		Doc:  "the time between two attempts at a step; gap and outage are multiples of it",
		Unit: unit.Nanoseconds, Loop: OpenLoop, Needs: Steps,
		Pool: largest(func(s *results.Step) *int64 { return s.ResolutionNS }),
	},
	{
		Name: DroppedPerStep,
		Doc:  "attempts dropped per step that removes pods of a Service",
		Unit: unit.PerStep, Better: Lower, Scale: difference, Threshold: 1, Needs: Steps,
		Bench: "dropped/step", Pool: droppedPerStep,
	},
	{
		Name: LostPerStep,
		Doc:  "attempts lost per step that removes pods of a Service",
		Unit: unit.PerStep, Better: Lower, Scale: difference, Threshold: 1, Needs: Steps,
		Bench: "lost/step", Pool: lostPerStep,
	},
	{
		Name: PredictedLost,
		Doc: "predicted loss of a step that removes pods of a Service: offered rate × time in " +
			"which rules led to pods where no process listened",
		Unit: unit.PerStep, Loop: OpenLoop, Needs: Steps, Pool: predictedLost,
	},
	{
		Name: LostShare,
		Doc:  "share of the attempts in the longest outage that were dropped",
		Unit: unit.Share, Loop: OpenLoop, Most: 1, Needs: Steps,
		Bench: "lost-share", Pool: lostShare,
	},
	{
		Name: StaleRules,
		Doc: "behind a Service, the time from a listener's close until no rule sends " +
			"connections to it",
		Unit: unit.Nanoseconds, Better: Lower, Scale: ratio, Threshold: 0.1, Needs: Steps,
		Bench: "stale-rules-sec", Pool: medianLag(func(l *podLags) []float64 { return l.stale }),
	},
	{
		Name: EndpointsLag,
		Doc: "the time from a pod's deletion until its Service's endpoints no longer include " +
			"the pod",
		Unit: unit.Nanoseconds, Signed: true,
		Better: Lower, Scale: ratio, Threshold: 0.1, Needs: Steps,
		Bench: "endpoints-lag-sec",
		Pool:  medianLag(func(l *podLags) []float64 { return l.endpoints }),
	},
	{
		Name: RulesLag,
		Doc:  "the time from a change of endpoints until the rules of the clients' node follow",
		Unit: unit.Nanoseconds, Signed: true,
		Better: Lower, Scale: ratio, Threshold: 0.1, Needs: Steps,
		Bench: "rules-lag-sec", Pool: medianLag(func(l *podLags) []float64 { return l.rules }),
	},
	{
		Name: Unrouted,
		Doc: "the longest time from a pod's deletion until no rule of the clients' node sends " +
			"connections to it: the least preStop delay that outlasts all rules",
		Unit: unit.Nanoseconds, Needs: Steps,
		Bench: "unrouted-after-sec", Pool: unroutedAfter,
	},
	{
		Name: ServedDeleted,
		Doc: "attempts per deleted pod that the pod served, of those that were sent after its " +
			"deletion had begun",
		Unit: unit.Count, Needs: Steps,
		Bench: "served-while-terminating", Pool: servedDeleted,
	},
	{
		Name: TermFirst,
		Doc:  "share of the deleted pods that got SIGTERM before the endpoints had changed",
		Unit: unit.Share, Most: 1, Needs: Steps, Bench: "sigterm-first-share", Pool: termFirst,
	},
	{
		Name: PodReady,
		Doc: "the time from when a new pod listens until it is ready; negative if it was ready " +
			"before it listened",
		Unit: unit.Nanoseconds, Signed: true,
		Better: Lower, Scale: difference, Threshold: 1e6, Needs: Steps,
		Bench: "pod-ready-sec", Pool: medianLag(func(l *podLags) []float64 { return l.ready }),
	},
	{
		Name: PodRouted,
		Doc:  "the time from when a new pod listens until connections are sent to it",
		Unit: unit.Nanoseconds, Signed: true,
		Better: Lower, Scale: difference, Threshold: 1e6, Needs: Steps,
		Bench: "pod-routed-sec", Pool: medianLag(func(l *podLags) []float64 { return l.routed }),
	},
	{
		Name: Stall,
		Doc:  "the longest response time of a served attempt at a step",
		Unit: unit.Nanoseconds, Better: Lower, Scale: ratio, Threshold: 0.25, Needs: Steps,
		Bench: "stall-sec", Pool: largest(func(s *results.Step) *int64 { return s.StallNS }),
	},
	// Of several steps, the median counts, because these metrics describe the kind of switchover,
	// not an accident.
	{
		Name: ReadyAfter,
		Doc: "the time from the start of a step until the last worker that it started was " +
			"ready, for steps that stop no worker before that",
		Unit: unit.Nanoseconds, Better: Lower, Scale: difference, Threshold: 1e6, Needs: Starts,
		Bench: "ready-after-sec",
		Pool:  medianStep((*results.Step).ReadyAfterNS),
	},
	{
		Name: Takeover,
		Doc: "the time from the stop signal to the first response of a worker that the step " +
			"started",
		Unit: unit.Nanoseconds, Better: Lower, Scale: difference, Threshold: 1e6, Needs: Starts,
		Bench: "takeover-sec",
		Pool:  medianStep(func(s *results.Step) *int64 { return s.TakeoverNS }),
	},
	{
		Name: Tail,
		Doc:  "the time from the stop signal to the last connection that a stopped worker accepted",
		Unit: unit.Nanoseconds, Better: Lower, Scale: difference, Threshold: 1e6, Needs: Ends,
		Bench: "tail-sec", Pool: medianStep(func(s *results.Step) *int64 { return s.TailNS }),
	},

	// How connections were shared: in trials of a cluster without steps, or with workers that could
	// not bind their address.
	{
		Name: Listening,
		Doc:  "workers that could bind their address",
		Unit: unit.Count, Bench: "listening-workers",
		Pool: shared(func(s sharing) float64 { return float64(s.listening) }),
	},
	{
		Name: Serving,
		Doc:  "workers that listened and got at least one connection",
		Unit: unit.Count, Bench: "serving-workers",
		Pool: shared(func(s sharing) float64 { return float64(s.serving) }),
	},
	{
		Name: ShareMax,
		Doc:  "the largest share of the connections that one worker got",
		Unit: unit.Share, Most: 1, Bench: "largest-share",
		Pool: shared(func(s sharing) float64 { return float64(s.most) / float64(s.accepted) }),
	},
	{
		Name: ShareMin,
		Doc:  "the smallest share of the connections that one worker got",
		Unit: unit.Share, Most: 1, Bench: "smallest-share",
		Pool: shared(func(s sharing) float64 { return float64(s.least) / float64(s.accepted) }),
	},

	// These metrics describe the last of several cold starts.
	{
		Name: FirstServed,
		Doc:  "the time from when a cold worker is ready to its first response",
		Unit: unit.Nanoseconds, Better: Lower, Scale: ratio, Threshold: 0.1, Needs: ColdStart,
		Bench: "first-served-sec",
		Pool:  lastColdNS(func(c *results.ColdStart) *int64 { return c.FirstServedNS }),
	},
	{
		Name: FairShare,
		Doc:  "the time from when a cold worker is ready until it has served a fair share",
		Unit: unit.Nanoseconds, Better: Lower, Scale: ratio, Threshold: 0.1, Needs: ColdStart,
		Bench: "fair-share-sec",
		Pool:  lastColdNS(func(c *results.ColdStart) *int64 { return c.FairShareNS }),
	},
	{
		Name: NewcomerShare,
		Doc: "share of the attempts served by a cold worker, of all attempts served until it " +
			"was warm",
		Unit: unit.Share, Most: 1, Needs: ColdStart, Bench: "newcomer-share",
		Pool: lastCold(func(c *results.ColdStart) (float64, bool) { return c.Share, true }),
	},
	{
		Name: NewcomerP50,
		Doc:  "median response time of a cold worker",
		Unit: unit.Nanoseconds, Better: Lower, Scale: ratio, Threshold: 0.1, Needs: ColdStart,
		Bench: "newcomer-p50-sec",
		Pool:  lastColdNS(func(c *results.ColdStart) *int64 { return p50(c.NewcomerNS) }),
	},
	{
		Name: NewcomerP99,
		Doc:  "99th percentile of a cold worker's response time",
		Unit: unit.Nanoseconds, Better: Lower, Scale: ratio, Threshold: 0.1, Needs: ColdStart,
		Bench: "newcomer-p99-sec",
		Pool:  lastColdNS(func(c *results.ColdStart) *int64 { return p99(c.NewcomerNS) }),
	},
	{
		Name: OthersP99,
		Doc:  "99th percentile of the other workers' response time until the cold worker was warm",
		Unit: unit.Nanoseconds, Better: Lower, Scale: ratio, Threshold: 0.1, Needs: ColdStart,
		Bench: "others-p99-sec",
		Pool:  lastColdNS(func(c *results.ColdStart) *int64 { return p99(c.OthersNS) }),
	},

	{
		Name: ResponseP50,
		Doc: "median response time of served attempts, from when they were due; in a closed " +
			"loop, from when they were sent",
		Unit: unit.Nanoseconds, Better: Lower, Scale: ratio, Threshold: 0.05,
		Bench: "response-p50-sec", Pool: pooled(response, p50),
	},
	{
		Name: "response_p90_ns",
		Doc:  "90th percentile of the response time",
		Unit: unit.Nanoseconds, Better: Lower, Scale: ratio, Threshold: 0.05,
		Pool: pooled(response, p90),
	},
	{
		Name: ResponseP99,
		Doc:  "99th percentile of the response time",
		Unit: unit.Nanoseconds, Better: Lower, Scale: ratio, Threshold: 0.1,
		Bench: "response-p99-sec", Pool: pooled(response, p99),
	},
	{
		Name: ResponseP999,
		Doc:  "99.9th percentile of the response time",
		Unit: unit.Nanoseconds, Better: Lower, Scale: ratio, Threshold: 0.2,
		Bench: "response-p999-sec", Pool: pooled(response, p999),
	},
	{
		Name: ResponseMax,
		Doc:  "the longest response time",
		Unit: unit.Nanoseconds, Better: Lower, Scale: ratio, Threshold: 0.25,
		Bench: "response-max-sec", Pool: pooled(response, longest),
	},
	{
		Name: ResponseMean,
		Doc:  "mean response time",
		Unit: unit.Nanoseconds, Better: Lower, Scale: ratio, Threshold: 0.05,
		Pool: pooled(response, mean),
	},
	{
		Name: ResponseSD,
		Doc:  "standard deviation of the response time",
		Unit: unit.Nanoseconds, Better: Lower, Scale: ratio, Threshold: 0.2,
		Bench: "response-sd-sec", Pool: pooled(response, deviation),
	},
	{
		Name: "service_p50_ns",
		Doc:  "median service time of served attempts, from when they were sent",
		Unit: unit.Nanoseconds, Better: Lower, Scale: ratio, Threshold: 0.05,
		Pool: pooled(service, p50),
	},
	{
		Name: "service_p90_ns",
		Doc:  "90th percentile of the service time",
		Unit: unit.Nanoseconds, Better: Lower, Scale: ratio, Threshold: 0.05,
		Pool: pooled(service, p90),
	},
	{
		Name: "service_p99_ns",
		Doc:  "99th percentile of the service time",
		Unit: unit.Nanoseconds, Better: Lower, Scale: ratio, Threshold: 0.1,
		Pool: pooled(service, p99),
	},
	{
		Name: "service_p999_ns",
		Doc:  "99.9th percentile of the service time",
		Unit: unit.Nanoseconds, Better: Lower, Scale: ratio, Threshold: 0.2,
		Pool: pooled(service, p999),
	},
	{
		Name: "service_max_ns",
		Doc:  "the longest service time",
		Unit: unit.Nanoseconds, Better: Lower, Scale: ratio, Threshold: 0.25,
		Pool: pooled(service, longest),
	},
	{
		Name: "service_mean_ns",
		Doc:  "mean service time",
		Unit: unit.Nanoseconds, Better: Lower, Scale: ratio, Threshold: 0.05,
		Pool: pooled(service, mean),
	},
	{
		Name: "service_sd_ns",
		Doc:  "standard deviation of the service time",
		Unit: unit.Nanoseconds, Better: Lower, Scale: ratio, Threshold: 0.2,
		Pool: pooled(service, deviation),
	},

	{
		Name: "connect_p50_ns",
		Doc: "median time from when an attempt was sent until it was connected and its request " +
			"had been passed to the kernel, for served attempts that opened a connection",
		Unit: unit.Nanoseconds, Better: Lower, Scale: ratio, Threshold: 0.05,
		Pool: pooled(connect, p50),
	},
	{
		Name: "connect_p90_ns",
		Doc:  "90th percentile of the time to connect",
		Unit: unit.Nanoseconds, Better: Lower, Scale: ratio, Threshold: 0.05,
		Pool: pooled(connect, p90),
	},
	{
		Name: "connect_p99_ns",
		Doc:  "99th percentile of the time to connect",
		Unit: unit.Nanoseconds, Better: Lower, Scale: ratio, Threshold: 0.1,
		Pool: pooled(connect, p99),
	},
	{
		Name: "first_byte_p50_ns",
		Doc:  "median time from when a served attempt was sent to the first byte of its response",
		Unit: unit.Nanoseconds, Better: Lower, Scale: ratio, Threshold: 0.05,
		Pool: pooled(firstByte, p50),
	},
	{
		Name: "first_byte_p90_ns",
		Doc:  "90th percentile of the time to the first byte",
		Unit: unit.Nanoseconds, Better: Lower, Scale: ratio, Threshold: 0.05,
		Pool: pooled(firstByte, p90),
	},
	{
		Name: "first_byte_p99_ns",
		Doc:  "99th percentile of the time to the first byte",
		Unit: unit.Nanoseconds, Better: Lower, Scale: ratio, Threshold: 0.1,
		Pool: pooled(firstByte, p99),
	},

	{
		Name: Wait,
		Doc: "the mean wait for a worker: the mean response time minus the time for which a " +
			"connection occupies a worker",
		Unit: unit.Nanoseconds, Signed: true, Better: Lower, Scale: ratio, Threshold: 0.1,
		Bench: "wait-mean-sec", Pool: meanWait,
	},
	{
		Name: PredictedWait,
		Doc:  "the mean wait that queueing theory predicts",
		Unit: unit.Nanoseconds, Loop: OpenLoop, Pool: predictedWait,
	},

	// These metrics exist if a relay adds a round trip.
	{
		Name: RoundTrip,
		Doc: "the round trip that a relay added in both directions: the time that the scenario " +
			"asked for, plus the mean time for which the relay held packets longer and waited " +
			"for its CPU",
		Unit: unit.Nanoseconds, Pool: relayed(roundTrip),
	},
	{
		Name: RelayExcess,
		Doc:  "99th percentile of the time for which a relay held packets longer than asked",
		Unit: unit.Nanoseconds, Pool: relayed(relayExcess),
	},
	{
		Name: RelayWait,
		Doc:  "mean time for which a relay waited for its CPU each time it was woken",
		Unit: unit.Nanoseconds, Pool: relayed(relayWait),
	},
	{
		Name: RelayPackets,
		Doc:  "packets that a relay passed on per attempt",
		Unit: unit.PerAttempt, Pool: relayed(relayPackets),
	},
	{
		Name: RelayShare,
		Doc:  "CPU time of a relay during the load, as a share of one CPU",
		Unit: unit.Share, Pool: relayed(relayShare),
	},

	// These metrics exist if clients retry.
	{
		Name: Tries,
		Doc:  "tries per attempt; 1 if nothing was retried",
		Unit: unit.PerAttempt, Better: Lower, Scale: ratio, Threshold: 0.01,
		Bench: "tries/attempt",
		Pool:  retried(func(r *results.Retries) (int64, bool) { return r.Tries, true }),
	},
	{
		Name: Masked,
		Doc:  "share of all attempts that were served only after a failed try",
		Unit: unit.PerAttempt, Most: 1, Bench: "masked/attempt",
		Pool: retried(func(r *results.Retries) (int64, bool) { return r.Masked, true }),
	},
	{
		Name: Repeated,
		Doc:  "share of all attempts whose request a server read more than once",
		Unit: unit.PerAttempt, Most: 1, Better: Lower, Scale: difference, Threshold: 1e-4,
		Bench: "repeated/attempt",
		Pool:  retried(func(r *results.Retries) (int64, bool) { return r.Repeated, true }),
	},
	{
		Name: HandledTwice,
		Doc:  "share of all attempts whose request was given to a handler more than once",
		Unit: unit.PerAttempt, Most: 1, Better: Lower, Scale: difference, Threshold: 1e-4,
		Bench: "handled-twice/attempt",
		Pool:  retried((*results.Retries).HandledTwice),
	},
	{
		Name: MaskedP50,
		Doc:  "median response time of the masked attempts",
		Unit: unit.Nanoseconds, Better: Lower, Scale: ratio, Threshold: 0.1,
		Bench: "masked-p50-sec", Pool: pooled(masked, p50),
	},
	{
		Name: MaskedP99,
		Doc:  "99th percentile of the masked attempts' response time",
		Unit: unit.Nanoseconds, Better: Lower, Scale: ratio, Threshold: 0.1,
		Bench: "masked-p99-sec", Pool: pooled(masked, p99),
	},

	// These metrics describe the generation that listened longest.
	{
		Name: Jain,
		Doc:  "Jain's index of the connections per worker, 1/n to 1",
		Unit: unit.None, Most: 1, Better: Higher, Scale: difference, Threshold: 0.02, Bench: "jain",
		Pool: fairness(func(f *results.Fairness) float64 { return f.Jain }),
	},
	{
		Name: MaxOverMean,
		Doc: "connections of the worker with the most of them, divided by the mean over " +
			"workers, 1 to n",
		Unit: unit.None, Better: Lower, Scale: ratio, Threshold: 0.05, Bench: "max/mean",
		Pool: fairness(func(f *results.Fairness) float64 { return f.MaxOverMean }),
	},
	{
		Name: Chi2P,
		Doc:  "p value of Pearson's χ² test against equal shares of the connections",
		Unit: unit.Probability, Most: 1,
		Pool: fairness(func(f *results.Fairness) float64 { return f.Chi2P }),
	},
	{
		Name: TopShare,
		Doc:  "the largest share of the connections that one worker got, 1/n to 1",
		Unit: unit.Share, Most: 1, Pool: connectionsTopShare,
	},
	{
		Name: RequestsJain,
		Doc:  "Jain's index of the requests answered per worker, 1/n to 1",
		Unit: unit.None, Most: 1, Pool: spread(requests, jain),
	},
	{
		Name: RequestsMaxOverMean,
		Doc: "requests answered by the worker with the most of them, divided by the mean over " +
			"workers, 1 to n",
		Unit: unit.None, Better: Lower, Scale: ratio, Threshold: 0.05,
		Bench: "requests-max/mean", Pool: spread(requests, maxOverMean),
	},
	{
		Name: RequestsTopShare,
		Doc:  "the largest share of the requests that one worker answered, 1/n to 1",
		Unit: unit.Share, Most: 1, Pool: spread(requests, topShare),
	},
	{
		Name: BusyJain,
		Doc:  "Jain's index of the time that workers spent on requests, 1/n to 1",
		Unit: unit.None, Most: 1, Pool: spread(busyTime, jain),
	},
	{
		Name: BusyMaxOverMean,
		Doc: "time spent on requests by the busiest worker, divided by the mean over workers, " +
			"1 to n",
		Unit: unit.None, Better: Lower, Scale: ratio, Threshold: 0.05,
		Bench: "busy-time-max/mean", Pool: spread(busyTime, maxOverMean),
	},
	{
		Name: QueueMax,
		Doc:  "the largest number of connections in one accept queue",
		Unit: unit.Count, Better: Lower, Scale: difference, Threshold: 1, Bench: "queue-max",
		Pool: queueMax,
	},

	{
		Name: LoadCPUPerAttempt,
		Doc:  "CPU time of the load per attempt",
		Unit: unit.Nanoseconds, Better: Lower, Scale: ratio, Threshold: 0.05,
		Pool: cpuPerAttempt(func(c *results.CPU) *int64 { return c.LoadNS }),
	},
	{
		Name: ServersCPUPerAttempt,
		Doc:  "CPU time of the servers per attempt",
		Unit: unit.Nanoseconds, Better: Lower, Scale: ratio, Threshold: 0.05,
		Bench: "servers-cpu-sec/attempt",
		Pool:  cpuPerAttempt(func(c *results.CPU) *int64 { return c.ServersNS }),
	},
	{
		Name: Switches,
		Doc:  "the number of times that workers were put on a CPU, per connection",
		Unit: unit.PerConnection, Better: Lower, Scale: ratio, Threshold: 0.05,
		Bench: "context-switches/connection", Pool: switches,
	},
	{
		Name: Selection,
		Doc:  "the time of one run of a selector in eBPF",
		Unit: unit.Nanoseconds, Better: Lower, Scale: ratio, Threshold: 0.1,
		Bench: "selection-sec", Pool: selection,
	},
	{
		Name: HarnessShare,
		Doc:  "CPU time of this program itself during the load, as a share of one CPU",
		Unit: unit.Share, Pool: cpuShare(func(c *results.CPU) *int64 { return c.HarnessNS }),
	},
	{
		Name: WatchShare,
		Doc:  "the part of harness_cpu_share spent on observing",
		Unit: unit.Share, Pool: cpuShare(func(c *results.CPU) *int64 { return c.WatchNS }),
	},
	{
		Name: StandInShare,
		Doc: "the part of harness_cpu_share spent on the work of a supervisor, a control plane " +
			"or a DNS server",
		Unit: unit.Share, Pool: cpuShare(func(c *results.CPU) *int64 { return c.StandInNS }),
	},
	{
		Name: StepLate,
		Doc:  "the time between a step's earliest possible start and its real start",
		Unit: unit.Nanoseconds, Needs: Steps,
		Pool: largest(func(s *results.Step) *int64 { return s.LateNS }),
	},
	{
		Name: Load,
		Doc:  "share of the time for which workers were occupied",
		Unit: unit.Share, Bench: "occupied-share", Pool: occupied,
	},
	{
		Name: Offered,
		Doc:  "attempts per second that the schedule called for",
		Unit: unit.PerSecond, Loop: OpenLoop, Bench: "offered/s", Pool: offered,
	},
	{
		Name: Concurrency,
		Doc:  "clients of a closed loop",
		Unit: unit.Count, Loop: ClosedLoop, Bench: "clients", Pool: concurrency,
	},
	{
		Name: ServedPerSecond,
		Doc:  "attempts served per second while the clients of a closed loop were sending",
		Unit: unit.PerSecond, Loop: ClosedLoop, Better: Higher, Scale: ratio, Threshold: 0.05,
		Bench: "served/s", Pool: servedPerSecond,
	},
	{
		Name: Capacity,
		Doc: "the largest number of attempts per second that the servers answer, if the load " +
			"is a share of it",
		Unit: unit.PerSecond, Loop: OpenLoop, Bench: "capacity/s", Pool: capacity,
	},
	{
		Name: ScheduleLag,
		Doc:  "99th percentile of the delay between due and sent, over the attempts",
		Unit: unit.Nanoseconds, Loop: OpenLoop, Pool: scheduleLag,
	},
}
