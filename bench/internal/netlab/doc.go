// Package netlab makes the private networks that trials run in.
//
// A Lab is a PID namespace and one or more network namespaces for its own processes. One thread,
// locked for the lab's life, is the parent of all these processes. The first process is the lab's
// init, PID 1 of the namespace. The thread starts it with PDEATHSIG=SIGKILL. The kernel sends that
// signal when the parent thread ends, not its process (prctl(2)), hence the lock. When the init
// dies, the kernel kills everything left in its namespace, including stopped processes and orphaned
// grandchildren (pid_namespaces(7)). If the harness dies before the signal is set, the init ends at
// the end of its control pipe.
//
// So the lab ends when the harness ends, however it ends. The network namespaces are held only by
// descriptors: they have no names in /run/netns, and need no cleanup.
package netlab
