package foreign

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/clock"
)

// Errors of Restart that callers distinguish.
var (
	// ErrUnchanged is the error of a restart whose actions succeeded, but which no visible change
	// proves.
	ErrUnchanged = errors.New("the restart changed nothing that can be seen")
	// ErrOverlap is the error of a restart that is requested before the previous one is over.
	ErrOverlap = errors.New("the previous restart is not over; leave more time between restarts")
)

// An Action is one step of a restart. Exactly one of Signal, Run, Start, Stop, Write and Wait is
// set.
type Action struct {
	Signal unix.Signal // the signal to send to To
	To     Target      // default TargetMain
	Run    Command     // a command to run in the home; it must exit with status Exit
	Exit   int
	Start  bool // starts Config.Start again, without waiting until it is ready
	// Stop stops the main process that ran before the restart, as Config.Stop says, and waits until
	// every process that ran before the restart is gone.
	Stop bool
	// Write sets the variables in Set, for this and all later actions and restarts, and writes
	// Config.Files again with the new values. If a restart has no Write action, the files are
	// written before its first action.
	Write bool
	Set   map[string]string
	Wait  *Condition
	// Within is the maximum duration of Run and Wait. Default 10 s.
	Within time.Duration
}

// A Target names the processes that an action signals or waits for.
type Target string

// The targets.
const (
	TargetMain       Target = "main"
	TargetOldMain    Target = "old-main"    // the main process before the restart
	TargetWorkers    Target = "workers"     // all current processes except the main process
	TargetOldWorkers Target = "old-workers" // the workers that ran before the restart
)

// A Condition is what an action waits for. Exactly one field is set.
type Condition struct {
	// Ready is true to wait until the server is ready. If an action of this restart has started the
	// server, that start must be ready. Otherwise, with Config.Ready.Notify, the server must have
	// sent READY=1 again; with other conditions of Config.Ready, the server must be ready as far as
	// they can be checked again.
	Ready     bool
	Listening bool // until there is a listener at the server's address
	// a path: until a request for it is answered with a status that Config.Ready accepts
	HTTP       string
	Generation bool   // until the new generation answers (Identify.Generation)
	File       string // until this file exists; relative to the working directory
	PIDFile    bool   // until the pid file names a process that did not run before the restart
	Gone       Target // until these processes have exited
	Stdout     *regexp.Regexp
}

// CheckRestart returns an error if an action is empty or ambiguous, if one of its texts is not a
// valid template, or if all actions are waits.
func (c Config) CheckRestart(actions []Action) error {
	vars := c.variables(1)
	vars[mainVariable] = "1"
	for i, a := range actions {
		if err := c.checkAction(a, vars); err != nil {
			return fmt.Errorf("action %d: %w", i+1, err)
		}
	}
	if len(actions) > 0 && trigger(actions) < 0 {
		return errors.New("only waits; add an action that restarts the server, such as a signal")
	}
	return nil
}

// trigger returns the index of the action that begins to restart the server. This is the first
// action other than Write and Wait. If there is no such action, it is the first Write. If all
// actions are Waits, trigger returns -1.
func trigger(actions []Action) int {
	acts := func(a Action) bool { return !a.Write && a.Wait == nil }
	if i := slices.IndexFunc(actions, acts); i >= 0 {
		return i
	}
	return slices.IndexFunc(actions, func(a Action) bool { return a.Write })
}

func (c Config) checkAction(a Action, vars Variables) error {
	w := Condition{}
	if a.Wait != nil {
		w = *a.Wait
	}
	conditions := count(w.Ready, w.Listening, w.HTTP != "", w.Generation, w.File != "", w.PIDFile,
		w.Gone != "", w.Stdout != nil)
	switch n := count(a.Signal != 0, !a.Run.empty(), a.Start, a.Stop, a.Write, a.Wait != nil); {
	case n != 1:
		return fmt.Errorf("says %d things to do, want one", n)
	case a.Wait != nil && conditions != 1:
		return fmt.Errorf("waits for %d conditions, want one", conditions)
	case w.PIDFile && c.PIDFile == "":
		return errors.New("waits for the pid file, but the server has no pid_file")
	case w.Generation && c.Identify.Generation == "":
		return errors.New("waits for a generation, but no response header identifies it")
	case !a.To.known() || !w.Gone.known():
		return fmt.Errorf("unknown target %q", string(a.To+w.Gone))
	case a.Write:
		_, err := vars.set(a.Set)
		return err
	case !a.Run.empty():
		_, err := a.Run.words(vars, c.environment(vars).lookup, "run")
		return err
	}
	return nil
}

func count(set ...bool) (n int) {
	for _, s := range set {
		if s {
			n++
		}
	}
	return n
}

// known reports whether the target is one of the constants, or empty.
func (t Target) known() bool {
	return slices.Contains([]Target{
		"", TargetMain, TargetOldMain, TargetWorkers, TargetOldWorkers,
	}, t)
}

// A Restart describes a restart. If the restart failed, only Generation, Before and, as far as they
// are known, Trigger and Closed are set.
type Restart struct {
	Generation int
	// Trigger is the instant just before the first action that is not Write or Wait or, if there is
	// none, just before the first Write. 0: the restart failed before that.
	Trigger clock.Instant
	// Changed is the instant at which the first change was seen, and Over the instant at which the
	// restart was over. Both may be later than the event, by the interval of poll. A new process
	// counts only once it has run for the time settled.
	Changed, Over clock.Instant
	Changes       []Change
	Before, Main  Process   // the main process before and after
	Killed        []Process // by an action with Stop, at the end of the grace period
	// Remaining are the processes, besides Main, that ran before the restart and still run.
	Remaining []Process
	// Closed is the instant at which the last of the listeners that were closed was first seen to
	// be gone. It was closed between Trigger and Closed. 0: no listener was closed.
	Closed clock.Instant
	// Replaced is true if other processes than Main ran before the restart, and all of them are
	// gone.
	Replaced bool
}

// A restarting is a restart that is under way.
type restarting struct {
	*Server
	result Restart
	before *snapshot
	told   map[id]bool // processes that actions have signalled or stopped
	lines  map[*Condition]<-chan struct{}
	starts bool // an action starts the server
	// readies is the number of READY=1 messages before the restart.
	readies int
}

// Restart carries out actions, one after the other. If the start or the last restart of the server
// was over less than a second ago, Restart first waits until the server starts no more processes.
// It returns when the restart is over: when something has changed that proves the restart, the
// server is ready, and the main process from before the restart is still the main process, is gone,
// or was told to stop.
// An error includes the server's last lines of output. After an error, the server may still run,
// and the Restart describes what was done; it is nil if nothing was.
func (s *Server) Restart(ctx context.Context, actions []Action) (*Restart, error) {
	if !s.stepping.TryLock() {
		return nil, ErrOverlap
	}
	defer s.stepping.Unlock()
	if err := s.Err(); err != nil {
		return nil, err
	}
	r, err := s.begin(ctx, actions)
	if err == nil {
		err = r.carryOut(ctx, actions)
	}
	if err == nil {
		err = r.awaitOver(ctx)
	}
	var atOver []Process
	if err == nil {
		atOver, err = s.home.processes()
	}
	s.mu.Lock()
	s.restarting = false
	if err == nil {
		s.main, s.lingering = r.result.Main, setOf(r.result.Remaining)
		s.over, s.atOver = r.result.Over, setOf(atOver)
	}
	s.mu.Unlock()
	if r == nil {
		return nil, s.explain(err)
	}
	return &r.result, s.explain(err)
}

// begin makes the next generation the current one, and records the state of the server before the
// restart's first action.
func (s *Server) begin(ctx context.Context, actions []Action) (*restarting, error) {
	if s.env.Clock.Now().Sub(s.over) < recent {
		if err := s.awaitSteady(ctx); err != nil {
			return nil, err
		}
	}
	before, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.generation++
	s.restarting = true
	r := &restarting{
		Server: s, before: before, told: map[id]bool{}, lines: map[*Condition]<-chan struct{}{},
		result: Restart{Generation: s.generation, Before: s.main},
	}
	s.mu.Unlock()
	before.main = r.result.Before
	before.workers = s.findWorkers(before)
	if s.notify != nil {
		r.readies = s.notify.readies()
	}
	before.lingers = slices.ContainsFunc(before.processes, func(p Process) bool {
		return s.lingering[p.id()]
	})
	writes := false
	for _, a := range actions {
		writes, r.starts = writes || a.Write, r.starts || a.Start
		if a.Wait != nil && a.Wait.Stdout != nil {
			r.lines[a.Wait] = s.output.watch(a.Wait.Stdout)
		}
	}
	if !writes {
		err = s.writeFiles()
	}
	return r, err
}

func (r *restarting) carryOut(ctx context.Context, actions []Action) error {
	first := trigger(actions)
	for i, a := range actions {
		if i == first {
			r.result.Trigger = r.env.Clock.Now()
		}
		if err := r.act(ctx, a); err != nil {
			return fmt.Errorf("action %d (%s): %w", i+1, a, err)
		}
	}
	return nil
}

// String describes an action.
func (a Action) String() string {
	switch {
	case a.Signal != 0:
		return fmt.Sprintf("signal %s to %s", unix.SignalName(a.Signal), cmp.Or(a.To, TargetMain))
	case !a.Run.empty():
		return "run " + (&command{args: append([]string{a.Run.Line}, a.Run.List...)}).name()
	case a.Start:
		return "start next"
	case a.Stop:
		return "stop previous"
	case a.Write:
		return "write files"
	case a.Wait != nil:
		return "wait"
	}
	return "nothing"
}

func (r *restarting) act(ctx context.Context, a Action) error {
	switch {
	case a.Signal != 0:
		return r.signal(cmp.Or(a.To, TargetMain), a.Signal)
	case !a.Run.empty():
		return r.runAction(ctx, a)
	case a.Start:
		_, err := r.launch(ctx)
		return err
	case a.Stop:
		return r.stopPrevious(ctx)
	case a.Write:
		vars, err := r.variables().set(a.Set)
		if err != nil {
			return err
		}
		r.mu.Lock()
		for name := range a.Set {
			r.set[name] = vars[name]
		}
		r.mu.Unlock()
		return r.writeFiles()
	case a.Wait != nil:
		return r.waitFor(ctx, a)
	}
	return errors.New("the action is empty")
}

// signal sends a signal to a target.
func (r *restarting) signal(to Target, signal unix.Signal) error {
	all, err := r.target(to)
	if err != nil {
		return err
	}
	all = living(all)
	if len(all) == 0 {
		return fmt.Errorf("no process is left to signal")
	}
	for _, p := range all {
		r.told[p.id()] = true
	}
	return signalAll(all, signal)
}

// target returns the processes of a target. Some of them may already have exited.
func (r *restarting) target(to Target) ([]Process, error) {
	main := func(p Process) bool { return p.id() == r.result.Before.id() }
	switch to {
	case TargetOldMain:
		return []Process{r.result.Before}, nil
	case TargetOldWorkers:
		return except(r.before.processes, main), nil
	}
	current, err := r.findMain(r.newest())
	if err != nil {
		return nil, err
	}
	if to == TargetMain {
		return []Process{current}, nil
	}
	all, err := r.home.processes()
	return except(all, func(p Process) bool { return main(p) || p.id() == current.id() }), err
}

func except(all []Process, omit func(Process) bool) (rest []Process) {
	for _, p := range all {
		if !omit(p) {
			rest = append(rest, p)
		}
	}
	return rest
}

// newest returns the latest start.
func (s *Server) newest() *start {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.latest
}

// runAction runs the command of an action, and waits until it exits.
func (r *restarting) runAction(ctx context.Context, a Action) error {
	vars := r.variables()
	if main, err := r.findMain(r.newest()); err == nil {
		vars[mainVariable] = fmt.Sprint(main.PID)
	}
	own := &output{}
	c, err := r.run(ctx, a.Run, "run", vars, nil, own, r.output)
	if err != nil {
		return err
	}
	if err := c.await(ctx, a.Exit, cmp.Or(a.Within, defaultWithin)); err != nil {
		_ = r.home.killSession(c)
		return fmt.Errorf("%w%s", err, quoteLines(own.last(2)))
	}
	return nil
}

// stopPrevious stops the processes that ran before the restart.
func (r *restarting) stopPrevious(ctx context.Context) error {
	for _, p := range r.before.processes {
		r.told[p.id()] = true
	}
	ending, err := r.end(ctx, r.result.Before, r.before.processes)
	r.result.Killed = append(r.result.Killed, ending.Killed...)
	return err
}

// waitFor waits until a condition holds.
func (r *restarting) waitFor(ctx context.Context, a Action) error {
	within := cmp.Or(a.Within, defaultWithin)
	var missing error
	err := poll(ctx, within, func() (bool, error) {
		// during a restart that starts the server, there may be no main process for a while
		if !r.starts {
			if err := r.ended(); err != nil {
				return false, err
			}
		} else if st := r.newest(); a.Wait.Ready && st.generation == r.result.Generation {
			if err := r.endedEarly(st); err != nil {
				return false, err
			}
		}
		missing = r.holds(ctx, a.Wait)
		return missing == nil, nil
	})
	if errors.Is(err, errLimit) {
		return fmt.Errorf("not within %v: %w", within, missing)
	}
	return err
}

// holds returns nil if a condition holds, and otherwise an error that says what is missing.
func (r *restarting) holds(ctx context.Context, c *Condition) error {
	switch {
	case c.Ready:
		if r.notify != nil && r.newest().generation != r.result.Generation {
			if r.notify.readies() > r.readies {
				return nil
			}
			return r.notSaid()
		}
		return r.readyAgain(ctx)
	case c.Listening:
		if at, _, err := r.Listeners(); err != nil || len(at) == 0 {
			return cmp.Or(err, fmt.Errorf("nothing listens at %v", r.cfg.Address))
		}
		return nil
	case c.HTTP != "":
		a, err := r.ask(ctx, c.HTTP)
		if err == nil && !a.ok(r.cfg.Ready) {
			err = fmt.Errorf("the answer is %v", a)
		}
		return err
	case c.Generation:
		return r.generationAnswers(ctx)
	case c.File != "":
		f, err := r.home.open(r.absolute(c.File), unix.O_PATH, 0)
		if err != nil {
			return fmt.Errorf("file %s: %w", c.File, errors.Unwrap(err))
		}
		return f.Close()
	case c.PIDFile:
		p, err := r.home.pidFile(r.cfg.PIDFile)
		if err == nil && r.before.ids[p.id()] {
			err = fmt.Errorf("pid_file %s still names process %v", r.cfg.PIDFile, p)
		}
		return err
	case c.Gone != "":
		all, err := r.target(c.Gone)
		if err != nil {
			return err
		}
		if left := living(all); len(left) > 0 {
			return fmt.Errorf("%s still run: %s", c.Gone, nameList(left))
		}
		return nil
	case c.Stdout != nil:
		select {
		case <-r.lines[c]:
			return nil
		default:
			return fmt.Errorf("no line since the restart began matches %q", c.Stdout)
		}
	}
	return errors.New("the condition is empty")
}

// ended returns an error if the main process has exited and no other process has taken its place.
func (r *restarting) ended() error {
	all, err := r.home.processes()
	if err != nil {
		return err
	}
	st := r.newest()
	if len(all) == 0 && (r.cfg.Forks || !st.command.exitsSoon()) {
		return errors.New("the server has ended: no process of it is left")
	}
	if len(all) == 0 {
		return fmt.Errorf("the server has ended: %s%s",
			ending(st.command.status), r.unhandled(st.command.status))
	}
	told := st.command.pid == r.result.Before.PID && r.told[r.result.Before.id()]
	if r.cfg.PIDFile != "" || r.cfg.Forks || r.notify != nil || !st.command.hasExited() || told {
		return nil
	}
	return fmt.Errorf("the main process has ended: %s%s; left are %s; if one of them is the new "+
		"main process, name the server's pid_file", ending(st.command.status),
		r.unhandled(st.command.status), nameList(all))
}

// unhandled returns the end of a message about a server that a signal of the restart has killed. It
// says why the signal killed the server.
func (r *restarting) unhandled(status unix.WaitStatus) string {
	if status.Signaled() && status.Signal() != unix.SIGKILL {
		return ": it does not handle that signal, or did not yet"
	}
	return ""
}
