// Package servers implements the parent's side of the processes under test: a Group starts
// generations of workers and stops them. Package worker is the worker process itself.
//
// Parent and worker communicate in two ways. The control protocol (protocol.go) consists of lines
// of JSON on the pipes of package child. The journal (package journal) is a worker's record of all
// its connections, and remains readable after the worker has exited.
//
// Each file has one task of the group: config.go says what can be configured; group.go holds the
// workers; generation.go and start.go start them; park.go starts their processes in advance;
// adopt.go makes workers of processes that others have started, such as the containers of pods;
// stop.go stops workers (the stop modes are rows of scenarios/vocabulary); handover.go and
// upgrade.go pass listening sockets on; held.go holds the parent's own sockets; selection.go
// decides which workers the selector may choose; acceptor.go starts the process that accepts
// connections for the workers; process.go represents one worker.
//
// Invariants:
//   - A parked process has no listener of its own and no connection.
//   - A worker is ready when it listens, not earlier. It reports this itself, so no code sleeps or
//     polls to find out.
//   - A worker exits at once when it reads EOF from its control pipe: its parent has exited.
//   - Every connection that a worker accepts has an accept record in its journal. It also has an
//     end record, unless the worker dies while the connection is open.
//   - A Group waits for every process that it has started.
package servers
