package servers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/clock"
)

// Stop stops workers and returns when their listeners are closed; they may still be finishing what
// they accepted. The trigger is the instant just before the first signal.
//
// A worker that does not close its listener within Config.Grace is an error; it is left running
// for Close to end.
func (g *Group) Stop(ctx context.Context, workers []*Worker, mode vocabulary.StopMode) (trigger, closed clock.Instant, err error) {
	trigger = g.env.Clock.Now()
	// What the acceptor has accepted, the workers get before they are stopped. Of one that is
	// killed it is told nothing.
	if a := g.acceptor; a != nil && mode != vocabulary.StopKill && !a.wasStopped() {
		_, err = g.stop(ctx, []*Worker{a}, vocabulary.StopDrain)
	}
	if mode.Row().Unlists {
		err = errors.Join(err, g.unlist(ctx, workers, mode))
	}
	closed, stopErr := g.stop(ctx, workers, mode)
	return trigger, closed, errors.Join(err, stopErr)
}

// stop is Stop without regard to an acceptor.
func (g *Group) stop(ctx context.Context, workers []*Worker, mode vocabulary.StopMode) (closed clock.Instant, err error) {
	var errs []error
	for _, w := range workers {
		errs = append(errs, w.stop(mode))
	}
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Grace)
	defer cancel()
	for _, w := range workers {
		select {
		case <-w.closed:
			closed = max(closed, w.Closing().To)
			errs = append(errs, g.removeFromList(w))
		case <-ctx.Done():
			errs = append(errs, fmt.Errorf("worker %d did not close its listener within %v: it is overloaded or stuck", w.ID, g.cfg.Grace))
		}
	}
	return closed, errors.Join(errs...)
}

// Finish waits until every worker that was told to stop has exited, within Config.Grace and a
// little more.
func (g *Group) Finish(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Grace+time.Second)
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
