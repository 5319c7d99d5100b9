package watch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/results"
	"reuseport-bench/servers"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/sys"
)

const (
	// maxGap is the longest time between two looks at the machine.
	maxGap = 100 * time.Millisecond
	// minGap is the shortest time between two looks.
	minGap = 20 * time.Millisecond
	// lookBefore is the time between a look and the step that follows it, so that the look does not
	// delay the step.
	lookBefore = 5 * time.Millisecond
	// lookShare limits the cost of looks: the pause after a look is at least lookShare times as
	// long as the look.
	lookShare = 100
	// maxWatched is the maximum number of processes whose scheduler statistics are read. If more
	// are alive, the run-queue delay is unknown: without the statistics of all of them, delay by
	// other workers looks the same as delay by other programs.
	maxWatched = 64
	// watchWindow is the maximum length of the part of a step's window that the machine's figures
	// cover. The cost of a step is highest soon after its trigger.
	watchWindow = 200 * time.Millisecond
)

// MachineOptions determines what a Machine watches.
type MachineOptions struct {
	Clock                *clock.Clock
	LoadCPUs, ServerCPUs []int
	Workers              func() []*servers.Worker // returns all workers so far
	Parked               func() []*servers.Worker // returns the processes that may become workers
	LoadPIDs             []int
	// Foreign means that the servers are not Workers, so their time of waiting for a CPU is
	// unknown.
	Foreign bool
	// ProxyPID is a process that serves besides the workers, or 0.
	ProxyPID int
	// Counters reads the kernel's counters of the lab. If it is nil, they are not read.
	Counters func() (kernel.Counters, error)
	// Meter adds up the cost of observing. Counters must add its own cost to it.
	Meter *Meter
}

// A Machine watches the other activity of the machine while the load runs, and this program's own.
// It takes a series of readings, close enough together that each step's window has its own figures.
type Machine struct {
	MachineOptions
	loadPeaks []int64 // resident bytes, as last read; 0: never read

	series   []reading                                // in order of time
	zero     reading                                  // the first reading, with times since boot
	scheds   map[*servers.Worker]map[int]kernel.Sched // as last read, by worker and thread number
	asleep   map[*servers.Worker]bool                 // the worker was parked when last read
	proxyRun time.Duration
	// throttled is the time for which our cgroups were throttled by CPU quotas during Watch, in ns.
	// It is nil if the kernel does not report it.
	throttled *int64
	before    *int64 // the total at Rest, since the cgroups were created
	// Each is true until a reading of its figure fails.
	hasSteal, hasPressure, hasDelay bool
}

// A reading holds the changes between the first reading and an instant.
type reading struct {
	at clock.Instant
	// steal and loadSteal are the times that the hypervisor took from the servers' and the load's
	// CPUs. The kernel counts them in ticks, usually of 10 ms.
	steal, loadSteal time.Duration
	stalled          time.Duration   // time for which some task on the machine waited for a CPU
	delayed          time.Duration   // time for which some worker waited; see foreignDelay
	harness, watch   time.Duration   // CPU time of this process since its start, and of observing
	counters         kernel.Counters // at the instant of the reading; nil: not read
}

// NewMachine prepares a Machine. Rest takes the first reading, and Watch the others.
func NewMachine(o MachineOptions) *Machine {
	return &Machine{
		MachineOptions: o, hasSteal: true, hasPressure: true, hasDelay: !o.Foreign,
		scheds: map[*servers.Worker]map[int]kernel.Sched{}, asleep: map[*servers.Worker]bool{},
		loadPeaks: make([]int64, len(o.LoadPIDs)),
	}
}

// Rest takes the first reading. Call it when every process that was started before the load is at
// rest. The CPU time that a process used before it was parked is then not counted.
func (u *Machine) Rest() error {
	if err := u.read(false); err != nil {
		return fmt.Errorf("watch the machine: %w", err)
	}
	if ns, known := kernel.Throttled(); known {
		u.before = &ns
	}
	return nil
}

// A look is a planned reading.
type look struct {
	at       time.Duration // time since the first scheduled attempt
	counters bool          // read the kernel's counters, too
}

// looks plans the looks at the machine during a load of the given duration: at its start and end,
// before each step, at the end of each step's window, and between these so that no two looks are
// more than maxGap apart.
func looks(duration time.Duration, steps []time.Duration) []look {
	wanted := []look{}
	for _, at := range steps {
		wanted = append(wanted, look{at - lookBefore, true}, look{at + watchWindow, true})
	}
	slices.SortStableFunc(wanted, func(a, b look) int { return cmp.Compare(a.at, b.at) })
	all := []look{{0, false}}
	for _, l := range wanted {
		last := &all[len(all)-1]
		switch {
		case l.at-last.at < minGap:
			last.counters = true
		case l.at <= duration-minGap:
			all = append(spread(all, l.at), l)
		}
	}
	return append(spread(all, duration), look{duration, true})
}

// spread appends evenly spaced looks to all, so that from the last look in all to until no gap
// exceeds maxGap.
func spread(all []look, until time.Duration) []look {
	last := all[len(all)-1].at
	pieces := (until - last + maxGap - 1) / maxGap
	for i := range max(0, pieces-1) {
		all = append(all, look{last + (until-last)*(i+1)/pieces, false})
	}
	return all
}

// Watch takes readings from the first scheduled attempt to the end of the load, and around each
// step. steps are the times at which the steps are due. It returns after the last reading. When ctx
// ends, it takes the last reading at once.
func (u *Machine) Watch(
	ctx context.Context, begin clock.Instant, duration time.Duration, steps []time.Duration,
) {
	u.series = u.series[:0]
	defer func() {
		if ns, known := kernel.Throttled(); known && u.before != nil {
			u.throttled = new(ns - *u.before)
		}
	}()
	counters, pause := false, begin
	plan := looks(duration, steps)
	for i, l := range plan {
		at, last := begin.Add(l.at), i == len(plan)-1
		counters = counters || l.counters
		if !last && at < pause {
			continue
		}
		stopped := u.Clock.SleepUntil(ctx, at) != nil
		began := u.Clock.Now()
		// If the reading of a figure fails, the figure is unknown from here on.
		_, _ = u.Meter.Do(func() error { return u.read(counters || stopped) })
		if stopped {
			return
		}
		counters, pause = false, began.Add((lookShare+1)*u.Clock.Now().Sub(began))
	}
}

// read appends a reading, which includes the kernel's counters if counters is true. A figure whose
// reading fails is not read again. If the kernel does not support a figure, this is not an error.
func (u *Machine) read(counters bool) error {
	r := reading{at: u.Clock.Now(), harness: sys.ProcessCPU(), watch: u.Meter.Spent()}
	var stealErr, pressureErr error
	if u.hasSteal {
		r.steal, r.loadSteal, stealErr = u.steals()
		u.hasSteal = stealErr == nil
	}
	if u.hasPressure {
		r.stalled, pressureErr = kernel.ReadPressure()
		u.hasPressure = pressureErr == nil
	}
	if len(u.series) == 0 {
		u.zero = r
	}
	r.steal -= u.zero.steal
	r.loadSteal -= u.zero.loadSteal
	r.stalled -= u.zero.stalled
	delayErr := u.readDelay(&r)
	if counters && u.Counters != nil {
		r.counters, _ = u.Counters() // if this fails, the next reading covers a longer time
	}
	for i, pid := range u.LoadPIDs {
		// A load process exits after its last sample. The peak that was last read is then kept.
		if peak, err := kernel.ReadPeak(pid); err == nil {
			u.loadPeaks[i] = peak
		}
	}
	u.series = append(u.series, r)
	for _, err := range []error{stealErr, pressureErr, delayErr} {
		if err != nil && !errors.Is(err, kernel.ErrNotSupported) {
			return err
		}
	}
	return nil
}

// steals returns the times that the hypervisor has taken from the servers' and the load's CPUs
// since boot.
func (u *Machine) steals() (servers, load time.Duration, err error) {
	each, err := kernel.ReadSteal(slices.Concat(u.ServerCPUs, u.LoadCPUs))
	for _, cpu := range u.ServerCPUs {
		servers += each[cpu]
	}
	for _, cpu := range u.LoadCPUs {
		load += each[cpu]
	}
	return servers, load, err
}

// readDelay sets the reading's delay: the delay of the previous reading, plus the time for which
// other programs have kept a worker waiting since that reading.
func (u *Machine) readDelay(r *reading) error {
	if !u.hasDelay {
		return nil
	}
	var each []kernel.Sched
	alive := 0
	for _, w := range u.Workers() {
		if used, exited := w.CPU(); exited {
			// Its running time since the last reading made other workers wait, too.
			if threads, seen := u.scheds[w]; seen {
				for _, s := range threads {
					used -= s.Run
				}
				each = append(each, kernel.Sched{Run: max(0, used)})
				delete(u.scheds, w)
			}
			continue
		}
		if alive++; alive > maxWatched {
			u.hasDelay = false
			return nil
		}
		threads, err := u.look(w)
		if err != nil {
			return err
		}
		if u.asleep[w] {
			delete(u.asleep, w)
			threads = awake(threads, r.at.Sub(u.series[len(u.series)-1].at))
		}
		each = append(each, threads...)
	}
	// A parked process sleeps, so its statistics are read only once.
	for _, w := range u.Parked() {
		parked := w.IsParked()
		if u.asleep[w] {
			continue
		}
		u.asleep[w] = parked
		threads, err := u.look(w)
		if err != nil {
			return err
		}
		each = append(each, threads...)
	}
	if u.ProxyPID != 0 {
		if s, err := kernel.Schedstat(u.ProxyPID); err == nil {
			each = append(each, kernel.Sched{Run: s.Run - u.proxyRun})
			u.proxyRun = s.Run
		}
	}
	if len(u.series) > 0 {
		last := u.series[len(u.series)-1]
		r.delayed = last.delayed + min(foreignDelay(each), r.at.Sub(last.at))
	}
	return nil
}

// look returns, for each thread of a worker, the change of its scheduler statistics since the last
// look at the worker. After an error the run-queue delay is unknown.
func (u *Machine) look(w *servers.Worker) (each []kernel.Sched, err error) {
	threads, err := kernel.ThreadSchedstats(w.PID())
	if err != nil {
		if _, exited := w.CPU(); exited || !errors.Is(err, kernel.ErrNotSupported) {
			return nil, nil // the worker has just exited
		}
		u.hasDelay = false
		return nil, err
	}
	for number, s := range threads {
		before := u.scheds[w][number] // zero for a new thread
		each = append(each, kernel.Sched{Run: s.Run - before.Run, Delay: s.Delay - before.Delay})
	}
	u.scheds[w] = threads
	return each, nil
}

// awake corrects the statistics of threads that slept at the last look. since is the time since
// that look, and no thread can have waited for a CPU for longer. But if the CPUs of a sleeping
// thread are changed, the kernel (6.18) sometimes counts its sleep as waiting. A wait longer than
// since is therefore wrong, and awake sets it to 0.
func awake(threads []kernel.Sched, since time.Duration) []kernel.Sched {
	for i := range threads {
		if threads[i].Delay > since {
			threads[i].Delay = 0
		}
	}
	return threads
}

// foreignDelay returns a lower bound for the time that other programs kept some thread of the
// workers off its CPU. While a thread waits for another worker, that worker runs. So the part of a
// thread's wait that exceeds the running time of all other threads was caused by other programs. If
// the other threads ran on other CPUs, the true delay is longer.
func foreignDelay(each []kernel.Sched) time.Duration {
	var all, longest time.Duration
	for _, s := range each {
		all += s.Run
	}
	for _, s := range each {
		longest = max(longest, s.Delay-(all-s.Run))
	}
	return longest
}

// between returns the changes from one instant to another. It interpolates between readings. Before
// the first reading and after the last, nothing changes.
func (u *Machine) between(from, to clock.Instant) reading {
	a, b := u.until(from), u.until(to)
	return reading{
		at: b.at, steal: b.steal - a.steal, stalled: b.stalled - a.stalled,
		delayed: b.delayed - a.delayed,
	}
}

// until returns the changes from the first reading to an instant.
func (u *Machine) until(at clock.Instant) reading {
	compare := func(r reading, at clock.Instant) int { return cmp.Compare(r.at, at) }
	n, found := slices.BinarySearchFunc(u.series, at, compare)
	switch {
	case found || n == 0:
		return u.series[n]
	case n == len(u.series):
		return u.series[n-1]
	}
	a, b := u.series[n-1], u.series[n]
	share := float64(at-a.at) / float64(b.at-a.at)
	mix := func(x, y time.Duration) time.Duration { return x + time.Duration(share*float64(y-x)) }
	return reading{
		at: at, steal: mix(a.steal, b.steal), stalled: mix(a.stalled, b.stalled),
		delayed: mix(a.delayed, b.delayed),
	}
}

// Step fills in the machine's figures for a step's window. The figures cover the time between from
// and to, but at most watchWindow.
func (u *Machine) Step(s *results.Step, from, to clock.Instant) {
	to = min(to, from.Add(watchWindow))
	if len(u.series) == 0 || to <= from {
		return
	}
	use, window := u.between(from, to), to.Sub(from)
	s.WindowNS = known(true, int64(window))
	s.StealNS = known(u.hasSteal, int64(use.steal))
	s.Pressure = known(u.hasPressure, min(1, float64(use.stalled)/float64(window)))
	s.RunQueueDelayNS = known(u.hasDelay, int64(use.delayed))
}

// LoadPeak returns the sum of the load processes' peaks of resident memory, in bytes. It returns 0
// if the peaks are unknown.
func (u *Machine) LoadPeak() (sum int64) {
	for _, peak := range u.loadPeaks {
		sum += peak
	}
	return sum
}

// Trial fills in the machine's figures for the time that the load ran.
func (u *Machine) Trial(c *results.CPU) {
	if len(u.series) < 2 {
		return
	}
	first, last := u.series[0], u.series[len(u.series)-1]
	watched := last.at.Sub(first.at)
	c.WatchedNS = known(true, int64(watched))
	c.StealNS = known(u.hasSteal, int64(last.steal))
	c.LoadStealNS = known(u.hasSteal, int64(last.loadSteal))
	c.Pressure = known(u.hasPressure, min(1, float64(last.stalled)/float64(watched)))
	c.RunQueueDelayNS = known(u.hasDelay, int64(last.delayed))
	c.HarnessNS = known(true, int64(last.harness-first.harness))
	c.WatchNS = known(true, int64(last.watch-first.watch))
	c.ThrottledNS = u.throttled
}

// Windows returns the machine's figures between each reading and the next, or nil if there are no
// two readings. at converts an instant to a time of the trial.
func (u *Machine) Windows(at func(clock.Instant) int64) *results.MachineWindows {
	if len(u.series) < 2 {
		return nil
	}
	w := &results.MachineWindows{}
	for i, r := range u.series {
		w.EdgesNS = append(w.EdgesNS, at(r.at))
		if i == 0 {
			continue
		}
		last := u.series[i-1]
		if u.hasSteal {
			w.StealNS = append(w.StealNS, int64(r.steal-last.steal))
		}
		if u.hasDelay {
			w.RunQueueDelayNS = append(w.RunQueueDelayNS, int64(r.delayed-last.delayed))
		}
	}
	return w
}

// Counted returns the increase of the counters of full queues and of migrations from each reading
// to the next. It omits intervals in which neither changed. before are the counters at the start.
// at converts an instant to a time of the trial.
func (u *Machine) Counted(
	before kernel.Counters, at func(clock.Instant) int64,
) (all []results.Counted) {
	if len(u.series) == 0 {
		return nil
	}
	from := u.series[0].at
	for _, r := range u.series {
		if r.counters == nil {
			continue
		}
		moved := r.counters.Since(before)
		c := results.Counted{
			FromNS: at(from), ToNS: at(r.at), Overflows: moved["TcpExtListenOverflows"],
			Migrations: moved["TcpExtTCPMigrateReqSuccess"],
		}
		if c.Overflows != 0 || c.Migrations != 0 {
			all = append(all, c)
		}
		from, before = r.at, r.counters
	}
	return all
}

// known returns a pointer to v, or nil if the value is unknown.
func known[T any](is bool, v T) *T {
	if !is {
		return nil
	}
	return &v
}
