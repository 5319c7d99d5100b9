// Package servers is the processes under test, seen from their parent: a Group starts generations
// of workers and stops them. Package worker is the whole of such a process.
//
// Between the two stand the control protocol (protocol.go), lines of JSON on the pipes of package
// child, and package journal, the worker's account of every connection, which outlives it.
//
// The files are named for what a group does: config.go says what can be asked for, group.go holds
// the workers, generation.go and start.go start them, park.go their processes beforehand, stop.go
// stops them; the modes are rows of scenarios/vocabulary, handover.go and upgrade.go pass listening
// sockets on, held.go keeps the parent's own sockets, selection.go says who is selected,
// acceptor.go starts the process that accepts for the others, and process.go is one worker.
//
// Invariants:
//   - A process that is parked has no listener of its own, and no connection.
//   - A worker is ready when it listens, not before. Nothing sleeps to find out.
//   - A worker whose control pipe ends exits at once: its parent is gone.
//   - Every connection a worker accepts has an accept and an end record in its journal, or is
//     open at the instant the worker dies.
//   - A Group waits for every process it started.
package servers
