package trial

import (
	"math"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/cluster"
	"reuseport-bench/bench/internal/ledger"
	"reuseport-bench/results"
	"reuseport-bench/results/stats"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/clock"
)

// result returns the stored form of the trial: the ledger's account, and the measurements of the
// machine.
func (s *stage) result(a *ledger.Account) *results.Trial {
	r := &results.Trial{
		TimeoutNS: int64(s.variant.Timeout), Target: s.load[0].Target.String(),
		StepsLate: s.timeline.late,
		Workers:   s.workers(), Kernel: nonZero(s.seen.after.Since(s.seen.before)),
		Selector: s.selector.Result(), Memory: s.seen.memory, StartNS: int64(s.startTime),
		RoundTrip: s.roundTrip(),
	}
	a.Fill(r)
	for k := range s.timeline.steps {
		r.Steps = append(r.Steps, s.step(a, k))
	}
	r.Starts = s.starts()
	r.Trace = s.trace(a)
	if s.cluster != nil {
		r.ControlPlane = cluster.Embedded
		if s.kubernetes != nil {
			r.ControlPlane = s.kubernetes.Name()
		}
	}
	if s.proxy == nil && (s.cluster == nil || s.third != nil) {
		r.Equalities = a.Equalities(r)
	}
	s.addQueues(a, r)
	r.CPU = s.cpu(r.Workers)
	r.Threads, r.EarlyReads = s.seen.threads, int64(s.group.EarlyReads())
	r.Occupancy = s.occupancy(a, r)
	reasons := ledger.Invalid(s.variant.Validity, len(s.plan.CPUs.Servers), r)
	r.InvalidReasons = append(s.problems, reasons...)
	r.Valid = len(r.InvalidReasons) == 0
	return r
}

// recording returns all facts by which the trial was judged, or nil if they were not kept.
func (s *stage) recording(a *ledger.Account) *ledger.Recording {
	r := a.Recording()
	if r == nil {
		return nil
	}
	r.Header.Words = s.variant.Words()
	return r
}

// step returns the stored form of step k.
func (s *stage) step(a *ledger.Account, k int) results.Step {
	done := s.timeline.steps[k]
	r := a.Step(k)
	r.LateNS, r.Queued = new(int64(done.late)), done.queued
	if done.taken {
		r.BindError = unix.ErrnoName(unix.EADDRINUSE)
	}
	if done.Do.Kind().Starts && len(done.stopped) == 0 && s.command == nil {
		r.StopNS = nil // it stopped no worker
	}
	if done.Do == vocabulary.StepColdStart {
		r.ColdStart = a.ColdStart(k)
	}
	if s.cluster != nil {
		s.addPods(a, done, k, &r)
	}
	from, to := a.Window(k)
	s.machine.Step(&r, s.book.Instant(from), s.book.Instant(to))
	return r
}

// starts counts the workers that steps started, by how far their processes had been prepared. It
// returns nil if there were none.
func (s *stage) starts() *results.Starts {
	r := results.Starts{Start: s.variant.Start}
	for _, step := range s.timeline.steps {
		for _, w := range step.started {
			switch at := w.ParkedAt(); {
			case at == 0:
				r.Cold++
			case s.book.Time(at) < 0:
				r.Parked++
			default:
				r.ParkedLater++
			}
		}
	}
	if r.Parked+r.ParkedLater+r.Cold == 0 {
		return nil
	}
	return &r
}

// addPods adds to r what happened to the pods of the step, and the instants at which the endpoints
// and the rules no longer contained the last pod that the step removed. A step inside a pod removes
// none.
func (s *stage) addPods(a *ledger.Account, done *step, k int, r *results.Step) {
	if s.variant.Cluster.OnePod() {
		return
	}
	r.Endpoints = done.endpoints
	if s.variant.Cluster.Path == vocabulary.PathService {
		if dead, known := a.Dead(k); known {
			r.DeadNS = new(int64(dead))
		}
		lost, unknown := a.Predict(k)
		if r.Unpredicted = unknown; unknown == "" {
			r.PredictedLost = &lost
		}
	}
	routes := a.Routes()
	removed := slices.Concat(done.stopped, done.silenced)
	r.Pods = s.cluster.Removed(s.book, routes, removed, done.trigger)
	if n := len(r.Pods); n > 0 {
		r.EndpointsNS, r.RulesNS = r.Pods[n-1].EndpointsNS, r.Pods[n-1].RulesNS
	}
	for i, pod := range r.Pods {
		r.Pods[i].LastAcceptNS = a.LastAccept(pod.Worker).Nanoseconds()
		if pod.DeletedNS != nil && s.third == nil {
			r.Pods[i].ServedDeleted = new(a.ServedSince(pod.Worker, ledger.Time(*pod.DeletedNS)))
		}
	}
	r.Pods = append(r.Pods, s.cluster.Added(s.book, routes, done.started)...)
}

// trace returns the summary of the loss trace, or nil if there was none.
func (s *stage) trace(a *ledger.Account) *results.Trace {
	if s.losses == nil {
		return nil
	}
	r := s.losses.Result()
	if r.Unavailable == "" && s.proxy == nil {
		r.Unheard = max(0, s.seen.resetsSent-r.Resets)
	}
	r.Agreement = a.Agreement()
	return r
}

// nonZero returns the counters that have changed, and all counters in shownCounters, for which 0 is
// informative. It omits the others, of which there are hundreds.
func nonZero(moved map[string]int64) map[string]int64 {
	out := map[string]int64{}
	for name, v := range moved {
		if v != 0 || slices.Contains(shownCounters, name) {
			out[name] = v
		}
	}
	return out
}

// shownCounters are the counters that are stored even if they have not changed.
var shownCounters = []string{
	"TcpActiveOpens", "TcpPassiveOpens", "TcpOutRsts", "TcpEstabResets", "TcpAttemptFails",
	"TcpExtListenOverflows", "TcpExtListenDrops", "TcpExtTCPMigrateReqSuccess",
	"TcpExtTCPMigrateReqFailure", "TcpExtTCPTimeWaitOverflow", "TcpExtTCPAbortOnClose",
	"TcpExtTCPSynRetrans",
}

// workers returns the stored form of the workers. Their CPU time is the difference between two
// readings, one before and one after the load, so it excludes the start of the first generation and
// the end of the last.
func (s *stage) workers() []results.Worker {
	var out []results.Worker
	for _, w := range s.group.Workers() {
		life := w.Life()
		at := func(i clock.Instant) *int64 { return s.book.Maybe(i).Nanoseconds() }
		r := results.Worker{
			ID: w.ID, Generation: w.Generation, Acceptor: w.Acceptor,
			StartedNS: at(life.Started), ReadyNS: at(life.Ready), StopNS: at(life.Told),
			ClosedNS: at(life.Closed), GoneNS: at(life.Gone),
		}
		if errno := w.BindError(); errno != 0 {
			r.BindError = unix.ErrnoName(errno)
			out = append(out, r)
			continue
		}
		r.Accepted, r.Served = s.book.Count(w.ID)
		start := s.seen.atStart[w]
		end, outlived := s.seen.atEnd[w]
		if cpu, exited := w.CPU(); !outlived && exited {
			end.Run = cpu
		}
		if end.Run > 0 {
			r.CPUNS = new(int64(end.Run - start.Run))
		}
		if outlived {
			r.ContextSwitches = new(end.Timeslices - start.Timeslices)
		}
		out = append(out, r)
	}
	return out
}

// addQueues adds the accept queues and the time series to the trial, and the machine's figures to
// its windows. To each worker it adds the largest length of its queue.
func (s *stage) addQueues(a *ledger.Account, r *results.Trial) {
	at := func(i clock.Instant) int64 { return int64(s.book.Time(i)) }
	r.Windows.Machine = s.machine.Windows(at)
	series := &results.Series{
		WindowNS: int64(s.window()), Lost: a.LostOverTime(0, s.window(), maxWindows),
		Counted: s.machine.Counted(s.seen.before, at),
	}
	queues := &results.Queues{}
	add := func(worker *int, q results.ListenerQueue, longest []int64) {
		q.Worker = worker
		queues.Listeners = append(queues.Listeners, q)
		if one, waited := results.NewQueueSeries(worker, longest); waited {
			series.Queues = append(series.Queues, one)
		}
	}
	if s.proxy == nil && s.third == nil {
		queues.Source = results.QueuesComputed
		s.addComputed(a, queues, add)
	} else {
		queues.Source = results.QueuesSampled
		s.addSampled(add)
	}
	n, interval, cost := s.queues.Samples()
	queues.Samples, queues.IntervalNS, queues.CostNS = n, int64(interval), int64(cost)
	if len(queues.Listeners) == 0 {
		return // unknown
	}
	r.Queues, r.Series = queues, series
	for _, l := range queues.Listeners {
		for i := range r.Workers {
			if l.Worker != nil && r.Workers[i].ID == *l.Worker {
				r.Workers[i].QueueMax = &l.Max
			}
		}
	}
}

// addComputed adds the queues that the ledger computed from samples and journals. To each of these
// queues, it adds the lengths that s.queues sampled.
func (s *stage) addComputed(
	a *ledger.Account, queues *results.Queues, add func(*int, results.ListenerQueue, []int64),
) {
	listeners := map[int]uint64{}
	for _, w := range s.group.Workers() {
		listeners[w.ID] = w.Listener()
	}
	all, unplaced := a.Queues(ledger.EqualWindows(s.window(), maxWindows))
	queues.Unplaced = unplaced
	for _, q := range all {
		l := results.ListenerQueue{Max: q.Max, Mean: q.Mean}
		listener, worker := s.group.Listener(), (*int)(nil)
		if q.Worker >= 0 {
			listener, worker = listeners[q.Worker], &q.Worker
		}
		if sampled := s.queues.Of(listener); sampled != nil {
			l.SampledMax, l.SampledMean = &sampled.Max, &sampled.Mean
		}
		add(worker, l, q.Longest)
	}
}

// addSampled adds the queues that s.queues sampled.
func (s *stage) addSampled(add func(*int, results.ListenerQueue, []int64)) {
	added := map[uint64]bool{} // a listener that workers passed on is added for its first worker
	one := func(worker *int, listener uint64) {
		if q := s.queues.Of(listener); q != nil && !added[listener] {
			added[listener] = true
			add(worker, results.ListenerQueue{Max: q.Max, Mean: q.Mean}, q.Longest)
		}
	}
	if s.command != nil {
		for _, listener := range s.command.listeners {
			one(nil, listener)
		}
		return
	}
	one(nil, s.group.Listener())
	for _, w := range s.group.Workers() {
		one(&w.ID, w.Listener())
	}
}

// cpu returns the CPU time of the load, the servers, the proxy and the harness, and the figures
// that s.machine measured.
func (s *stage) cpu(workers []results.Worker) results.CPU {
	sum := int64(0)
	for _, w := range workers {
		if w.CPUNS != nil {
			sum += *w.CPUNS
		}
	}
	use := results.CPU{
		LoadNS: new(int64(s.seen.loadCPU)), LoadDriveNS: new(int64(s.seen.loadDriveCPU)),
		ServersNS: &sum,
	}
	if s.third != nil {
		use.ServersNS = s.third.used
	}
	if s.proxy != nil {
		use.ProxyNS = new(int64(s.seen.proxyCPU))
	}
	s.machine.Trial(&use)
	if use.HarnessNS != nil {
		rest := *use.HarnessNS - *use.WatchNS
		switch {
		case s.cluster.Real():
			use.KubernetesNS = &rest
		case s.cluster != nil:
			use.StandInNS = &rest // the parts of a cluster are goroutines of this process
		default:
			// The last step may have used CPU time after the last reading.
			use.StandInNS = new(min(rest, int64(s.timeline.used)))
		}
	}
	return use
}

// occupancy returns the time for which a connection occupied a worker, and the wait that queueing
// theory predicts from it. It returns nil unless each worker serves one connection at a time. Loop
// workers do so if every request opens a new connection.
func (s *stage) occupancy(a *ledger.Account, r *results.Trial) *results.Occupancy {
	cfg := s.servers
	if cfg.Kind != vocabulary.ServerLoop || s.load[0].Connections != vocabulary.ConnectionsNew ||
		r.ResponseNS == nil {
		return nil
	}
	sum, squares, ended := a.Occupied()
	if ended == 0 {
		return nil
	}
	mean := sum / float64(ended)
	sd := math.Sqrt(max(0, squares/float64(ended)-mean*mean))
	seconds := func(s float64) int64 { return int64(s * float64(time.Second)) }
	o := &results.Occupancy{
		MeanNS: seconds(mean), SDNS: seconds(sd),
		WaitNS: r.ResponseNS.Mean - seconds(mean) - int64(s.inTransit()),
		Load:   sum / (float64(cfg.Workers) * s.variant.Duration.Seconds()),
	}
	// The formulas assume that all workers can serve at the same time, that arrivals are
	// independent, and that it is known how the worker of a connection is selected. They do not
	// hold if there are steps, or if workers share CPUs.
	together := cfg.Work.Burn == 0 || len(s.plan.CPUs.Servers) >= cfg.Workers
	shape := s.load[0].Shape
	if shape.Pace != vocabulary.PacePoisson || len(shape.Stages) > 0 || len(s.timeline.steps) > 0 ||
		o.Load >= 1 || !together {
		return o
	}
	waits := 0.
	switch {
	case cfg.Sockets == vocabulary.SocketsShared && !cfg.Accept.Row().Passes:
		waits = stats.WaitOneQueue(cfg.Workers, o.Load, sd/mean)
	case cfg.Sockets == vocabulary.SocketsReuseport && cfg.Selection == vocabulary.SelectorHash:
		waits = stats.WaitOwnQueues(o.Load, sd/mean)
	default:
		return o
	}
	o.PredictedWaitNS = new(seconds(waits * mean))
	return o
}
