package servers

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/journal"
	"reuseport-bench/servers/selector"
	"reuseport-bench/servers/socket"
)

// Env is what a Group needs of its surroundings.
type Env struct {
	// Command makes the command that runs worker.Main, not yet started.
	Command func() *exec.Cmd
	// Start starts a command in the servers' network namespace, on the given CPUs or, where there
	// are none, on any of the servers', so that it dies with this process.
	Start func(c *exec.Cmd, cpus []int) error
	// Place, where it is not nil, makes the network that a worker is to live in, instead of the
	// servers': a pod's. It is called before each worker is started, with one that has its ID,
	// generation and index. Sockets must be SocketsExclusive or SocketsReuseport then, and neither
	// Handover nor Selection says anything.
	Place func(ctx context.Context, w *Worker) (Placement, error)
	// Do runs f on a thread in the servers' network namespace.
	Do func(f func() error) error
	// HalfOpen is how many handshakes are under way at each listener of the servers' network
	// namespace, by its inode. Needed for StopBPFDrain.
	HalfOpen func() (map[uint64]int, error)
	// Account gets every journal record of every worker, each worker's in order, from one goroutine
	// at a time.
	Account func(*Worker, journal.Record)
	Clock   *clock.Clock
}

// A Placement is where a worker runs.
type Placement struct {
	Address netip.AddrPort // where it listens
	// Start is as that of Env.
	Start func(c *exec.Cmd, cpus []int) error
	// Network is the path of its network namespace, for a worker whose process was parked
	// elsewhere.
	Network string
}

// StartLimit bounds how long a generation may take to be ready.
const StartLimit = 20 * time.Second

// A Group starts and stops generations of workers. Close ends it. Its methods may be called from
// several goroutines, except where they say otherwise.
type Group struct {
	cfg      Config
	env      Env
	listener int                // the shared socket, or -1; with a Handover among the workers only until the first generation has it
	inode    uint64             // of the shared socket, or 0
	held     []heldSocket       // that are not shared: with SocketActivation the workers', and those of Join
	name     string             // unique, for abstract addresses
	selector *selector.Selector // nil without a selection by eBPF
	acceptor *Worker            // where one accepts for all, once the first generation is there
	counts   int                // the number of sockets that SelectorCPU's program was attached for

	mu      sync.Mutex // guards workers and parked
	workers []*Worker
	parked  []*Worker // processes that no worker has taken over

	budget     uint64     // journalBudget
	reading    sync.Mutex // guards calls of Env.Account, and what follows
	earlyReads int
	ended      []*Worker // whose journals wait to be read
	unread     uint64    // records in them

	ctx         context.Context // ends when the group is closed
	end         context.CancelFunc
	ramps       sync.WaitGroup // of workers that get their share by and by
	nextID      int            // by StartGeneration and StartWorker only
	generations int
}

// NewGroup prepares a group; a shared socket listens from here on.
func NewGroup(cfg Config, env Env) (*Group, error) {
	cfg.Grace = cmp.Or(cfg.Grace, time.Second)
	cfg.Accept = cmp.Or(cfg.Accept, cfg.Kind.Row().Accept)
	cfg.Selection = cmp.Or(cfg.Selection, vocabulary.SelectorHash)
	g := &Group{cfg: cfg, env: env, listener: -1, budget: journalBudget, name: "reuseport-bench-" + rand.Text()}
	if cfg.Sockets == vocabulary.SocketsShared {
		err := env.Do(func() (err error) {
			if g.listener, err = cfg.Listen(cfg.Address); err == nil {
				g.inode, err = socket.Inode(g.listener)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("shared socket: %w", err)
		}
	}
	if kind := cfg.selector(); kind != "" {
		var err error
		g.selector, err = selector.New(selector.Config{Kind: kind, Migrate: cfg.BPFMigrates, Slots: g.slots(), Seed: cfg.Seed})
		if err != nil {
			return nil, err
		}
	}
	g.ctx, g.end = context.WithCancel(context.Background())
	return g, nil
}

// Journals are read when the group is closed, and before that only where they would take more than
// journalBudget records, 26 MB: those of 200,000 connections with a request each.
const (
	journalBudget = 800_000
	// journalSlack is for connections that are none of the load's: health checks and probes.
	journalSlack = 4096
	// leastMark keeps the workers of a large group from asking for every few connections.
	leastMark = 1024
)

// mark returns how many records a worker's journal holds before it is to be read. One worker may
// make all of the group's.
func (g *Group) mark() int {
	if n := g.cfg.Requests * journal.PerRequest; n > 0 && n <= g.budget {
		return int(n) + journalSlack
	}
	return max(leastMark, int(g.budget)/g.cfg.Workers)
}

// readEarly reads the journal of a worker that has asked for it.
func (g *Group) readEarly(w *Worker) {
	g.reading.Lock()
	defer g.reading.Unlock()
	g.earlyReads++
	w.drain(g.env.Account)
}

// readEnded reads the journals of the workers that have ended, of which w is the last, once they
// are together too large to wait for Close.
func (g *Group) readEnded(w *Worker) {
	g.reading.Lock()
	defer g.reading.Unlock()
	g.ended, g.unread = append(g.ended, w), g.unread+w.journal.Unread()
	if g.unread <= g.budget {
		return
	}
	g.earlyReads++
	for _, w := range g.ended {
		w.drain(g.env.Account)
	}
	g.ended, g.unread = nil, 0
}

// EarlyReads returns how often journals were read before Close, because they took too much memory.
func (g *Group) EarlyReads() int {
	g.reading.Lock()
	defer g.reading.Unlock()
	return g.earlyReads
}

func (g *Group) take(w *Worker) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.workers = append(g.workers, w)
}

// Workers are all workers ever started, in order of their ID.
func (g *Group) Workers() []*Worker {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]*Worker(nil), g.workers...)
}

// address is where the worker with an index listens.
func (g *Group) address(index int) netip.AddrPort {
	if !g.cfg.PortPerIndex {
		return g.cfg.Address
	}
	return netip.AddrPortFrom(g.cfg.Address.Addr(), g.cfg.Address.Port()+uint16(index))
}

// Address is where a worker listens.
func (g *Group) Address(w *Worker) netip.AddrPort { return w.placement.Address }

// Listener is the inode of the shared socket, or 0 without one.
func (g *Group) Listener() uint64 { return g.inode }

// Close kills what still runs, waits for it, reads the journals to their end and closes the
// shared socket. After it the group gives no more records. Calling it again does nothing.
func (g *Group) Close() error {
	if g.ctx.Err() != nil {
		return nil
	}
	var errs []error
	processes := append(g.Workers(), g.Parked()...)
	for _, w := range processes {
		errs = append(errs, w.kill())
	}
	for _, w := range processes {
		errs = append(errs, w.awaitGone())
	}
	g.end()
	g.ramps.Wait()
	g.reading.Lock()
	defer g.reading.Unlock()
	for _, w := range g.Workers() {
		w.drain(g.env.Account)
	}
	for _, w := range processes {
		errs = append(errs, w.release())
	}
	if g.listener >= 0 {
		errs = append(errs, unix.Close(g.listener))
	}
	for _, h := range g.held {
		errs = append(errs, unix.Close(h.fd))
	}
	if g.selector != nil {
		errs = append(errs, g.selector.Close())
	}
	return errors.Join(errs...)
}
