package servers

import (
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/child"
)

// Package worker imports this package, and the tests need real workers. So the tests are in package
// servers_test and use these exports.

// Shared returns the shared socket, or -1 if the group does not hold it.
func (g *Group) Shared() int { return g.listener }

// HoldsShared reports whether the group holds the shared socket.
func (g *Group) HoldsShared() bool { return g.listener >= 0 }

// OfferName returns the abstract socket address at which the worker passes its listener on.
func (g *Group) OfferName(w *Worker) string { return g.offerName(w) }

// Acceptor returns the process that accepts connections for the workers.
func (g *Group) Acceptor() *Worker { return g.acceptor }

// Process returns the worker's process.
func (w *Worker) Process() *child.Process { return w.process }

// Closed returns a channel that is closed when the worker's listener is closed.
func (w *Worker) Closed() <-chan struct{} { return w.closed }

// Unread returns the number of unread records in a worker's journal.
func (g *Group) Unread(w *Worker) int { return int(w.journal.Unread()) }

// ExpectStop marks the worker as stopped. The test sends the stop command itself.
func (w *Worker) ExpectStop(mode vocabulary.StopMode) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped, w.closing.Mode = true, mode
}

// SetJournalBudget sets the maximum number of unread records that the journals of exited workers
// may hold together.
func (g *Group) SetJournalBudget(records uint64) { g.budget = records }

// SocketCount returns the number of sockets that SelectorCPU's program was attached for.
func (g *Group) SocketCount() int { return g.socketCount }
