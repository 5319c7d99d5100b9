package servers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/sys"
)

// StartWorker starts one worker and returns when the worker is ready. After an error, the worker
// does not run. generation is only a label: the worker is not added to a Generation. index, from 0,
// decides what differs between workers (Config.Pin, Config.PortPerIndex). cold is the worker's
// warm-up time; 0 starts it warm. Calls must not overlap.
func (g *Group) StartWorker(
	ctx context.Context, generation, index int, cold time.Duration,
) (*Worker, error) {
	w, err := g.LaunchWorker(ctx, generation, index, cold)
	if err != nil {
		return nil, err
	}
	return w, g.AwaitWorker(ctx, w)
}

// LaunchWorker is like StartWorker, but does not wait. The caller must call AwaitWorker. After an
// error the worker does not run.
func (g *Group) LaunchWorker(
	ctx context.Context, generation, index int, cold time.Duration,
) (*Worker, error) {
	g.countStarting(1)
	return g.startWorker(ctx, generation, index, cold, channels{})
}

// AwaitWorker returns when the worker is ready. From then on a selector may choose the worker.
// After an error the worker does not run.
func (g *Group) AwaitWorker(ctx context.Context, w *Worker) error {
	ctx, cancel := g.startLimit(ctx)
	defer cancel()
	err := w.awaitReady(ctx)
	switch {
	case err == nil:
		err = errors.Join(g.list(w), g.updateCount())
	case g.foundTaken(w):
		return fmt.Errorf("worker %d: %w", w.ID, ErrTaken)
	}
	if err != nil {
		return errors.Join(err, kill([]*Worker{w}))
	}
	return nil
}

func (g *Group) startWorker(
	ctx context.Context, generation, index int, cold time.Duration, channels channels,
) (*Worker, error) {
	w := g.takeParked(index)
	if w == nil {
		w = g.newWorker(index)
	}
	g.number(w)
	w.Generation, w.cold = generation, cold
	if err := g.run(ctx, w, channels); err != nil {
		return nil, fmt.Errorf("worker %d: %w", w.ID, w.abandon(err))
	}
	return w, nil
}

// run gives a worker its placement, takes over its parked process or else starts a process, and
// configures that process. After an error, a started process still runs.
func (g *Group) run(ctx context.Context, w *Worker, channels channels) (err error) {
	w.startedAt = w.clock.Now()
	wasParked := w.process != nil
	if g.env.Place != nil {
		if w.placement, err = g.env.Place(ctx, w); err != nil {
			return err
		}
	}
	if g.env.ThirdParty != nil {
		return g.startThirdParty(w)
	}
	if g.selector != nil {
		if w.slot, err = g.freeSlot(); err != nil {
			return err
		}
	}
	from := g.predecessor(w)
	switch {
	case wasParked:
	case g.cfg.Handover == vocabulary.Tableflip && from != nil:
		err = g.upgrade(ctx, w, from)
	default:
		err = g.startProcess(w, channels)
	}
	if err != nil {
		return err
	}
	cfg := g.workerConfig(w)
	if wasParked {
		cfg.Network = w.placement.Network
	}
	if g.cfg.Handover == vocabulary.SCMRights && from != nil {
		cfg.From = g.offerName(from)
	}
	return g.configure(w, cfg)
}

// newWorker returns a worker without a process and without an ID.
func (g *Group) newWorker(index int) *Worker {
	return &Worker{
		ID: -1, Index: index, group: g, clock: g.env.Clock, slot: -1,
		placement: Placement{Address: g.address(index), Start: g.env.Start},
		parked:    make(chan struct{}), ready: make(chan struct{}),
		closed: make(chan struct{}), exited: make(chan struct{}),
	}
}

// number assigns the next ID to a worker.
func (g *Group) number(w *Worker) {
	w.ID = g.nextID
	g.nextID++
}

func (g *Group) workerConfig(w *Worker) WorkerConfig {
	cfg := WorkerConfig{
		Config: g.cfg, ID: w.ID, Index: w.Index, Generation: w.Generation, ColdFor: w.cold,
		Selected: g.selector != nil, Slot: w.slot, Inherited: w.inherits, Members: g.socketCount,
	}
	cfg.Address = w.placement.Address
	if g.startedLater(w) && len(cfg.ListenAt) > 1 {
		cfg.ListenAt = cfg.ListenAt[1:]
	}
	if g.cfg.Handover == vocabulary.SCMRights {
		cfg.Offer = g.offerName(w)
	}
	if cpus := g.cpus(w.Index); len(cpus) > 0 {
		cfg.CPU = cpus[0]
	}
	return cfg
}

// startedLater reports whether a worker is started after the first generation. This is true of all
// parked processes.
func (g *Group) startedLater(w *Worker) bool { return w.ID < 0 || w.ID >= g.cfg.Workers }

// user returns the user id that a worker runs under; 0: this program's.
func (g *Group) user(w *Worker) uint32 {
	switch {
	case g.cfg.Users == vocabulary.UsersEach:
		return sys.FirstOtherUser + uint32(w.Index)
	case g.cfg.Users == vocabulary.UsersOther && g.startedLater(w):
		return sys.FirstOtherUser
	}
	return 0
}

// cpus returns the CPU of workers with that index, or nil if workers are not pinned.
func (g *Group) cpus(index int) []int {
	if n := len(g.cfg.Pin); n > 0 {
		return []int{g.cfg.Pin[index%n]}
	}
	return nil
}

// startProcess starts the process of a worker. configure then sends it the worker's configuration.
func (g *Group) startProcess(w *Worker, channels channels) error {
	inherited, release, err := g.inheritance(w.Index, channels)
	if err != nil {
		return err
	}
	defer release()
	w.inherits = len(inherited) > 0 && g.selector == nil
	command := g.env.Command()
	if g.cfg.Handover == vocabulary.SocketActivation {
		command.Env = append(command.Environ(), activationEnvironment()...)
	}
	id := g.user(w)
	if id != 0 {
		// Starting the process by /proc/self/exe needs no access to the program's path, which its
		// user may lack.
		user := &syscall.Credential{Uid: id, Gid: id}
		command.SysProcAttr = &syscall.SysProcAttr{Credential: user}
	}
	err = w.start(command, g.cpus(w.Index), inherited)
	if id != 0 && errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w; make this program's file executable by other users: chmod o+x", err)
	}
	return err
}

// inheritance returns the files that the process of a worker with that index inherits besides its
// pipes and its journal. The caller calls release once the process has inherited them.
func (g *Group) inheritance(
	index int, channels channels,
) (files []*os.File, release func(), err error) {
	release = func() {}
	switch {
	case g.cfg.Accept.Row().Passes && channels.workers == nil:
		return nil, release, errAcceptorStarted
	case g.cfg.Accept.Row().Passes:
		return channels.workers[index : index+1], release, nil
	case g.listener >= 0:
		l, err := duplicate(g.listener)
		return []*os.File{l}, func() { _ = l.Close() }, err
	case g.cfg.Handover == vocabulary.SocketActivation:
		l, err := g.heldListener(index)
		return []*os.File{l}, func() { _ = l.Close() }, err
	case g.selector != nil:
		return g.selector.Files(), release, nil
	}
	return nil, release, nil
}

// configure sends a process its worker's configuration and adds the worker to the group.
func (g *Group) configure(w *Worker, cfg WorkerConfig) error {
	if err := w.configure(cfg); err != nil {
		return err
	}
	g.add(w)
	return nil
}
