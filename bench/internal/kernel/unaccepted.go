package kernel

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Unaccepted returns the client's ends of the connections to a port that wait in an accept queue of
// the calling thread's network namespace. family is unix.AF_INET or unix.AF_INET6. It needs no
// privilege, and takes some milliseconds: the kernel looks into every bucket of its table of
// connections.
//
// Until a process accepts a connection, it has no inode (sock_i_ino in inet_sk_diag_fill,
// net/ipv4/inet_diag.c). A connection that a process has closed has none either, but it is in
// neither of the states that are asked for: established, or closed by the client.
func Unaccepted(family int, port uint16) (clients []netip.AddrPort, err error) {
	fd, err := openDiag()
	if err != nil {
		return nil, err
	}
	request := diagRequest(family, 1<<tcpEstablished|1<<tcpCloseWait, port)
	err = askDiag(fd, request, make([]byte, diagBuffer), func(socket []byte) {
		if diagInode(socket) == 0 && binary.BigEndian.Uint16(socket[4:]) == port {
			clients = append(clients, diagPeer(socket))
		}
	})
	return clients, errors.Join(err, unix.Close(fd))
}

// diagPeer returns the other end of the connection of a struct inet_diag_msg.
func diagPeer(socket []byte) netip.AddrPort {
	port := binary.BigEndian.Uint16(socket[6:])
	if socket[0] == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(socket[24:28])), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(socket[24:40])), port)
}
