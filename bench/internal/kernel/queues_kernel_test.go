package kernel

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/loopback"
	"reuseport-bench/servers/socket"
)

// TestKernelQueueWatch checks that the watch distinguishes two listeners that share a port and have
// two connections in their queues.
func TestKernelQueueWatch(t *testing.T) {
	var s loopback.Sockets
	defer s.Close()
	cookies := map[uint64]uint64{} // by inode
	var listeners []int
	for range 2 {
		listener, err := s.Listen()
		if err != nil {
			t.Fatal(err)
		}
		inode, err := socket.Inode(listener)
		if err != nil {
			t.Fatal(err)
		}
		cookies[inode], err = unix.GetsockoptUint64(listener, unix.SOL_SOCKET, unix.SO_COOKIE)
		if err != nil {
			t.Fatal(err)
		}
		listeners = append(listeners, listener)
	}
	if _, err := s.Connect(2, s.Address); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(loopback.Patience); ; unix.Poll(nil, 1) {
		queued := 0
		for _, l := range listeners {
			n, _, err := loopback.QueueDepth(l)
			if err != nil {
				t.Fatal(err)
			}
			queued += n
		}
		if queued == 2 || time.Now().After(end) {
			break
		}
	}
	watch, err := NewQueueWatch(unix.AF_INET)
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close()
	for range 2 { // reading a watch again must return the same
		all, err := watch.Read(nil)
		if err != nil {
			t.Fatal(err)
		}
		queued, seen := 0, 0
		for _, q := range all {
			if _, ours := cookies[q.Inode]; !ours {
				continue // another program's listener
			}
			seen++
			queued += q.Queued
			at := netip.AddrPortFrom(q.Addr, q.Port)
			if q.Limit != 64 || at != s.Address || q.Cookie != cookies[q.Inode] {
				t.Errorf("limit %d at %v, cookie %d; want 64 at %v, cookie %d",
					q.Limit, at, q.Cookie, s.Address, cookies[q.Inode])
			}
		}
		if seen != 2 || queued != 2 {
			t.Errorf("read %d of our listeners with %d connections, want 2 with 2", seen, queued)
		}
	}
}
