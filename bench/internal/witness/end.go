package witness

import (
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/clock"
)

// A SocketEnd describes what happened to one TCP connection at the server's end. Known is the set
// of fields that are known; all others are zero.
type SocketEnd struct {
	Server netip.AddrPort `json:"server"` // the server's address, which the client connected to
	Client netip.AddrPort `json:"client"` // the client's address; port 0: not known
	// Cookie is the kernel's number for the connection (SO_COOKIE in socket(7)).
	Cookie uint64 `json:"cookie,omitzero"`
	// State is the last TCP state before CLOSE or, if the connection still exists, its current
	// state (include/net/tcp_states.h).
	State uint8 `json:"state,omitzero"`
	Way   Way   `json:"way,omitzero"`
	// Received is the number of bytes of data that arrived. No process read the last Unread of
	// these bytes. Sent is the number of bytes that were sent, without retransmissions. The
	// client's kernel acknowledged the first Acknowledged of these. A FIN is not counted, with one
	// exception: without KnowsFIN, the client's FIN counts as one byte in Received and Unread.
	Received     uint64 `json:"received,omitzero"`
	Unread       uint64 `json:"unread,omitzero"`
	Sent         uint64 `json:"sent,omitzero"`
	Acknowledged uint64 `json:"acknowledged,omitzero"`
	PeerClosed   bool   `json:"peer_closed,omitzero"` // the client's FIN arrived
	Accepted     bool   `json:"accepted,omitzero"`    // a process has had the connection
	// ResetLater is set if the connection was reset after the server had closed it or shut it down:
	// by the client's kernel, or by the server's kernel because data arrived after that.
	ResetLater bool `json:"reset_later,omitzero"`
	// Reader is the PID of the process that read first. Closer is the PID of the process that
	// closed or shut down the server's end. 0 means no process, or one outside the PID namespace
	// whose numbers are wanted (Options.PIDs).
	Reader  int         `json:"reader,omitzero"`
	Closer  int         `json:"closer,omitzero"`
	Exiting bool        `json:"exiting,omitzero"` // the closer was exiting
	Signal  unix.Signal `json:"signal,omitzero"`  // the signal that killed the closer; 0: none
	// Closed is the time at which a process closed or shut down the server's end. Ended is the time
	// at which the connection reached CLOSE. 0 means that the event did not happen.
	Born      clock.Instant `json:"born,omitzero"`
	FirstRead clock.Instant `json:"first_read,omitzero"`
	Closed    clock.Instant `json:"closed,omitzero"`
	Ended     clock.Instant `json:"ended,omitzero"`
	Known     Known         `json:"known,omitzero"`
}

// Read returns the number of bytes of data that processes read.
func (e *SocketEnd) Read() uint64 { return e.Received - e.Unread }

// Known is a set of fields of a SocketEnd.
type Known uint16

// The fields that can be known.
const (
	KnowsClient   Known = 1 << iota // the port of Client; the address is always known
	_                               // was the listener; recordings contain these numbers
	KnowsWay                        // Way
	KnowsState                      // State
	KnowsBytes                      // Received, Unread, Sent and Acknowledged
	KnowsFIN                        // PeerClosed; and no FIN is counted as a byte
	KnowsAccepted                   // Accepted
	KnowsReader                     // Reader and FirstRead
	KnowsCloser                     // Closer, Exiting, Signal, Closed and ResetLater
	KnowsTimes                      // Born and Ended

	KnowsAll = KnowsTimes<<1 - 1
)

// Has reports whether all of the fields are known.
func (k Known) Has(fields Known) bool { return k&fields == fields }

// A Way is a way in which the server's end of a connection ended.
type Way uint8

// The ways. From Closed to Unexplained they have the same numbers as in ends.c.
const (
	UnknownWay     Way = iota // if KnowsWay is not set
	Closed                    // close(2) by, or exit of, the last process that had it: a FIN
	ClosedUnread              // like Closed, but with unread data: a RST
	Aborted                   // like Closed, but with SO_LINGER 0: a RST
	ShutDown                  // shutdown(2): a FIN
	ResetByPeer               // a RST from the client
	TimedOut                  // no answer from the client's kernel
	ListenerClosed            // a RST in the accept queue when the listener was closed
	NotEstablished            // the handshake did not complete
	Unexplained               // in none of the ways above
	StillOpen                 // a process still has the connection
	StillQueued               // the connection still waits in an accept queue
	// Reset means Aborted or ListenerClosed. The kernel clears such a socket before it sends the
	// obituary, so the client's port is not known either.
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
