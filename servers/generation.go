package servers

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"reuseport-bench/servers/clock"
)

// A Generation is a set of workers that serve together. With Config.MayBeTaken, it contains only
// the workers that could bind. A caller that starts or stops single workers must update Workers.
type Generation struct {
	Number  int // from 0
	Workers []*Worker
	Ready   clock.Instant // when the last worker became ready; valid after Await

	channels channels // used until Await closes them
}

// NextGeneration returns a generation with the next number and no workers. Calls must not overlap.
func (g *Group) NextGeneration() *Generation {
	gen := &Generation{Number: g.generations}
	g.generations++
	return gen
}

// StartGeneration starts Config.Workers workers and returns when all are ready. After an error no
// process of the generation runs. Calls must not overlap.
func (g *Group) StartGeneration(ctx context.Context) (*Generation, error) {
	gen, err := g.Launch(ctx)
	if err != nil {
		return nil, err
	}
	if err := g.Await(ctx, gen); err != nil {
		return nil, err
	}
	return gen, nil
}

// Launch starts Config.Workers workers at once and does not wait for them. The caller must call
// Await. After an error no process of the generation runs. Calls must not overlap.
func (g *Group) Launch(ctx context.Context) (*Generation, error) {
	gen := g.NextGeneration()
	if err := g.launch(ctx, gen); err != nil {
		gen.channels.close()
		return nil, errors.Join(fmt.Errorf("generation %d: %w", gen.Number, err), kill(gen.Workers))
	}
	return gen, nil
}

func (g *Group) launch(ctx context.Context, gen *Generation) (err error) {
	if gen.channels, err = g.openChannels(); err != nil {
		return err
	}
	g.countStarting(g.cfg.Workers)
	for index := range g.cfg.Workers {
		w, err := g.startWorker(ctx, gen.Number, index, 0, gen.channels)
		if err != nil {
			return err
		}
		gen.Workers = append(gen.Workers, w)
		if g.cfg.MayBeTaken {
			g.awaitBound(ctx, w)
		}
	}
	return nil
}

// awaitBound waits until the worker listens or has failed. listen(2) sets the state TCP_LISTEN
// before it requests the port (inet_csk_listen_start in net/ipv4/inet_connection_sock.c). If two
// workers called it at the same time, each could find the other's socket in that state, and both
// would fail.
func (g *Group) awaitBound(ctx context.Context, w *Worker) {
	ctx, cancel := context.WithTimeout(ctx, StartLimit)
	defer cancel()
	_ = w.awaitReady(ctx) // await reports the error
}

// ErrTaken means that, with Config.MayBeTaken, no started worker could bind its address.
var ErrTaken = errors.New("no worker could bind its address")

// startLimit limits ctx to StartLimit, except with third-party servers, which have limits of their
// own.
func (g *Group) startLimit(ctx context.Context) (context.Context, context.CancelFunc) {
	if g.env.ThirdParty != nil {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, StartLimit)
}

// foundTaken reports whether a worker failed because its address was taken and Config allows this.
func (g *Group) foundTaken(w *Worker) bool { return g.cfg.MayBeTaken && w.BindError() != 0 }

// Await returns when all workers that Launch started are ready. From then on a selector may choose
// these workers. After an error no process of the generation runs.
func (g *Group) Await(ctx context.Context, gen *Generation) error {
	defer gen.channels.close()
	if err := g.await(ctx, gen); err != nil {
		return errors.Join(fmt.Errorf("generation %d: %w", gen.Number, err), kill(gen.Workers))
	}
	return nil
}

func (g *Group) await(ctx context.Context, gen *Generation) (err error) {
	ctx, cancel := g.startLimit(ctx)
	defer cancel()
	for _, w := range gen.Workers {
		if err := w.awaitReady(ctx); err != nil && !g.foundTaken(w) {
			return err
		}
		gen.Ready = max(gen.Ready, w.readyAt)
	}
	if gen.Workers = slices.DeleteFunc(gen.Workers, g.foundTaken); len(gen.Workers) == 0 {
		return ErrTaken
	}
	if g.cfg.Accept.Row().Passes {
		if gen.Ready, err = g.startAcceptor(ctx, gen.channels); err != nil {
			return err
		}
	}
	for _, w := range gen.Workers {
		if err := g.list(w); err != nil {
			return err
		}
	}
	return errors.Join(g.updateCount(), g.closeShared())
}
