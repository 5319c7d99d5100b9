// Package netlab makes the private networks that trials run in.
//
// A Lab is a PID namespace and one or more network namespaces that only its own processes see.
// One thread, locked for the lab's life, is the parent of everything in it:
//
//   - the lab's init, PID 1 of the namespace. When it dies the kernel kills whatever is left
//     there, stopped processes and orphaned grandchildren included (pid_namespaces(7)).
//   - every other child, each started with PDEATHSIG=SIGKILL. That signal is bound to the parent
//     thread, not to its process (prctl(2)), hence the lock.
//
// So the end of the harness, however it comes, is the end of the lab. Network namespaces are held
// by descriptors alone: no name in /run/netns, nothing to clean up.
package netlab
