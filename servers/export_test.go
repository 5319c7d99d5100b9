package servers

import (
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/child"
)

// Package worker imports this one, and tests need real workers: so they are outside, and see this.

// Shared returns the shared socket, or -1 where the group does not hold it.
func (g *Group) Shared() int { return g.listener }

// HoldsShared reports whether the group holds the shared socket.
func (g *Group) HoldsShared() bool { return g.listener >= 0 }

// OfferName is where the worker passes its listener on.
func (g *Group) OfferName(w *Worker) string { return g.offerName(w) }

// Acceptor is the process that accepts for the others.
func (g *Group) Acceptor() *Worker { return g.acceptor }

// Process is the worker's process.
func (w *Worker) Process() *child.Process { return w.process }

// Closed is closed when the worker's listener is.
func (w *Worker) Closed() <-chan struct{} { return w.closed }

// Unread returns how many records of a worker's journal have not been read yet.
func (g *Group) Unread(w *Worker) int { return int(w.journal.Unread()) }

// ExpectStop has the worker counted as told to stop, by a command that the test sends itself.
func (w *Worker) ExpectStop(mode vocabulary.StopMode) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped, w.closing.Mode = true, mode
}

// SetJournalBudget bounds what the journals of workers that have exited may hold unread.
func (g *Group) SetJournalBudget(records uint64) { g.budget = records }

// Counts is the number of sockets that SelectorCPU's program was attached for.
func (g *Group) Counts() int { return g.counts }
