package trial

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/foreign"
	"reuseport-bench/bench/internal/plan"
	"reuseport-bench/bench/internal/witness"
	"reuseport-bench/scenarios/vocabulary"
)

// thirdParties are the third-party servers of a trial, and the witness of their connections. There
// is one server or, in a cluster, one in each pod.
type thirdParties struct {
	witness     *witness.Witness // nil before its start and after its stop
	account     *witness.Account // nil: unwitnessed says why
	unwitnessed string

	usedBefore time.Duration
	used       *int64 // CPU time while the load ran, in ns; nil: unknown

	mu  sync.Mutex // guards all
	all []*commandServer
}

// A commandServer is a third-party server, started by a command, together with the processes that
// it needs.
type commandServer struct {
	plan      *plan.Command
	took      time.Duration // from its start until it was ready
	listeners []uint64      // inodes of the listening sockets seen so far, in order
	// othersListen is true if listening sockets were seen at other addresses in the servers'
	// network namespace.
	othersListen bool

	mu sync.Mutex // guards the fields below
	*foreign.Server
	beside []*foreign.Server
	ended  bool          // Server is closed
	cpu    time.Duration // CPU time that it has used, valid once ended
	cpuErr error         // why cpu is unknown
}

// startCommand starts the third-party server and the processes beside it, and waits until they are
// ready. It does nothing if the servers are workers of this program, or are in pods.
func (s *stage) startCommand(ctx context.Context, roles Roles, c *cleanup) (err error) {
	p := s.variant.Command
	if p == nil || s.cluster != nil {
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
	s.third.add(s.command)
	s.startTime = s.command.took
	s.timeline = &timeline{
		variant: s.variant, group: s.group, command: s.command, clock: s.clock, meter: &s.meter,
		current: s.group.NextGeneration(),
	}
	if s.third.usedBefore, err = s.third.cpu(); err != nil {
		return err
	}
	return s.command.noteListeners()
}

func (t *thirdParties) add(c *commandServer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all = append(t.all, c)
}

// servers returns the servers that were started so far.
func (t *thirdParties) servers() []*commandServer {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.all)
}

// cpu returns the CPU time that all servers have used so far.
func (t *thirdParties) cpu() (used time.Duration, err error) {
	for _, c := range t.servers() {
		c.mu.Lock()
		one, err := c.cpu, c.cpuErr
		if !c.ended && c.Server != nil {
			one, err = c.Server.CPU()
		}
		c.mu.Unlock()
		if err != nil {
			return 0, err
		}
		used += one
	}
	return used, nil
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
	return s, s.start(ctx, env, c)
}

// start starts the processes beside the server and then the server, and waits until they are ready.
// It adds to c the functions that end them.
func (s *commandServer) start(ctx context.Context, env foreign.Env, c *cleanup) error {
	start := func(name string, cfg foreign.Config, made func(*foreign.Server)) error {
		server, err := foreign.New(ctx, cfg, env)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		c.add(server.Close)
		s.mu.Lock()
		made(server)
		s.mu.Unlock()
		if err := server.Start(ctx); err != nil {
			return &startError{fmt.Errorf("%s: %w", name, err)}
		}
		return nil
	}
	for _, b := range s.plan.Beside {
		err := start("server.beside."+b.Name, b.Server, func(made *foreign.Server) {
			s.beside = append(s.beside, made)
		})
		if err != nil {
			return err
		}
	}
	began := env.Clock.Now()
	err := start("server", s.plan.Server, func(made *foreign.Server) { s.Server = made })
	s.took = env.Clock.Now().Sub(began)
	return err
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

// startWitness starts a witness of the third-party servers' connections, before the servers start.
// If it cannot start one, the causes of losses are inferred from the clients' samples alone. In a
// cluster, cluster.Options.Watch adds the network of each pod.
func (s *stage) startWitness(c *cleanup) error {
	if s.third == nil {
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
	o := witness.Options{
		Port: s.servers.Address.Port(), Families: s.families(),
		Connections: int(s.servers.Requests), Rate: rate,
		PIDs: pids, Types: s.types,
	}
	if s.variant.Cluster == nil {
		o.Do = s.onServers
	}
	if s.kubernetes != nil {
		// Beside the connections of Kubernetes itself, the trace misses some: 10 of 16 trials did
		// not balance. The cause is not known; the kernel counts that it skipped runs of a program
		// of the trace (recursion_misses). Each pod has one server, so it does no harm that
		// obituaries name no process.
		o.Untraced = "beside a real Kubernetes, a trace misses connections"
	}
	if s.third.witness, err = witness.Start(o); err != nil {
		s.third.unwitnessed = err.Error()
		return nil
	}
	c.add(func() error {
		s.third.endWitness()
		return nil
	})
	return nil
}

// frozen calls f while the processes of the servers, and those beside them, are stopped. Otherwise
// a connection that one of these processes opens during the call could be in the witness's account
// but not in the kernel's counters, or vice versa.
func (t *thirdParties) frozen(f func() error) (err error) {
	for _, c := range t.servers() {
		release, err := c.freeze()
		defer release()
		if err != nil {
			return err
		}
	}
	return f()
}

// freeze stops the processes of the server, and those beside it. release continues them.
func (c *commandServer) freeze() (release func(), err error) {
	var thawed []func()
	release = func() {
		for _, thaw := range thawed {
			thaw()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return release, nil
	}
	servers := slices.Clone(c.beside)
	if c.Server != nil {
		servers = append(servers, c.Server)
	}
	for _, server := range servers {
		thaw, err := server.Freeze()
		thawed = append(thawed, thaw)
		if err != nil {
			return release, err
		}
	}
	return release, nil
}

// endWitness stops the witness. If that fails, unwitnessed says why. It may be called twice.
func (t *thirdParties) endWitness() {
	if t.witness == nil {
		return
	}
	w, stopped := t.witness, false
	t.witness = nil
	err := t.frozen(func() (err error) {
		stopped = true
		t.account, err = w.Stop()
		return err
	})
	if !stopped { // a server cannot be stopped, because it has ended
		_, stopErr := w.Stop()
		err = errors.Join(err, stopErr)
	}
	switch {
	case err != nil:
		t.account, t.unwitnessed = nil, err.Error()
	case slices.ContainsFunc(t.servers(), func(c *commandServer) bool { return c.othersListen }):
		t.account.OthersListen()
	}
}

// stopLimit is the maximum time for stopping a third-party server and the processes beside it after
// the load. No client waits for a response then.
const stopLimit = 2 * time.Second

// endCommand ends the witness after the load. Then it stops the server, and after it the processes
// beside it, unless they are in pods, which endWorkers ends. It adds a problem if one of them had
// already exited, or had reached a limit of its home. What does not stop in time is killed, which
// changes no figure.
func (s *stage) endCommand(ctx context.Context) error {
	if s.third == nil {
		return nil
	}
	s.third.endWitness()
	if used, err := s.third.cpu(); err == nil {
		s.third.used = new(int64(used - s.third.usedBefore))
	}
	if s.kubernetes != nil { // its pods may be killed from now on
		for _, c := range s.third.servers() {
			if err := c.failureInPod(); err != nil {
				s.problem("%v", err)
			}
		}
	}
	c := s.command
	if c == nil {
		return nil
	}
	if err := c.failure(); err != nil {
		s.problem("%v", err)
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

// failure returns an error if the server, or a process beside it, had exited without being told to,
// or had reached a limit of its home.
func (c *commandServer) failure() error {
	var errs []error
	if err := c.Err(); err != nil {
		errs = append(errs, fmt.Errorf("server: %w", err))
	}
	for _, limit := range c.AtLimits() {
		errs = append(errs, fmt.Errorf("server: %s", limit))
	}
	for i, b := range c.beside {
		if err := b.Err(); err != nil {
			errs = append(errs, fmt.Errorf("server.beside.%s: %w", c.plan.Beside[i].Name, err))
		}
	}
	return errors.Join(errs...)
}

// failureInPod is like failure. It returns nil for a server that has ended, which the worker in
// whose place it ran has reported.
func (c *commandServer) failureInPod() error {
	c.mu.Lock()
	running := c.Server != nil && !c.ended
	c.mu.Unlock()
	if !running {
		return nil
	}
	return c.failure()
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
