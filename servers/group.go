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

// Env is what a Group needs from its environment.
type Env struct {
	// Command returns the command that runs worker.Main, not yet started.
	Command func() *exec.Cmd
	// Start starts a command in the servers' network namespace. The process may run on the given
	// CPUs only or, if cpus is empty, on all of the servers' CPUs. It must die when this process
	// does.
	Start func(c *exec.Cmd, cpus []int) error
	// Place, if not nil, makes a network for a worker, such as a pod's, instead of the servers'
	// network. It is called before each worker is started; the worker has its ID, generation and
	// index by then. With Place, Sockets must be SocketsExclusive or SocketsReuseport, and Handover
	// and Selection have no effect.
	Place func(ctx context.Context, w *Worker) (Placement, error)
	// ThirdParty, if not nil, makes the third-party server that takes the place of a worker's
	// process. It is called after Place. Config then describes only the number of workers and the
	// grace.
	ThirdParty func(w *Worker) (ThirdParty, error)
	// Do runs f on a thread in the servers' network namespace.
	Do func(f func() error) error
	// HalfOpen returns the number of handshakes in progress at each listener of the servers'
	// network namespace, by the listener's inode. StopBPFDrain needs it.
	HalfOpen func() (map[uint64]int, error)
	// Account receives every journal record of every worker. The records of a worker come in order.
	// Only one goroutine at a time calls it.
	Account func(*Worker, journal.Record)
	Clock   *clock.Clock
}

// A Placement is where a worker runs.
type Placement struct {
	Address netip.AddrPort // where it listens
	// Start is like Env.Start.
	Start func(c *exec.Cmd, cpus []int) error
	// Do is like Env.Do. Only third-party servers need it.
	Do func(f func() error) error
	// Applicant, if not nil, is the process that has asked to be adopted, in whose place a
	// third-party server runs.
	Applicant *Applicant
	// Network is the path of the worker's network namespace, if its process was parked in another
	// one.
	Network string
}

// StartLimit is the maximum time in which a generation must become ready.
const StartLimit = 20 * time.Second

// A Group starts and stops generations of workers. Its methods may be called from several
// goroutines unless they say otherwise. The caller must call Close.
type Group struct {
	cfg Config
	env Env
	// listener is the shared socket, or -1. With SCMRights and Tableflip the group closes its
	// descriptor of the socket once the first generation has inherited the socket.
	listener int
	inode    uint64 // inode of the shared socket, or 0
	// heldSockets are the sockets that the group holds and that are not shared: with
	// SocketActivation the workers' sockets, and the sockets that Join added.
	heldSockets []heldSocket
	name        string             // unique prefix of the workers' abstract addresses
	selector    *selector.Selector // nil without an eBPF selector
	acceptor    *Worker            // nil before the first generation, or without an acceptor
	socketCount int                // number of sockets that SelectorCPU's program is attached for

	mu      sync.Mutex // guards workers and parked
	workers []*Worker
	parked  []*Worker // processes that have not become workers

	budget     uint64     // journalBudget, except in tests
	reading    sync.Mutex // guards the fields below; held while Env.Account is called
	earlyReads int
	ended      []*Worker // workers that have exited and whose journals are unread
	unread     uint64    // total number of unread records in the journals of ended

	ctx         context.Context // ends when the group is closed
	end         context.CancelFunc
	ramps       sync.WaitGroup // goroutines that raise workers' weights
	nextID      int            // used by StartGeneration and StartWorker only
	generations int
}

// NewGroup returns a group without workers. A shared socket listens once NewGroup returns.
func NewGroup(cfg Config, env Env) (*Group, error) {
	cfg.Grace = cmp.Or(cfg.Grace, time.Second)
	cfg.TermMode = cmp.Or(cfg.TermMode, vocabulary.StopClose)
	cfg.Accept = cmp.Or(cfg.Accept, cfg.Kind.Row().Accept)
	cfg.Selection = cmp.Or(cfg.Selection, vocabulary.SelectorHash)
	g := &Group{
		cfg: cfg, env: env, listener: -1, budget: journalBudget,
		name: "reuseport-bench-" + rand.Text(),
	}
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
		g.selector, err = selector.New(selector.Config{
			Kind: kind, Migrate: cfg.BPFMigrates, Slots: g.slots(), Seed: cfg.Seed,
		})
		if err != nil {
			return nil, err
		}
	}
	g.ctx, g.end = context.WithCancel(context.Background())
	return g, nil
}

// Journals are read when the group is closed. They are read earlier only if they would hold more
// than journalBudget records together: 26 MB, enough for 200,000 connections with one request each.
const (
	journalBudget = 800_000
	// journalSlack is room for connections that the load does not make: health checks and probes.
	journalSlack = 4096
	// leastMark is the minimum of mark. It prevents the workers of a large group from asking for a
	// read after every few connections.
	leastMark = 1024
)

// mark returns the number of unread records at which a worker asks its parent to read its journal.
// If the budget allows, a journal has room for all of the group's records, since one worker may get
// all requests.
func (g *Group) mark() int {
	if n := g.cfg.Requests * journal.PerRequest; n > 0 && n <= g.budget {
		return int(n) + journalSlack
	}
	return max(leastMark, int(g.budget)/g.cfg.Workers)
}

// readEarly reads the journal of a worker that has asked for this.
func (g *Group) readEarly(w *Worker) {
	g.reading.Lock()
	defer g.reading.Unlock()
	g.earlyReads++
	w.drain(g.env.Account)
}

// readEnded adds w to the workers that have exited. If their unread journals together exceed the
// budget, it reads them now instead of in Close.
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

// EarlyReads returns the number of times that journals were read before Close to save memory.
func (g *Group) EarlyReads() int {
	g.reading.Lock()
	defer g.reading.Unlock()
	return g.earlyReads
}

func (g *Group) add(w *Worker) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.workers = append(g.workers, w)
}

// Workers returns all workers ever started, in order of their IDs.
func (g *Group) Workers() []*Worker {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]*Worker(nil), g.workers...)
}

// address returns the address at which workers with that index listen.
func (g *Group) address(index int) netip.AddrPort {
	if !g.cfg.PortPerIndex {
		return g.cfg.Address
	}
	return netip.AddrPortFrom(g.cfg.Address.Addr(), g.cfg.Address.Port()+uint16(index))
}

// Address returns the address at which a worker listens.
func (g *Group) Address(w *Worker) netip.AddrPort { return w.placement.Address }

// Placement returns where the worker runs.
func (w *Worker) Placement() Placement { return w.placement }

// Listener returns the inode of the shared socket, or 0 without one.
func (g *Group) Listener() uint64 { return g.inode }

// Close kills the processes that still run, waits for them, reads the journals to their ends and
// closes the shared socket. Env.Account is not called after Close has returned. Further calls do
// nothing.
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
	for _, h := range g.heldSockets {
		errs = append(errs, unix.Close(h.fd))
	}
	if g.selector != nil {
		errs = append(errs, g.selector.Close())
	}
	return errors.Join(errs...)
}
