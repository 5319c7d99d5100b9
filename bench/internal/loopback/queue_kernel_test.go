package loopback

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

func TestKernelQueueDepth(t *testing.T) {
	var s Sockets
	defer s.Close()
	listener, err := s.Listen()
	if err != nil {
		t.Fatal(err)
	}
	const limit = 2
	if err := unix.Listen(listener, limit); err != nil { // a second call changes the limit
		t.Fatal(err)
	}
	check := func(when string, want int) {
		t.Helper()
		queued, gotLimit, err := QueueDepth(listener)
		if err != nil || queued != want || gotLimit != limit {
			t.Errorf("%s: %d queued, limit %d (%v); want %d, %d",
				when, queued, gotLimit, err, want, limit)
		}
	}
	check("no connection", 0)
	if _, err := s.Queue(limit+1, listener); err != nil {
		t.Fatal(err)
	}
	check("full: one more than the limit", limit+1)
	if _, err := s.Accept(2, listener); err != nil {
		t.Fatal(err)
	}
	check("two accepted", limit-1)
}

func TestKernelQueueDepthOfOtherSockets(t *testing.T) {
	var s Sockets
	defer s.Close()
	listener, err := s.Listen()
	if err != nil {
		t.Fatal(err)
	}
	clients, err := s.Queue(1, listener)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := QueueDepth(clients[0]); !errors.Is(err, unix.EINVAL) {
		t.Errorf("connected socket: got error %v, want EINVAL", err)
	}
	if _, _, err := QueueDepth(-1); !errors.Is(err, unix.EBADF) {
		t.Errorf("no socket: got error %v, want EBADF", err)
	}
}
