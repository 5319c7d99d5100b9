package servers

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"reuseport-bench/scenarios/vocabulary"
)

// Park starts a process for each index, in that order, and does not wait until they are parked:
// AwaitParked does. A process is parked when it has done everything that does not depend on which
// worker it becomes. The next worker with its index takes it over, and need only listen then. A
// process that no worker takes over is killed by Close.
//
// Park must not be called before the first generation is ready: with a Handover among workers a
// process started earlier would inherit the shared socket, and keep it open. A worker that another
// one starts (Tableflip), and one that is behind an acceptor, cannot be parked. One call at a time,
// and none while a worker is being started.
func (g *Group) Park(indexes ...int) error {
	if g.cfg.Handover == vocabulary.Tableflip || g.cfg.Accept.Row().Passes {
		return errors.New("workers that others start, or accept for, cannot be parked")
	}
	for _, index := range indexes {
		w := g.newWorker(index)
		if err := g.park(w); err != nil {
			return fmt.Errorf("parked process for index %d: %w", index, err)
		}
	}
	return nil
}

func (g *Group) park(w *Worker) error {
	// A socket that the parent holds listens from the moment it is made, and w does not serve yet.
	if g.cfg.Handover == vocabulary.SocketActivation && g.listener < 0 {
		if g.heldFor(w.Index) < 0 {
			return errors.New("no worker had this index before, so its socket would listen too early")
		}
	}
	if err := g.startProcess(w, channels{}); err != nil {
		return err
	}
	cfg := g.workerConfig(w)
	cfg.Parked = true
	if err := w.configure(cfg); err != nil {
		return w.abandon(err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.parked = append(g.parked, w)
	return nil
}

// AwaitParked returns when every process that Park started and no worker has taken over is parked.
func (g *Group) AwaitParked(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, StartLimit)
	defer cancel()
	for _, w := range g.Parked() {
		select {
		case <-w.parked:
		case <-w.exited:
			return fmt.Errorf("process for index %d ended before it was parked: %w", w.Index, w.failure())
		case <-ctx.Done():
			return fmt.Errorf("process for index %d was not parked in time: %w", w.Index, context.Cause(ctx))
		}
	}
	return nil
}

// Parked returns the processes that Park started and no worker has taken over, in order of their
// start. They have no ID yet. Each is the Worker that takes it over.
func (g *Group) Parked() []*Worker {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.parked)
}

// takeParked removes and returns the first of the parked processes with that index; nil: there is
// none.
func (g *Group) takeParked(index int) *Worker {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.IndexFunc(g.parked, func(w *Worker) bool { return w.Index == index })
	if i < 0 {
		return nil
	}
	w := g.parked[i]
	g.parked = slices.Delete(g.parked, i, i+1)
	if w.IsParked() {
		w.takenOver = w.parkedAt
	}
	return w
}
