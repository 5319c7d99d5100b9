package kernel

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Obituaries receives the messages that the kernel sends when it destroys TCP sockets
// (sock_diag_broadcast_destroy in net/core/sock_diag.c). This needs no privilege. An Obituaries is
// not safe for concurrent use; the caller closes it.
//
// The kernel destroys a socket when its connection goes to TIME_WAIT or CLOSE and no process has
// the socket. If the socket's own host reset the connection while no received data was unread,
// because of SO_LINGER 0 or because the listener was closed, the kernel has cleared the socket by
// then: Peer has port 0, and all numbers of bytes are 0 (tcp_disconnect in net/ipv4/tcp.c).
type Obituaries struct {
	fd     int
	room   int
	buffer []byte
}

// obituaryRoom is the space that one message takes in the socket's buffer, in bytes: the data, a
// struct sk_buff and a struct skb_shared_info (SKB_TRUESIZE in include/linux/skbuff.h). It was
// measured on Linux 6.18.
const obituaryRoom = 1280

// obituaryGroups are the multicast groups of NETLINK_SOCK_DIAG for TCP, one bit each:
// SKNLGRP_INET_TCP_DESTROY and SKNLGRP_INET6_TCP_DESTROY (include/uapi/linux/sock_diag.h).
const obituaryGroups = 1<<0 | 1<<2 // groups 1 and 3

// NewObituaries starts to receive the messages about sockets with a local port in the calling
// thread's network namespace. The methods may be called from any thread. The buffer has room for n
// messages if the kernel allows it; see Room.
func NewObituaries(port uint16, n int) (*Obituaries, error) {
	fd, err := openDiag()
	if err != nil {
		return nil, err
	}
	o := &Obituaries{fd: fd, buffer: make([]byte, 4<<10)}
	if err := o.start(port, n); err != nil {
		return nil, errors.Join(fmt.Errorf("obituaries: %w", err), unix.Close(fd))
	}
	return o, nil
}

func (o *Obituaries) start(port uint16, n int) error {
	// SO_RCVBUFFORCE needs CAP_NET_ADMIN in the initial user namespace, and SO_RCVBUF is limited by
	// net.core.rmem_max (socket(7)). The kernel doubles the value.
	size := min(max(0, n), 1<<20) * obituaryRoom / 2
	if unix.SetsockoptInt(o.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size) != nil {
		err := unix.SetsockoptInt(o.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, size)
		if err != nil {
			return fmt.Errorf("SO_RCVBUF: %w", err)
		}
	}
	size, err := unix.GetsockoptInt(o.fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
	if err != nil {
		return fmt.Errorf("SO_RCVBUF: %w", err)
	}
	o.room = size / obituaryRoom
	if err := o.filter(port); err != nil {
		return fmt.Errorf("SO_ATTACH_FILTER: %w", err)
	}
	if err := unix.SetNonblock(o.fd, true); err != nil {
		return err
	}
	group := &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: obituaryGroups}
	if err := unix.Bind(o.fd, group); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	return nil
}

// filter drops the messages about sockets with another local port. On loopback, half of all sockets
// belong to clients.
func (o *Obituaries) filter(port uint16) error {
	const idiagSport = unix.NLMSG_HDRLEN + 4
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: idiagSport}, // in network byte order
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(port), Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0xffff},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
	return unix.SetsockoptSockFprog(o.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
}

// Room returns the number of messages that can wait to be read.
func (o *Obituaries) Room() int { return o.room }

// Read calls f for each socket that was destroyed since the last call. It does not wait. In each
// Connection, State is CLOSE and Inode is 0. The kernel sends the messages from a work queue, so a
// message may arrive a little after its socket was destroyed.
func (o *Obituaries) Read(f func(Connection)) error {
	for {
		n, err := unix.Read(o.fd, o.buffer)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ENOBUFS): // see Lost
			continue
		case errors.Is(err, unix.EAGAIN):
			return nil
		case err != nil:
			return fmt.Errorf("obituaries: %w", err)
		}
		_, err = parseDiag(o.buffer[:n], func(socket []byte) {
			c, _ := parseConnection(socket)
			f(c)
		})
		if err != nil {
			return err
		}
	}
}

// Lost returns the number of messages that were lost so far because the buffer had no room
// (SO_MEMINFO in net/core/sock.c).
func (o *Obituaries) Lost() (int, error) {
	var info [unix.SK_MEMINFO_VARS]uint32
	size := unsafe.Sizeof(info)
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(o.fd), unix.SOL_SOCKET,
		unix.SO_MEMINFO, uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0, fmt.Errorf("obituaries: SO_MEMINFO: %w", errno)
	}
	return int(info[unix.SK_MEMINFO_DROPS]), nil
}

// Close ends the subscription.
func (o *Obituaries) Close() error { return unix.Close(o.fd) }
