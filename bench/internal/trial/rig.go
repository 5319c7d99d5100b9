package trial

import (
	"context"
	"errors"
	"os/exec"
	"sync"
	"time"

	"reuseport-bench/bench/internal/foreign"
	"reuseport-bench/bench/internal/load"
	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/bench/internal/plan"
	"reuseport-bench/results"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/journal"
)

// A Rig is a lab with one generation of workers or a third-party server, for measurements outside
// trials. A rig has no ledger.
type Rig struct {
	Lab   *netlab.Lab
	Group *servers.Group // nil with a third-party server
	Clock *clock.Clock

	command *commandServer // nil: the servers are workers of this program
	ends    cleanup        // ends the server and the processes beside it
}

// RigOptions are the options of NewRig.
type RigOptions struct {
	Roles   Roles
	Network vocabulary.Network
	Servers servers.Config
	Command *plan.Command // nil: the servers are workers of this program
	Sysctls []plan.Sysctl
	CPUs    []int // the servers' CPUs
	// Account is called with each record of the workers' journals.
	Account func(*servers.Worker, journal.Record)
}

// NewRig makes the lab and starts the workers, or the third-party server. The caller must close the
// rig.
func NewRig(ctx context.Context, o RigOptions) (_ *Rig, err error) {
	r := &Rig{}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	if r.Clock, err = clock.New(); err != nil {
		return nil, err
	}
	r.Lab, err = netlab.New(ctx, netlab.Options{
		Init: o.Roles.Init, Network: o.Network, ReceiveCPUs: o.CPUs,
	})
	if err != nil {
		return nil, err
	}
	for _, set := range o.Sysctls {
		if err := setEverywhere(r.Lab, set); err != nil {
			return nil, err
		}
	}
	do := func(f func() error) error { return r.Lab.Do(r.Lab.Servers(), f) }
	if o.Command != nil {
		r.command, err = startServer(ctx, o.Command, foreign.Env{
			Agent: o.Roles.Agent,
			Start: func(c *exec.Cmd) error { return r.Lab.Start(r.Lab.Servers(), c, o.CPUs) },
			Do:    do, Clock: r.Clock,
		}, &r.ends)
		return r, err
	}
	r.Group, err = servers.NewGroup(o.Servers, servers.Env{
		Command: o.Roles.Worker,
		Start:   r.Lab.Starter(r.Lab.Servers(), o.CPUs),
		Do:      do,
		Account: o.Account,
		Clock:   r.Clock,
	})
	if err != nil {
		return nil, err
	}
	_, err = r.Group.StartGeneration(ctx)
	return r, err
}

// Drive starts load processes on the given CPUs, and returns when all of them have exited. It calls
// sample for each sample that they send, never concurrently. It returns the instant at which the
// first attempt was due, and the total CPU time of the load processes.
func (r *Rig) Drive(
	ctx context.Context, command func() *exec.Cmd, all []load.Config, cpus []int,
	sample func(*results.Sample),
) (begin clock.Instant, cpu time.Duration, err error) {
	var processes []*load.Process
	start := func(c *exec.Cmd) error { return r.Lab.Start(r.Lab.Clients(), c, cpus) }
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
	begin = r.Clock.Now().Add(lead)
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

// StartTime returns the time from the start of the third-party server until it was ready.
func (r *Rig) StartTime() time.Duration { return r.command.took }

// ServerErr returns the reason why the third-party server no longer runs, or nil if it runs.
func (r *Rig) ServerErr() error { return r.command.Err() }

// Keeps returns the number of connections, at most the given number, that the third-party server
// keeps open at the same time after it has answered a request for path on each.
func (r *Rig) Keeps(ctx context.Context, path string, most int) int {
	return r.command.Keeps(ctx, path, most)
}

// Restart restarts the third-party server in the same way as the step restart.
func (r *Rig) Restart(ctx context.Context) (*foreign.Restart, error) {
	return r.command.Restart(ctx, r.command.plan.Restart)
}

// Close ends the workers or the third-party server, and then the lab. It may be called twice.
func (r *Rig) Close() error {
	errs := []error{r.ends.run()}
	if r.Group != nil {
		errs = append(errs, r.Group.Close())
	}
	if r.Lab != nil {
		errs = append(errs, r.Lab.Close())
		r.Lab = nil
	}
	return errors.Join(errs...)
}
