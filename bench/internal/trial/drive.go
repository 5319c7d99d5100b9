package trial

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/bench/internal/watch"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers"
	"reuseport-bench/servers/clock"
)

// loadLimit is the maximum time from the timeout of the last attempt until the load processes exit.
const loadLimit = 10 * time.Second

// observe prepares the observers of the trial.
func (s *stage) observe(c *cleanup) (err error) {
	switch {
	case s.cluster != nil:
		s.losses = watch.NoLosses(
			"behind a Service workers are in networks of their own, which come and go")
	case s.variant.Trace:
		if s.losses, err = watch.StartLosses(s.lab, s.load[0].Target, s.types); err != nil {
			return err
		}
		c.add(s.losses.Stop)
	}
	if s.seen.before, err = s.counters(); err != nil {
		return err
	}
	o := watch.MachineOptions{
		Clock: s.clock, LoadCPUs: s.plan.CPUs.Load, ServerCPUs: s.plan.CPUs.Servers,
		Workers: s.group.Workers, Parked: s.group.Parked, Meter: &s.meter,
		Foreign: s.third != nil,
	}
	if s.cluster == nil { // each pod has counters of its own
		o.Counters = s.counters
	}
	if s.proxy != nil {
		o.ProxyPID = s.proxy.PID()
	}
	for _, p := range s.loads {
		o.LoadPIDs = append(o.LoadPIDs, p.PID())
	}
	s.machine = watch.NewMachine(o)
	s.seen.atStart = s.scheds()
	s.seen.relayAtStart = s.relaySched()
	if s.cluster == nil { // each pod has queues of its own
		s.queues = watch.NewQueues(watch.QueueOptions{
			Clock: s.clock, Do: s.onServers, Families: s.families(), Meter: &s.meter,
			Window: s.window(), Windows: maxWindows,
		})
		c.add(func() error { s.queues.Stop(); return nil })
		s.unaccepted = &watch.Unaccepted{
			Clock: s.clock, Do: s.onServers, Port: s.servers.Address.Port(),
			Families: s.families(), Meter: &s.meter,
		}
		s.timeline.queues, s.timeline.unaccepted = s.queues, s.unaccepted
	}
	return nil
}

// families returns the address families of the workers' listeners.
func (s *stage) families() []int {
	own := unix.AF_INET
	if s.servers.Address.Addr().Is6() {
		own = unix.AF_INET6
	}
	all := []int{own}
	if own == unix.AF_INET && slices.Contains(s.servers.ListenAt, vocabulary.ListenDual) {
		all = append(all, unix.AF_INET6)
	}
	return all
}

// A trial's time series has about usualWindows windows, each at least minWindow long, and at most
// maxWindows windows.
const (
	minWindow    = 50 * time.Millisecond
	usualWindows = 200
	maxWindows   = 2 * usualWindows
)

// window returns the length of each window of the trial's time series.
func (s *stage) window() time.Duration { return max(minWindow, s.variant.Duration/usualWindows) }

// drive runs the load and the timeline concurrently. From the first attempt to the last, this
// process runs only on the harness's CPUs. It sleeps, except when it carries out a step or takes
// one of a few readings of the machine.
func (s *stage) drive(ctx context.Context) (err error) {
	restore, err := s.prepareHarness()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, restore()) }()
	if err := s.machine.Rest(); err != nil {
		return err
	}
	begin := s.clock.Now().Add(lead)
	s.book.Start(begin)
	for _, p := range s.loads {
		if err := p.Begin(begin); err != nil {
			return err
		}
	}
	interrupted := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// If the load processes do not exit in time, the trial fails.
	limit := time.AfterFunc(s.variant.Duration+s.variant.Timeout+loadLimit, func() {
		cancel(errors.New("the load did not end in time"))
	})
	defer limit.Stop()

	steps := make(chan error, 1)
	go func() { steps <- s.timeline.run(ctx, begin) }()
	endWatch := s.watch(ctx, begin)
	loadErr := s.consume(ctx)
	limit.Stop()
	if loadErr != nil {
		cancel(loadErr)
	}
	if err := <-steps; err != nil && loadErr == nil {
		s.problem("%v", err)
	}
	for _, w := range s.group.Workers() {
		s.timeline.used += w.Reaping() // a real supervisor reaps its workers, too
	}
	endWatch()
	if loadErr != nil {
		return loadErr
	}
	if interrupted.Err() != nil { // a step may have been cut off, so its cost is unknown
		return context.Cause(interrupted)
	}
	return nil
}

// watch starts the observers, and returns a function that stops them.
func (s *stage) watch(ctx context.Context, begin clock.Instant) (end func()) {
	if s.variant.SampleQueues {
		s.queues.Sample(begin)
	}
	var steps []time.Duration
	for _, step := range s.variant.Steps {
		steps = append(steps, step.At)
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.machine.Watch(ctx, begin, s.variant.Duration, steps)
	}()
	return func() {
		cancel()
		<-done
		s.queues.Stop()
	}
}

// consume reads samples from all load processes until EOF, and waits until the processes exit.
func (s *stage) consume(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		for _, p := range s.loads {
			p.Interrupt()
		}
	})
	defer stop()
	errs := make([]error, len(s.loads))
	cpus := make([]time.Duration, len(s.loads))
	var wait sync.WaitGroup
	for i, p := range s.loads {
		wait.Go(func() {
			err := p.Samples(s.book.Sample)
			var waitErr error
			cpus[i], waitErr = p.Wait()
			errs[i] = errors.Join(err, waitErr)
		})
	}
	wait.Wait()
	for i, p := range s.loads {
		s.seen.loadCPU += cpus[i]
		s.seen.loadDriveCPU += p.DriveCPU()
		s.seen.sampleFlushes += int64(p.EarlyFlushes())
		s.seen.identities = append(s.seen.identities, p.Identities())
	}
	s.loads = nil
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errors.Join(errs...)
}

// killLoad kills the load processes that are still running.
func (s *stage) killLoad() error {
	var errs []error
	for _, p := range s.loads {
		errs = append(errs, p.Kill())
	}
	s.loads = nil
	return errors.Join(errs...)
}

// scheds reads the scheduler statistics of every worker's process, including parked processes.
// Processes whose statistics cannot be read are omitted.
func (s *stage) scheds() map[*servers.Worker]kernel.Sched {
	all := map[*servers.Worker]kernel.Sched{}
	for _, w := range append(s.group.Workers(), s.group.Parked()...) {
		if _, exited := w.CPU(); exited {
			continue
		}
		if sched, err := kernel.Schedstat(w.PID()); err == nil {
			all[w] = sched
		}
	}
	return all
}

// counters returns the kernel's counters, summed over the lab's hosts and pods.
func (s *stage) counters() (kernel.Counters, error) {
	sum := kernel.Counters{}
	if s.cluster != nil {
		var err error
		if sum, err = s.cluster.Counters(); err != nil {
			return nil, err
		}
	}
	for _, h := range s.lab.Hosts() {
		c, err := s.countersOf(h)
		if err != nil {
			return nil, err
		}
		sum.Add(c)
	}
	return sum, nil
}

func (s *stage) countersOf(h *netlab.Host) (kernel.Counters, error) {
	c, err := kernel.CountersIn(func(f func() error) error {
		return s.lab.Do(h, func() error { // on the lab's thread
			_, err := s.meter.Do(f)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("counters of %s: %w", h.Name, err)
	}
	return c, nil
}
