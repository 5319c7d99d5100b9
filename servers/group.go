package servers

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/wire"
)

// Config describes a group of workers.
type Config struct {
	Kind    Kind
	Sockets Sockets
	Workers int            // per generation, at least 1
	Address netip.AddrPort // where they listen, in the network of Env
	Backlog int            // of each listening socket
	Work    Work
	Seed    uint64 // of what the workers draw, each from a stream of its own
	// Pin, where it is not empty, gives the worker in place i of its generation the CPU Pin[i % len(Pin)] alone.
	Pin   []int
	Fault Fault
	// Grace bounds how long a stopped worker may take to finish what it accepted. Default 1 s.
	Grace time.Duration
}

// Env is what a Group needs of its surroundings.
type Env struct {
	// Command makes the command that runs Main, not yet started.
	Command func() *exec.Cmd
	// Start starts a command in the servers' network namespace, on the given CPUs or, where there are none, on
	// any of the servers', so that it dies with this process.
	Start func(c *exec.Cmd, cpus []int) error
	// Do runs f on a thread in the servers' network namespace.
	Do func(f func() error) error
	// Account gets every journal record of every worker, each worker's in order, from one goroutine at a time.
	Account func(*Worker, Record)
	Clock   *wire.Clock
}

// startLimit bounds how long a generation may take to be ready.
const startLimit = 20 * time.Second

// A Group starts and stops generations of workers. Close ends it. Its methods may be called from
// several goroutines, except where they say otherwise.
type Group struct {
	cfg      Config
	env      Env
	listener int // the shared socket, or -1

	mu      sync.Mutex // guards workers and calls of Env.Account
	workers []*Worker

	stopDraining context.CancelFunc
	drained      chan struct{}
	nextID       int // by StartGeneration and StartWorker only
	generations  int
}

// NewGroup prepares a group; a shared socket listens from here on.
func NewGroup(cfg Config, env Env) (*Group, error) {
	if cfg.Grace == 0 {
		cfg.Grace = time.Second
	}
	g := &Group{cfg: cfg, env: env, listener: -1, drained: make(chan struct{})}
	if cfg.Sockets == Shared {
		err := env.Do(func() (err error) {
			g.listener, err = listen(cfg.Address, cfg.Sockets, cfg.Backlog)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("shared socket: %w", err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	g.stopDraining = cancel
	go g.drainJournals(ctx)
	return g, nil
}

// drainJournals empties the workers' journals often enough that none fills up: at 5 ms a worker
// would have to make 6.5 million records a second.
func (g *Group) drainJournals(ctx context.Context) {
	defer close(g.drained)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		g.mu.Lock()
		for _, w := range g.workers {
			w.drain(g.env.Account)
		}
		g.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// A Generation is the workers that serve together. Whoever starts and stops single workers keeps
// Workers up to date.
type Generation struct {
	Number  int // from 0
	Workers []*Worker
	Ready   wire.Instant // when the last worker of StartGeneration said ready
}

// NextGeneration is a generation with the next number and no worker. One call at a time.
func (g *Group) NextGeneration() *Generation {
	gen := &Generation{Number: g.generations}
	g.generations++
	return gen
}

// StartGeneration starts Config.Workers workers and returns when all are ready. After an error
// nothing of the generation runs. One call at a time.
func (g *Group) StartGeneration(ctx context.Context) (*Generation, error) {
	gen := g.NextGeneration()
	for place := range g.cfg.Workers {
		w, err := g.startWorker(gen.Number, place)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("generation %d: %w", gen.Number, err), kill(gen.Workers))
		}
		gen.Workers = append(gen.Workers, w)
	}
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for _, w := range gen.Workers {
		if err := w.awaitReady(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("generation %d: %w", gen.Number, err), kill(gen.Workers))
		}
		gen.Ready = max(gen.Ready, w.readyAt)
	}
	return gen, nil
}

// StartWorker starts one worker and returns when it is ready; after an error it does not run. Its
// generation is only its label: it is not added to one. Its place in it, from 0, decides what places differ
// in (Config.Pin). One call at a time.
func (g *Group) StartWorker(ctx context.Context, generation, place int) (*Worker, error) {
	w, err := g.startWorker(generation, place)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	if err := w.awaitReady(ctx); err != nil {
		return nil, errors.Join(err, kill([]*Worker{w}))
	}
	return w, nil
}

func (g *Group) startWorker(generation, place int) (*Worker, error) {
	w := &Worker{
		ID: g.nextID, Generation: generation, Place: place, clock: g.env.Clock,
		ready: make(chan struct{}), closed: make(chan struct{}), exited: make(chan struct{}),
	}
	g.nextID++
	err := w.start(g, workerConfig{
		ID: w.ID, Generation: generation, Kind: g.cfg.Kind, Sockets: g.cfg.Sockets, Address: g.cfg.Address,
		Backlog: g.cfg.Backlog, Work: g.cfg.Work, Seed: g.cfg.Seed, Fault: g.cfg.Fault, Grace: g.cfg.Grace,
	})
	if err != nil {
		return nil, fmt.Errorf("worker %d: %w", w.ID, err)
	}
	g.mu.Lock()
	g.workers = append(g.workers, w)
	g.mu.Unlock()
	return w, nil
}

// Workers are all workers ever started, in order of their ID.
func (g *Group) Workers() []*Worker {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]*Worker(nil), g.workers...)
}

// Stop stops workers and returns when their listeners are closed; they may still be finishing what
// they accepted. The trigger is the instant just before the first signal.
//
// A worker that does not close its listener within Config.Grace is an error; it is left running
// for Close to end.
func (g *Group) Stop(ctx context.Context, workers []*Worker, way Way) (trigger, closed wire.Instant, err error) {
	trigger = g.env.Clock.Now()
	var errs []error
	for _, w := range workers {
		errs = append(errs, w.stop(way))
	}
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Grace)
	defer cancel()
	for _, w := range workers {
		select {
		case <-w.closed:
			closed = max(closed, w.Closing().To)
		case <-ctx.Done():
			errs = append(errs, fmt.Errorf("worker %d did not close its listener within %v: it is overloaded or stuck", w.ID, g.cfg.Grace))
		}
	}
	return trigger, closed, errors.Join(errs...)
}

// Signal sends SIGSTOP or SIGCONT to workers.
func Signal(workers []*Worker, s unix.Signal) error {
	var errs []error
	for _, w := range workers {
		if err := w.cmd.Process.Signal(s); err != nil {
			errs = append(errs, fmt.Errorf("worker %d: %v: %w", w.ID, s, err))
		}
	}
	return errors.Join(errs...)
}

// kill ends workers and waits for them.
func kill(workers []*Worker) error {
	var errs []error
	for _, w := range workers {
		errs = append(errs, w.kill())
		<-w.exited
	}
	return errors.Join(errs...)
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

// Close kills what still runs, waits for it, reads the journals to their end and closes the
// shared socket. After it the group gives no more records. Calling it again does nothing.
func (g *Group) Close() error {
	if g.stopDraining == nil {
		return nil
	}
	var errs []error
	for _, w := range g.Workers() {
		errs = append(errs, w.kill())
	}
	for _, w := range g.Workers() {
		<-w.exited
	}
	g.stopDraining()
	<-g.drained
	g.stopDraining = nil
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, w := range g.workers {
		w.drain(g.env.Account)
		errs = append(errs, w.release())
	}
	if g.listener >= 0 {
		errs = append(errs, unix.Close(g.listener))
	}
	return errors.Join(errs...)
}

// sharedListener is a duplicate of the shared socket for a child; the caller closes it.
func (g *Group) sharedListener() (*os.File, error) {
	fd, err := unix.FcntlInt(uintptr(g.listener), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("shared socket: dup: %w", err)
	}
	return os.NewFile(uintptr(fd), "listener"), nil
}
