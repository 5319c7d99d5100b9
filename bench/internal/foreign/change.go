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

// settled is how long a new process must have run, or an old one must have been gone, to prove that
// a restart did something. A failed restart may start a process for a moment.
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
	ChangeProcess    ChangeKind = "process"    // a new process, or one that has gone
	ChangeListener   ChangeKind = "listener"   // a new listening socket, or one that has gone
	ChangePIDFile    ChangeKind = "pid-file"   // the pid file names another process
	ChangeWorker     ChangeKind = "worker"     // a new process answers
	ChangeGeneration ChangeKind = "generation" // the new generation answers
)

const isNew = " is new"

// A snapshot is what can be seen of the server before a restart.
type snapshot struct {
	processes []Process
	ids       map[id]bool
	main      Process
	listeners map[uint64]string // by cookie
	pidFile   string
	lingers   bool              // old processes still run and may close listeners
	first     map[string]Change // changes by Kind and What, as first seen
}

// look returns what can be seen now.
func (s *Server) look(ctx context.Context) (n *snapshot, err error) {
	n = &snapshot{listeners: map[uint64]string{}, first: map[string]Change{}}
	if n.processes, err = s.home.processes(); err != nil {
		return nil, err
	}
	n.ids = setOf(n.processes)
	all, err := s.Listeners()
	for _, q := range all {
		n.listeners[q.Cookie] = fmt.Sprintf("socket %d", q.Inode)
	}
	if s.cfg.PIDFile != "" {
		text, _ := s.home.read(s.cfg.PIDFile, 64)
		n.pidFile = strings.TrimSpace(string(text))
	}
	return n, errors.Join(err, ctx.Err())
}

// changes returns the differences between now and the snapshot, in the order in which they were
// first seen.
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

// recent is how long a server may still be starting processes after it has become ready.
const recent = time.Second

// awaitSteady waits until the set of processes has not changed for settled. It waits at most
// recent, because a server may start a process for each request.
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

// alsoSame returns the end of a list of things that are unchanged after a restart that changed
// nothing.
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

// isOver checks whether the restart is over. If it is, missing is nil and the result is filled in;
// otherwise missing says what is missing.
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

// newAnswer returns the change that the server's answers show, if answers identify who sends them.
// If something old still answers, it returns what is missing.
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
	if p, err := r.home.process(a.worker); err == nil && r.before.ids[p.id()] {
		return nil, fmt.Errorf("process %v, which ran before the restart, still answers", p)
	}
	what := fmt.Sprintf("process %d answers", a.worker)
	return &Change{ChangeWorker, what, r.env.Clock.Now()}, nil
}

// path returns the path of the requests that find out who answers.
func (s *Server) path() string { return cmp.Or(s.cfg.Ready.HTTP, "/") }

// readyAgain returns nil if the server is ready after the restart, as far as Config.Ready can tell.
func (r *restarting) readyAgain(ctx context.Context) error {
	if st := r.newest(); st.generation == r.result.Generation { // the restart has started it
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
