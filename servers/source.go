package servers

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/socket"
)

// A source is where a loop gets its connections: accept takes the next one without waiting, non-blocking and closed
// on exec, from the descriptor. EAGAIN: there is none now. errNoMore: there will be none.
type source interface {
	accept(from int) (fd int, peer netip.AddrPort, err error)
}

var errNoMore = errors.New("no more connections will come")

// socketSource accepts by itself.
type socketSource struct{}

func (socketSource) accept(listener int) (int, netip.AddrPort, error) { return accept4(listener) }

// accept4 is accept4(2), hidden from Go's scheduler for the reason that clock.BlockUntil gives, and without the garbage
// of unix.Accept4: a worker does not collect any.
func accept4(listener int) (int, netip.AddrPort, error) {
	var from unix.RawSockaddrAny
	size := uint32(unix.SizeofSockaddrAny)
	fd, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(listener), uintptr(unsafe.Pointer(&from)), uintptr(unsafe.Pointer(&size)),
		unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return -1, netip.AddrPort{}, errno
	}
	return int(fd), rawPeer(&from), nil
}

// rawPeer is the address in a socket address as the kernel writes it.
func rawPeer(from *unix.RawSockaddrAny) netip.AddrPort {
	port := func(p *uint16) uint16 { return binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(p))[:]) }
	switch from.Addr.Family {
	case unix.AF_INET:
		sa := (*unix.RawSockaddrInet4)(unsafe.Pointer(from))
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), port(&sa.Port))
	case unix.AF_INET6:
		sa := (*unix.RawSockaddrInet6)(unsafe.Pointer(from))
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), port(&sa.Port))
	}
	return netip.AddrPort{}
}

// channelSource gets connections from an acceptor: a byte each, with the descriptor beside it (unix(7), SCM_RIGHTS).
type channelSource struct{ space []byte }

func newChannelSource() channelSource { return channelSource{make([]byte, unix.CmsgSpace(4))} }

func (c channelSource) accept(channel int) (int, netip.AddrPort, error) {
	var data [1]byte
	n, space, _, _, err := unix.Recvmsg(channel, data[:], c.space, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
	switch {
	case err != nil:
		return -1, netip.AddrPort{}, err
	case n == 0:
		return -1, netip.AddrPort{}, errNoMore
	}
	messages, err := unix.ParseSocketControlMessage(c.space[:space])
	if err != nil || len(messages) != 1 {
		return -1, netip.AddrPort{}, errors.Join(errors.New("a message without a connection"), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return -1, netip.AddrPort{}, err
	}
	// The client may have left meanwhile, in which case the socket has no peer (ENOTCONN): it is then known by nobody.
	sa, err := unix.Getpeername(fds[0])
	if err != nil {
		return -1, netip.AddrPort{}, errors.Join(unix.ECONNABORTED, unix.Close(fds[0]))
	}
	return fds[0], socket.AddrPort(sa), nil
}
