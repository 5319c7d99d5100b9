// Package servers has the parent's side of the processes under test: a Group starts generations of
// workers and stops them. Package worker is the worker process itself.
//
// Parent and worker communicate in two ways: by the control protocol (protocol.go), which is lines
// of JSON on the pipes of package child, and by package journal, a worker's record of every
// connection, which outlives the worker.
//
// Each file has one task of the group: config.go says what can be configured; group.go holds the
// workers; generation.go and start.go start them; park.go starts their processes in advance;
// stop.go stops them (the stop modes are rows of scenarios/vocabulary); handover.go and upgrade.go
// pass listening sockets on; held.go holds the parent's own sockets; selection.go says which
// workers are selected; acceptor.go starts the process that accepts for others; process.go is one
// worker.
//
// Invariants:
//   - A parked process has no listener of its own and no connection.
//   - A worker is ready when it listens, not earlier. Nothing sleeps to find out.
//   - A worker whose control pipe ends exits at once: its parent has exited.
//   - Every connection that a worker accepts has an accept and an end record in its journal, or is
//     open when the worker dies.
//   - A Group waits for every process that it has started.
package servers
