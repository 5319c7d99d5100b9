package kernel

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Unaccepted returns the client address of each connection to a port that waits in an accept queue
// of the calling thread's network namespace. families are the listeners' address families:
// unix.AF_INET, unix.AF_INET6, or both. IPv4 connections to an IPv6 listener count as AF_INET6.
// Unaccepted needs no privilege. It takes some milliseconds per family, because the kernel looks
// into every bucket of its table of connections.
//
// A connection has no inode until a process accepts it (sock_i_ino in inet_sk_diag_fill,
// net/ipv4/inet_diag.c). Connections that the server has closed have no inode either, but
// Unaccepted asks only for ESTABLISHED and CLOSE_WAIT, and they are in neither state.
func Unaccepted(port uint16, families ...int) (clients []netip.AddrPort, err error) {
	fd, err := openDiag()
	if err != nil {
		return nil, err
	}
	buffer := make([]byte, diagBuffer)
	var errs []error
	for _, family := range families {
		request := diagRequest(family, 1<<tcpEstablished|1<<tcpCloseWait, port)
		errs = append(errs, askDiag(fd, request, buffer, func(socket []byte) {
			if diagInode(socket) == 0 && binary.BigEndian.Uint16(socket[4:]) == port {
				clients = append(clients, diagAddrPort(socket, 24, 6))
			}
		}))
	}
	return clients, errors.Join(append(errs, unix.Close(fd))...)
}
