package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"reuseport-bench/scenarios/vocabulary"
)

// StartWorker starts one worker and returns when it is ready; after an error it does not run. Its
// generation is only its label: it is not added to one. Its index in it, from 0, decides what
// workers differ in (Config.Pin, Config.PortPerIndex). It starts cold, and gets warm within so
// long; 0: it is warm. One call at a time.
func (g *Group) StartWorker(ctx context.Context, generation, index int, cold time.Duration) (*Worker, error) {
	w, err := g.LaunchWorker(ctx, generation, index, cold)
	if err != nil {
		return nil, err
	}
	return w, g.AwaitWorker(ctx, w)
}

// LaunchWorker is StartWorker without the wait. AwaitWorker must follow. After an error the worker
// does not run.
func (g *Group) LaunchWorker(ctx context.Context, generation, index int, cold time.Duration) (*Worker, error) {
	return g.startWorker(ctx, generation, index, cold, channels{})
}

// AwaitWorker returns when the worker is ready; from then on a selector may choose it. After an
// error it does not run.
func (g *Group) AwaitWorker(ctx context.Context, w *Worker) error {
	ctx, cancel := context.WithTimeout(ctx, StartLimit)
	defer cancel()
	err := w.awaitReady(ctx)
	if err == nil {
		err = g.list(w)
	}
	if err != nil {
		return errors.Join(err, kill([]*Worker{w}))
	}
	return nil
}

func (g *Group) startWorker(ctx context.Context, generation, index int, cold time.Duration, channels channels) (*Worker, error) {
	w := g.newWorker()
	w.Generation, w.Index, w.cold = generation, index, cold
	w.placement.Address = g.address(index)
	if g.env.Place != nil {
		placement, err := g.env.Place(ctx, w)
		if err != nil {
			return nil, fmt.Errorf("worker %d: %w", w.ID, err)
		}
		w.placement = placement
	}
	from := g.predecessor(w)
	if g.cfg.Handover == vocabulary.Tableflip && from != nil {
		// An upgraded process refuses to be upgraded while its own parent lives.
		if err := g.Finish(ctx); err != nil {
			return nil, err
		}
		return w, g.upgrade(ctx, w, from, g.workerConfig(w))
	}
	inherited, release, err := g.inheritance(w, channels)
	if err != nil {
		return nil, fmt.Errorf("worker %d: %w", w.ID, err)
	}
	defer release()
	cfg := g.workerConfig(w)
	cfg.Inherited = len(inherited) > 0 && g.selector == nil
	if g.cfg.Handover == vocabulary.SCMRights && from != nil {
		cfg.From = g.offerName(from)
	}
	var cpus []int
	if n := len(g.cfg.Pin); n > 0 {
		cfg.CPU = g.cfg.Pin[index%n]
		cpus = []int{cfg.CPU}
	}
	return w, g.start(w, cfg, inherited, cpus)
}

func (g *Group) newWorker() *Worker {
	w := &Worker{
		ID: g.nextID, clock: g.env.Clock, slot: -1, placement: Placement{Address: g.address(0), Start: g.env.Start},
		ready: make(chan struct{}), closed: make(chan struct{}), exited: make(chan struct{}),
	}
	g.nextID++
	return w
}

func (g *Group) workerConfig(w *Worker) WorkerConfig {
	cfg := WorkerConfig{
		Config: g.cfg, ID: w.ID, Index: w.Index, Generation: w.Generation, ColdFor: w.cold,
		Selected: g.selector != nil, Slot: w.slot,
	}
	cfg.Address = w.placement.Address
	if g.cfg.Handover == vocabulary.SCMRights {
		cfg.Offer = g.offerName(w)
	}
	return cfg
}

// inheritance is what a worker gets beside its pipes and its journal. The caller releases it when
// the worker has it.
func (g *Group) inheritance(w *Worker, channels channels) (files []*os.File, release func(), err error) {
	release = func() {}
	switch {
	case g.cfg.Accept == vocabulary.AcceptAcceptor && channels.workers == nil:
		return nil, release, errors.New("the acceptor knows only the workers that it was started with")
	case g.cfg.Accept == vocabulary.AcceptAcceptor:
		return channels.workers[w.Index : w.Index+1], release, nil
	case g.listener >= 0:
		l, err := duplicate(g.listener)
		return []*os.File{l}, func() { _ = l.Close() }, err
	case g.cfg.Handover == vocabulary.SocketActivation:
		l, err := g.heldListener(w.Index)
		return []*os.File{l}, func() { _ = l.Close() }, err
	case g.selector != nil:
		w.slot, err = g.freeSlot()
		return g.selector.Files(), release, err
	}
	return nil, release, nil
}

// start starts the process and takes it into the group.
func (g *Group) start(w *Worker, cfg WorkerConfig, inherited []*os.File, cpus []int) error {
	if err := w.start(g.env, cfg, inherited, cpus); err != nil {
		return fmt.Errorf("worker %d: %w", w.ID, err)
	}
	g.take(w)
	return nil
}
