// Package servers is the processes under test: how they listen, accept, serve, and end.
//
// One side runs in the harness: a Group starts generations of workers and stops them, over
// inherited pipes. The other side, Main, is the whole of a worker process. Between them stand
// two things: the control protocol (protocol.go), a few JSON lines, and the journal (journal.go),
// the worker's account of every connection in shared memory, which outlives it.
//
// Invariants:
//   - A worker is ready when it listens, not before. Nothing sleeps to find out.
//   - A worker whose control pipe ends exits at once: its parent is gone.
//   - Every connection a worker accepts has an accept and an end record in its journal, or is
//     open at the instant the worker dies.
//   - A Group waits for every process it started.
package servers
