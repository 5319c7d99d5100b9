// Package selector decides, in the kernel, which listener of a SO_REUSEPORT group gets a new
// connection. Its eBPF programs of type sk_reuseport replace the kernel's hash over the addresses.
//
// One side runs in the harness (selector.go): New loads a program and its maps; Add and Remove say
// which workers may be chosen. The other side runs in each worker (member.go): Join attaches the
// program to its listener, and a Member publishes what the worker is doing. Each worker inherits
// three descriptors: the program, an array of sockets (slot → listener), and a map that the program
// and all processes share as memory (struct state in selector.c). [AttachCPU] is separate: it
// attaches a classic BPF program, which needs no privilege and none of the above.
//
// # The selectors
//
// round-robin gives every listed worker one connection in turn.
//
// weighted draws a worker for every connection, with a probability proportional to its weight.
//
// least-loaded takes the worker with the least load: connections assigned to it and not yet
// accepted, plus the requests or connections that the worker reports as in flight. If there are at
// most 16 workers, it compares all of them. Otherwise it draws 8 at random, and 8 more if all of
// the first 8 are to be avoided. Among workers with equal loads, it takes the one that has waited
// longest for a connection. It avoids
//
//   - a full worker, at which [Config.QueueLimit] connections wait to be accepted;
//   - a stuck worker: connections wait in its queue and, for longer than [Config.Stuck], its loop
//     has not turned and its queue has not been empty.
//
// If all workers are to be avoided, the least loaded gets the connection anyway.
//
// The program itself counts the connections that it assigns. It could not rely on the workers'
// reports alone: a stopped process publishes nothing, so it would look idle and would get every
// connection.
//
// # Fallback
//
// If a slot holds no socket, because its worker has just died, the program tries other slots, up to
// eight in all. If none of them holds a socket, or if no slot is listed, it makes no selection. The
// kernel's hash then chooses among all listeners of the group, listed or not. A connection is
// refused only if no process listens. [Stats] counts each case.
//
// # Drift
//
// An assigned connection need not be accepted by the same worker. A handshake may never complete; a
// SYN that met a full queue is assigned again when it is retransmitted; a connection whose client
// gave up may be dropped. A migrated connection, one placed by the hash, and one made from a SYN
// cookie are accepted without having been assigned. So assigned − accepted drifts from the true
// length of the queue, in either direction, and the worker corrects it:
//
//   - Member.Idle, called when the queue was seen empty, sets the number of waiting connections to
//     0. Handshakes in progress at that instant then no longer count as waiting, although they will
//     be accepted; the next Turn corrects that.
//   - Member.Turn halves the number of waiting connections each time that [Config.Decay] passes
//     without an accept, for workers that cannot see their queue. The number is never negative.
//
// Only a running worker can make these corrections, so least-loaded needs a heartbeat
// (Member.Beat).
//
// # Relation to Hermes
//
// least-loaded follows Alibaba's Hermes (Pan et al., Hermes: Enhancing Layer-7 Cloud Load Balancers
// with Userspace-Directed I/O Event Notification, SIGCOMM 2025). It takes three ideas from Hermes.
// Workers publish their load and the progress of their loop, without locks, in memory shared with a
// sk_reuseport program. A worker whose loop has not turned for some time counts as hung. No failure
// may cost a connection. In Hermes, the workers judge: from time to time, they determine in user
// space which workers are good, and the program hashes over those. Here the program judges, for
// each connection, by the state at that instant, and it takes the best worker instead of hashing
// over the good ones. It also trusts the workers less: it counts assigned connections itself. So it
// notices a stopped worker by the second connection, not only when the worker's loop is late.
//
// # Invariants
//
//   - Only the parent decides which slots are listed. It writes the list that is not in use and
//     then switches the lists, so a program sees either the old list or the new one. If the list
//     changes twice during one run of a program, the program may, at worst, meet a slot with no
//     socket.
//   - A slot has one worker at a time: Join takes only a free slot. A slot is free once its
//     listener has left it or was closed, by the worker or by the worker's death.
//   - Each word of the shared state has one writer: parent, worker or program. Only the program's
//     words are written by several processors, atomically. So a worker may be killed at any
//     instruction, and Join can handle the state that it left behind.
//   - Counters of connections only grow, whichever worker holds the slot.
//
// The package needs Linux 5.12 (atomic operations that return a value). From this module it imports
// only servers/sys.
package selector

//go:generate ../../scripts/bpf2go.sh -type slot selector selector.c
