package servers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/child"
	"reuseport-bench/servers/clock"
)

// graceSlack is how long after its grace a worker that was told to stop is killed. It ends by
// itself when the grace is over, unless it is too busy to notice.
const graceSlack = time.Second

// Stop stops workers and returns when their listeners are closed; they may still be finishing what
// they accepted. The trigger is the instant just before the first signal.
//
// A worker that has not ended within Config.Grace, and graceSlack, is killed. So Stop ends, unless
// ctx ends before: that is an error, and the workers go on. With SelectorCPU one call at a time.
func (g *Group) Stop(ctx context.Context, workers []*Worker, mode vocabulary.StopMode) (trigger, closed clock.Instant, err error) {
	trigger = g.env.Clock.Now()
	// What the acceptor has accepted, the workers get before they are stopped. Of one that is
	// killed it is told nothing.
	if a := g.acceptor; a != nil && mode != vocabulary.StopKill && !a.wasStopped() {
		_, err = g.stop(ctx, []*Worker{a}, vocabulary.StopDrain, g.cfg.Grace)
	}
	if mode.Row().Unlists {
		err = errors.Join(err, g.unlist(ctx, workers, mode))
	}
	closed, stopErr := g.stop(ctx, workers, mode, g.cfg.Grace)
	return trigger, closed, errors.Join(err, stopErr)
}

// stop is Stop without regard to an acceptor.
func (g *Group) stop(ctx context.Context, workers []*Worker, mode vocabulary.StopMode,
	grace time.Duration) (closed clock.Instant, err error) {
	var errs []error
	for _, w := range workers {
		errs = append(errs, w.stop(mode, grace))
	}
	for _, w := range workers {
		if err := w.awaitClosed(ctx); err != nil {
			return 0, errors.Join(append(errs, err)...)
		}
		closed = max(closed, w.Closing().To)
		errs = append(errs, g.removeFromList(w))
	}
	return closed, errors.Join(append(errs, g.follow())...)
}

// End ends every worker when nobody wants anything of them any more. They take what is queued, and
// have that time to finish, also those that were told to stop before.
func (g *Group) End(ctx context.Context, grace time.Duration) (err error) {
	if a := g.acceptor; a != nil && !a.wasStopped() {
		_, err = g.stop(ctx, []*Worker{a}, vocabulary.StopDrain, grace)
	}
	for _, w := range g.Workers() {
		switch {
		case w.Serves():
			err = errors.Join(err, w.stop(vocabulary.StopDrain, grace))
		case w.wasStopped() && !w.hasExited():
			w.hurry(grace)
		}
	}
	return errors.Join(err, g.Finish(ctx))
}

// Finish waits until every worker that was told to stop has exited, which Stop sees to.
func (g *Group) Finish(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Grace+graceSlack+child.GoneLimit)
	defer cancel()
	for _, w := range g.Workers() {
		if !w.wasStopped() {
			continue
		}
		select {
		case <-w.exited:
		case <-ctx.Done():
			return fmt.Errorf("worker %d did not exit after it was stopped: %w", w.ID, context.Cause(ctx))
		}
	}
	return nil
}

// kill ends workers and waits for them.
func kill(workers []*Worker) error {
	var errs []error
	for _, w := range workers {
		errs = append(errs, w.kill(), w.awaitGone())
	}
	return errors.Join(errs...)
}

// BusyLoop makes workers of kind Loop compute for that long: they use their CPU and serve nobody.
func BusyLoop(workers []*Worker, d time.Duration) error {
	var errs []error
	for _, w := range workers {
		errs = append(errs, w.tell(Command{BusyLoop: d}))
	}
	return errors.Join(errs...)
}

// Signal sends SIGSTOP or SIGCONT to workers.
func Signal(workers []*Worker, s unix.Signal) error {
	var errs []error
	for _, w := range workers {
		if err := w.process.Signal(s); err != nil {
			errs = append(errs, fmt.Errorf("worker %d: %v: %w", w.ID, s, err))
		}
	}
	return errors.Join(errs...)
}
