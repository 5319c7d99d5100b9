package kernel

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Connection is one end of a TCP connection, as sock_diag(7) reports it.
type Connection struct {
	// Peer has port 0 if the socket's own host has reset the connection while no received data was
	// unread (tcp_disconnect in net/ipv4/tcp.c).
	Local, Peer netip.AddrPort
	State       uint8  // as in include/net/tcp_states.h
	Inode       uint64 // of the socket, as in stat(2); 0 if no process has the socket
	Cookie      uint64 // SO_COOKIE in socket(7)
	// Unread is the number of received bytes that no process has read. The peer's FIN counts as
	// one.
	Unread uint32
	// Received, Acknowledged and Sent are numbers of bytes. A FIN counts as one byte in Received
	// and Acknowledged, but not in Sent. Retransmitted bytes count once.
	Received, Acknowledged, Sent uint64
}

// Connections appends to all the open connections to a local port: those in any state but SYN_SENT,
// SYN_RECV, TIME_WAIT and CLOSE. It looks in the calling thread's network namespace. families has
// the same meaning as in Unaccepted, and the call takes as long. It needs no privilege.
func Connections(all []Connection, port uint16, families ...int) ([]Connection, error) {
	fd, err := openDiag()
	if err != nil {
		return all, err
	}
	const states = 1<<tcpEstablished | 1<<tcpFinWait1 | 1<<tcpFinWait2 | 1<<tcpCloseWait |
		1<<tcpLastAck | 1<<tcpClosing
	buffer := make([]byte, diagBuffer)
	var errs []error
	for _, family := range families {
		request := diagRequest(family, states, port)
		request[unix.NLMSG_HDRLEN+2] = 1 << (diagInfo - 1) // idiag_ext
		errs = append(errs, askDiag(fd, request, buffer, func(socket []byte) {
			// The kernel may report a socket in TIME_WAIT as FIN_WAIT2. Such a socket has no struct
			// tcp_info (inet_twsk_diag_fill in net/ipv4/inet_diag.c).
			c, full := parseConnection(socket)
			if full && c.Local.Port() == port {
				all = append(all, c)
			}
		}))
	}
	return all, errors.Join(append(errs, unix.Close(fd))...)
}

const (
	tcpFinWait1 = 4
	tcpFinWait2 = 5
	tcpLastAck  = 9
	tcpClosing  = 11
)

// diagInfo is the number of the attribute that holds a struct tcp_info (INET_DIAG_INFO in
// include/uapi/linux/inet_diag.h).
const diagInfo = 2

// parseConnection reads a struct inet_diag_msg and its attributes. full reports whether the
// attributes include a struct tcp_info.
func parseConnection(socket []byte) (c Connection, full bool) {
	order := binary.NativeEndian
	c = Connection{
		Local: diagAddrPort(socket, 8, 4), Peer: diagAddrPort(socket, 24, 6),
		State: socket[1], Inode: diagInode(socket),
		Cookie: uint64(order.Uint32(socket[44:])) | uint64(order.Uint32(socket[48:]))<<32,
		Unread: order.Uint32(socket[56:]),
	}
	for b := socket[diagMessageSize:]; len(b) >= unix.NLA_HDRLEN; {
		size, kind := int(order.Uint16(b)), order.Uint16(b[2:])
		if size < unix.NLA_HDRLEN || size > len(b) {
			break
		}
		if kind == diagInfo {
			full = true
			var info unix.TCPInfo // an older kernel's struct is shorter
			copy((*[unsafe.Sizeof(info)]byte)(unsafe.Pointer(&info))[:], b[unix.NLA_HDRLEN:size])
			c.Received, c.Acknowledged = info.Bytes_received, info.Bytes_acked
			c.Sent = info.Bytes_sent - info.Bytes_retrans
		}
		b = b[min(len(b), (size+unix.NLA_ALIGNTO-1)&^(unix.NLA_ALIGNTO-1)):]
	}
	return c, full
}

// diagAddrPort returns an address from a struct inet_diag_msg, given the offsets of the address and
// the port. It unmaps the IPv4 address of a connection to an IPv6 socket.
func diagAddrPort(socket []byte, address, port int) netip.AddrPort {
	number := binary.BigEndian.Uint16(socket[port:])
	if socket[0] == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(socket[address:])), number)
	}
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(socket[address:])).Unmap(), number)
}
