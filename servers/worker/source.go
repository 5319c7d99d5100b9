package worker

import (
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/socket"
)

// A source is where a loop gets its connections: accept takes the next one without waiting,
// non-blocking and closed on exec, from the descriptor. EAGAIN: there is none now. errNoMore: there
// will be none.
type source interface {
	accept(from int) (fd int, peer netip.AddrPort, err error)
}

var errNoMore = errors.New("no more connections will come")

// socketSource accepts by itself.
type socketSource struct{}

func (socketSource) accept(listener int) (int, netip.AddrPort, error) { return socket.Accept(listener) }

// channelSource gets connections from an acceptor: a byte each, with the descriptor beside it
// (unix(7), SCM_RIGHTS).
type channelSource struct {
	space []byte
	// acknowledges: each connection is answered by a byte, before anything is done with it. Node's
	// workers do it so (onconnection in lib/internal/cluster/child.js).
	acknowledges bool
}

func newChannelSource(acknowledges bool) channelSource {
	return channelSource{make([]byte, unix.CmsgSpace(4)), acknowledges}
}

func (c channelSource) accept(channel int) (int, netip.AddrPort, error) {
	var data [1]byte
	n, space, _, _, err := unix.Recvmsg(channel, data[:], c.space, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
	switch {
	case err != nil:
		return -1, netip.AddrPort{}, err
	case n == 0:
		return -1, netip.AddrPort{}, errNoMore
	}
	if c.acknowledges {
		// No more than one is under way, so there is room; and without an acceptor nobody waits for
		// it.
		_, _ = socket.Send(channel, data[:])
	}
	messages, err := unix.ParseSocketControlMessage(c.space[:space])
	if err != nil || len(messages) != 1 {
		return -1, netip.AddrPort{}, errors.Join(errors.New("a message without a connection"), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return -1, netip.AddrPort{}, err
	}
	// The client may have left meanwhile, in which case the socket has no peer (ENOTCONN): it is
	// then known by nobody.
	sa, err := unix.Getpeername(fds[0])
	if err != nil {
		return -1, netip.AddrPort{}, errors.Join(unix.ECONNABORTED, unix.Close(fds[0]))
	}
	return fds[0], socket.AddrPort(sa), nil
}
