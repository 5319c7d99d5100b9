package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/socket"
)

// patience bounds each wait inside a probe. On loopback things happen within microseconds; a busy machine gets a margin.
const patience = 250 * time.Millisecond

// loopback is where a rig listens.
var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// A rig is a reuseport group on 127.0.0.1 and the clients connected to it, in the network namespace of the calling thread.
// It uses plain system calls, because package net would add MPTCP, a poller and goroutines to what is being probed. All
// sockets are non-blocking. Close releases everything.
type rig struct {
	address netip.AddrPort // set by the first listen
	sockets []int
}

// close closes one of the rig's sockets early.
func (r *rig) close(fd int) {
	for i, s := range r.sockets {
		if s == fd {
			unix.Close(s)
			r.sockets = append(r.sockets[:i], r.sockets[i+1:]...)
			return
		}
	}
}

// Close closes what is still open, last first. A second call does nothing.
func (r *rig) Close() {
	for len(r.sockets) > 0 {
		r.close(r.sockets[len(r.sockets)-1])
	}
}

// socket makes a socket that Close will close.
func (r *rig) socket() (int, error) {
	fd, err := socket.Open(loopback)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	r.sockets = append(r.sockets, fd)
	return fd, nil
}

// listen adds a listener to the group: the first takes a port of the kernel's choice, the others join it.
func (r *rig) listen() (int, error) {
	const backlog = 64 // more than any probe queues
	listener, err := socket.Listen(netip.AddrPortFrom(loopback, r.address.Port()), socket.ListenOptions{Backlog: backlog, ReusePort: true})
	if err != nil {
		return -1, err
	}
	r.sockets = append(r.sockets, listener)
	bound, err := unix.Getsockname(listener)
	if err != nil {
		return -1, fmt.Errorf("getsockname: %w", err)
	}
	r.address = socket.AddrPort(bound)
	return listener, nil
}

// connect makes n clients to address and waits until each is established.
func (r *rig) connect(n int, address netip.AddrPort) ([]int, error) {
	clients := make([]int, n)
	for i := range clients {
		client, err := r.socket()
		if err != nil {
			return nil, err
		}
		if err := socket.Connect(client, address); err != nil && !errors.Is(err, unix.EINPROGRESS) {
			return nil, fmt.Errorf("connect: %w", err)
		}
		if ready, err := wait(client, unix.POLLOUT, patience); err != nil || !ready {
			return nil, fmt.Errorf("connect: %w", errors.Join(err, unix.ETIMEDOUT))
		}
		if code, err := unix.GetsockoptInt(client, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || code != 0 {
			return nil, fmt.Errorf("connect: %w", errors.Join(err, unix.Errno(code)))
		}
		clients[i] = client
	}
	return clients, nil
}

// queue makes n clients and waits until all are in listener's accept queue: a client is established when it has the
// SYN-ACK, the server's side only when its ACK has arrived.
func (r *rig) queue(n int, listener int) ([]int, error) {
	clients, err := r.connect(n, r.address)
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(patience); ; {
		queued, _, err := QueueDepth(listener)
		if err != nil {
			return nil, err
		}
		if queued == n {
			return clients, nil
		}
		if time.Now().After(end) {
			return nil, fmt.Errorf("%d of %d connections reached the listener's queue", queued, n)
		}
		unix.Poll(nil, 1) // a queue raises no event that says how long it is
	}
}

// accept takes connections off listeners until it has n in all or patience ends, and returns them listener by listener.
func (r *rig) accept(n int, listeners ...int) ([][]int, error) {
	accepted := make([][]int, len(listeners))
	polled := make([]unix.PollFd, len(listeners))
	for i, listener := range listeners {
		polled[i] = unix.PollFd{Fd: int32(listener), Events: unix.POLLIN}
	}
	for end := time.Now().Add(patience); n > 0; {
		ready, err := pollUntil(polled, end)
		if err != nil || !ready {
			return accepted, err
		}
		for i, listener := range listeners {
			if polled[i].Revents == 0 {
				continue
			}
			connection, _, err := unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			if errors.Is(err, unix.EAGAIN) {
				continue
			}
			if err != nil {
				return accepted, fmt.Errorf("accept: %w", err)
			}
			r.sockets = append(r.sockets, connection)
			accepted[i] = append(accepted[i], connection)
			n--
		}
	}
	return accepted, nil
}

// hear has the server's side of each connection say one byte, and counts the clients that get it, that get a reset, and
// that get nothing while patience lasts.
func hear(clients, connections []int) (served, reset, silent int) {
	for _, connection := range connections {
		unix.Write(connection, []byte{1}) // a failure shows at the client
	}
	end := time.Now().Add(patience)
	for _, client := range clients {
		var word [1]byte
		ready, _ := wait(client, unix.POLLIN, time.Until(end))
		n, err := unix.Read(client, word[:])
		switch {
		case n == 1:
			served++
		case ready && errors.Is(err, unix.ECONNRESET):
			reset++
		default:
			silent++
		}
	}
	return served, reset, silent
}

// wait returns whether one of events, an error or a hang-up occurs on the descriptor within limit.
func wait(descriptor int, events int16, limit time.Duration) (bool, error) {
	return pollUntil([]unix.PollFd{{Fd: int32(descriptor), Events: events}}, time.Now().Add(limit))
}

// pollUntil is poll(2) with an end instead of a timeout, so that a signal does not prolong it: Go's runtime sends itself many.
func pollUntil(polled []unix.PollFd, end time.Time) (bool, error) {
	for {
		n, err := unix.Poll(polled, milliseconds(time.Until(end)))
		if !errors.Is(err, unix.EINTR) {
			return n > 0, err
		}
	}
}

// milliseconds rounds up, and never gives the negative value that would mean "for ever".
func milliseconds(d time.Duration) int {
	return int((max(d, 0) + time.Millisecond - 1) / time.Millisecond)
}
