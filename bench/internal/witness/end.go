package witness

import (
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/clock"
)

// A SocketEnd says what became of one TCP connection at the server's end. Known says which fields
// are known; the others are zero.
type SocketEnd struct {
	Server netip.AddrPort // the server's end; the address that the client connected to
	// Client is the client's end. Its port is 0 if it is not known.
	Client   netip.AddrPort
	Cookie   uint64 // the kernel's own number of the connection (SO_COOKIE in socket(7))
	Listener uint64 // inode of the listening socket that made the connection
	// State is the last TCP state before CLOSE or, if the connection is still there, its state
	// (include/net/tcp_states.h).
	State uint8
	Way   Way
	// Received is the number of bytes of data that arrived; no process read the last Unread of
	// them. Sent is the number of bytes that left, each counted once, and Acknowledged how many of
	// them the client's kernel has. A FIN counts as none, but without KnowsFIN as one in Received
	// and Unread.
	Received, Unread, Sent, Acknowledged uint64
	PeerClosed                           bool // the client's FIN arrived
	Accepted                             bool // a process had it
	// ResetLater says that the connection was reset after the server had closed it or shut it down:
	// by the client's kernel, or by the server's because of data that came too late.
	ResetLater bool
	// Reader is the process that read first, Closer the one that closed or shut down the server's
	// end. 0 means no process, or one outside this process's PID namespace.
	Reader, Closer int
	Exiting        bool        // the closer was exiting
	Signal         unix.Signal // that killed the closer; 0: none
	// Closed is when a process closed or shut down the server's end, Ended when the connection came
	// to CLOSE. 0 means that it did not happen.
	Born, FirstRead, Closed, Ended clock.Instant
	Known                          Known
}

// Read returns the bytes of data that a process read.
func (e *SocketEnd) Read() uint64 { return e.Received - e.Unread }

// Known is a set of fields of a SocketEnd.
type Known uint16

// What can be known.
const (
	KnowsClient   Known = 1 << iota // the port of Client; its address always is
	KnowsListener                   // Listener
	KnowsWay                        // Way
	KnowsState                      // State
	KnowsBytes                      // Received, Unread, Sent and Acknowledged
	KnowsFIN                        // PeerClosed, and that no FIN counts as a byte
	KnowsAccepted                   // Accepted
	KnowsReader                     // Reader and FirstRead
	KnowsCloser                     // Closer, Exiting, Signal, Closed and ResetLater
	KnowsTimes                      // Born and Ended

	KnowsAll = KnowsTimes<<1 - 1
)

// Has reports whether all of the fields are known.
func (k Known) Has(fields Known) bool { return k&fields == fields }

// Way is how the server's end of a connection ended.
type Way uint8

// The ways, from Closed to Unexplained as ends.c numbers them.
const (
	UnknownWay     Way = iota // only without KnowsWay
	Closed                    // close(2), or exit of the last process that had it: a FIN
	ClosedUnread              // the same with unread data: a RST
	Aborted                   // the same with SO_LINGER 0: a RST
	ShutDown                  // shutdown(2): a FIN
	ResetByPeer               // a RST from the client
	TimedOut                  // no answer from the client's kernel
	ListenerClosed            // a RST in the accept queue when the listener was closed
	NotEstablished            // the handshake did not complete
	Unexplained               // in none of these ways
	StillOpen                 // a process has it
	StillQueued               // it waits in an accept queue
	// Reset is Aborted or ListenerClosed. The kernel empties such a socket before its obituary, so
	// the client is not known either.
	Reset
)

var wayNames = [...]string{
	"not known", "closed", "closed with unread data", "aborted", "shut down", "reset by the client",
	"timed out", "reset with its listener", "not established", "unexplained", "still open",
	"still queued", "reset by the server",
}

func (w Way) String() string {
	if int(w) < len(wayNames) {
		return wayNames[w]
	}
	return "Way(" + strconv.Itoa(int(w)) + ")"
}
