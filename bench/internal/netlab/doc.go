// Package netlab makes the private networks that trials run in.
//
// A Lab is a PID namespace and one or more network namespaces for the lab's processes. One thread,
// locked for the lab's life, is the parent of all these processes. The first process is the lab's
// init, PID 1 of the namespace. The thread starts the init with PDEATHSIG=SIGKILL. The kernel sends
// that signal when the parent thread exits, even if its process still runs (prctl(2)); therefore
// the thread is locked. When the init dies, the kernel kills everything left in its namespace,
// including stopped processes and orphaned grandchildren (pid_namespaces(7)). If the harness dies
// before the signal is set, the init exits when it reads EOF from its control pipe.
//
// So the lab ends when the harness exits, for whatever reason. Only descriptors hold the network
// namespaces: they have no names in /run/netns, and need no cleanup.
package netlab
