package worker

import (
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/socket"
)

// A source is where a loop gets its connections. accept takes the next connection from a
// descriptor; the connection is non-blocking and close-on-exec. accept does not wait: EAGAIN means
// that there is no connection now, errNoMore that no more will come.
type source interface {
	accept(from int) (fd int, peer netip.AddrPort, err error)
}

var errNoMore = errors.New("no more connections will come")

// socketSource accepts from a listener.
type socketSource struct{}

func (socketSource) accept(listener int) (int, netip.AddrPort, error) {
	return socket.Accept(listener)
}

// channelSource gets connections from an acceptor. Each arrives in a message of one byte that
// carries the connection's descriptor as SCM_RIGHTS (unix(7)).
type channelSource struct {
	space []byte
	// acknowledges makes the source answer each connection with a byte before it uses the
	// connection, as Node's workers do (onconnection in lib/internal/cluster/child.js).
	acknowledges bool
}

func newChannelSource(acknowledges bool) channelSource {
	return channelSource{make([]byte, unix.CmsgSpace(4)), acknowledges}
}

func (c channelSource) accept(channel int) (int, netip.AddrPort, error) {
	var data [1]byte
	const flags = unix.MSG_DONTWAIT | unix.MSG_CMSG_CLOEXEC
	n, space, _, _, err := unix.Recvmsg(channel, data[:], c.space, flags)
	switch {
	case err != nil:
		return -1, netip.AddrPort{}, err
	case n == 0:
		return -1, netip.AddrPort{}, errNoMore
	}
	if c.acknowledges {
		// At most one acknowledgement is in flight, so the channel has room for it. If the acceptor
		// has exited, the acknowledgement does not matter.
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
	// If the client has closed the connection meanwhile, the socket has no peer (ENOTCONN), so the
	// peer's address is unknown.
	sa, err := unix.Getpeername(fds[0])
	if err != nil {
		return -1, netip.AddrPort{}, errors.Join(unix.ECONNABORTED, unix.Close(fds[0]))
	}
	return fds[0], socket.AddrPort(sa), nil
}
