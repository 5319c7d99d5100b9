package socket

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestListen checks that listeners share an address only if all have SO_REUSEPORT, and that each
// has its own inode.
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
	_, err = listener(ListenOptions{ReuseAddr: true})
	if !errors.Is(err, unix.EADDRINUSE) || !strings.Contains(err.Error(), at.String()) {
		t.Errorf("without SO_REUSEPORT: error %v, want EADDRINUSE for %v", err, at)
	}
	a, errA := Inode(first)
	b, errB := Inode(second)
	if err := errors.Join(errA, errB); err != nil || a == 0 || a == b {
		t.Errorf("inodes %d and %d, %v", a, b, err)
	}
}
