// Package socket makes, binds and uses sockets, passes them to other processes (rights.go), and
// converts their addresses.
//
// The calls in this file that do not block are raw system calls, which Go's scheduler does not see.
// It need not see them. During a system call that it sees, its monitor thread checks every few
// microseconds whether the call takes long. In a process with one CPU, those checks take time from
// the work. docs/engine.md says what this costs a load process. The errors of these calls are of
// type unix.Errno.
package socket

import (
	"encoding/binary"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Open calls socket(2). It returns a TCP socket for the address's family, non-blocking and
// close-on-exec. The caller closes it.
func Open(a netip.Addr) (int, error) {
	family := uintptr(unix.AF_INET)
	if a.Is6() {
		family = unix.AF_INET6
	}
	fd, _, errno := unix.RawSyscall(unix.SYS_SOCKET, family,
		unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// Bind calls bind(2).
func Bind(fd int, a netip.AddrPort) error { return withAddress(unix.SYS_BIND, fd, a) }

// Connect calls connect(2).
func Connect(fd int, a netip.AddrPort) error { return withAddress(unix.SYS_CONNECT, fd, a) }

func withAddress(call uintptr, fd int, a netip.AddrPort) error {
	var to unix.RawSockaddrInet6 // large enough for an IPv4 address, too, which starts the same way
	size := uintptr(unix.SizeofSockaddrInet6)
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&to.Port))[:], a.Port())
	if a.Addr().Is6() {
		to.Family, to.Addr = unix.AF_INET6, a.Addr().As16()
	} else {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(&to))
		v4.Family, v4.Addr = unix.AF_INET, a.Addr().As4()
		size = unix.SizeofSockaddrInet4
	}
	return errorOf(unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&to)), size))
}

// Accept calls accept4(2). It returns the next connection, non-blocking and close-on-exec, and the
// client's address. Unlike unix.Accept4 it allocates nothing. The caller closes the connection.
func Accept(listener int) (int, netip.AddrPort, error) {
	var from unix.RawSockaddrAny
	size := uint32(unix.SizeofSockaddrAny)
	fd, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(listener),
		uintptr(unsafe.Pointer(&from)), uintptr(unsafe.Pointer(&size)),
		unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return -1, netip.AddrPort{}, errno
	}
	return int(fd), rawAddrPort(&from), nil
}

// Send calls send(2) with MSG_NOSIGNAL. b must not be empty.
func Send(fd int, b []byte) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd),
		uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_NOSIGNAL, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// Recv calls recv(2). b must not be empty. It returns 0 and nil at the end of the stream.
func Recv(fd int, b []byte, flags int) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd),
		uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), uintptr(flags), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// Close calls close(2). SO_LINGER must not make the call wait.
func Close(fd int) error { return errorOf(unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0)) }

// EpollCtl calls epoll_ctl(2) to add or change a descriptor. In the events that EpollWait returns
// for the descriptor, Fd is name.
func EpollCtl(epoll, op, fd int, events uint32, name int32) error {
	e := unix.EpollEvent{Events: events, Fd: name}
	return errorOf(unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(epoll), uintptr(op), uintptr(fd),
		uintptr(unsafe.Pointer(&e)), 0, 0))
}

// EpollWait calls epoll_pwait2(2), which exists since Linux 5.11. The timeout has nanosecond
// resolution; a negative one waits without limit. Go's scheduler does not see the wait, so only a
// process with no other goroutine to run may call EpollWait: the thread keeps its P, and the
// monitor thread (sysmon) wakes up every 10 ms to check that P.
func EpollWait(epoll int, events []unix.EpollEvent, timeout time.Duration) (int, error) {
	var ts unix.Timespec
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT2, uintptr(epoll),
		uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)),
		uintptr(unsafe.Pointer(limit(timeout, &ts))), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// EpollSleep is like EpollWait, but for long waits. Go's scheduler sees the wait, so its monitor
// thread sleeps as well. Starting and ending the wait costs slightly more than in EpollWait.
func EpollSleep(epoll int, events []unix.EpollEvent, timeout time.Duration) (int, error) {
	var ts unix.Timespec
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(epoll),
		uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)),
		uintptr(unsafe.Pointer(limit(timeout, &ts))), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// limit stores a timeout in ts and returns ts. It returns nil for a negative timeout.
func limit(timeout time.Duration, ts *unix.Timespec) *unix.Timespec {
	if timeout < 0 {
		return nil
	}
	*ts = unix.NsecToTimespec(int64(timeout))
	return ts
}

func errorOf(_, _ uintptr, errno unix.Errno) error {
	if errno != 0 {
		return errno
	}
	return nil
}
