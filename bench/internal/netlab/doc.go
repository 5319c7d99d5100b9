// Package netlab makes the private networks that trials run in.
//
// A Lab is a PID namespace and one or more network namespaces that only its own processes see. One
// thread, locked for the lab's life, is the parent of everything in it. First of the lab's init,
// PID 1 of the namespace, which it starts with PDEATHSIG=SIGKILL: that signal is bound to the
// parent thread, not to its process (prctl(2)), hence the lock. When the init dies the kernel kills
// whatever is left in its namespace, stopped processes and orphaned grandchildren included
// (pid_namespaces(7)). Should the harness die before the signal is set, the init's standard input
// ends, and so does it.
//
// So the end of the harness, however it comes, is the end of the lab. Network namespaces are held
// by descriptors alone: no name in /run/netns, nothing to clean up.
package netlab
