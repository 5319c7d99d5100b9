package servers

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/selector"
)

// selector returns the eBPF program that the configuration needs, or "".
func (c Config) selector() selector.Kind {
	if kind, ok := programs[c.Selection]; ok {
		return kind
	}
	if c.ListedOnly {
		return selector.ByHash
	}
	return ""
}

// programs maps the selectors that are eBPF programs to these programs.
var programs = map[vocabulary.Selector]selector.Kind{
	vocabulary.SelectorRoundRobin:  selector.RoundRobin,
	vocabulary.SelectorWeighted:    selector.Weighted,
	vocabulary.SelectorSlowStart:   selector.Weighted,
	vocabulary.SelectorLeastLoaded: selector.LeastLoaded,
	vocabulary.SelectorEmpty:       selector.Empty,
}

// Selector returns the group's eBPF selector, or nil. Close closes it.
func (g *Group) Selector() *selector.Selector { return g.selector }

// slots returns the number of workers for which the selector has room. It suffices for several
// generations, since stopped workers may take a while to exit.
func (g *Group) slots() int { return min(selector.MaxSlots, 8*g.cfg.Workers+8) }

// freeSlot returns the lowest slot that no running worker has.
func (g *Group) freeSlot() (int, error) {
	taken := map[int]bool{}
	for _, w := range g.Workers() {
		if !w.hasExited() {
			taken[w.slot] = true
		}
	}
	for slot := range g.slots() {
		if !taken[slot] {
			return slot, nil
		}
	}
	return -1, fmt.Errorf("all %d slots of the selector are taken: "+
		"too many stopped workers have not exited yet", g.slots())
}

// list allows the selector, if any, to choose the worker. Stopping the worker ends this.
func (g *Group) list(w *Worker) error {
	if g.selector == nil {
		return nil
	}
	weight := g.weight(w.Index)
	ramps := g.cfg.Selection == vocabulary.SelectorSlowStart && w.cold > 0
	if ramps {
		weight = 1
	}
	// The slot's last worker may have died unexpectedly and may still be in the list.
	if err := errors.Join(g.selector.Remove(w.slot), g.selector.Add(w.slot, weight)); err != nil {
		return err
	}
	if ramps {
		g.ramps.Go(func() { g.ramp(w) })
	}
	return nil
}

// countStarting computes, with SelectorCPU, the number of sockets that the group will have once
// that many more workers have started. A classic BPF program cannot read the number of sockets, so
// it is attached again whenever the number changes. Any process that has one of the sockets can
// attach it: a worker when it starts to listen or gets a Command, or the parent if it holds a
// socket.
func (g *Group) countStarting(starting int) {
	if g.cfg.Selection != vocabulary.SelectorCPU {
		return
	}
	// With a handover, a worker adds no socket unless it is the first with its index.
	if g.socketCount = g.members(); g.cfg.Handover == vocabulary.NoHandover || g.socketCount == 0 {
		g.socketCount += starting
	}
}

// updateCount attaches SelectorCPU's program again if the group's number of sockets has changed.
func (g *Group) updateCount() error {
	if g.cfg.Selection != vocabulary.SelectorCPU {
		return nil
	}
	n := g.members()
	if n == 0 || n == g.socketCount {
		return nil
	}
	g.socketCount = n
	if len(g.heldSockets) > 0 {
		return selector.AttachCPU(g.heldSockets[0].fd, n)
	}
	for _, w := range g.Workers() {
		if w.Serves() {
			return w.send(Command{Members: n})
		}
	}
	return nil // the last workers are closing; the next to listen attaches it
}

// members returns the number of sockets in the group.
func (g *Group) members() int {
	sockets := map[uint64]bool{}
	for _, h := range g.heldSockets {
		sockets[h.inode] = true
	}
	for _, w := range g.Workers() {
		if w.listens() {
			sockets[w.listener] = true
		}
	}
	return len(sockets)
}

// rampEvery is the interval at which the weight of a worker grows while it warms up.
const rampEvery = 10 * time.Millisecond

// ramp raises the weight of a worker that started cold. The weight grows linearly and reaches its
// full value when the worker is warm.
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
			return // another worker may use the slot now
		}
		share := min(1, float64(g.env.Clock.Now().Sub(w.readyAt))/float64(w.cold))
		weight := max(1, math.Round(share*float64(g.weight(w.Index))))
		if g.selector.SetWeight(w.slot, uint32(weight)) != nil || share == 1 {
			return // the worker has been unlisted, or is warm
		}
	}
}

// removeFromList stops the selector, if any, from choosing the worker.
func (g *Group) removeFromList(w *Worker) error {
	if g.selector == nil || w.slot < 0 {
		return nil
	}
	return g.selector.Remove(w.slot)
}

// handshakeLimit is the maximum time that StopBPFDrain waits for handshakes. It prevents a client
// that never completes its handshake from delaying the stop.
const handshakeLimit = 500 * time.Millisecond

// unlist stops the selector from choosing the workers. For StopBPFDrain it then waits until their
// listeners have no handshakes in progress, but at most for handshakeLimit.
func (g *Group) unlist(ctx context.Context, workers []*Worker, mode vocabulary.StopMode) error {
	listeners := map[uint64]bool{}
	for _, w := range workers {
		if err := g.removeFromList(w); err != nil {
			return err
		}
		listeners[w.listener] = true
	}
	if mode != vocabulary.StopBPFDrain {
		return nil
	}
	if g.env.HalfOpen == nil {
		return errors.New("bpf-drain: Env.HalfOpen is missing, so handshakes cannot be counted")
	}
	// Once every RCU read-side section in flight has ended, no CPU can still be using the old list
	// of workers. Every handshake that began with that list is then in the kernel's table, because
	// the kernel processes a segment within one such section. MEMBARRIER_CMD_GLOBAL waits for
	// exactly that (synchronize_rcu in kernel/sched/membarrier.c). With one CPU there is nothing to
	// wait for, and it returns at once.
	if _, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, membarrierGlobal, 0, 0); errno != 0 {
		return fmt.Errorf("membarrier: %w", errno)
	}
	for until := g.env.Clock.Now().Add(handshakeLimit); ; {
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

// weight returns the weight of the workers with that index. With SelectorWeighted the last worker
// gets Canary's share of the total, and the other workers share the rest equally.
func (g *Group) weight(index int) uint32 {
	if g.cfg.Selection == vocabulary.SelectorSlowStart {
		return selector.MaxWeight
	}
	others, canary := float64(g.cfg.Workers-1), g.cfg.Canary
	weighted := g.cfg.Selection == vocabulary.SelectorWeighted
	if !weighted || others == 0 || canary <= 0 || canary >= 1 {
		return 1
	}
	each := (1 - canary) / others
	weight := each
	if index == g.cfg.Workers-1 {
		weight = canary
	}
	return uint32(max(1, math.Round(selector.MaxWeight*weight/max(each, canary))))
}
