// Package loopback makes both ends of TCP connections on 127.0.0.1: a group of listeners with
// SO_REUSEPORT, and clients. Its users observe what the kernel does with the connections.
//
// It uses plain system calls, because package net would add MPTCP, a poller and goroutines to what
// is observed.
package loopback

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/socket"
)

// Patience is the limit of each wait. On loopback, events occur within microseconds; the rest is a
// margin for busy machines.
const Patience = 250 * time.Millisecond

// host is the address of all sockets.
var host = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// Sockets are a reuseport group and its clients, in the network namespace of the thread that makes
// them. All are non-blocking. The zero value is ready to use. The caller must call Close.
type Sockets struct {
	Address netip.AddrPort // of the group; set by the first Listen
	open    []int
}

// CloseSocket closes one socket before Close does.
func (s *Sockets) CloseSocket(fd int) {
	if i := slices.Index(s.open, fd); i >= 0 {
		unix.Close(fd)
		s.open = slices.Delete(s.open, i, i+1)
	}
}

// Close closes the sockets that are still open, last first. A second call does nothing.
func (s *Sockets) Close() {
	for len(s.open) > 0 {
		s.CloseSocket(s.open[len(s.open)-1])
	}
}

// Own makes Close close the descriptor, too.
func (s *Sockets) Own(fd int) { s.open = append(s.open, fd) }

// Listen adds a listener to the group. The kernel chooses the port of the first listener; the
// others use the same port.
func (s *Sockets) Listen() (int, error) {
	const backlog = 64 // more connections than any probe queues
	address := netip.AddrPortFrom(host, s.Address.Port())
	listener, err := socket.Listen(address, socket.ListenOptions{Backlog: backlog, ReusePort: true})
	if err != nil {
		return -1, err
	}
	s.Own(listener)
	bound, err := unix.Getsockname(listener)
	if err != nil {
		return -1, fmt.Errorf("getsockname: %w", err)
	}
	s.Address = socket.AddrPort(bound)
	return listener, nil
}

// Connect connects n clients to address, and waits until each connection is established.
func (s *Sockets) Connect(n int, address netip.AddrPort) ([]int, error) {
	clients := make([]int, n)
	for i := range clients {
		client, err := socket.Open(host)
		if err != nil {
			return nil, fmt.Errorf("socket: %w", err)
		}
		s.Own(client)
		if err := socket.Connect(client, address); err != nil && !errors.Is(err, unix.EINPROGRESS) {
			return nil, fmt.Errorf("connect: %w", err)
		}
		if ready, err := Wait(client, unix.POLLOUT, Patience); err != nil || !ready {
			return nil, fmt.Errorf("connect: %w", errors.Join(err, unix.ETIMEDOUT))
		}
		code, err := unix.GetsockoptInt(client, unix.SOL_SOCKET, unix.SO_ERROR)
		if err != nil || code != 0 {
			return nil, fmt.Errorf("connect: %w", errors.Join(err, unix.Errno(code)))
		}
		clients[i] = client
	}
	return clients, nil
}

// Queue connects n clients to the group, and waits until all are in listener's accept queue. Queue
// waits longer than Connect: a client's socket is established when the SYN-ACK has arrived, the
// server's only when the ACK has.
func (s *Sockets) Queue(n int, listener int) ([]int, error) {
	clients, err := s.Connect(n, s.Address)
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(Patience); ; {
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
		unix.Poll(nil, 1) // no event reports the length of a queue
	}
}

// Accept accepts connections from listeners until it has n in all, or Patience has passed. It
// returns the connections of each listener.
func (s *Sockets) Accept(n int, listeners ...int) ([][]int, error) {
	accepted := make([][]int, len(listeners))
	polled := make([]unix.PollFd, len(listeners))
	for i, listener := range listeners {
		polled[i] = unix.PollFd{Fd: int32(listener), Events: unix.POLLIN}
	}
	for end := time.Now().Add(Patience); n > 0; {
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
			s.Own(connection)
			accepted[i] = append(accepted[i], connection)
			n--
		}
	}
	return accepted, nil
}

// Wait waits for one of events, an error or a hang-up on the descriptor. It returns false if none
// of these occurs within limit.
func Wait(descriptor int, events int16, limit time.Duration) (bool, error) {
	return pollUntil([]unix.PollFd{{Fd: int32(descriptor), Events: events}}, time.Now().Add(limit))
}

// pollUntil calls poll(2) until a fixed end, so that signals, of which Go's runtime sends itself
// many, do not prolong the wait.
func pollUntil(polled []unix.PollFd, end time.Time) (bool, error) {
	for {
		n, err := unix.Poll(polled, milliseconds(time.Until(end)))
		if !errors.Is(err, unix.EINTR) {
			return n > 0, err
		}
	}
}

// milliseconds rounds up. It never returns a negative value, which would mean "for ever".
func milliseconds(d time.Duration) int {
	return int((max(d, 0) + time.Millisecond - 1) / time.Millisecond)
}
