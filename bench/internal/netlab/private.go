package netlab

import (
	"fmt"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/sys"
)

// Private calls f on a thread with a network namespace of its own, in which only lo exists and is
// up. The thread ends with f, and the namespace once f has closed its sockets: a socket keeps the
// namespace it was made in. f must make its sockets itself, not in another goroutine, and bound its
// waits.
func Private(f func() error) error {
	return sys.OnOwnThread(func() error {
		if err := newNamespace(); err != nil {
			return fmt.Errorf("no private network namespace: %w", err)
		}
		return f()
	})
}

// newNamespace moves the calling thread into a new network namespace, in which lo is up.
func newNamespace() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("unshare(CLONE_NEWNET): %w", err)
	}
	return linkUp("lo")
}
