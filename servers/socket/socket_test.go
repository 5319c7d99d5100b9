package socket

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// opened returns a socket that is closed when the test ends.
func opened(t *testing.T, a netip.Addr) int {
	t.Helper()
	fd, err := Open(a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = Close(fd) })
	return fd
}

// boundTo returns the address that a socket is bound to.
func boundTo(t *testing.T, fd int) netip.AddrPort {
	t.Helper()
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return AddrPort(name)
}

// awaitEvent waits for events of an epoll set. There must be exactly one, which it returns.
func awaitEvent(t *testing.T, epoll int) unix.EpollEvent {
	t.Helper()
	var events [4]unix.EpollEvent
	for {
		n, err := EpollWait(epoll, events[:], 10*time.Second)
		switch {
		case err == unix.EINTR:
		case err != nil || n != 1:
			t.Fatalf("got %d events, want 1, error %v", n, err)
		default:
			return events[0]
		}
	}
}

// TestConnection makes every call that a connection needs, from socket to close, with IPv4 and
// IPv6, and checks that the client keeps the address that it was bound to.
func TestConnection(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		t.Run(host, func(t *testing.T) {
			at := netip.AddrPortFrom(netip.MustParseAddr(host), 0)
			listener, err := Listen(at, ListenOptions{Backlog: 1})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = Close(listener) })
			client, to := opened(t, at.Addr()), boundTo(t, listener)
			if err := Bind(client, at); err != nil {
				t.Fatal(err)
			}
			from := boundTo(t, client)
			if err := Connect(client, to); err != nil && err != unix.EINPROGRESS {
				t.Fatal(err)
			}
			server, peer, err := Accept(listener)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = Close(server) })
			if peer != from {
				t.Errorf("the server sees client address %v, want %v", peer, from)
			}
			if _, _, err := Accept(listener); err != unix.EAGAIN {
				t.Errorf("second accept of one connection: error %v, want EAGAIN", err)
			}

			epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = unix.Close(epoll) })
			if err := EpollCtl(epoll, unix.EPOLL_CTL_ADD, server, unix.EPOLLIN, 41); err != nil {
				t.Fatal(err)
			}
			var b [8]byte
			if n, err := Recv(server, b[:], 0); n != 0 || err != unix.EAGAIN {
				t.Errorf("receive before a send: %d bytes, error %v, want EAGAIN", n, err)
			}
			if n, err := Send(client, []byte("abc")); n != 3 || err != nil {
				t.Fatalf("sent %d of 3 bytes, error %v", n, err)
			}
			if e := awaitEvent(t, epoll); e.Fd != 41 || e.Events != unix.EPOLLIN {
				t.Errorf("event after a send: %+v", e)
			}
			if n, err := Recv(server, b[:], unix.MSG_PEEK); string(b[:n]) != "abc" || err != nil {
				t.Errorf("peeked %q, error %v", b[:n], err)
			}
			if n, err := Recv(server, b[:], 0); string(b[:n]) != "abc" || err != nil {
				t.Errorf("received %q, error %v", b[:n], err)
			}
			if err := unix.Shutdown(client, unix.SHUT_WR); err != nil {
				t.Fatal(err)
			}
			if e := awaitEvent(t, epoll); e.Fd != 41 {
				t.Errorf("event after the client's shutdown: %+v", e)
			}
			if n, err := Recv(server, b[:], 0); n != 0 || err != nil {
				t.Errorf("receive at the end: %d bytes, error %v, want 0 and nil", n, err)
			}
			// Without MSG_NOSIGNAL this would raise SIGPIPE.
			if _, err := Send(client, []byte("d")); err != unix.EPIPE {
				t.Errorf("send after shutdown: error %v, want EPIPE", err)
			}
		})
	}
}

// TestErrors checks that errors are plain errno values, which callers compare.
func TestErrors(t *testing.T) {
	at := netip.MustParseAddrPort("127.0.0.1:0")
	taken, other := opened(t, at.Addr()), opened(t, at.Addr())
	if err := Bind(taken, at); err != nil {
		t.Fatal(err)
	}
	if err := Bind(other, boundTo(t, taken)); err != unix.EADDRINUSE {
		t.Errorf("bind of a second socket to the same address: %v", err)
	}
	// The address is bound, but no socket listens there.
	switch err := Connect(other, boundTo(t, taken)); err {
	case unix.ECONNREFUSED:
	case unix.EINPROGRESS:
		if n, err := Recv(other, make([]byte, 1), 0); n != 0 || err != unix.ECONNREFUSED {
			t.Errorf("connect without a listener: %d bytes, error %v", n, err)
		}
	default:
		t.Errorf("connect without a listener: error %v", err)
	}
	if err := Close(-1); err != unix.EBADF {
		t.Errorf("close of descriptor -1: error %v, want EBADF", err)
	}
	if err := EpollCtl(-1, unix.EPOLL_CTL_ADD, other, unix.EPOLLIN, 0); err != unix.EBADF {
		t.Errorf("epoll_ctl of descriptor -1: error %v, want EBADF", err)
	}
}

// TestEpollWait checks that EpollWait does not return before its timeout, and that it returns at
// once if the timeout is 0.
func TestEpollWait(t *testing.T) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(epoll) })
	var events [1]unix.EpollEvent
	if n, err := EpollWait(epoll, events[:], 0); n != 0 || err != nil {
		t.Errorf("timeout 0: %d events, error %v", n, err)
	}
	const wait = 2500 * time.Microsecond
	for {
		began := time.Now()
		n, err := EpollWait(epoll, events[:], wait)
		if err == unix.EINTR {
			continue
		}
		if took := time.Since(began); n != 0 || err != nil || took < wait {
			t.Errorf("timeout %v: %d events, error %v, after %v", wait, n, err, took)
		}
		return
	}
}
