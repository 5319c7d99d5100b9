package kernel

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/loopback"
	"reuseport-bench/servers/socket"
)

// Two listeners of one port, two connections waiting at the first or the second: the watch tells
// them apart.
func TestKernelQueueWatch(t *testing.T) {
	var r loopback.Sockets
	defer r.Close()
	inodes := map[uint64]bool{}
	var listeners []int
	for range 2 {
		listener, err := r.Listen()
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
	if _, err := r.Connect(2, r.Address); err != nil {
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
	for range 2 { // a watch can be read again
		all, err := watch.Read(nil)
		if err != nil {
			t.Fatal(err)
		}
		queued, seen := 0, 0
		for _, q := range all {
			if !inodes[q.Inode] {
				continue // a listener of somebody else
			}
			seen++
			queued += q.Queued
			if q.Limit != 64 || q.Port != r.Address.Port() {
				t.Errorf("limit %d at port %d, want 64 at %d", q.Limit, q.Port, r.Address.Port())
			}
		}
		if seen != 2 || queued != 2 {
			t.Errorf("%d of our listeners with %d connections in all, want 2 with 2", seen, queued)
		}
	}
}
