// Package socket is what the program itself does with sockets: it makes them, binds them, passes
// them to other processes (rights.go), and converts their addresses.
//
// The calls that do not block are hidden from Go's scheduler (this file). There is nothing to tell
// it of them. If it is told, its monitor thread keeps looking, every few microseconds, for one that
// takes long, and where a process has one CPU it does that there. docs/engine.md has what that
// costs a load process. The errors of these calls are of type unix.Errno.
package socket

import (
	"encoding/binary"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Open is socket(2): a TCP socket, non-blocking and closed on exec, for an address of that family.
// The caller closes it.
func Open(a netip.Addr) (int, error) {
	family := uintptr(unix.AF_INET)
	if a.Is6() {
		family = unix.AF_INET6
	}
	fd, _, errno := unix.RawSyscall(unix.SYS_SOCKET, family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// Bind is bind(2).
func Bind(fd int, a netip.AddrPort) error { return withAddress(unix.SYS_BIND, fd, a) }

// Connect is connect(2).
func Connect(fd int, a netip.AddrPort) error { return withAddress(unix.SYS_CONNECT, fd, a) }

func withAddress(call uintptr, fd int, a netip.AddrPort) error {
	var to unix.RawSockaddrInet6 // has room for IPv4's, which begins alike
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

// Accept is accept4(2): the next connection, non-blocking and closed on exec, and the client's
// address. Unlike unix.Accept4 it leaves no garbage. The caller closes the connection.
func Accept(listener int) (int, netip.AddrPort, error) {
	var from unix.RawSockaddrAny
	size := uint32(unix.SizeofSockaddrAny)
	fd, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(listener), uintptr(unsafe.Pointer(&from)), uintptr(unsafe.Pointer(&size)),
		unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return -1, netip.AddrPort{}, errno
	}
	return int(fd), rawAddrPort(&from), nil
}

// Send is send(2) without SIGPIPE. b is not empty.
func Send(fd int, b []byte) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_NOSIGNAL, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// Recv is recv(2). b is not empty. 0 without an error is the end.
func Recv(fd int, b []byte, flags int) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), uintptr(flags), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// Close is close(2), of a socket that does not linger.
func Close(fd int) error { return errorOf(unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0)) }

// EpollCtl is epoll_ctl(2): it adds or changes a descriptor, to be told of the events under the
// name.
func EpollCtl(epoll, op, fd int, events uint32, name int32) error {
	e := unix.EpollEvent{Events: events, Fd: name}
	return errorOf(unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(epoll), uintptr(op), uintptr(fd), uintptr(unsafe.Pointer(&e)), 0, 0))
}

// EpollWait is epoll_pwait2(2), since Linux 5.11. It waits for the timeout, to the nanosecond, or
// for ever if that is negative. Go's scheduler does not know that it waits, so only a process that
// has nothing else to run may call it: its P waits, too, and its monitor thread (sysmon) wakes up
// every 10 ms to look at it.
func EpollWait(epoll int, events []unix.EpollEvent, timeout time.Duration) (int, error) {
	var ts unix.Timespec
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT2, uintptr(epoll), uintptr(unsafe.Pointer(&events[0])),
		uintptr(len(events)), uintptr(unsafe.Pointer(limit(timeout, &ts))), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// EpollSleep is EpollWait for a wait that is long: Go's scheduler knows of it, so its monitor
// thread sleeps as well. To begin and to end it costs some more.
func EpollSleep(epoll int, events []unix.EpollEvent, timeout time.Duration) (int, error) {
	var ts unix.Timespec
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(epoll), uintptr(unsafe.Pointer(&events[0])),
		uintptr(len(events)), uintptr(unsafe.Pointer(limit(timeout, &ts))), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// limit returns ts set to the timeout, or nil for none.
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
