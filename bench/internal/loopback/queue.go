package loopback

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// QueueDepth returns how many established connections wait to be accepted on the listening TCP
// socket fd, and the limit that listen(2) and net.core.somaxconn set. The kernel refuses only when
// queued *exceeds* the limit, so queued can reach limit + 1. Half-open connections are not in it.
// Needs no privilege, only the descriptor.
//
// On a socket in LISTEN the kernel uses two fields of TCP_INFO for this: tcpi_unacked and
// tcpi_sacked (net/ipv4/tcp.c, tcp_get_info). On any other socket they mean something else, hence
// an error for one that does not listen.
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
