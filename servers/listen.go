package servers

import (
	"errors"
	"io"
	"net/netip"

	"reuseport-bench/servers/socket"
)

// listen returns a listener, as workers have it, in the calling thread's network namespace. The
// caller closes it.
func listen(addr netip.AddrPort, sockets Sockets, backlog int) (int, error) {
	return socket.Listen(addr, socket.ListenOptions{Backlog: backlog, ReuseAddr: true, ReusePort: sockets == Reuseport})
}

func joinClose(err error, c io.Closer) error { return errors.Join(err, c.Close()) }
