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
	Server netip.AddrPort `json:"server"` // the server's end; the address that the client used
	Client netip.AddrPort `json:"client"` // the client's end; its port is 0 if it is not known
	// Cookie is the kernel's own number of the connection (SO_COOKIE in socket(7)). Listener is the
	// inode of the listening socket that made the connection.
	Cookie   uint64 `json:"cookie,omitzero"`
	Listener uint64 `json:"listener,omitzero"`
	// State is the last TCP state before CLOSE or, if the connection is still there, its state
	// (include/net/tcp_states.h).
	State uint8 `json:"state,omitzero"`
	Way   Way   `json:"way,omitzero"`
	// Received is the number of bytes of data that arrived; no process read the last Unread of
	// them. Sent is the number of bytes that left, each counted once, and Acknowledged how many of
	// them the client's kernel has. A FIN counts as none, but without KnowsFIN as one in Received
	// and Unread.
	Received     uint64 `json:"received,omitzero"`
	Unread       uint64 `json:"unread,omitzero"`
	Sent         uint64 `json:"sent,omitzero"`
	Acknowledged uint64 `json:"acknowledged,omitzero"`
	PeerClosed   bool   `json:"peer_closed,omitzero"` // the client's FIN arrived
	Accepted     bool   `json:"accepted,omitzero"`    // a process had it
	// ResetLater says that the connection was reset after the server had closed it or shut it down:
	// by the client's kernel, or by the server's because of data that came too late.
	ResetLater bool `json:"reset_later,omitzero"`
	// Reader is the process that read first, Closer the one that closed or shut down the server's
	// end. 0 means no process, or one outside this process's PID namespace.
	Reader  int         `json:"reader,omitzero"`
	Closer  int         `json:"closer,omitzero"`
	Exiting bool        `json:"exiting,omitzero"` // the closer was exiting
	Signal  unix.Signal `json:"signal,omitzero"`  // that killed the closer; 0: none
	// Closed is when a process closed or shut down the server's end, Ended when the connection came
	// to CLOSE. 0 means that it did not happen.
	Born      clock.Instant `json:"born,omitzero"`
	FirstRead clock.Instant `json:"first_read,omitzero"`
	Closed    clock.Instant `json:"closed,omitzero"`
	Ended     clock.Instant `json:"ended,omitzero"`
	Known     Known         `json:"known,omitzero"`
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
