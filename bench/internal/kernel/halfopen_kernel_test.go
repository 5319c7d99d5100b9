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

// newHalfOpenReader skips the test where the reader is not permitted.
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

// holdBack has a listener ignore every segment that has neither SYN nor RST, and so the final ACKs:
// its filter is asked also about what is meant for its connection requests (tcp_v4_rcv in
// net/ipv4/tcp_ipv4.c). It sees the TCP header (RFC 9293, 3.1: the flags are in byte 13).
func holdBack(listener int) error {
	const synOrRST = 0x02 | 0x04
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 13},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: synOrRST, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 1 << 16}, // accept so many bytes
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.SetsockoptSockFprog(listener, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program); err != nil {
		return fmt.Errorf("SO_ATTACH_FILTER: %w", err)
	}
	return nil
}

// A rig is sockets in states that loopback.Sockets does not know.
type rig struct{ loopback.Sockets }

// halfOpen makes n clients of a group of listeners that hold back their final ACKs.
func (r *rig) halfOpen(n, group int) (clients, listeners []int, err error) {
	for range group {
		listener, err := r.Listen()
		if err != nil {
			return nil, nil, err
		}
		if err := holdBack(listener); err != nil {
			return nil, nil, err
		}
		listeners = append(listeners, listener)
	}
	clients, err = r.Connect(n, r.Address)
	return clients, listeners, err
}

// letIn ends what holdBack began, and has the clients send what completes the handshake.
func letIn(clients, listeners []int) error {
	for _, listener := range listeners {
		if err := unix.SetsockoptInt(listener, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0); err != nil {
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

func sum(counts map[uint64]int) (n int) {
	for _, count := range counts {
		n += count
	}
	return n
}

// wantCounts complains if reader does not read want. It returns an error only if it cannot read at
// all.
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

// Where the requests belong is known for certain once they are accepted: there as many must have
// been held.
func TestKernelHalfOpen(t *testing.T) {
	const n = 32
	reader := newHalfOpenReader(t)
	inNetwork(t, func() error {
		var r rig
		defer r.Close()
		clients, listeners, err := r.halfOpen(n, 2)
		if err != nil {
			return err
		}
		held, err := reader.Read()
		if err != nil {
			return err
		}
		if sum(held) != n {
			t.Errorf("read %v, want %d in all", held, n)
		}
		small := &HalfOpenReader{iterator: reader.iterator, buffer: make([]byte, recordSize)}
		if err := wantCounts(t, "one by one", small, held); err != nil {
			return err
		}
		if err := letIn(clients, listeners); err != nil {
			return err
		}
		accepted, err := r.Accept(n, listeners...)
		if err != nil {
			return err
		}
		want := map[uint64]int{}
		for i, listener := range listeners {
			inode, err := socket.Inode(listener)
			if err != nil {
				return err
			}
			if len(accepted[i]) > 0 { // else absent
				want[inode] = len(accepted[i])
			}
		}
		if diff := cmp.Diff(want, held); diff != "" {
			t.Errorf("accepted and held, by listener's inode (-accepted +held):\n%s", diff)
		}
		return wantCounts(t, "all accepted", reader, map[uint64]int{})
	})
}

func TestKernelHalfOpenReset(t *testing.T) {
	const n, given = 8, 3
	reader := newHalfOpenReader(t)
	inNetwork(t, func() error {
		var r rig
		defer r.Close()
		clients, listeners, err := r.halfOpen(n, 1)
		if err != nil {
			return err
		}
		inode, err := socket.Inode(listeners[0])
		if err != nil {
			return err
		}
		for _, client := range clients[:given] {
			if err := unix.SetsockoptLinger(client, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
				return err
			}
			r.CloseSocket(client)
		}
		// A reset raises no event at the listener.
		for end := time.Now().Add(loopback.Patience); time.Now().Before(end); unix.Poll(nil, 1) {
			if got, err := reader.Read(); err != nil || sum(got) == n-given {
				break
			}
		}
		return wantCounts(t, "some gave up", reader, map[uint64]int{inode: n - given})
	})
}

func TestKernelHalfOpenNamespaces(t *testing.T) {
	const here, there = 5, 3
	reader := newHalfOpenReader(t) // belongs to neither
	inNetwork(t, func() error {
		var r rig
		defer r.Close()
		_, listeners, err := r.halfOpen(here, 1)
		if err != nil {
			return err
		}
		inode, err := socket.Inode(listeners[0])
		if err != nil {
			return err
		}
		err = netlab.Private(func() error {
			if err := wantCounts(t, "an empty one", reader, map[uint64]int{}); err != nil {
				return err
			}
			var r rig
			defer r.Close()
			_, listeners, err := r.halfOpen(there, 1)
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
	// TCP_TIMEOUT_INIT in include/net/tcp.h: then the kernel would answer the SYN again, and
	// notices that nobody listens.
	const lifetime = time.Second
	reader := newHalfOpenReader(t)
	inNetwork(t, func() error {
		var r rig
		defer r.Close()
		begin := time.Now()
		_, listeners, err := r.halfOpen(n, 1)
		if err != nil {
			return err
		}
		r.CloseSocket(listeners[0])
		got, err := reader.Read()
		if err != nil {
			return err
		}
		if spent := time.Since(begin); spent > lifetime {
			t.Logf("took %v: the requests may be gone already", spent)
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
		want         string // in the error, "" if it works
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
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || !errors.Is(err, unix.EPERM)):
				t.Errorf("got error %v, want EPERM and %q", err, test.want)
			}
		})
	}
}
