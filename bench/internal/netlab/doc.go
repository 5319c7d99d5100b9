// Package netlab makes the private networks that trials run in.
//
// A Lab is a PID namespace and one or more network namespaces for its own processes. One thread,
// locked for the lab's life, is the parent of all of them. The first is the lab's init, PID 1 of
// the namespace, which the thread starts with PDEATHSIG=SIGKILL: that signal is bound to the parent
// thread rather than its process (prctl(2)), hence the lock. When the init dies, the kernel kills
// everything left in its namespace, including stopped processes and orphaned grandchildren
// (pid_namespaces(7)). If the harness dies before the signal is set, the init ends at the end of
// its control pipe.
//
// So the lab ends when the harness ends, in whatever way. Only descriptors hold the network
// namespaces: they have no names in /run/netns, and need no cleaning up.
package netlab
