package kernel

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Unaccepted returns the client's ends of the connections to a port that wait in an accept queue of
// the calling thread's network namespace. families are those of the listeners, unix.AF_INET and
// unix.AF_INET6, or one of them: IPv4 connections that an IPv6 socket takes are in the latter. It
// needs no privilege, and takes some milliseconds for each family: the kernel looks into every
// bucket of its table of connections.
//
// Until a process accepts a connection, it has no inode (sock_i_ino in inet_sk_diag_fill,
// net/ipv4/inet_diag.c). A connection that a process has closed has none either, but it is in
// neither of the states that are asked for: established, or closed by the client.
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
				clients = append(clients, diagPeer(socket))
			}
		}))
	}
	return clients, errors.Join(append(errs, unix.Close(fd))...)
}

// diagPeer returns the other end of the connection of a struct inet_diag_msg. An IPv4 address is
// one in an IPv6 socket, too.
func diagPeer(socket []byte) netip.AddrPort {
	port := binary.BigEndian.Uint16(socket[6:])
	if socket[0] == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(socket[24:28])), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(socket[24:40])).Unmap(), port)
}
