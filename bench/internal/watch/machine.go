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
	// lookEvery is how far apart two looks at the machine are at most.
	lookEvery = 100 * time.Millisecond
	// lookBefore is how long before a step the machine is looked at, so that the look does not
	// delay it.
	lookBefore = 5 * time.Millisecond
	// lookApart is how far apart two looks are at least.
	lookApart = 20 * time.Millisecond
	// lookShare bounds what looking costs: a look that took long is followed by a pause this many
	// times as long.
	lookShare = 100
	// maxWatched bounds the processes whose scheduler statistics are read. With more of them alive
	// the run-queue delay is not known: a part of them cannot tell a neighbour from the rest.
	maxWatched = 64
	// watchWindow bounds the part of a step's window that the machine is held to: what a step
	// costs, it costs soon.
	watchWindow = 200 * time.Millisecond
)

// MachineOptions say what a Machine watches.
type MachineOptions struct {
	Clock                *clock.Clock
	LoadCPUs, ServerCPUs []int
	Workers              func() []*servers.Worker // all there have been so far
	Parked               func() []*servers.Worker // processes that may become workers
	LoadPIDs             []int
	// ProxyPID is the process that belongs to the servers besides the workers; 0: there is none.
	ProxyPID int
	// Counters reads the kernel's counters of the lab. Nil: they are not to be read.
	Counters func() (kernel.Counters, error)
	// Meter adds up what observing costs; Counters must count itself.
	Meter *Meter
}

// A Machine watches what else the machine does while the load runs, and what this program does: a
// short series of readings, so that each step's window has its own figures.
type Machine struct {
	MachineOptions
	loadPeaks []int64 // resident bytes, as last read; 0: could not be

	series   []reading                                // one at the start, one at the end, and those between
	zero     reading                                  // as the kernel counts: since boot
	scheds   map[*servers.Worker]map[int]kernel.Sched // as last read, by worker and thread
	asleep   map[*servers.Worker]bool                 // was parked when it was last read
	proxyRun time.Duration
	// throttled is for how long the cgroups stopped everything while it watched, in ns; nil: they
	// do not say.
	throttled *int64
	before    *int64 // that figure when it came to rest
	// What the kernel says; false from the first reading on that failed.
	hasSteal, hasPressure, hasDelay bool
}

// reading is what had happened between the start and an instant.
type reading struct {
	at               clock.Instant
	steal, loadSteal time.Duration   // taken from the servers' and the load's CPUs; in ticks of usually 10 ms
	stalled          time.Duration   // some task on the machine was waiting for a CPU
	delayed          time.Duration   // some worker was, see foreignDelay
	harness, watch   time.Duration   // this process used of the CPUs, and of that its observers
	counters         kernel.Counters // as they were then; nil: not read
}

// NewMachine prepares a Machine. Rest takes the first reading, and Watch the others.
func NewMachine(o MachineOptions) *Machine {
	return &Machine{
		MachineOptions: o, hasSteal: true, hasPressure: true, hasDelay: true,
		scheds: map[*servers.Worker]map[int]kernel.Sched{}, asleep: map[*servers.Worker]bool{},
		loadPeaks: make([]int64, len(o.LoadPIDs)),
	}
}

// Rest takes the first reading. The caller calls it when every process started before the load is
// at rest, so that what a process did before it was parked does not count.
func (u *Machine) Rest() error {
	if err := u.read(false); err != nil {
		return fmt.Errorf("what else the machine does: %w", err)
	}
	if ns, known := kernel.Throttled(); known {
		u.before = &ns
	}
	return nil
}

// A look is a reading that is to be taken.
type look struct {
	at       time.Duration // from the first scheduled attempt
	counters bool          // the kernel's counters are read, too
}

// looks returns when the machine is looked at while a load of that duration runs: at its start and
// end, before each step, at the end of each step's window, and otherwise as rarely as lookEvery.
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
		case l.at-last.at < lookApart:
			last.counters = true
		case l.at <= duration-lookApart:
			all = append(spread(all, l.at), l)
		}
	}
	return append(spread(all, duration), look{duration, true})
}

// spread adds what it takes to look every lookEvery between the last of all and an instant.
func spread(all []look, until time.Duration) []look {
	last := all[len(all)-1].at
	pieces := (until - last + lookEvery - 1) / lookEvery
	for i := range max(0, pieces-1) {
		all = append(all, look{last + (until-last)*(i+1)/pieces, false})
	}
	return all
}

// Watch reads from the first scheduled attempt to the end of the load, and around steps that are
// due at those times. It returns when the last reading is taken, which the end of the context
// brings forward.
func (u *Machine) Watch(ctx context.Context, begin clock.Instant, duration time.Duration, steps []time.Duration) {
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
		// What could not be read is not known from there on.
		_, _ = u.Meter.Do(func() error { return u.read(counters || stopped) })
		if stopped {
			return
		}
		counters, pause = false, began.Add((lookShare+1)*u.Clock.Now().Sub(began))
	}
}

// read appends a reading, of the kernel's counters too or not. What the kernel does not offer is no
// error; any error ends that figure.
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
		r.counters, _ = u.Counters() // without, the next reading tells more
	}
	for i, pid := range u.LoadPIDs {
		if peak, err := kernel.ReadPeak(pid); err == nil { // it exits when it has sent its last sample
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

// steals returns what the hypervisor has taken from the servers' and the load's CPUs since boot.
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

// readDelay adds to the reading for how long other programs kept a worker waiting since the last
// one.
func (u *Machine) readDelay(r *reading) error {
	if !u.hasDelay {
		return nil
	}
	var each []kernel.Sched
	alive := 0
	for _, w := range u.Workers() {
		if used, exited := w.CPU(); exited {
			// What it ran since it was last looked at kept the others waiting all the same.
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
	// A process that is parked sleeps: what it did until then is read once.
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

// look returns what the scheduler did with each of a worker's threads since it was last looked at.
// An error ends the run-queue delay.
func (u *Machine) look(w *servers.Worker) (each []kernel.Sched, err error) {
	threads, err := kernel.ThreadSchedstats(w.PID())
	if err != nil {
		if _, exited := w.CPU(); exited || !errors.Is(err, kernel.ErrNotSupported) {
			return nil, nil // it has just ended
		}
		u.hasDelay = false
		return nil, err
	}
	for number, s := range threads {
		before := u.scheds[w][number] // of one that has come since: nothing
		each = append(each, kernel.Sched{Run: s.Run - before.Run, Delay: s.Delay - before.Delay})
	}
	u.scheds[w] = threads
	return each, nil
}

// awake returns what threads did since they were looked at last, that long ago, when they slept.
// None can have waited for a CPU for longer than that, but the kernel (6.18) now and then counts
// the sleep of a thread whose CPUs were changed meanwhile as such a wait: then how long it waited
// is not known, and taken for nothing.
func awake(threads []kernel.Sched, since time.Duration) []kernel.Sched {
	for i := range threads {
		if threads[i].Delay > since {
			threads[i].Delay = 0
		}
	}
	return threads
}

// foreignDelay returns for how long at least one of the workers' threads was kept off its CPU by
// something that is no worker. While a thread waits for another worker, that one runs; so what is
// left of its wait without all the others' running time must have been a stranger's. On several
// CPUs the others may have run elsewhere, and it was longer.
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

// between returns what happened from one instant to another; between two readings it is taken to
// have happened evenly. An instant before the first reading or after the last stands for that one.
func (u *Machine) between(from, to clock.Instant) reading {
	a, b := u.until(from), u.until(to)
	return reading{at: b.at, steal: b.steal - a.steal, stalled: b.stalled - a.stalled, delayed: b.delayed - a.delayed}
}

func (u *Machine) until(at clock.Instant) reading {
	n, found := slices.BinarySearchFunc(u.series, at, func(r reading, at clock.Instant) int { return cmp.Compare(r.at, at) })
	switch {
	case found || n == 0:
		return u.series[n]
	case n == len(u.series):
		return u.series[n-1]
	}
	a, b := u.series[n-1], u.series[n]
	share := float64(at-a.at) / float64(b.at-a.at)
	mix := func(x, y time.Duration) time.Duration { return x + time.Duration(share*float64(y-x)) }
	return reading{at: at, steal: mix(a.steal, b.steal), stalled: mix(a.stalled, b.stalled), delayed: mix(a.delayed, b.delayed)}
}

// Step fills in what the machine did in a step's window, which ends at the next trigger, the end of
// the schedule, or when the step is old.
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

// LoadPeak returns the sum of the load processes' peaks of resident memory, in bytes; 0: not known.
func (u *Machine) LoadPeak() (sum int64) {
	for _, peak := range u.loadPeaks {
		sum += peak
	}
	return sum
}

// Trial fills in what the machine did while the load ran.
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

// Counted returns where the counters of full queues and of migrations moved, from one reading to
// the next. before is what they were at the start; at places an instant in the trial.
func (u *Machine) Counted(before kernel.Counters, at func(clock.Instant) int64) (all []results.Counted) {
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

// known returns a pointer to v, or nil where it is not known.
func known[T any](is bool, v T) *T {
	if !is {
		return nil
	}
	return &v
}
