package foreign

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/servers/clock"
)

// settled is the time for which a new process must have run, or an old process must have been gone,
// before that can prove that a restart did something. A failed restart may start a process that
// exits at once.
const settled = 100 * time.Millisecond

// A Change is something that has changed since a restart began.
type Change struct {
	Kind ChangeKind
	What string
	At   clock.Instant // when it was first seen

	isNew   bool    // of ChangeProcess and ChangeListener: new, not gone
	process Process // of ChangeProcess
}

// ChangeKind is the kind of thing that a Change is about.
type ChangeKind string

// The kinds of changes.
const (
	ChangeProcess    ChangeKind = "process"    // a process is new, or gone
	ChangeListener   ChangeKind = "listener"   // a listening socket is new, or gone
	ChangePIDFile    ChangeKind = "pid-file"   // the pid file names another process
	ChangeWorker     ChangeKind = "worker"     // a new process answers a request
	ChangeGeneration ChangeKind = "generation" // the new generation answers a request
)

// A snapshot is the visible state of the server at one moment.
type snapshot struct {
	processes []Process
	ids       map[id]bool
	main      Process           // set only for the snapshot from before a restart
	workers   []Process         // see findWorkers; set only for that snapshot
	at        []kernel.Queue    // the listeners at the server's address
	listeners map[uint64]string // names of these listeners, by cookie
	pidFile   string
	lingers   bool              // processes that earlier restarts left may still close listeners
	first     map[string]Change // changes since the snapshot, by Kind and What
}

// look returns a snapshot of the server's current state.
func (s *Server) look(ctx context.Context) (n *snapshot, err error) {
	n = &snapshot{listeners: map[uint64]string{}, first: map[string]Change{}}
	if n.processes, err = s.home.processes(); err != nil {
		return nil, err
	}
	n.ids = setOf(n.processes)
	n.at, _, err = s.Listeners()
	for _, q := range n.at {
		n.listeners[q.Cookie] = fmt.Sprintf("socket %d", q.Inode)
	}
	if s.cfg.PIDFile != "" {
		text, _ := s.home.read(s.cfg.PIDFile, 64)
		n.pidFile = strings.TrimSpace(string(text))
	}
	return n, errors.Join(err, ctx.Err())
}

// changes returns the differences between the current state and the snapshot from before the
// restart, in the order in which they were first seen.
func (r *restarting) changes(ctx context.Context) (all []Change, err error) {
	now, err := r.look(ctx)
	if err != nil {
		return nil, err
	}
	at := r.env.Clock.Now()
	note := func(c Change) Change {
		key := string(c.Kind) + c.What
		first, seen := r.before.first[key]
		if !seen {
			c.At = at
			first, r.before.first[key] = c, c
		}
		all = append(all, first)
		return first
	}
	for _, p := range without(now.processes, r.before.ids) {
		what := fmt.Sprintf("process %v is new", p)
		note(Change{Kind: ChangeProcess, What: what, isNew: true, process: p})
	}
	for _, p := range without(r.before.processes, now.ids) {
		if r.lingering[p.id()] {
			continue // an earlier restart left it running
		}
		note(Change{Kind: ChangeProcess, What: fmt.Sprintf("process %v is gone", p), process: p})
	}
	for cookie, name := range now.listeners {
		if _, old := r.before.listeners[cookie]; !old {
			note(Change{Kind: ChangeListener, What: "listener " + name + " is new", isNew: true})
		}
	}
	for cookie, name := range r.before.listeners {
		if _, left := now.listeners[cookie]; !left && !r.before.lingers {
			c := note(Change{Kind: ChangeListener, What: "listener " + name + " is gone"})
			r.result.Closed = max(r.result.Closed, c.At)
		}
	}
	if now.pidFile != r.before.pidFile && now.pidFile != "" {
		what := fmt.Sprintf("the pid file says %s, not %s", now.pidFile, r.before.pidFile)
		note(Change{Kind: ChangePIDFile, What: what})
	}
	slices.SortStableFunc(all, func(a, b Change) int { return int(a.At - b.At) })
	return all, nil
}

// findWorkers returns the processes of a snapshot whose replacement can prove a restart. These are
// the processes, besides the main process, that have one of the server's listeners open. If there
// are none, as in a Node cluster, whose primary process listens, they are all processes besides the
// main process that ran when the last step was over. Processes that earlier restarts have left do
// not count.
func (s *Server) findWorkers(n *snapshot) []Process {
	others := except(n.processes, func(p Process) bool {
		return p.id() == n.main.id() || s.lingering[p.id()]
	})
	listening := except(others, func(p Process) bool {
		sockets := p.sockets()
		return !slices.ContainsFunc(n.at, func(q kernel.Queue) bool { return sockets[q.Inode] })
	})
	if len(listening) > 0 {
		return listening
	}
	return except(others, func(p Process) bool { return !s.atOver[p.id()] })
}

// A group is a set of workers that have the same parent and the same name.
type group struct {
	parent int
	name   string
}

func (p Process) group() group { return group{p.parent, p.Name} }

// A turnover counts the members of a set before a restart, and how many of them have been replaced
// since.
type turnover struct{ before, fresh, gone int }

// whole reports whether the whole set has been replaced: all old members are gone, or there are as
// many new members as there were old ones. A server replaces single workers by itself, for example
// after a number of requests, but not all at once.
func (t turnover) whole() bool {
	return t.fresh+t.gone > 0 && (t.fresh >= t.before || t.gone >= t.before)
}

func (t turnover) partial() bool { return t.fresh+t.gone > 0 && !t.whole() }

func (t *turnover) count(c Change) {
	if c.isNew {
		t.fresh++
	} else {
		t.gone++
	}
}

// proven reports whether changes since the snapshot prove a restart. main is the current main
// process. The new generation in an answer is not enough while only some workers of a group have
// been replaced: a worker that the server has replaced by itself reads the new files, too.
func (n *snapshot) proven(changes []Change, main Process, now clock.Instant) bool {
	type workers struct{ all, settled turnover }
	groups, listeners := map[group]*workers{}, turnover{before: len(n.listeners)}
	for _, w := range n.workers {
		members := groups[w.group()]
		if members == nil {
			members = &workers{}
			groups[w.group()] = members
		}
		members.all.before++
		members.settled.before++
	}
	old, certain, answers := setOf(n.workers), main.id() != n.main.id(), false
	for _, c := range changes {
		switch c.Kind {
		case ChangeProcess:
			members := groups[c.process.group()]
			if members == nil || !c.isNew && !old[c.process.id()] {
				continue
			}
			members.all.count(c)
			if now.Sub(c.At) >= settled {
				members.settled.count(c)
			}
		case ChangeListener:
			listeners.count(c)
		case ChangePIDFile:
			certain = true
		case ChangeGeneration:
			answers = true
		}
	}
	partial := false
	for _, members := range groups {
		certain = certain || members.settled.whole()
		partial = partial || members.all.partial()
	}
	return certain || listeners.whole() || answers && !partial
}

// recent is the time after a server has become ready in which it may still start processes.
const recent = time.Second

// awaitSteady waits until the server's set of processes has stayed the same for the time settled.
// It waits at most recent, because a server may start a process for each request.
func (s *Server) awaitSteady(ctx context.Context) error {
	var last map[id]bool
	var since time.Time
	err := poll(ctx, recent, func() (bool, error) {
		all, err := s.home.processes()
		if now := setOf(all); !maps.Equal(now, last) {
			last, since = now, time.Now()
		}
		return time.Since(since) >= settled, err
	})
	if errors.Is(err, errLimit) {
		return nil
	}
	return err
}

// awaitOver waits until the restart is over.
func (r *restarting) awaitOver(ctx context.Context) error {
	var missing error
	err := poll(ctx, r.cfg.RestartWithin, func() (bool, error) {
		if err := r.ended(); err != nil {
			return false, err
		}
		var fatal error
		missing, fatal = r.isOver(ctx)
		return missing == nil, fatal
	})
	if errors.Is(err, errLimit) {
		if errors.Is(missing, ErrUnchanged) {
			return r.unchanged(ctx)
		}
		return fmt.Errorf("the restart is not over within %v: %w", r.cfg.RestartWithin, missing)
	}
	return err
}

// unchanged returns the error of a restart that nothing has proved.
func (r *restarting) unchanged(ctx context.Context) error {
	changes, err := r.changes(ctx)
	if err != nil {
		return err
	}
	if len(changes) == 0 {
		return fmt.Errorf("%w: after %v it has the same processes, listeners%s", ErrUnchanged,
			r.cfg.RestartWithin, r.alsoSame())
	}
	const limit = 4
	var what []string
	for _, c := range changes[:min(len(changes), limit)] {
		what = append(what, c.What)
	}
	hint := ""
	if r.cfg.Identify.Generation == "" {
		hint = "; if it was the restart, prove it by identify.generation"
	}
	return fmt.Errorf("%w: after %v, only this is different: %s, which a server may do by itself%s",
		ErrUnchanged, r.cfg.RestartWithin, strings.Join(what, ", "), hint)
}

// alsoSame returns a part of the message of ErrUnchanged: the last items in the list of things that
// are the same as before.
func (r *restarting) alsoSame() string {
	text := ""
	if r.cfg.PIDFile != "" {
		text += ", pid file"
	}
	if r.cfg.Identify.Generation != "" {
		text += ", generation in its answers"
	}
	return text
}

// isOver checks whether the restart is over. If it is over, isOver fills in the result and missing
// is nil. Otherwise missing describes the condition that does not hold yet.
func (r *restarting) isOver(ctx context.Context) (missing, fatal error) {
	var answered *Change
	if r.cfg.Identify.Generation != "" {
		// Before the changes are read, so that these include the start of the worker that answers.
		answered, missing = r.newGeneration(ctx)
	}
	changes, err := r.changes(ctx)
	if err != nil {
		return nil, err
	}
	if r.cfg.Identify.Generation == "" && r.cfg.Identify.Worker != "" {
		answered, missing = r.newWorker(ctx, changes)
	}
	if answered != nil {
		changes = append(changes, *answered)
	}
	before := r.result.Before
	main, mainErr := r.findMain(r.newest())
	if mainErr != nil {
		main = before
	}
	if !r.before.proven(changes, main, r.env.Clock.Now()) {
		return ErrUnchanged, nil
	}
	if missing := cmp.Or(missing, mainErr); missing != nil {
		return missing, nil
	}
	if main.id() != before.id() && before.alive() && !r.told[before.id()] {
		return fmt.Errorf("the previous main process %v still runs and was not told to stop; "+
			"add stop: previous, or a signal to old-main", before), nil
	}
	if missing := r.readyAgain(ctx); missing != nil {
		return missing, nil
	}
	r.result.Changes, r.result.Changed, r.result.Over = changes, changes[0].At, r.env.Clock.Now()
	r.result.Main = main
	r.result.Remaining = nil
	for _, p := range living(r.before.processes) {
		if p.id() != main.id() {
			r.result.Remaining = append(r.result.Remaining, p)
		}
	}
	other := func(p Process) bool { return p.id() != main.id() }
	r.result.Replaced = len(r.result.Remaining) == 0 &&
		slices.ContainsFunc(r.before.processes, other)
	return nil, nil
}

// newGeneration sends a request. If the new generation answers, newGeneration returns that change.
// Otherwise it returns an error, missing, that says what answers.
func (r *restarting) newGeneration(ctx context.Context) (c *Change, missing error) {
	if err := r.generationAnswers(ctx); err != nil {
		return nil, err
	}
	what := fmt.Sprintf("generation %d answers", r.result.Generation)
	return &Change{Kind: ChangeGeneration, What: what, At: r.env.Clock.Now()}, nil
}

// newWorker sends a request if the restart has started a process. If a new process answers,
// newWorker returns that change. If an old one still answers, it returns an error, missing, that
// says so.
func (r *restarting) newWorker(ctx context.Context, changes []Change) (c *Change, missing error) {
	started := slices.ContainsFunc(changes, func(c Change) bool {
		return c.Kind == ChangeProcess && c.isNew
	})
	if !started {
		return nil, nil
	}
	a, err := r.ask(ctx, r.path())
	if err != nil || a.worker == 0 {
		return nil, err
	}
	switch old, fresh := r.home.origin(a.worker, r.before.ids); {
	case old:
		return nil, fmt.Errorf("process %d, which ran before the restart, still answers", a.worker)
	case !fresh:
		return nil, nil
	}
	what := fmt.Sprintf("process %d answers", a.worker)
	return &Change{Kind: ChangeWorker, What: what, At: r.env.Clock.Now()}, nil
}

// path returns the path of requests that find out which process or generation answers.
func (s *Server) path() string { return cmp.Or(s.cfg.Ready.HTTP, "/") }

// readyAgain returns nil if the server is ready after the restart, as far as Config.Ready can tell.
func (r *restarting) readyAgain(ctx context.Context) error {
	// the restart has started the server
	if st := r.newest(); st.generation == r.result.Generation {
		return r.ready(ctx, st)
	}
	if r.cfg.Ready.HTTP == "" {
		_, err := r.findMain(r.newest())
		return err
	}
	a, err := r.ask(ctx, r.cfg.Ready.HTTP)
	if err == nil && !a.ok(r.cfg.Ready) {
		err = fmt.Errorf("GET %s is answered with %v", r.cfg.Ready.HTTP, a)
	}
	return err
}

// generationAnswers returns nil if the new generation answers a request.
func (r *restarting) generationAnswers(ctx context.Context) error {
	a, err := r.ask(ctx, r.path())
	switch {
	case err != nil:
		return err
	case a.generation == "":
		return fmt.Errorf("the answer has no header %s", r.cfg.Identify.Generation)
	case a.generation != strconv.Itoa(r.result.Generation):
		return fmt.Errorf("generation %s still answers, not %d", a.generation, r.result.Generation)
	}
	return nil
}
