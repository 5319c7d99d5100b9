package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// A Queue is the accept queue of one listening TCP socket.
type Queue struct {
	Inode  uint64 // of the socket, as in stat(2) of its descriptor
	Cookie uint64 // identifies the socket until the machine reboots (SO_COOKIE)
	Addr   netip.Addr
	Port   uint16
	Queued int // connections waiting to be accepted
	Limit  int // the kernel refuses connections while more than Limit are queued
}

// A QueueWatch reads the accept queues of all listeners of a network namespace. It needs neither
// privilege nor the listeners' descriptors, so it keeps no listener open. It is not safe for
// concurrent use. The caller closes it.
//
// Source: inet_diag, sock_diag(7). For a listener, idiag_rqueue is the length of the queue and
// idiag_wqueue its limit.
type QueueWatch struct {
	fd       int
	requests [][]byte
	buffer   []byte
}

// States of include/net/tcp_states.h.
const (
	tcpEstablished = 1
	tcpCloseWait   = 8
	tcpListen      = 10
)

// The sizes of inet_diag_req_v2 and inet_diag_msg (include/uapi/linux/inet_diag.h).
const (
	diagRequestSize = 56
	diagMessageSize = 72
)

// NewQueueWatch watches the calling thread's network namespace. The methods may be called from
// threads in other namespaces. families are unix.AF_INET, unix.AF_INET6, or both.
func NewQueueWatch(families ...int) (*QueueWatch, error) {
	fd, err := openDiag()
	if err != nil {
		return nil, err
	}
	w := &QueueWatch{fd: fd, buffer: make([]byte, diagBuffer)}
	for _, family := range families {
		w.requests = append(w.requests, diagRequest(family, 1<<tcpListen, 0))
	}
	return w, nil
}

// diagBuffer is the maximum size of a datagram that the kernel sends (netlink_dump in
// net/netlink/af_netlink.c).
const diagBuffer = 32 << 10

// openDiag returns a sock_diag socket of the calling thread's network namespace.
func openDiag() (fd int, err error) {
	fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return -1, fmt.Errorf("sock_diag: %w", err)
	}
	// The kernel answers at once. The timeout only ensures that no read blocks forever.
	limit := unix.Timeval{Sec: 1}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
		return -1, errors.Join(fmt.Errorf("sock_diag: SO_RCVTIMEO: %w", err), unix.Close(fd))
	}
	return fd, nil
}

// diagRequest returns a request for all TCP sockets that are in one of the states and have the
// given local port. Each bit of states stands for one state. Port 0 means any port.
func diagRequest(family int, states uint32, port uint16) []byte {
	request := make([]byte, unix.NLMSG_HDRLEN+diagRequestSize)
	order := binary.NativeEndian
	order.PutUint32(request, uint32(len(request)))
	order.PutUint16(request[4:], unix.SOCK_DIAG_BY_FAMILY)
	order.PutUint16(request[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	diag := request[unix.NLMSG_HDRLEN:]
	diag[0], diag[1] = byte(family), unix.IPPROTO_TCP
	order.PutUint32(diag[4:], states)
	binary.BigEndian.PutUint16(diag[8:], port)
	return request
}

// askDiag sends a request and calls f with each struct inet_diag_msg of the answer. The slice is
// part of buffer, and valid until f returns.
func askDiag(fd int, request, buffer []byte, f func(socket []byte)) error {
	err := unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	if err != nil {
		return fmt.Errorf("sock_diag: %w", err)
	}
	for {
		n, _, err := unix.Recvfrom(fd, buffer, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		} else if err != nil {
			return fmt.Errorf("sock_diag: %w", err)
		}
		if done, err := parseDiag(buffer[:n], f); done || err != nil {
			return err
		}
	}
}

// parseDiag calls f with each socket of one datagram. done reports whether this datagram ends the
// answer.
func parseDiag(b []byte, f func(socket []byte)) (done bool, err error) {
	order := binary.NativeEndian
	for len(b) >= unix.NLMSG_HDRLEN {
		size, kind := int(order.Uint32(b)), order.Uint16(b[4:])
		if size < unix.NLMSG_HDRLEN || size > len(b) {
			return true, errors.New("sock_diag: message cut off")
		}
		body := b[unix.NLMSG_HDRLEN:size]
		switch {
		case kind == unix.NLMSG_DONE:
			return true, nil
		case kind == unix.NLMSG_ERROR && len(body) >= 4:
			return true, fmt.Errorf("sock_diag: %w", unix.Errno(-int32(order.Uint32(body))))
		case kind == unix.SOCK_DIAG_BY_FAMILY && len(body) >= diagMessageSize:
			f(body)
		}
		b = b[min(len(b), (size+unix.NLMSG_ALIGNTO-1)&^(unix.NLMSG_ALIGNTO-1)):]
	}
	return false, nil
}

// diagInode returns the inode of a struct inet_diag_msg.
func diagInode(socket []byte) uint64 { return uint64(binary.NativeEndian.Uint32(socket[68:])) }

// diagCookie returns the cookie of a struct inet_diag_msg: two words, the low one first
// (sock_diag_save_cookie in net/core/sock_diag.c).
func diagCookie(socket []byte) uint64 {
	low, high := binary.NativeEndian.Uint32(socket[44:]), binary.NativeEndian.Uint32(socket[48:])
	return uint64(high)<<32 | uint64(low)
}

// diagSource returns the source address of a struct inet_diag_msg.
func diagSource(socket []byte) netip.Addr {
	if socket[0] == unix.AF_INET {
		return netip.AddrFrom4([4]byte(socket[8:]))
	}
	return netip.AddrFrom16([16]byte(socket[8:]))
}

// Read appends the current state of every listener's queue to all.
func (w *QueueWatch) Read(all []Queue) ([]Queue, error) {
	for _, request := range w.requests {
		err := askDiag(w.fd, request, w.buffer, func(socket []byte) {
			all = append(all, Queue{
				Port:   binary.BigEndian.Uint16(socket[4:]),
				Queued: int(binary.NativeEndian.Uint32(socket[56:])),
				Limit:  int(binary.NativeEndian.Uint32(socket[60:])),
				Inode:  diagInode(socket),
				Cookie: diagCookie(socket),
				Addr:   diagSource(socket),
			})
		})
		if err != nil {
			return all, err
		}
	}
	return all, nil
}

// Close ends the watch.
func (w *QueueWatch) Close() error { return unix.Close(w.fd) }
