package servers

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"reuseport-bench/scenarios/vocabulary"
)

// Park starts one process for each index, in that order. It does not wait until the processes are
// parked; AwaitParked does. A process is parked when it has done every part of its start that does
// not depend on which worker it becomes. The next worker with its index takes over the process,
// which then only has to listen. Close kills the processes that have not become workers.
//
// Call Park only once the first generation is ready: with SCMRights or Tableflip a process started
// earlier would inherit the shared socket and keep it open. Workers that another worker starts
// (Tableflip) and workers behind an acceptor cannot be parked. Calls must not overlap with each
// other or with the start of a worker.
func (g *Group) Park(indexes ...int) error {
	if g.cfg.Handover == vocabulary.Tableflip || g.cfg.Accept.Row().Passes {
		return errors.New("workers that tableflip starts or an acceptor serves cannot be parked")
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
	// A socket that the parent opened now would get connections before w serves.
	if g.cfg.Handover == vocabulary.SocketActivation && g.listener < 0 {
		if g.heldFor(w.Index) < 0 {
			return errors.New("no worker has had this index, so its socket would listen too early")
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

// AwaitParked returns when every process that Parked returns is parked.
func (g *Group) AwaitParked(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, StartLimit)
	defer cancel()
	for _, w := range g.Parked() {
		select {
		case <-w.parked:
		case <-w.exited:
			return fmt.Errorf("%s exited before it was parked: %w", w.name(), w.failure())
		case <-ctx.Done():
			return fmt.Errorf("%s was not parked in time: %w", w.name(), context.Cause(ctx))
		}
	}
	return nil
}

// Parked returns the processes that Park started and that have not become workers, in start order.
// They have no ID yet. Each is the Worker that it will become.
func (g *Group) Parked() []*Worker {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.parked)
}

// takeParked removes and returns the first parked process with that index, or returns nil.
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
		w.parkedSince = w.parkedAt
	}
	return w
}
