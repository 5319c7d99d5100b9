package socket

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// ListenOptions are the options of Listen.
type ListenOptions struct {
	Backlog   int  // the backlog of listen(2)
	ReuseAddr bool // SO_REUSEADDR: bind although connections are in TIME_WAIT
	ReusePort bool // SO_REUSEPORT: share the address with sockets that set it
	DualStack bool // an IPv6 listener takes IPv4 connections (IPV6_V6ONLY off)
	// DeferAccept is TCP_DEFER_ACCEPT, in whole seconds: the time for which accept does not return
	// a connection on which no data has arrived (tcp(7)). 0: off.
	DeferAccept time.Duration
}

// Listen returns a non-blocking, listening TCP socket in the calling thread's network namespace.
// Its error names the call that failed. The caller closes it.
//
// The protocol is IPPROTO_TCP explicitly. Since Go 1.24 net.ListenConfig makes MPTCP listeners
// where the kernel supports them. With MPTCP the kernel reports other reasons for resets, and a
// REUSEPORT_SOCKARRAY refuses MPTCP listeners.
func Listen(addr netip.AddrPort, o ListenOptions) (int, error) {
	fd, err := Open(addr.Addr())
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	err = func() error {
		if o.ReuseAddr {
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
				return fmt.Errorf("SO_REUSEADDR: %w", err)
			}
		}
		if o.ReusePort {
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
				return fmt.Errorf("SO_REUSEPORT: %w", err)
			}
		}
		if addr.Addr().Is6() {
			only := 1
			if o.DualStack {
				only = 0
			}
			err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only)
			if err != nil {
				return fmt.Errorf("IPV6_V6ONLY: %w", err)
			}
		}
		if o.DeferAccept > 0 {
			seconds := int(o.DeferAccept / time.Second)
			err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, seconds)
			if err != nil {
				return fmt.Errorf("TCP_DEFER_ACCEPT: %w", err)
			}
		}
		if err := Bind(fd, addr); err != nil {
			return fmt.Errorf("bind %v: %w", addr, err)
		}
		if err := unix.Listen(fd, o.Backlog); err != nil {
			return fmt.Errorf("listen %v: %w", addr, err)
		}
		return nil
	}()
	if err != nil {
		return -1, errors.Join(err, Close(fd))
	}
	return fd, nil
}

// Inode returns the inode number of a socket. The kernel's statistics identify sockets by it.
func Inode(fd int) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, fmt.Errorf("fstat socket: %w", err)
	}
	return st.Ino, nil
}
