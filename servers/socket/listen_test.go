package socket

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Only listeners that all have SO_REUSEPORT share an address, and each has an inode of its own.
func TestListen(t *testing.T) {
	at := netip.MustParseAddrPort("127.0.0.1:0")
	listener := func(o ListenOptions) (fd int, err error) {
		o.Backlog = 1
		if fd, err = Listen(at, o); err == nil {
			t.Cleanup(func() { _ = Close(fd) })
		}
		return fd, err
	}
	first, err := listener(ListenOptions{ReusePort: true})
	if err != nil {
		t.Fatal(err)
	}
	at = boundTo(t, first)
	second, err := listener(ListenOptions{ReusePort: true, ReuseAddr: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := listener(ListenOptions{ReuseAddr: true}); !errors.Is(err, unix.EADDRINUSE) || !strings.Contains(err.Error(), at.String()) {
		t.Errorf("without SO_REUSEPORT: error %v, want one of %v in use", err, at)
	}
	a, errA := Inode(first)
	b, errB := Inode(second)
	if err := errors.Join(errA, errB); err != nil || a == 0 || a == b {
		t.Errorf("inodes %d and %d, %v", a, b, err)
	}
}
