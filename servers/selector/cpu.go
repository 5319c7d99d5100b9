package selector

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// AttachCPU has the group of the listener give each connection to its socket number CPU % n, CPU
// being the processor on which the SYN was processed: a classic BPF program
// (SO_ATTACH_REUSEPORT_CBPF in socket(7)), for which no privilege is needed. It takes the place of
// any other program of the group. n is the number of listeners.
//
// The number is a socket's place in the kernel's array: the order in which they began to listen;
// when one is closed, the last one moves into its place (reuseport_detach_sock in
// net/core/sock_reuseport.c). So a processor does not keep its worker over a restart. Where the
// number is not below that of the sockets, because one is closed and n was not changed, the
// kernel's hash chooses; where n is less than that of the sockets, the last ones get nothing.
func AttachCPU(listener, n int) error {
	if n < 1 {
		return fmt.Errorf("selector: CPU %% %d: must be at least 1", n)
	}
	// A load from SKF_AD_OFF + SKF_AD_CPU (linux/filter.h) is not of the packet: it is the
	// processor's number.
	const processor = 1<<32 - 0x1000 + 36
	code := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: processor},
		{Code: unix.BPF_ALU | unix.BPF_MOD | unix.BPF_K, K: uint32(n)},
		{Code: unix.BPF_RET | unix.BPF_A},
	}
	program := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	if err := unix.SetsockoptSockFprog(listener, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF, &program); err != nil {
		return fmt.Errorf("selector: SO_ATTACH_REUSEPORT_CBPF: %w", err)
	}
	return nil
}
