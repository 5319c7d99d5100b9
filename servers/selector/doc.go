// Package selector decides, in the kernel, which listener of a SO_REUSEPORT group gets a new
// connection: eBPF programs of type sk_reuseport that take the place of the kernel's hash over the
// addresses.
//
// One side runs in the harness: New loads a program and its maps, and Add and Remove say which
// workers may be chosen (selector.go). The other runs in each worker: Join puts its listener under
// the program, and a Member publishes what the worker is doing (member.go). Between them stand
// three descriptors, which a worker inherits: the program, an array of sockets (slot → listener),
// and one map that every process and the program share as memory (struct state in selector.c).
// [AttachCPU] is apart: a classic BPF program, which needs no privilege and none of this.
//
// # The selectors
//
// round-robin gives every listed worker one connection in turn.
//
// weighted draws a worker for every connection, with a probability proportional to its weight.
//
// least-loaded takes the worker with the least load: connections assigned to it and not yet
// accepted, plus what the worker says is in flight. Up to 16 workers are all compared; of more, 8
// drawn at random, and 8 more if all of those are to be avoided. Of equals, whoever had to wait
// longest for a turn. To be avoided is
//
//   - a full worker, where [Config.QueueLimit] connections wait to be accepted;
//   - a stuck one, where something waits, and for longer than [Config.Stuck] neither its loop has turned nor the
//     queue been empty.
//
// If all are to be avoided, the least loaded gets the connection all the same.
//
// The program itself counts what it assigns. A stopped process publishes nothing and so would look
// idle for ever, and it would get every connection.
//
// # Never nobody
//
// Where a slot turns out to hold no socket, because its worker has just died, the program tries
// others, eight in all. If that fails too, or nobody is listed, it passes without a selection,
// whereupon the kernel's hash chooses among all listeners of the group, listed or not. Only if
// nobody listens is a connection refused. [Stats] counts each case.
//
// # Drift
//
// Assigned is not the same as will-be-accepted. A handshake may never complete; a SYN that met a
// full queue is assigned anew when it is sent again; a client that gave up may be dropped; a
// migrated connection, one that the hash placed, or one made from a SYN cookie is accepted where it
// was not assigned. So assigned − accepted drifts off the true length of the queue, either way, and
// is put right by the worker:
//
//   - Member.Idle, called when the queue was seen empty, settles it: nothing waits. A handshake under way at that
//     instant is settled with it and will be accepted uncounted; the next Turn repairs that.
//   - Member.Turn halves what seems to wait each time that [Config.Decay] passes without an accept, for workers
//     that cannot see their queue. It never lets the difference be negative.
//
// Only a worker that runs can do this, which is why least-loaded asks for a heartbeat
// (Member.Beat).
//
// # After Hermes
//
// least-loaded is in the spirit of Alibaba's Hermes (Pan et al., Hermes: Enhancing Layer-7 Cloud
// Load Balancers with Userspace-Directed I/O Event Notification, SIGCOMM 2025). From there we took
// that workers publish the progress of their loop and their load in memory shared with a
// sk_reuseport program, without locks; that a loop which has not turned for some time marks its
// worker as hung; and that nothing which goes wrong may cost a connection. It differs in that there
// the workers judge, filtering the good ones in user space from time to time, and the program
// hashes over what they found; here the program judges, for each connection, by the state at that
// instant, and it compares instead of filtering. And it trusts the workers less: it counts assigned
// connections by itself, so that a stopped worker is noticed by the second connection, not only
// once its loop is late.
//
// # Invariants
//
//   - The parent alone decides who is listed. It writes the list that is not in use and then switches, so a program sees the old
//     or the new one. Should it be overtaken by two changes within one run, it meets at worst a slot with no socket.
//   - A slot has one worker at a time: Join takes only a free one. It is free when its listener was closed, which
//     death does too, or has left.
//   - Each word of the shared state has one writer: parent, worker or program. Only the program's are written by several processors,
//     atomically. So a worker may be killed at any instruction, and Join makes sense of what it left.
//   - Counters of connections only grow, whoever holds the slot.
//
// It needs Linux 5.12 (atomic operations that return a value). The package is for Linux only and
// imports only servers/sys of this module.
package selector

//go:generate ../../scripts/bpf2go.sh -type slot selector selector.c
