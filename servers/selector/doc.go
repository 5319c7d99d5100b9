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
// accepted, plus what the worker reports as in flight. It compares all workers if there are at most
// 16. If there are more, it draws 8 at random, and 8 more if all of the first 8 are to be avoided.
// Among workers with equal loads, it takes the one that has waited longest for a connection. It
// avoids
//
//   - a full worker, at which [Config.QueueLimit] connections wait to be accepted;
//   - a stuck worker, at which something waits and, for longer than [Config.Stuck], neither the
//     loop has turned nor the queue has been empty.
//
// If all are to be avoided, the least loaded gets the connection anyway.
//
// The program itself counts what it assigns. A stopped process publishes nothing, so by its own
// account it would look idle for ever and would get every connection.
//
// # Fallback
//
// If a slot holds no socket, because its worker has just died, the program tries other slots, up to
// eight in all. If those fail too, or if no slot is listed, it makes no selection. The kernel's
// hash then chooses among all listeners of the group, listed or not. A connection is refused only
// if no process listens. [Stats] counts each case.
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
//     0. This includes handshakes in progress at that instant, which will be accepted although they
//     no longer count as waiting; the next Turn corrects that.
//   - Member.Turn halves the number of waiting connections each time that [Config.Decay] passes
//     without an accept, for workers that cannot see their queue. The number is never negative.
//
// Only a worker that runs can do this, so least-loaded needs a heartbeat (Member.Beat).
//
// # Relation to Hermes
//
// least-loaded follows Alibaba's Hermes (Pan et al., Hermes: Enhancing Layer-7 Cloud Load Balancers
// with Userspace-Directed I/O Event Notification, SIGCOMM 2025). It takes three ideas from Hermes.
// Workers publish their load and the progress of their loop, without locks, in memory shared with a
// sk_reuseport program. A worker whose loop has not turned for some time counts as hung. No failure
// may cost a connection. In Hermes, the workers judge: from time to time, they determine the good
// workers in user space, and the program hashes over these. Here the program judges, for each
// connection, by the state at that instant, and it compares instead of filtering. It also trusts
// the workers less: it counts assigned connections itself. So it notices a stopped worker by the
// second connection, not only when the worker's loop is late.
//
// # Invariants
//
//   - Only the parent decides which slots are listed. It writes the list that is not in use and
//     then switches, so a program sees either the old list or the new one. A program that is
//     overtaken by two changes during one run may, at worst, meet a slot with no socket.
//   - A slot has one worker at a time: Join takes only a free slot. A slot is free once its
//     listener has left it or was closed, by the worker or by its death.
//   - Each word of the shared state has one writer: parent, worker or program. Several processors
//     write only the program's words, atomically. So a worker may be killed at any instruction, and
//     Join can handle what it left behind.
//   - Counters of connections only grow, whichever worker holds the slot.
//
// The package needs Linux 5.12 (atomic operations that return a value). Of this module it imports
// only servers/sys.
package selector

//go:generate ../../scripts/bpf2go.sh -type slot selector selector.c
