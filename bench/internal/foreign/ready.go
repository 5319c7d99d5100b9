package foreign

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/kernel"
)

// awaitReady waits until the server is ready after a start, and its main process is known.
func (s *Server) awaitReady(ctx context.Context, st *start) error {
	if s.cfg.Forks {
		if err := s.awaitFork(ctx, st); err != nil {
			return err
		}
	}
	left := max(s.cfg.Ready.Within-time.Since(st.began), pollEvery)
	var missing error
	err := poll(ctx, left, func() (bool, error) {
		if err := s.endedEarly(st); err != nil {
			return false, err
		}
		if missing = s.ready(ctx, st); missing != nil {
			return false, nil
		}
		var main Process
		if main, missing = s.findMain(st); missing != nil {
			return false, nil
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.main = main
		return true, nil
	})
	if errors.Is(err, errLimit) {
		return fmt.Errorf("not ready within %v: %w", s.cfg.Ready.Within, missing)
	}
	return err
}

// awaitFork waits until the start command has exited, and so left the server in the background.
func (s *Server) awaitFork(ctx context.Context, st *start) error {
	err := st.command.await(ctx, 0, s.cfg.Ready.Within)
	stays := err != nil && !errors.Is(err, errAgent) && !st.command.hasExited()
	if stays && ctx.Err() == nil {
		return fmt.Errorf("start stays in the foreground: it still runs after %v; "+
			"leave out forks, or make the server go to the background", s.cfg.Ready.Within)
	}
	return err
}

// endedEarly returns an error if the server exited before it was ready, or went to the background
// although Config.Forks is false, or if the agent has exited.
func (s *Server) endedEarly(st *start) error {
	c := st.command
	if err := s.home.lost(); err != nil || !c.hasExited() {
		return err
	}
	after := time.Since(st.began).Round(time.Millisecond)
	all, err := s.home.processes()
	left := without(all, st.before)
	switch {
	case err != nil:
		return err
	case s.cfg.Forks && len(left) == 0:
		return fmt.Errorf(
			"start exited with status 0, but no process of the server is left after %v", after)
	case s.cfg.Forks:
		return nil
	case c.failed():
		return fmt.Errorf("%s: %s after %v, before it was ready", c.name(), ending(c.status), after)
	case len(left) > 0:
		return fmt.Errorf("start exited with status 0 after %v but left %s: %s",
			after, nameList(left), inBackground)
	}
	return fmt.Errorf("%s: exit status 0 after %v, before it was ready", c.name(), after)
}

const inBackground = "the server went to the background; keep it in the foreground " +
	"(nginx: daemon off;), or say forks: true and name its pid_file"

// ready returns nil if the server that st started is ready. Otherwise it returns an error that says
// what is missing. Answers and listeners of processes from earlier starts do not count.
func (s *Server) ready(ctx context.Context, st *start) error {
	r := s.cfg.Ready
	switch {
	case r.HTTP != "":
		return s.readyHTTP(ctx, st)
	case r.Notify:
		if s.notify.readies() > st.readies {
			return nil
		}
		return s.notSaid()
	case r.Stdout != nil:
		select {
		case <-st.line:
			return nil
		default:
			return fmt.Errorf("no line of its output matches %q", r.Stdout)
		}
	case !r.Run.empty():
		return s.readyRun(ctx)
	}
	return s.listensSince(st)
}

func (s *Server) notSaid() error {
	text := "it has not sent READY=1 to $NOTIFY_SOCKET"
	if status := s.notify.status(); status != "" {
		text += "; its last status is " + strconv.Quote(status)
	}
	return errors.New(text)
}

// readyRun runs the command of Ready.Run. It leaves no process of the command behind.
func (s *Server) readyRun(ctx context.Context) error {
	own := &output{}
	c, err := s.run(ctx, s.cfg.Ready.Run, "ready.run", s.variables(), nil, own, &s.probes)
	if err != nil {
		return err
	}
	err = c.await(ctx, 0, s.cfg.Ready.Within)
	killErr := s.home.killSession(c)
	if err != nil {
		return fmt.Errorf("ready.run: %w%s", err, quoteLines(own.last(1)))
	}
	return killErr
}

func (s *Server) readyHTTP(ctx context.Context, st *start) error {
	a, err := s.ask(ctx, s.cfg.Ready.HTTP)
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		return s.listensElsewhere(st)
	case err != nil:
		return fmt.Errorf("GET %s: %w", s.cfg.Ready.HTTP, err)
	case !a.ok(s.cfg.Ready):
		return fmt.Errorf("GET %s is answered with %v", s.cfg.Ready.HTTP, a)
	case len(st.before) == 0:
		return nil
	}
	// The answer may have come from a process of an earlier start.
	old, fresh := s.home.origin(a.worker, st.before)
	switch {
	case a.generation != "" && a.generation != strconv.Itoa(st.generation):
		return fmt.Errorf("generation %s still answers, not %d", a.generation, st.generation)
	case a.generation != "":
		return nil
	case old:
		return fmt.Errorf("process %d of an earlier start still answers", a.worker)
	case fresh:
		return nil
	}
	return s.listensSince(st)
}

// listensSince returns nil if a process that is younger than the start listens at the server's
// address.
func (s *Server) listensSince(st *start) error {
	at, _, err := s.Listeners()
	if err != nil {
		return err
	}
	if len(s.owners(st, at)) > 0 {
		return nil
	}
	return s.listensElsewhere(st)
}

// owners returns those of the given listeners that a process younger than the start has open.
func (s *Server) owners(st *start, listeners []kernel.Queue) (owned []kernel.Queue) {
	all, err := s.home.processes()
	if err != nil || len(listeners) == 0 {
		return nil
	}
	for _, p := range without(all, st.before) {
		sockets := p.sockets()
		for _, q := range listeners {
			if sockets[q.Inode] {
				owned = append(owned, q)
			}
		}
	}
	return owned
}
