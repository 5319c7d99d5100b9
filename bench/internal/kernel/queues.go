package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// A Queue is the accept queue of one listening TCP socket.
type Queue struct {
	Inode  uint64 // of the socket, as stat(2) of its descriptor has it
	Port   uint16
	Queued int // connections that wait to be accepted
	Limit  int // the kernel refuses when there are more than this
}

// A QueueWatch reads the accept queues of all listeners of a network namespace. It needs no privilege and no descriptor
// of theirs, so it keeps none open. It is not safe for concurrent use; the caller closes it.
//
// Source: inet_diag, sock_diag(7). Of a listener idiag_rqueue is the queue and idiag_wqueue its limit.
type QueueWatch struct {
	fd       int
	requests [][]byte
	buffer   []byte
}

// tcpListen is TCP_LISTEN of include/net/tcp_states.h.
const tcpListen = 10

// The sizes of inet_diag_req_v2 and inet_diag_msg (include/uapi/linux/inet_diag.h).
const (
	diagRequestSize = 56
	diagMessageSize = 72
)

// NewQueueWatch watches the network namespace that the calling thread is in; later calls may come
// from any. families are unix.AF_INET and unix.AF_INET6, or one of them.
func NewQueueWatch(families ...int) (*QueueWatch, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, fmt.Errorf("sock_diag: %w", err)
	}
	// The kernel answers at once; this is only so that nothing can wait for ever.
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1}); err != nil {
		return nil, errors.Join(fmt.Errorf("sock_diag: SO_RCVTIMEO: %w", err), unix.Close(fd))
	}
	w := &QueueWatch{fd: fd, buffer: make([]byte, 32<<10)}
	for _, family := range families {
		request := make([]byte, unix.NLMSG_HDRLEN+diagRequestSize)
		order := binary.NativeEndian
		order.PutUint32(request, uint32(len(request)))
		order.PutUint16(request[4:], unix.SOCK_DIAG_BY_FAMILY)
		order.PutUint16(request[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
		diag := request[unix.NLMSG_HDRLEN:]
		diag[0], diag[1] = byte(family), unix.IPPROTO_TCP
		order.PutUint32(diag[4:], 1<<tcpListen)
		w.requests = append(w.requests, request)
	}
	return w, nil
}

// Read appends every listener's queue to all, as it is now.
func (w *QueueWatch) Read(all []Queue) (_ []Queue, err error) {
	for _, request := range w.requests {
		if all, err = w.ask(request, all); err != nil {
			return all, err
		}
	}
	return all, nil
}

// ask appends the queues of one family.
func (w *QueueWatch) ask(request []byte, all []Queue) ([]Queue, error) {
	to := &unix.SockaddrNetlink{Family: unix.AF_NETLINK}
	if err := unix.Sendto(w.fd, request, 0, to); err != nil {
		return all, fmt.Errorf("sock_diag: %w", err)
	}
	for {
		n, _, err := unix.Recvfrom(w.fd, w.buffer, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		} else if err != nil {
			return all, fmt.Errorf("sock_diag: %w", err)
		}
		var done bool
		if all, done, err = parseQueues(w.buffer[:n], all); done || err != nil {
			return all, err
		}
	}
}

// parseQueues reads the messages of one datagram. done: the answer ends with it.
func parseQueues(b []byte, all []Queue) (_ []Queue, done bool, err error) {
	order := binary.NativeEndian
	for len(b) >= unix.NLMSG_HDRLEN {
		size, kind := int(order.Uint32(b)), order.Uint16(b[4:])
		if size < unix.NLMSG_HDRLEN || size > len(b) {
			return all, true, errors.New("sock_diag: a message that is cut off")
		}
		body := b[unix.NLMSG_HDRLEN:size]
		switch {
		case kind == unix.NLMSG_DONE:
			return all, true, nil
		case kind == unix.NLMSG_ERROR && len(body) >= 4:
			return all, true, fmt.Errorf("sock_diag: %w", unix.Errno(-int32(order.Uint32(body))))
		case kind == unix.SOCK_DIAG_BY_FAMILY && len(body) >= diagMessageSize && body[1] == tcpListen:
			all = append(all, Queue{
				Port:   binary.BigEndian.Uint16(body[4:]),
				Queued: int(order.Uint32(body[56:])), Limit: int(order.Uint32(body[60:])), Inode: uint64(order.Uint32(body[68:])),
			})
		}
		b = b[min(len(b), (size+unix.NLMSG_ALIGNTO-1)&^(unix.NLMSG_ALIGNTO-1)):]
	}
	return all, false, nil
}

// Close ends the watch.
func (w *QueueWatch) Close() error { return unix.Close(w.fd) }
