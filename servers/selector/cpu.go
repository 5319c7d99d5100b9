package selector

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// AttachCPU makes the listener's group give each connection to socket number CPU % n, where CPU is
// the processor that processed the SYN. It attaches a classic BPF program (SO_ATTACH_REUSEPORT_CBPF
// in socket(7)), which needs no privilege and replaces any other program of the group. n should be
// the number of listeners in the group.
//
// A socket's number is its position in the kernel's array, where sockets are in the order in which
// they began to listen. When a socket is closed, the last socket moves into its position
// (reuseport_detach_sock in net/core/sock_reuseport.c), so a processor does not keep its worker
// across a restart. If the number is too large, because a socket was closed and n was not updated,
// the kernel's hash chooses. If n is less than the number of sockets, the last sockets get nothing.
func AttachCPU(listener, n int) error {
	if n < 1 {
		return fmt.Errorf("selector: CPU %% %d: must be at least 1", n)
	}
	// A load from SKF_AD_OFF + SKF_AD_CPU (linux/filter.h) returns the processor's number instead
	// of packet data.
	const processor = 1<<32 - 0x1000 + 36
	code := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: processor},
		{Code: unix.BPF_ALU | unix.BPF_MOD | unix.BPF_K, K: uint32(n)},
		{Code: unix.BPF_RET | unix.BPF_A},
	}
	program := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	const option = unix.SO_ATTACH_REUSEPORT_CBPF
	if err := unix.SetsockoptSockFprog(listener, unix.SOL_SOCKET, option, &program); err != nil {
		return fmt.Errorf("selector: SO_ATTACH_REUSEPORT_CBPF: %w", err)
	}
	return nil
}
