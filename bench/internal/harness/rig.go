package harness

import (
	"context"
	"errors"
	"os/exec"
	"sync"
	"time"

	"reuseport-bench/bench/internal/load"
	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/results"
	"reuseport-bench/servers"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/journal"
)

// A rig is a lab with one generation of workers, for what is measured beside the trials: nothing happens in it and
// no books are kept.
type rig struct {
	lab   *netlab.Lab
	group *servers.Group
	clock *clock.Clock
}

// newRig starts the variant's workers. account gets their journals. The caller closes the rig.
func newRig(ctx context.Context, roles Roles, v *VariantPlan, sysctls []Sysctl, cpus []int, account func(*servers.Worker, journal.Record)) (r *rig, err error) {
	r = &rig{}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	if r.clock, err = clock.New(); err != nil {
		return r, err
	}
	if r.lab, err = netlab.New(ctx, netlab.Options{Init: roles.Init, Network: netlab.Network(v.Setup.Network), ReceiveCPUs: cpus}); err != nil {
		return r, err
	}
	for _, s := range sysctls {
		for _, h := range r.lab.Hosts() {
			if err := r.lab.SetSysctl(h, s.Name, s.Value); err != nil {
				return r, err
			}
		}
	}
	r.group, err = servers.NewGroup(v.Servers, servers.Env{
		Command: roles.Worker,
		Start:   starter(r.lab, r.lab.Servers(), cpus),
		Do:      func(f func() error) error { return r.lab.Do(r.lab.Servers(), f) },
		Account: account,
		Clock:   r.clock,
	})
	if err == nil {
		_, err = r.group.StartGeneration(ctx)
	}
	return r, err
}

// drive runs load processes on the given CPUs to their last samples, which come one at a time, and returns their CPU
// time. The first attempt is due at begin.
func (r *rig) drive(ctx context.Context, command func() *exec.Cmd, all []load.Config, cpus []int, sample func(*results.Sample)) (begin clock.Instant, cpu time.Duration, err error) {
	var processes []*load.Process
	start := func(c *exec.Cmd) error { return r.lab.Start(r.lab.Clients(), c, cpus) }
	for _, cfg := range all {
		p, err := load.Start(ctx, cfg, command, start)
		if err != nil {
			for _, p := range processes {
				err = errors.Join(err, p.Kill())
			}
			return 0, 0, err
		}
		processes = append(processes, p)
	}
	begin = r.clock.Now().Add(lead)
	var mu sync.Mutex
	var errs []error
	var wait sync.WaitGroup
	for _, p := range processes {
		stop := context.AfterFunc(ctx, p.Interrupt)
		defer stop()
		wait.Go(func() {
			err := p.Begin(begin)
			err = errors.Join(err, p.Samples(func(s *results.Sample) {
				mu.Lock()
				defer mu.Unlock()
				sample(s)
			}))
			used, waitErr := p.Wait()
			mu.Lock()
			defer mu.Unlock()
			cpu += used
			errs = append(errs, err, waitErr)
		})
	}
	wait.Wait()
	if ctx.Err() != nil {
		return 0, 0, context.Cause(ctx)
	}
	return begin, cpu, errors.Join(errs...)
}

// close ends the workers and the lab. It is safe twice.
func (r *rig) close() error {
	var errs []error
	if r.group != nil {
		errs = append(errs, r.group.Close())
	}
	if r.lab != nil {
		errs = append(errs, r.lab.Close())
		r.lab = nil
	}
	return errors.Join(errs...)
}
