package witness

import "reuseport-bench/bench/internal/kernel"

// States of include/net/tcp_states.h.
const (
	tcpEstablished = 1
	tcpFinWait1    = 4
	tcpFinWait2    = 5
	tcpCloseWait   = 8
	tcpLastAck     = 9
	tcpClosing     = 11
)

// obituary returns what a destroyed socket shows about its connection. It returns false for a
// listener, which has no connection.
func obituary(c kernel.Connection) (SocketEnd, bool) {
	e := SocketEnd{Server: c.Local, Client: c.Peer, Cookie: c.Cookie}
	if c.Peer.Port() == 0 {
		e.Way, e.Known = Reset, KnowsWay
		return e, !c.Peer.Addr().IsUnspecified()
	}
	e.Known = KnowsClient | KnowsBytes
	e.setBytes(c)
	// If a connection ends in the accept queue, its socket is cleared (inet_child_forget in
	// net/ipv4/inet_connection_sock.c), so a socket that is not cleared was accepted. There is one
	// exception: if two CPUs make a socket each for one handshake, one of the two is discarded,
	// without data but with its peer's address (inet_csk_complete_hashdance).
	if c.Received > 0 || c.Acknowledged > 0 {
		e.Accepted, e.Known = true, e.Known|KnowsAccepted
	}
	if c.Acknowledged > c.Sent { // a FIN, which close(2) sends only if nothing is unread
		e.Way, e.Known = Closed, e.Known|KnowsWay
	}
	return e, true
}

// unended returns what sock_diag reports about a connection that has not ended.
func unended(c kernel.Connection) SocketEnd {
	e := SocketEnd{
		Server: c.Local, Client: c.Peer, Cookie: c.Cookie, State: c.State,
		Way: StillOpen, Accepted: c.Inode != 0,
		Known: KnowsClient | KnowsState | KnowsWay | KnowsBytes | KnowsFIN | KnowsAccepted,
	}
	e.setBytes(c)
	switch c.State {
	case tcpCloseWait, tcpLastAck, tcpClosing:
		e.dropFIN()
	}
	queues := c.State == tcpEstablished || c.State == tcpCloseWait
	switch {
	case !e.Accepted && queues:
		e.Way = StillQueued
	case !e.Accepted:
		e.Accepted, e.Way = true, Closed
	case !queues:
		e.Way = ShutDown
	}
	return e
}

func (e *SocketEnd) setBytes(c kernel.Connection) {
	e.Received, e.Unread, e.Sent = c.Received, uint64(c.Unread), c.Sent
	e.Acknowledged = min(c.Acknowledged, c.Sent)
}

// dropFIN subtracts the client's FIN, the last byte received, from the numbers of bytes.
func (e *SocketEnd) dropFIN() {
	e.PeerClosed = true
	e.Received--
	if e.Unread > 0 {
		e.Unread--
	}
}

// A ClientEnd describes what the client knows about a connection that a SocketEnd describes.
type ClientEnd struct {
	Sent  uint64 // bytes of data that the client wrote
	Reset bool   // the client reset the connection
}

// Complete adds what can be derived from the client's record. It changes only ends that were not
// traced and whose numbers of bytes are known.
func (e *SocketEnd) Complete(c ClientEnd) {
	if e.Known.Has(KnowsFIN) || !e.Known.Has(KnowsBytes) {
		return
	}
	if e.Received > c.Sent {
		e.dropFIN()
	}
	e.Known |= KnowsFIN
	switch {
	case e.Known.Has(KnowsWay):
	case c.Reset:
		// The server may have closed the connection with unread data before the client's reset. A
		// reset before the close looks the same.
	case e.Unread > 0:
		e.Way, e.Known = ClosedUnread, e.Known|KnowsWay
	}
}
