package kernel

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/loopback"
	"reuseport-bench/servers/socket"
)

// Two listeners share a port, and two connections wait in their queues. The watch tells the
// listeners apart.
func TestKernelQueueWatch(t *testing.T) {
	var s loopback.Sockets
	defer s.Close()
	inodes := map[uint64]bool{}
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
		inodes[inode] = true
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
	for range 2 { // a watch can be read more than once
		all, err := watch.Read(nil)
		if err != nil {
			t.Fatal(err)
		}
		queued, seen := 0, 0
		for _, q := range all {
			if !inodes[q.Inode] {
				continue // another program's listener
			}
			seen++
			queued += q.Queued
			if q.Limit != 64 || q.Port != s.Address.Port() {
				t.Errorf("limit %d at port %d, want 64 at %d", q.Limit, q.Port, s.Address.Port())
			}
		}
		if seen != 2 || queued != 2 {
			t.Errorf("read %d of our listeners with %d connections, want 2 with 2", seen, queued)
		}
	}
}
