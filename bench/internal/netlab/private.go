package netlab

import (
	"fmt"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/sys"
)

// Private calls f on a thread with its own network namespace, in which only lo exists and is up.
// The thread ends when f returns. The namespace ends when the sockets that f made are closed, too,
// because a socket keeps the namespace in which it was made. f must make its sockets itself, not in
// another goroutine, and its waits must have limits.
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
