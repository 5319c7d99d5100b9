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

// selector is the program that the configuration needs, or none.
func (c Config) selector() selector.Kind {
	if kind, ok := programs[c.Selection]; ok {
		return kind
	}
	if c.ListedOnly {
		return selector.ByHash
	}
	return ""
}

// programs are the programs of the selectors in eBPF.
var programs = map[vocabulary.Selector]selector.Kind{
	vocabulary.SelectorRoundRobin:  selector.RoundRobin,
	vocabulary.SelectorWeighted:    selector.Weighted,
	vocabulary.SelectorSlowStart:   selector.Weighted,
	vocabulary.SelectorLeastLoaded: selector.LeastLoaded,
	vocabulary.SelectorEmpty:       selector.Empty,
}

// Selector is what decides over the group's sockets in eBPF, or nil. It is closed with the group.
func (g *Group) Selector() *selector.Selector { return g.selector }

// slots is how many workers a selector has room for: of a good many generations, since those that
// were told to stop may take their time.
func (g *Group) slots() int { return min(selector.MaxSlots, 8*g.cfg.Workers+8) }

// freeSlot is the lowest slot whose worker, if it had one, has exited.
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
	return -1, fmt.Errorf("all %d slots of the selector are taken: too many stopped workers have not exited yet", g.slots())
}

// list lets a selector choose the worker, from now on until it is stopped and its listener closed.
func (g *Group) list(w *Worker) error {
	if g.selector == nil {
		return nil
	}
	weight := g.weight(w.Index)
	ramps := g.cfg.Selection == vocabulary.SelectorSlowStart && w.cold > 0
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

// expect tells the workers that are about to be started how many sockets the group will have, with
// SelectorCPU. A classic BPF program cannot find out by itself, so it is attached anew whenever the
// number changes. Any process that has one of the sockets can do that: a worker when it begins to
// listen or is sent a Command, the parent where it holds one.
func (g *Group) expect(starting int) {
	if g.cfg.Selection != vocabulary.SelectorCPU {
		return
	}
	// Where sockets are handed over, a worker adds none unless it is the first with its index.
	if g.counts = g.members(); g.cfg.Handover == vocabulary.NoHandover || g.counts == 0 {
		g.counts += starting
	}
}

// follow attaches SelectorCPU's program for the number of sockets that the group has now, if that
// has changed.
func (g *Group) follow() error {
	if g.cfg.Selection != vocabulary.SelectorCPU {
		return nil
	}
	n := g.members()
	if n == 0 || n == g.counts {
		return nil
	}
	g.counts = n
	if len(g.held) > 0 {
		return selector.AttachCPU(g.held[0].fd, n)
	}
	for _, w := range g.Workers() {
		if w.Serves() {
			return w.tell(Command{Members: n})
		}
	}
	return nil // the last workers are closing; the next one that begins to listen attaches it
}

// members is how many sockets the group has.
func (g *Group) members() int {
	sockets := map[uint64]bool{}
	for _, h := range g.held {
		sockets[h.inode] = true
	}
	for _, w := range g.Workers() {
		if w.listens() {
			sockets[w.listener] = true
		}
	}
	return len(sockets)
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

// handshakeLimit bounds how long StopBPFDrain waits for handshakes: a client that never answers
// must not hold up the rest.
const handshakeLimit = 500 * time.Millisecond

// unlist keeps the selector from choosing workers and, for StopBPFDrain, returns when no handshake
// is under way at their listeners any more, or after handshakeLimit.
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
		return errors.New("bpf-drain: nobody can tell which handshakes are under way")
	}
	// Who has met the old list has chosen when every read-side section that was under way has
	// ended, and what it chose is in the table of connections then: a segment is dealt with in one
	// such section. MEMBARRIER_CMD_GLOBAL waits for just that (synchronize_rcu in
	// kernel/sched/membarrier.c); a machine with one CPU, which needs none, returns at once.
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

// weight is that of the worker with an index, for SelectorWeighted: the last one's is Canary's
// share of all, the others' are equal.
func (g *Group) weight(index int) uint32 {
	if g.cfg.Selection == vocabulary.SelectorSlowStart {
		return selector.MaxWeight
	}
	others := float64(g.cfg.Workers - 1)
	if g.cfg.Selection != vocabulary.SelectorWeighted || others == 0 || g.cfg.Canary <= 0 || g.cfg.Canary >= 1 {
		return 1
	}
	each := (1 - g.cfg.Canary) / others
	weight := each
	if index == g.cfg.Workers-1 {
		weight = g.cfg.Canary
	}
	return uint32(max(1, math.Round(selector.MaxWeight*weight/max(each, g.cfg.Canary))))
}
