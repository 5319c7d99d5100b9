package kernel

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/loopback"
	"reuseport-bench/servers/socket"
)

// pair makes a connection to a listener, and returns both descriptors and the client's end.
func pair(s *loopback.Sockets, listener int) (server, client int, from netip.AddrPort, err error) {
	clients, err := s.Connect(1, s.Address)
	if err != nil {
		return
	}
	accepted, err := s.Accept(1, listener)
	if err != nil {
		return
	}
	name, err := unix.Getsockname(clients[0])
	if err != nil {
		return
	}
	return accepted[0][0], clients[0], socket.AddrPort(name), nil
}

// exchange sends a request of 27 bytes. The server reads the first read bytes of it, and sends
// answer bytes.
func exchange(server, client, read, answer int) error {
	if _, err := unix.Write(client, make([]byte, 27)); err != nil {
		return err
	}
	if ready, err := loopback.Wait(server, unix.POLLIN, loopback.Patience); err != nil || !ready {
		return errors.Join(err, fmt.Errorf("no request came: %w", unix.ETIMEDOUT))
	}
	if read > 0 {
		if _, err := unix.Read(server, make([]byte, read)); err != nil {
			return err
		}
	}
	if answer == 0 {
		return nil
	}
	_, err := unix.Write(server, make([]byte, answer))
	return err
}

// TestKernelObituaries checks what the kernel reports about a server's sockets that were destroyed,
// and about those that still exist.
func TestKernelObituaries(t *testing.T) {
	inNetwork(t, func() error {
		var s loopback.Sockets
		defer s.Close()
		listener, err := s.Listen()
		if err != nil {
			return err
		}
		o, err := NewObituaries(s.Address.Port(), 100)
		if err != nil {
			return err
		}
		defer o.Close()
		var want, wantOpen []Connection
		for _, test := range []struct {
			read, answer int
			end          func(server, client int) error
			c            Connection
		}{
			{27, 41, closeFirst, Connection{Received: 27, Acknowledged: 42, Sent: 41}},
			{0, 0, closeFirst, Connection{Unread: 27, Received: 27}},
			{9, 0, closeFirst, Connection{Unread: 18, Received: 27}},
			{27, 0, closeFirst, Connection{Received: 27, Acknowledged: 1}},
			{27, 41, peerCloses, Connection{Unread: 1, Received: 28, Acknowledged: 42, Sent: 41}},
			{27, 0, abort, Connection{}},
			{9, 5, nil, Connection{Unread: 18, Received: 27, Acknowledged: 5, Sent: 5}},
		} {
			server, client, from, err := pair(&s, listener)
			if err != nil {
				return err
			}
			if err := exchange(server, client, test.read, test.answer); err != nil {
				return err
			}
			test.c.Local, test.c.Peer = s.Address, from
			if test.end == nil {
				test.c.State = tcpEstablished
				wantOpen = append(wantOpen, test.c)
				continue
			}
			if err := test.end(server, client); err != nil {
				return err
			}
			s.CloseSocket(server)
			if test.c == (Connection{Local: test.c.Local, Peer: from}) { // cleared by the kernel
				test.c.Peer = netip.AddrPortFrom(from.Addr(), 0)
			}
			test.c.State = tcpClose
			want = append(want, test.c)
		}
		queued, err := s.Connect(1, s.Address)
		if err != nil {
			return err
		}
		name, err := unix.Getsockname(queued[0])
		if err != nil {
			return err
		}
		wantOpen = append(wantOpen, Connection{
			Local: s.Address, Peer: socket.AddrPort(name), State: tcpEstablished,
		})
		var got []Connection
		end := time.Now().Add(10 * time.Second)
		for len(got) < len(want) && time.Now().Before(end) {
			if err := o.Read(func(c Connection) { got = append(got, c) }); err != nil {
				return err
			}
			unix.Poll(nil, 1)
		}
		open, err := Connections(nil, s.Address.Port(), unix.AF_INET)
		if err != nil {
			return err
		}
		for i, c := range open {
			if queues := c.Peer == socket.AddrPort(name); queues != (c.Inode == 0) {
				t.Errorf("%v has inode %d", c.Peer, c.Inode)
			}
			open[i].Inode = 0
		}
		wantConnections(t, "obituaries", got, want)
		wantConnections(t, "still open", open, wantOpen)
		if lost, err := o.Lost(); err != nil || lost != 0 {
			t.Errorf("%d lost, %v", lost, err)
		}
		return nil
	})
}

func closeFirst(int, int) error { return nil }

func peerCloses(server, client int) error {
	if err := unix.Shutdown(client, unix.SHUT_WR); err != nil {
		return err
	}
	if ready, err := loopback.Wait(server, unix.POLLIN, loopback.Patience); err != nil || !ready {
		return errors.Join(err, fmt.Errorf("no FIN came: %w", unix.ETIMEDOUT))
	}
	return nil
}

func abort(server, _ int) error {
	return unix.SetsockoptLinger(server, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
}

// wantConnections compares connections in any order. Each must have a different cookie.
func wantConnections(t *testing.T, what string, got, want []Connection) {
	t.Helper()
	cookies := map[uint64]bool{}
	for i := range got {
		if c := &got[i]; c.Cookie == 0 || cookies[c.Cookie] {
			t.Errorf("%s: cookie %d of %v", what, c.Cookie, c.Peer)
		}
		cookies[got[i].Cookie] = true
		got[i].Cookie = 0
	}
	for _, all := range [][]Connection{got, want} {
		slices.SortFunc(all, func(a, b Connection) int {
			return cmp.Or(a.Peer.Compare(b.Peer), cmp.Compare(a.Received, b.Received))
		})
	}
	diff := gocmp.Diff(got, want, cmpopts.EquateComparable(netip.AddrPort{}))
	if diff != "" {
		t.Errorf("%s (-got +want):\n%s", what, diff)
	}
}

// TestKernelObituariesLost checks that messages lost for lack of room are counted.
func TestKernelObituariesLost(t *testing.T) {
	inNetwork(t, func() error {
		var s loopback.Sockets
		defer s.Close()
		listener, err := s.Listen()
		if err != nil {
			return err
		}
		o, err := NewObituaries(s.Address.Port(), 2)
		if err != nil {
			return err
		}
		defer o.Close()
		n := 3 * o.Room()
		for range n {
			server, client, _, err := pair(&s, listener)
			if err != nil {
				return err
			}
			s.CloseSocket(server)
			s.CloseSocket(client)
		}
		lost := 0
		for end := time.Now().Add(10 * time.Second); lost < n/2 && time.Now().Before(end); {
			if lost, err = o.Lost(); err != nil {
				return err
			}
			unix.Poll(nil, 1)
		}
		got := 0
		for end := time.Now().Add(10 * time.Second); got+lost < n && time.Now().Before(end); {
			if err := o.Read(func(Connection) { got++ }); err != nil {
				return err
			}
			if lost, err = o.Lost(); err != nil {
				return err
			}
			unix.Poll(nil, 1)
		}
		if got == 0 || lost == 0 || got+lost != n {
			t.Errorf("%d came, %d were lost; want %d together", got, lost, n)
		}
		return nil
	})
}
