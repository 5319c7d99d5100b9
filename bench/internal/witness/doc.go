// Package witness tells what became of each TCP connection of a trial, at the server's end and
// without the server's help: what was read and sent, by which process, and how it ended.
//
// As root it traces connections, by the programs in ends.c. Otherwise it has the kernel's
// obituaries of sockets and a look at those that are still there (obituary.go). Either way the
// result is one SocketEnd for each connection, which says which of its fields are known, and
// equations with the kernel's own counters, which tell whether any is missing (equations.go).
package witness
