package servers

import (
	"errors"
	"fmt"
	"io"
	"net/netip"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/socket"
)

// listen makes a non-blocking, listening TCP socket in the calling thread's network namespace.
// The caller closes it.
//
// The protocol is IPPROTO_TCP by name: since Go 1.24 net.ListenConfig makes MPTCP listeners where
// the kernel has them, whose resets carry other reasons and which a REUSEPORT_SOCKARRAY refuses.
func listen(addr netip.AddrPort, sockets Sockets, backlog int) (int, error) {
	family := unix.AF_INET
	if addr.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	err = func() error {
		// SO_REUSEADDR, as every server sets it: bind in spite of connections in TIME_WAIT.
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return fmt.Errorf("SO_REUSEADDR: %w", err)
		}
		if sockets == Reuseport {
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
				return fmt.Errorf("SO_REUSEPORT: %w", err)
			}
		}
		if err := unix.Bind(fd, socket.Sockaddr(addr)); err != nil {
			return fmt.Errorf("bind %v: %w", addr, err)
		}
		if err := unix.Listen(fd, backlog); err != nil {
			return fmt.Errorf("listen %v: %w", addr, err)
		}
		return nil
	}()
	if err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// inode of a socket, which is how the kernel's statistics name it.
func inode(socket int) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(socket, &st); err != nil {
		return 0, fmt.Errorf("fstat socket: %w", err)
	}
	return st.Ino, nil
}

func joinClose(err error, c io.Closer) error { return errors.Join(err, c.Close()) }
