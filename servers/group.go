package servers

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/selector"
	"reuseport-bench/servers/socket"
)

// Config describes a group of workers.
type Config struct {
	Kind    Kind
	Sockets Sockets
	Workers int            // per generation, at least 1
	Address netip.AddrPort // where they listen, in the network of Env
	Backlog int            // of each listening socket
	Accept  Accept         // "": the kind's own
	// Handover is how a worker comes by its predecessor's socket, where it has a predecessor: the latest with its index that has
	// not been told to stop or, with Shared, any such worker.
	Handover Handover
	// PortPerIndex makes worker i of its generation listen at Address's port + i.
	PortPerIndex bool
	// MayBeTaken makes it no error that a worker finds its address taken, as with Reuseport by another user's: the kernel lets sockets share
	// a port only if one user id owns them all (socket(7), SO_REUSEPORT; inet_csk_bind_conflict in net/ipv4/inet_connection_sock.c). Such
	// a worker ends, and is none of its generation's Workers; see Worker.BindError. With it, workers start one after the other.
	MayBeTaken bool
	// Selection, with Reuseport. "": Hash.
	Selection Selection
	// ListedOnly, with Hash, spreads connections by a hash over those workers only that are ready and have not been told to
	// stop. It is needed for BPFMigrate and BPFDrain; the other selections by eBPF do so anyway.
	ListedOnly bool
	// BPFMigrates lets the selection decide also where the queue of a closed listener goes (Linux 5.14).
	BPFMigrates bool
	// Canary, with Weighted, is the share of the connections, between 0 and 1, that goes to the last worker of a generation; the
	// others share the rest. With one worker it says nothing.
	Canary float64
	Work   Work
	// Startup is how long a worker takes from its start until it listens, beyond what its process needs; less than 20 s.
	Startup time.Duration
	// Cold is how much longer the first request of a worker that starts cold takes.
	Cold time.Duration
	Seed uint64 // of what the workers draw, each from a stream of its own
	// Pin, where it is not empty, gives worker i of its generation the CPU Pin[i % len(Pin)] alone.
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
	// Place, where it is not nil, makes the network that a worker is to live in, instead of the servers': a pod's. It is called before
	// each worker is started, with one that has its ID, generation and index. Sockets must be Exclusive or Reuseport then, and
	// neither Handover nor Selection says anything.
	Place func(ctx context.Context, w *Worker) (Placement, error)
	// Do runs f on a thread in the servers' network namespace.
	Do func(f func() error) error
	// HalfOpen is how many handshakes are under way at each listener of the servers' network namespace, by its inode.
	// Needed for BPFDrain.
	HalfOpen func() (map[uint64]int, error)
	// Account gets every journal record of every worker, each worker's in order, from one goroutine at a time.
	Account func(*Worker, Record)
	Clock   *clock.Clock
}

// A Placement is where a worker runs.
type Placement struct {
	Address netip.AddrPort // where it listens
	// Start is as that of Env.
	Start func(c *exec.Cmd, cpus []int) error
}

// selector is the program that the configuration needs, or none.
func (c Config) selector() selector.Kind {
	switch {
	case c.Selection == SlowStart:
		return selector.Weighted
	case c.Selection.ByBPF():
		return selector.Kind(c.Selection)
	case c.ListedOnly:
		return selector.ByHash
	}
	return ""
}

// startLimit bounds how long a generation may take to be ready.
const startLimit = 20 * time.Second

// A Group starts and stops generations of workers. Close ends it. Its methods may be called from
// several goroutines, except where they say otherwise.
type Group struct {
	cfg      Config
	env      Env
	listener int                // the shared socket, or -1; with a Handover among the workers only until the first generation has it
	inode    uint64             // of the shared socket, or 0
	held     map[int]int        // with SocketActivation, the sockets that are not shared, by index
	name     string             // unique, for abstract addresses
	selector *selector.Selector // nil without a selection by eBPF
	acceptor *Worker            // with ByAcceptor, once the first generation is there

	mu      sync.Mutex // guards workers and calls of Env.Account
	workers []*Worker

	ctx          context.Context // ends when the group is closed
	ramps        sync.WaitGroup  // of workers that get their share by and by
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
	g := &Group{cfg: cfg, env: env, listener: -1, held: map[int]int{}, name: "reuseport-bench-" + rand.Text(), drained: make(chan struct{})}
	if cfg.Sockets == Shared {
		err := env.Do(func() (err error) {
			if g.listener, err = listen(cfg.Address, cfg.Sockets, cfg.Backlog); err == nil {
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
	ctx, cancel := context.WithCancel(context.Background())
	g.ctx, g.stopDraining = ctx, cancel
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

// A Generation is the workers that serve together; with Config.MayBeTaken, those that could bind. Whoever starts and stops single workers keeps
// Workers up to date.
type Generation struct {
	Number  int // from 0
	Workers []*Worker
	Ready   clock.Instant // when the last worker said ready; valid after Await

	channels channels // until Await
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
	gen, err := g.Launch(ctx)
	if err != nil {
		return nil, err
	}
	if err := g.Await(ctx, gen); err != nil {
		return nil, err
	}
	return gen, nil
}

// Launch starts Config.Workers workers, all at once, and does not wait for them. Await must follow. After an error nothing
// of the generation runs. One call at a time.
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
	for index := range g.cfg.Workers {
		w, err := g.startWorker(ctx, gen.Number, index, 0, gen.channels)
		if err != nil {
			return err
		}
		gen.Workers = append(gen.Workers, w)
		if g.cfg.MayBeTaken {
			g.settle(ctx, w)
		}
	}
	return nil
}

// settle waits until the worker listens or cannot. Of two that call listen(2) at the same time each may find the other in TCP_LISTEN, which
// is set before the port is asked for (inet_csk_listen_start in net/ipv4/inet_connection_sock.c), and neither would listen.
func (g *Group) settle(ctx context.Context, w *Worker) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	_ = w.awaitReady(ctx) // await finds out
}

// Await returns when all workers that Launch started are ready; from then on a selector may choose them. After an
// error nothing of the generation runs.
func (g *Group) Await(ctx context.Context, gen *Generation) error {
	defer gen.channels.close()
	if err := g.await(ctx, gen); err != nil {
		return errors.Join(fmt.Errorf("generation %d: %w", gen.Number, err), kill(gen.Workers))
	}
	return nil
}

func (g *Group) await(ctx context.Context, gen *Generation) (err error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	taken := func(w *Worker) bool { return g.cfg.MayBeTaken && w.BindError() != 0 }
	for _, w := range gen.Workers {
		if err := w.awaitReady(ctx); err != nil && !taken(w) {
			return err
		}
		gen.Ready = max(gen.Ready, w.readyAt)
	}
	if gen.Workers = slices.DeleteFunc(gen.Workers, taken); len(gen.Workers) == 0 {
		return errors.New("no worker could bind its address")
	}
	if g.cfg.Accept == ByAcceptor {
		if gen.Ready, err = g.startAcceptor(ctx, gen.channels); err != nil {
			return err
		}
	}
	for _, w := range gen.Workers {
		if err := g.list(w); err != nil {
			return err
		}
	}
	return g.letGo()
}

// letGo closes the shared socket once it is the workers' alone to pass on.
func (g *Group) letGo() error {
	if g.listener < 0 || g.cfg.Handover != SCMRights && g.cfg.Handover != Tableflip {
		return nil
	}
	err := unix.Close(g.listener)
	g.listener = -1
	return err
}

// StartWorker starts one worker and returns when it is ready; after an error it does not run. Its
// generation is only its label: it is not added to one. Its index in it, from 0, decides what workers differ
// in (Config.Pin, Config.PortPerIndex). It starts cold, and gets warm within so long; 0: it is warm. One call at a time.
func (g *Group) StartWorker(ctx context.Context, generation, index int, cold time.Duration) (*Worker, error) {
	w, err := g.LaunchWorker(ctx, generation, index, cold)
	if err != nil {
		return nil, err
	}
	return w, g.AwaitWorker(ctx, w)
}

// LaunchWorker is StartWorker without the wait. AwaitWorker must follow. After an error the worker does not run.
func (g *Group) LaunchWorker(ctx context.Context, generation, index int, cold time.Duration) (*Worker, error) {
	return g.startWorker(ctx, generation, index, cold, channels{})
}

// AwaitWorker returns when the worker is ready; from then on a selector may choose it. After an error it does not run.
func (g *Group) AwaitWorker(ctx context.Context, w *Worker) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
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
	if g.cfg.Handover == Tableflip && from != nil {
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
	if g.cfg.Handover == SCMRights && from != nil {
		cfg.From = g.offerName(from)
	}
	var cpus []int
	if n := len(g.cfg.Pin); n > 0 {
		cfg.CPU = g.cfg.Pin[index%n]
		cpus = []int{cfg.CPU}
	}
	return w, g.start(w, cfg, inherited, cpus)
}

// predecessor is whom the worker gets its listening socket from, or nil: nobody has it.
func (g *Group) predecessor(w *Worker) (from *Worker) {
	if g.cfg.Handover != SCMRights && g.cfg.Handover != Tableflip {
		return nil
	}
	for _, other := range g.Workers() {
		// An upgrade ends who starts it, so there only the one with its index will do.
		stranger := g.cfg.Sockets == Shared && g.cfg.Handover == SCMRights && (from == nil || from.Index != w.Index)
		if (other.Index == w.Index || stranger) && other.Serves() {
			from = other
		}
	}
	return from
}

// offerName is the abstract address at which a worker passes its listener on.
func (g *Group) offerName(w *Worker) string { return fmt.Sprintf("%s-%d", g.name, w.ID) }

func (g *Group) newWorker() *Worker {
	w := &Worker{
		ID: g.nextID, clock: g.env.Clock, slot: -1, placement: Placement{Address: g.address(0), Start: g.env.Start},
		ready: make(chan struct{}), closed: make(chan struct{}), exited: make(chan struct{}),
	}
	g.nextID++
	return w
}

func (g *Group) workerConfig(w *Worker) workerConfig {
	cfg := workerConfig{
		Config: g.cfg, ID: w.ID, Index: w.Index, Generation: w.Generation, ColdFor: w.cold,
		Selected: g.selector != nil, Slot: w.slot,
	}
	cfg.Address = w.placement.Address
	if g.cfg.Handover == SCMRights {
		cfg.Offer = g.offerName(w)
	}
	return cfg
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

// inheritance is what a worker gets beside its pipes and its journal. The caller releases it when the worker has it.
func (g *Group) inheritance(w *Worker, channels channels) (files []*os.File, release func(), err error) {
	release = func() {}
	switch {
	case g.cfg.Accept == ByAcceptor && channels.workers == nil:
		return nil, release, errors.New("the acceptor knows only the workers that it was started with")
	case g.cfg.Accept == ByAcceptor:
		return channels.workers[w.Index : w.Index+1], release, nil
	case g.listener >= 0:
		l, err := duplicate(g.listener)
		return []*os.File{l}, func() { _ = l.Close() }, err
	case g.cfg.Handover == SocketActivation:
		l, err := g.heldListener(w.Index)
		return []*os.File{l}, func() { _ = l.Close() }, err
	case g.selector != nil:
		w.slot, err = g.freeSlot()
		return g.selector.Files(), release, err
	}
	return nil, release, nil
}

// start starts the process and takes it into the group.
func (g *Group) start(w *Worker, cfg workerConfig, inherited []*os.File, cpus []int) error {
	if err := w.start(g.env, cfg, inherited, cpus); err != nil {
		return fmt.Errorf("worker %d: %w", w.ID, err)
	}
	g.take(w)
	return nil
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

// Stop stops workers and returns when their listeners are closed; they may still be finishing what
// they accepted. The trigger is the instant just before the first signal.
//
// A worker that does not close its listener within Config.Grace is an error; it is left running
// for Close to end.
func (g *Group) Stop(ctx context.Context, workers []*Worker, mode StopMode) (trigger, closed clock.Instant, err error) {
	trigger = g.env.Clock.Now()
	// What the acceptor has accepted, the workers get before they are stopped. Of one that is killed it is told nothing.
	if a := g.acceptor; a != nil && mode != Kill && !a.wasStopped() {
		_, err = g.stop(ctx, []*Worker{a}, Drain)
	}
	if mode == BPFMigrate || mode == BPFDrain {
		err = errors.Join(err, g.unlist(ctx, workers, mode))
	}
	closed, stopErr := g.stop(ctx, workers, mode)
	return trigger, closed, errors.Join(err, stopErr)
}

// stop is Stop without regard to an acceptor.
func (g *Group) stop(ctx context.Context, workers []*Worker, mode StopMode) (closed clock.Instant, err error) {
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

// BusyLoop makes workers of kind Loop compute for that long: they use their CPU and serve nobody.
func BusyLoop(workers []*Worker, d time.Duration) error {
	var errs []error
	for _, w := range workers {
		errs = append(errs, w.tell(command{BusyLoop: d}))
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

// kill ends workers and waits for them.
func kill(workers []*Worker) error {
	var errs []error
	for _, w := range workers {
		errs = append(errs, w.kill(), w.awaitGone())
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
		errs = append(errs, w.awaitGone())
	}
	g.stopDraining()
	<-g.drained
	g.ramps.Wait()
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
	for _, l := range g.held {
		errs = append(errs, unix.Close(l))
	}
	if g.selector != nil {
		errs = append(errs, g.selector.Close())
	}
	return errors.Join(errs...)
}

// Listener is the inode of the shared socket, or 0 without one.
func (g *Group) Listener() uint64 { return g.inode }

// duplicate is a duplicate of a listener for a child; the caller closes it.
func duplicate(listener int) (*os.File, error) {
	fd, err := unix.FcntlInt(uintptr(listener), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("listener: dup: %w", err)
	}
	return os.NewFile(uintptr(fd), "listener"), nil
}

// heldListener is a duplicate of the socket that the parent holds for an index, made when it is first needed.
func (g *Group) heldListener(index int) (*os.File, error) {
	if _, made := g.held[index]; !made {
		err := g.env.Do(func() error {
			l, err := listen(g.address(index), g.cfg.Sockets, g.cfg.Backlog)
			if err == nil {
				g.held[index] = l
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return duplicate(g.held[index])
}

// Selector is what decides over the group's sockets in eBPF, or nil. It is closed with the group.
func (g *Group) Selector() *selector.Selector { return g.selector }

// slots is how many workers a selector has room for: of a good many generations, since those that were told to stop
// may take their time.
func (g *Group) slots() int { return min(selector.MaxSlots, 8*g.cfg.Workers+8) }

// freeSlot is the lowest slot whose worker, if it had one, has exited.
func (g *Group) freeSlot() (int, error) {
	taken := map[int]bool{}
	for _, w := range g.Workers() {
		select {
		case <-w.exited:
		default:
			taken[w.slot] = true
		}
	}
	for slot := range g.slots() {
		if !taken[slot] {
			return slot, nil
		}
	}
	return -1, fmt.Errorf("all %d slots of the selector are taken: too many stopped workers have not exited yet", g.slots())
}

// list lets a selector choose the worker, from now on until it is stopped and its listener closed.
func (g *Group) list(w *Worker) error {
	if g.selector == nil {
		return nil
	}
	weight := g.weight(w.Index)
	ramps := g.cfg.Selection == SlowStart && w.cold > 0
	if ramps {
		weight = 1
	}
	// Its slot may still be listed for a worker that died unasked.
	if err := errors.Join(g.selector.Remove(w.slot), g.selector.Add(w.slot, weight)); err != nil {
		return err
	}
	if ramps {
		g.ramps.Go(func() { g.ramp(w) })
	}
	return nil
}

// rampEvery is how often a worker's weight grows while it gets warm.
const rampEvery = 10 * time.Millisecond

// ramp raises the weight of a worker that started cold to the full one, evenly, until it is warm.
func (g *Group) ramp(w *Worker) {
	tick := time.NewTicker(rampEvery)
	defer tick.Stop()
	for {
		select {
		case <-g.ctx.Done():
			return
		case <-tick.C:
		}
		if !w.Serves() {
			return // its slot may be another's by now
		}
		share := min(1, float64(g.env.Clock.Now().Sub(w.readyAt))/float64(w.cold))
		weight := max(1, math.Round(share*float64(g.weight(w.Index))))
		if g.selector.SetWeight(w.slot, uint32(weight)) != nil || share == 1 {
			return // it was unlisted meanwhile, or is warm
		}
	}
}

// removeFromList keeps a selector from choosing the worker, if there is a selector.
func (g *Group) removeFromList(w *Worker) error {
	if g.selector == nil || w.slot < 0 {
		return nil
	}
	return g.selector.Remove(w.slot)
}

// unlist keeps the selector from choosing workers and, for BPFDrain, returns when no handshake is under way at their
// listeners any more, or when half of Config.Grace has passed: a client that never answers must not hold up the rest.
func (g *Group) unlist(ctx context.Context, workers []*Worker, mode StopMode) error {
	listeners := map[uint64]bool{}
	for _, w := range workers {
		if err := g.removeFromList(w); err != nil {
			return err
		}
		listeners[w.listener] = true
	}
	if mode != BPFDrain {
		return nil
	}
	if g.env.HalfOpen == nil {
		return errors.New("bpf-drain: nobody can tell which handshakes are under way")
	}
	// Who has met the old list has chosen when every read-side section that was under way has ended, and what it chose is
	// in the table of connections then: a segment is dealt with in one such section. MEMBARRIER_CMD_GLOBAL waits for just
	// that (synchronize_rcu in kernel/sched/membarrier.c); a machine with one CPU, which needs none, returns at once.
	if _, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, membarrierGlobal, 0, 0); errno != 0 {
		return fmt.Errorf("membarrier: %w", errno)
	}
	for until := g.env.Clock.Now().Add(g.cfg.Grace / 2); ; {
		open, err := g.env.HalfOpen()
		if err != nil {
			return fmt.Errorf("bpf-drain: %w", err)
		}
		left := 0
		for listener, n := range open {
			if listeners[listener] {
				left += n
			}
		}
		if left == 0 || g.env.Clock.Now() > until {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(time.Millisecond):
		}
	}
}

const membarrierGlobal = 1 // MEMBARRIER_CMD_GLOBAL, Linux 4.3

// weight is that of the worker with an index, for Weighted: the last one's is Canary's share of all, the others' are equal.
func (g *Group) weight(index int) uint32 {
	if g.cfg.Selection == SlowStart {
		return selector.MaxWeight
	}
	others := float64(g.cfg.Workers - 1)
	if g.cfg.Selection != Weighted || others == 0 || g.cfg.Canary <= 0 || g.cfg.Canary >= 1 {
		return 1
	}
	each := (1 - g.cfg.Canary) / others
	weight := each
	if index == g.cfg.Workers-1 {
		weight = g.cfg.Canary
	}
	return uint32(max(1, math.Round(selector.MaxWeight*weight/max(each, g.cfg.Canary))))
}

// channels are the two ends of the socket pairs between an acceptor and its workers, by index. close closes them here.
type channels struct{ acceptor, workers []*os.File }

func (g *Group) openChannels() (c channels, err error) {
	if g.cfg.Accept != ByAcceptor {
		return c, nil
	}
	if g.acceptor != nil {
		return c, errors.New("the acceptor knows only the workers that it was started with")
	}
	for range g.cfg.Workers {
		// One message is one connection, so its boundaries must stay (unix(7)).
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return c, fmt.Errorf("channel to a worker: %w", err)
		}
		c.acceptor = append(c.acceptor, os.NewFile(uintptr(pair[0]), "acceptor"))
		c.workers = append(c.workers, os.NewFile(uintptr(pair[1]), "worker"))
	}
	return c, nil
}

func (c channels) close() {
	for _, f := range append(c.acceptor, c.workers...) {
		_ = f.Close() // a socket that only others use
	}
}

// startAcceptor starts the process that accepts for the workers at the other ends of the channels.
func (g *Group) startAcceptor(ctx context.Context, c channels) (ready clock.Instant, err error) {
	a := g.newWorker()
	a.Acceptor = true
	l, err := duplicate(g.listener)
	if err != nil {
		return 0, err
	}
	defer l.Close()
	cfg := g.workerConfig(a)
	cfg.Inherited = true
	cfg.Channels = len(c.acceptor)
	if err := g.start(a, cfg, append([]*os.File{l}, c.acceptor...), nil); err != nil {
		return 0, err
	}
	g.acceptor = a
	if err := a.awaitReady(ctx); err != nil {
		return 0, errors.Join(err, kill([]*Worker{a}))
	}
	return a.readyAt, nil
}
