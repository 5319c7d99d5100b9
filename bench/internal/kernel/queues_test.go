package kernel

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/socket"
)

// Two listeners of one port, two connections waiting at the first or the second: the watch tells them apart.
func TestKernelQueueWatch(t *testing.T) {
	var r rig
	defer r.Close()
	inodes := map[uint64]bool{}
	var listeners []int
	for range 2 {
		listener, err := r.listen()
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
	if _, err := r.connect(2, r.address); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); ; unix.Poll(nil, 1) {
		queued := 0
		for _, l := range listeners {
			n, _, err := QueueDepth(l)
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
			if q.Limit != 64 || q.Port != r.address.Port() {
				t.Errorf("limit %d at port %d, want 64 at %d", q.Limit, q.Port, r.address.Port())
			}
		}
		if seen != 2 || queued != 2 {
			t.Errorf("%d of our listeners with %d connections in all, want 2 with 2", seen, queued)
		}
	}
}

func TestParseQueues(t *testing.T) {
	if _, done, err := parseQueues([]byte{200, 0, 0, 0, 20, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0}, nil); !done || err == nil {
		t.Error("no error for a message that is cut off")
	}
	if all, done, err := parseQueues(nil, nil); done || err != nil || len(all) != 0 {
		t.Errorf("of nothing: %v, %v, %v", all, done, err)
	}
}
