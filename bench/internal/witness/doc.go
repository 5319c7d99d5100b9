// Package witness reports what happened to each TCP connection of a trial at the server's end,
// without the server's help: the bytes that were read and sent, the process that did so, and the
// way in which the connection ended.
//
// As root it traces connections with the programs in ends.c. Otherwise it uses the kernel's
// obituaries, which are messages about destroyed sockets, and at the end it lists the sockets that
// still exist (obituary.go). In both cases the result is one SocketEnd for each connection. Its
// Known is the set of fields that are known. Equations with the kernel's own counters show whether
// any connection is missing (equations.go).
package witness
