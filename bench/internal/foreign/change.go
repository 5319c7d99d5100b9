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

	"reuseport-bench/servers/clock"
)

// settled is the time for which a new process must have run, or an old process must have been gone,
// before that proves that a restart did something. A failed restart may start a process that exits
// at once.
const settled = 100 * time.Millisecond

// A Change is something that a restart has changed.
type Change struct {
	Kind ChangeKind
	What string
	At   clock.Instant // when it was first seen
}

// proves reports whether the change proves that the restart did something.
func (c Change) proves(now clock.Instant) bool {
	return c.Kind != ChangeProcess || now.Sub(c.At) >= settled
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

const isNew = " is new"

// A snapshot is the visible state of the server at one moment.
type snapshot struct {
	processes []Process
	ids       map[id]bool
	main      Process
	listeners map[uint64]string // by cookie
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
	all, _, err := s.Listeners()
	for _, q := range all {
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
	note := func(kind ChangeKind, format string, args ...any) Change {
		what := fmt.Sprintf(format, args...)
		c, seen := r.before.first[string(kind)+what]
		if !seen {
			c = Change{Kind: kind, What: what, At: at}
			r.before.first[string(kind)+what] = c
		}
		all = append(all, c)
		return c
	}
	for _, p := range without(now.processes, r.before.ids) {
		note(ChangeProcess, "process %v"+isNew, p)
	}
	for _, p := range without(r.before.processes, now.ids) {
		if r.lingering[p.id()] {
			continue // an earlier restart left it running
		}
		note(ChangeProcess, "process %v is gone", p)
	}
	for cookie, name := range now.listeners {
		if _, old := r.before.listeners[cookie]; !old {
			note(ChangeListener, "listener %s is new", name)
		}
	}
	for cookie, name := range r.before.listeners {
		if _, left := now.listeners[cookie]; !left && !r.before.lingers {
			c := note(ChangeListener, "listener %s is gone", name)
			r.result.Closed = max(r.result.Closed, c.At)
		}
	}
	if now.pidFile != r.before.pidFile && now.pidFile != "" {
		note(ChangePIDFile, "the pid file says %s, not %s", now.pidFile, r.before.pidFile)
	}
	slices.SortStableFunc(all, func(a, b Change) int { return int(a.At - b.At) })
	return all, nil
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
			return fmt.Errorf("%w: after %v it has the same processes, listeners%s", missing,
				r.cfg.RestartWithin, r.alsoSame())
		}
		return fmt.Errorf("the restart is not over within %v: %w", r.cfg.RestartWithin, missing)
	}
	return err
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
	changes, err := r.changes(ctx)
	if err != nil {
		return nil, err
	}
	answered, missing := r.newAnswer(ctx, changes)
	if answered != nil {
		changes = append(changes, *answered)
	}
	now := r.env.Clock.Now()
	if !slices.ContainsFunc(changes, func(c Change) bool { return c.proves(now) }) {
		return ErrUnchanged, nil
	}
	if missing != nil {
		return missing, nil
	}
	st := r.newest()
	main, err := r.findMain(st)
	if err != nil {
		return err, nil
	}
	before := r.result.Before
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

// newAnswer sends a request if answers identify the process or the generation that sends them. If a
// new one answers, newAnswer returns that change. If an old one still answers, it returns an error,
// missing, that says so.
func (r *restarting) newAnswer(ctx context.Context, changes []Change) (c *Change, missing error) {
	if r.cfg.Identify.Generation != "" {
		if err := r.generationAnswers(ctx); err != nil {
			return nil, err
		}
		what := fmt.Sprintf("generation %d answers", r.result.Generation)
		return &Change{ChangeGeneration, what, r.env.Clock.Now()}, nil
	}
	started := slices.ContainsFunc(changes, func(c Change) bool {
		return c.Kind == ChangeProcess && strings.HasSuffix(c.What, isNew)
	})
	if r.cfg.Identify.Worker == "" || !started {
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
	return &Change{ChangeWorker, what, r.env.Clock.Now()}, nil
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
