package trial

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/foreign"
	"reuseport-bench/bench/internal/plan"
	"reuseport-bench/bench/internal/witness"
	"reuseport-bench/scenarios/vocabulary"
)

// A commandServer is a third-party server, started by a command, together with the processes that
// it needs.
type commandServer struct {
	*foreign.Server
	plan      *plan.Command
	beside    []*foreign.Server
	took      time.Duration // from its start until it was ready
	listeners []uint64      // inodes of the listening sockets seen so far, in order
	// othersListen is true if listening sockets were seen at other addresses in the servers'
	// network namespace.
	othersListen bool

	witness     *witness.Witness // nil before its start and after its stop
	account     *witness.Account // nil: unwitnessed says why
	unwitnessed string

	usedBefore time.Duration
	used       *int64 // CPU time while the load ran, in ns; nil: unknown
}

// startCommand starts the third-party server and the processes beside it, and waits until they are
// ready. It does nothing if the servers are workers of this program.
func (s *stage) startCommand(ctx context.Context, roles Roles, c *cleanup) (err error) {
	p := s.variant.Command
	if p == nil {
		return nil
	}
	s.command, err = startServer(ctx, p, foreign.Env{
		Agent: roles.Agent,
		Start: func(cmd *exec.Cmd) error {
			return s.lab.Start(s.lab.Servers(), cmd, s.plan.CPUs.Servers)
		},
		Do: s.onServers, Clock: s.clock,
	}, c)
	if err != nil {
		return err
	}
	s.startTime = s.command.took
	s.timeline = &timeline{
		variant: s.variant, group: s.group, command: s.command, clock: s.clock, meter: &s.meter,
		current: s.group.NextGeneration(),
	}
	if s.command.usedBefore, err = s.command.CPU(); err != nil {
		return err
	}
	return s.command.noteListeners()
}

// A startError reports that a server could not be started, or was not ready in time.
type startError struct{ error }

func (e *startError) Unwrap() error { return e.error }

// startServer starts a server and the processes beside it, and waits until they are ready. It adds
// to c the functions that end them.
func startServer(
	ctx context.Context, p *plan.Command, env foreign.Env, c *cleanup,
) (*commandServer, error) {
	s := &commandServer{plan: p}
	start := func(name string, cfg foreign.Config) (*foreign.Server, error) {
		server, err := foreign.New(ctx, cfg, env)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		c.add(server.Close)
		if err := server.Start(ctx); err != nil {
			return nil, &startError{fmt.Errorf("%s: %w", name, err)}
		}
		return server, nil
	}
	for _, b := range p.Beside {
		server, err := start("server.beside."+b.Name, b.Server)
		if err != nil {
			return nil, err
		}
		s.beside = append(s.beside, server)
	}
	began := env.Clock.Now()
	var err error
	s.Server, err = start("server", p.Server)
	s.took = env.Clock.Now().Sub(began)
	return s, err
}

// noteListeners adds the server's current listening sockets to listeners, and updates othersListen.
func (c *commandServer) noteListeners() error {
	all, others, err := c.Listeners()
	for _, q := range all {
		if !slices.Contains(c.listeners, q.Inode) {
			c.listeners = append(c.listeners, q.Inode)
		}
	}
	c.othersListen = c.othersListen || others > 0
	return err
}

// startWitness starts a witness of the third-party server's connections. If it cannot start one,
// the causes of losses are inferred from the clients' samples alone.
func (s *stage) startWitness(c *cleanup) error {
	if s.command == nil {
		return nil
	}
	rate := 0.
	for _, l := range s.load {
		rate += l.Shape.Peak()
	}
	pids, err := s.lab.PIDNamespace()
	if err != nil {
		return err
	}
	var w *witness.Witness
	err = s.command.frozen(func() (err error) {
		w, err = witness.Start(witness.Options{
			Do: s.onServers, Port: s.servers.Address.Port(), Families: s.families(),
			Connections: int(s.servers.Requests), Rate: rate,
			PIDs: pids, Types: s.types,
		})
		return err
	})
	if err != nil {
		s.command.unwitnessed = err.Error()
		return nil
	}
	s.command.witness = w
	c.add(func() error {
		s.command.endWitness()
		return nil
	})
	return nil
}

// frozen calls f while the processes of the server, and those beside it, are stopped. Otherwise a
// connection that one of these processes opens during the call could be in the witness's account
// but not in the kernel's counters, or vice versa.
func (c *commandServer) frozen(f func() error) (err error) {
	for _, server := range append([]*foreign.Server{c.Server}, c.beside...) {
		thaw, err := server.Freeze()
		defer thaw()
		if err != nil {
			return err
		}
	}
	return f()
}

// endWitness stops the witness. If that fails, unwitnessed says why. It may be called twice.
func (c *commandServer) endWitness() {
	if c.witness == nil {
		return
	}
	err := c.frozen(func() (err error) {
		c.account, err = c.witness.Stop()
		return err
	})
	c.witness = nil
	switch {
	case err != nil:
		c.account, c.unwitnessed = nil, err.Error()
	case c.othersListen:
		c.account.OthersListen()
	}
}

// stopLimit is the maximum time for stopping a third-party server and the processes beside it after
// the load. No client waits for a response then.
const stopLimit = 2 * time.Second

// endCommand stops the server after the load, and then the processes beside it. It adds a problem
// if one of them had already exited, or had reached a limit of its home. What does not stop in time
// is killed, which changes no figure.
func (s *stage) endCommand(ctx context.Context) error {
	c := s.command
	if c == nil {
		return nil
	}
	c.endWitness()
	if err := c.Err(); err != nil {
		s.problem("server: %v", err)
	}
	for _, limit := range c.AtLimits() {
		s.problem("server: %s", limit)
	}
	if used, err := c.CPU(); err == nil {
		c.used = new(int64(used - c.usedBefore))
	}
	for i, b := range c.beside {
		if err := b.Err(); err != nil {
			s.problem("server.beside.%s: %v", c.plan.Beside[i].Name, err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, stopLimit)
	defer cancel()
	var errs []error
	for _, server := range slices.Backward(append(c.beside, c.Server)) {
		_, _ = server.Stop(ctx) // Close kills what is left, and fails if it cannot
		errs = append(errs, server.Close())
	}
	return errors.Join(errs...)
}

// commandActions holds the implementation of each step on a third-party server.
var commandActions = map[vocabulary.StepName]func(*timeline, context.Context, *step) error{
	vocabulary.StepRestart: (*timeline).restart,
	vocabulary.StepKill:    (*timeline).killProcess,
	vocabulary.StepStall:   (*timeline).stallProcesses,
}

// restart restarts the server. It returns when the restart is over, which may be after the load's
// end: a restart that changes nothing is known only when its limit has expired.
func (t *timeline) restart(ctx context.Context, s *step) error {
	s.what = fmt.Sprintf("generation %d", t.command.Generation())
	if err := t.hold(ctx, s); err != nil {
		return err
	}
	if t.clock.Now() >= t.end {
		return errTooLate
	}
	t.readQueues(s, t.command.listeners)
	r, err := t.command.Restart(ctx, t.command.plan.Restart)
	if t.holder != nil && t.holder.current != nil {
		t.holder.letGo() // only now is it certain that listeners have been closed
	}
	if err != nil {
		if r != nil && r.Trigger < t.end {
			s.trigger, s.closed = r.Trigger, r.Closed
		}
		return err
	}
	if r.Trigger >= t.end { // the server was still starting processes
		return errTooLate
	}
	if n := len(r.Killed); n > 0 {
		s.what += fmt.Sprintf("; %d killed after the grace", n)
	}
	s.trigger, s.ready, s.closed = r.Trigger, r.Over, r.Closed
	if r.Replaced {
		// Otherwise processes from before the restart still run, and may close connections later.
		s.over = r.Over
	}
	return t.command.noteListeners()
}

// processes returns the processes that a step acts on. If the argument one is true, or the step has
// a target, it returns a single process, which is not the main process. Otherwise it returns all
// processes of the server.
func (t *timeline) processes(s *step, one bool) ([]foreign.Process, error) {
	all, err := t.command.Processes()
	if err != nil || !one && s.Target == nil {
		return all, err
	}
	main := t.command.Main()
	workers := slices.DeleteFunc(all, func(p foreign.Process) bool { return p.PID == main.PID })
	n := 0
	if s.Target != nil {
		n = *s.Target
	}
	if n >= len(workers) {
		return nil, fmt.Errorf("target %d: the server has %d processes besides its main process "+
			"(%v), counted from 0 in the order of their PIDs", n, len(workers), main)
	}
	return workers[n : n+1], nil
}

func names(all []foreign.Process) string {
	var names []string
	for _, p := range all {
		names = append(names, p.String())
	}
	return "process " + cmp.Or(strings.Join(names, ", "), "-")
}

// killProcess kills one process of the server.
func (t *timeline) killProcess(ctx context.Context, s *step) error {
	one, err := t.processes(s, true)
	if err != nil {
		return err
	}
	if t.clock.Now() >= t.end {
		return errTooLate
	}
	s.what = names(one)
	if err := t.hold(ctx, s); err != nil {
		return err
	}
	t.readQueues(s, t.command.listeners)
	s.trigger = t.clock.Now()
	err = t.command.Signal(one, unix.SIGKILL)
	if t.holder != nil && t.holder.current != nil {
		t.holder.letGo()
	}
	return err
}

// stallProcesses stops all processes of the server, or the step's target, for the duration s.For.
// It continues them even if ctx ends first.
func (t *timeline) stallProcesses(ctx context.Context, s *step) error {
	all, err := t.processes(s, false)
	if err != nil {
		return err
	}
	s.what = names(all)
	s.trigger = t.clock.Now()
	if err := t.command.Signal(all, unix.SIGSTOP); err != nil {
		return err
	}
	interrupted := t.clock.SleepUntil(ctx, s.trigger.Add(s.For))
	t.readQueues(s, t.command.listeners)
	if err := t.command.Signal(all, unix.SIGCONT); err != nil {
		return err
	}
	s.ready = t.clock.Now()
	return interrupted
}
