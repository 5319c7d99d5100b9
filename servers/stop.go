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

// graceSlack is the time from the end of a worker's grace until the worker is killed. A worker
// exits by itself when its grace is over, unless it is too busy to notice.
const graceSlack = time.Second

// Stop stops workers and returns when their listeners are closed. The workers may then still be
// serving the connections that they have accepted. trigger is the instant just before the first
// signal or command.
//
// A worker that has not exited after Config.Grace and graceSlack is killed. If ctx ends before the
// listeners are closed, Stop returns an error and does nothing more to the workers. With
// SelectorCPU, calls must not overlap.
func (g *Group) Stop(
	ctx context.Context, workers []*Worker, mode vocabulary.StopMode,
) (trigger, closed clock.Instant, err error) {
	trigger = g.env.Clock.Now()
	// Stop the acceptor first, so that the workers get the connections that it has accepted. If
	// workers are killed, the acceptor is not stopped.
	if a := g.acceptor; a != nil && mode != vocabulary.StopKill && !a.wasStopped() {
		_, err = g.stop(ctx, []*Worker{a}, vocabulary.StopDrain, g.cfg.Grace)
	}
	if mode.Row().Unlists {
		err = errors.Join(err, g.unlist(ctx, workers, mode))
	}
	closed, stopErr := g.stop(ctx, workers, mode, g.cfg.Grace)
	return trigger, closed, errors.Join(err, stopErr)
}

// stop is like Stop, but does not stop the acceptor.
func (g *Group) stop(
	ctx context.Context, workers []*Worker, mode vocabulary.StopMode, grace time.Duration,
) (closed clock.Instant, err error) {
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
	return closed, errors.Join(append(errs, g.updateCount())...)
}

// End ends every worker when the trial is over. Workers that still serve first accept the
// connections in their queues. All workers have the grace to finish, including those that were
// stopped earlier.
func (g *Group) End(ctx context.Context, grace time.Duration) (err error) {
	if a := g.acceptor; a != nil && !a.wasStopped() {
		_, err = g.stop(ctx, []*Worker{a}, vocabulary.StopDrain, grace)
	}
	for _, w := range g.Workers() {
		switch {
		case w.Serves():
			err = errors.Join(err, w.stop(vocabulary.StopDrain, grace))
		case w.wasStopped() && !w.hasExited():
			w.shortenGrace(grace)
		}
	}
	return errors.Join(err, g.Finish(ctx))
}

// Finish waits until every stopped worker has exited.
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
			err := context.Cause(ctx)
			return fmt.Errorf("worker %d did not exit after it was stopped: %w", w.ID, err)
		}
	}
	return nil
}

// kill kills workers and waits until they have exited.
func kill(workers []*Worker) error {
	var errs []error
	for _, w := range workers {
		errs = append(errs, w.kill(), w.awaitGone())
	}
	return errors.Join(errs...)
}

// BusyLoop makes workers of kind Loop compute for d, so that they use their CPU and serve nothing.
func BusyLoop(workers []*Worker, d time.Duration) error {
	var errs []error
	for _, w := range workers {
		errs = append(errs, w.send(Command{BusyLoop: d}))
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
