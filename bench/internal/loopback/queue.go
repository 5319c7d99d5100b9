package loopback

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// QueueDepth returns the number of established connections that wait to be accepted on the
// listening TCP socket fd, and the limit that listen(2) and net.core.somaxconn set. The kernel
// refuses a connection only when queued *exceeds* the limit, so queued can reach limit + 1.
// Half-open connections do not count. QueueDepth needs the descriptor, but no privilege.
//
// For a socket in LISTEN, the fields tcpi_unacked and tcpi_sacked of TCP_INFO hold these two
// numbers (net/ipv4/tcp.c, tcp_get_info). For other sockets the fields mean something else, so
// QueueDepth returns an error.
func QueueDepth(fd int) (queued, limit int, err error) {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0, 0, fmt.Errorf("socket %d: TCP_INFO: %w", fd, err)
	}
	if info.State != unix.BPF_TCP_LISTEN {
		return 0, 0, fmt.Errorf("socket %d does not listen (TCP state %d): %w",
			fd, info.State, unix.EINVAL)
	}
	return int(info.Unacked), int(info.Sacked), nil
}
