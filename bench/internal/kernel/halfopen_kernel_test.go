package kernel

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/loopback"
	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/servers/socket"
	"reuseport-bench/servers/testkit"
)

// newHalfOpenReader returns a reader that is closed after the test. It skips the test if the kernel
// does not support or permit the reader.
func newHalfOpenReader(t *testing.T) *HalfOpenReader {
	t.Helper()
	reader, err := NewHalfOpenReader(kernelTypes)
	if errors.Is(err, unix.EPERM) || errors.Is(err, ErrNotSupported) {
		testkit.Skip(t, "%v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := reader.Close(); err != nil {
			t.Error(err)
		}
	})
	return reader
}

// holdBack makes a listener ignore every segment without SYN or RST, including final ACKs. The
// kernel applies a listener's filter also to segments for its connection requests (tcp_v4_rcv in
// net/ipv4/tcp_ipv4.c). The filter sees the TCP header; the flags are in byte 13 (RFC 9293, 3.1).
func holdBack(listener int) error {
	const synOrRST = 0x02 | 0x04
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 13},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: synOrRST, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 1 << 16}, // accept the segment, up to this many bytes
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	err := unix.SetsockoptSockFprog(listener, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program)
	if err != nil {
		return fmt.Errorf("SO_ATTACH_FILTER: %w", err)
	}
	return nil
}

// testSockets extends loopback.Sockets with more states of a connection.
type testSockets struct{ loopback.Sockets }

// halfOpen makes a group of listeners that ignore final ACKs, and connects n clients to it.
func (s *testSockets) halfOpen(n, group int) (clients, listeners []int, err error) {
	for range group {
		listener, err := s.Listen()
		if err != nil {
			return nil, nil, err
		}
		if err := holdBack(listener); err != nil {
			return nil, nil, err
		}
		listeners = append(listeners, listener)
	}
	clients, err = s.Connect(n, s.Address)
	return clients, listeners, err
}

// letIn undoes holdBack. Then it sends a byte from each client, with an ACK that completes the
// handshake.
func letIn(clients, listeners []int) error {
	for _, listener := range listeners {
		err := unix.SetsockoptInt(listener, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
		if err != nil {
			return fmt.Errorf("SO_DETACH_FILTER: %w", err)
		}
	}
	for _, client := range clients {
		if _, err := unix.Write(client, []byte{1}); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	return nil
}

// sum returns the sum of the counts.
func sum(counts map[uint64]int) (n int) {
	for _, count := range counts {
		n += count
	}
	return n
}

// wantCounts fails the test if the reader does not return want. It returns an error only if reading
// fails.
func wantCounts(t *testing.T, when string, reader *HalfOpenReader, want map[uint64]int) error {
	t.Helper()
	got, err := reader.Read()
	if err != nil {
		return err
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: requests by inode (-want +got):\n%s", when, diff)
	}
	return nil
}

// TestKernelHalfOpen checks that the number of requests counted for a listener is the number of
// connections that are later accepted from it.
func TestKernelHalfOpen(t *testing.T) {
	const n = 32
	reader := newHalfOpenReader(t)
	inNetwork(t, func() error {
		var s testSockets
		defer s.Close()
		clients, listeners, err := s.halfOpen(n, 2)
		if err != nil {
			return err
		}
		requests, err := reader.Read()
		if err != nil {
			return err
		}
		if sum(requests) != n {
			t.Errorf("read %v, want %d in all", requests, n)
		}
		small := &HalfOpenReader{iterator: reader.iterator, buffer: make([]byte, recordSize)}
		if err := wantCounts(t, "one by one", small, requests); err != nil {
			return err
		}
		if err := letIn(clients, listeners); err != nil {
			return err
		}
		accepted, err := s.Accept(n, listeners...)
		if err != nil {
			return err
		}
		want := map[uint64]int{}
		for i, listener := range listeners {
			inode, err := socket.Inode(listener)
			if err != nil {
				return err
			}
			if len(accepted[i]) > 0 { // a listener without requests is absent
				want[inode] = len(accepted[i])
			}
		}
		if diff := cmp.Diff(want, requests); diff != "" {
			t.Errorf("by listener's inode (-accepted +requests):\n%s", diff)
		}
		return wantCounts(t, "all accepted", reader, map[uint64]int{})
	})
}

func TestKernelHalfOpenReset(t *testing.T) {
	const n, reset = 8, 3
	reader := newHalfOpenReader(t)
	inNetwork(t, func() error {
		var s testSockets
		defer s.Close()
		clients, listeners, err := s.halfOpen(n, 1)
		if err != nil {
			return err
		}
		inode, err := socket.Inode(listeners[0])
		if err != nil {
			return err
		}
		for _, client := range clients[:reset] {
			linger := &unix.Linger{Onoff: 1}
			err := unix.SetsockoptLinger(client, unix.SOL_SOCKET, unix.SO_LINGER, linger)
			if err != nil {
				return err
			}
			s.CloseSocket(client)
		}
		// A reset raises no event at the listener, so the test polls.
		for end := time.Now().Add(loopback.Patience); time.Now().Before(end); unix.Poll(nil, 1) {
			if got, err := reader.Read(); err != nil || sum(got) == n-reset {
				break
			}
		}
		return wantCounts(t, "some reset", reader, map[uint64]int{inode: n - reset})
	})
}

func TestKernelHalfOpenNamespaces(t *testing.T) {
	const here, there = 5, 3
	reader := newHalfOpenReader(t) // opened in neither of the two namespaces
	inNetwork(t, func() error {
		var s testSockets
		defer s.Close()
		_, listeners, err := s.halfOpen(here, 1)
		if err != nil {
			return err
		}
		inode, err := socket.Inode(listeners[0])
		if err != nil {
			return err
		}
		err = netlab.Private(func() error {
			if err := wantCounts(t, "an empty namespace", reader, map[uint64]int{}); err != nil {
				return err
			}
			var s testSockets
			defer s.Close()
			_, listeners, err := s.halfOpen(there, 1)
			if err != nil {
				return err
			}
			inode, err := socket.Inode(listeners[0])
			if err != nil {
				return err
			}
			return wantCounts(t, "there", reader, map[uint64]int{inode: there})
		})
		if err != nil {
			return err
		}
		return wantCounts(t, "here", reader, map[uint64]int{inode: here})
	})
}

func TestKernelHalfOpenClosedListener(t *testing.T) {
	const n = 5
	// When this time has passed, the kernel repeats the SYN-ACK and finds that the listener is gone
	// (TCP_TIMEOUT_INIT in include/net/tcp.h).
	const lifetime = time.Second
	reader := newHalfOpenReader(t)
	inNetwork(t, func() error {
		var s testSockets
		defer s.Close()
		begin := time.Now()
		_, listeners, err := s.halfOpen(n, 1)
		if err != nil {
			return err
		}
		s.CloseSocket(listeners[0])
		got, err := reader.Read()
		if err != nil {
			return err
		}
		if spent := time.Since(begin); spent > lifetime {
			t.Logf("not tested: it took %v, so the requests may be gone already", spent)
		} else if diff := cmp.Diff(map[uint64]int{0: n}, got); diff != "" {
			t.Errorf("requests by inode (-want +got):\n%s", diff)
		}
		return nil
	})
}

func TestKernelHalfOpenCapabilities(t *testing.T) {
	newHalfOpenReader(t)
	for _, test := range []struct {
		name         string
		capabilities []int
		want         string // part of the error; "" if there is no error
	}{
		{"none", nil, "needs CAP_BPF and CAP_PERFMON"},
		{"CAP_BPF", []int{unix.CAP_BPF}, "needs CAP_PERFMON"},
		{"both", []int{unix.CAP_BPF, unix.CAP_PERFMON}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := testkit.WithCapabilities(func() error {
				reader, err := NewHalfOpenReader(nil)
				if err != nil {
					return err
				}
				_, err = reader.Read()
				return errors.Join(err, reader.Close())
			}, test.capabilities...)
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want == "":
			case !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), test.want):
				t.Errorf("got error %v, want EPERM and %q", err, test.want)
			}
		})
	}
}
