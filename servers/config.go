package servers

import (
	"net/netip"
	"time"

	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/socket"
)

// Config describes a group of workers.
type Config struct {
	Kind    vocabulary.ServerKind
	Sockets vocabulary.Sockets
	Workers int            // per generation, at least 1
	Address netip.AddrPort // where they listen, in the network of Env
	Backlog int            // of each listening socket
	// ListenAt is what listening sockets are bound to: of the first generation's workers and, where
	// there is a second, of all that are started later. Empty: ListenSpecific.
	ListenAt    []vocabulary.Listen
	DeferAccept time.Duration // TCP_DEFER_ACCEPT, in whole seconds; 0: off
	// Users are the user ids that workers run under. Default UsersOne: that of this program.
	Users  vocabulary.Users
	Accept vocabulary.AcceptMode // "": the kind's own
	// Handover is how a worker comes by its predecessor's socket, where it has a predecessor: the
	// latest with its index that has not been told to stop or, with SocketsShared, any such worker.
	Handover vocabulary.Handover
	// PortPerIndex makes worker i of its generation listen at Address's port + i.
	PortPerIndex bool
	// MayBeTaken makes it no error that a worker finds its address taken, as with SocketsReuseport
	// by another user's: the kernel lets sockets share a port only if one user id owns them all
	// (socket(7), SO_REUSEPORT; inet_csk_bind_conflict in net/ipv4/inet_connection_sock.c). Such a
	// worker ends, and is none of its generation's Workers; see Worker.BindError. With it, workers
	// start one after the other.
	MayBeTaken bool
	// Selection, with SocketsReuseport. Default SelectorHash.
	Selection vocabulary.Selector
	// ListedOnly, with SelectorHash, spreads connections by a hash over those workers only that are
	// ready and have not been told to stop. It is needed for StopBPFMigrate and StopBPFDrain; the
	// other selections by eBPF do so anyway.
	ListedOnly bool
	// BPFMigrates lets the selection decide also where the queue of a closed listener goes (Linux
	// 5.14).
	BPFMigrates bool
	// Canary, with SelectorWeighted, is the share of the connections, between 0 and 1, that goes to
	// the last worker of a generation; the others share the rest. With one worker it says nothing.
	Canary float64
	Work   Work
	// Startup is how long a worker takes from its start until it listens, beyond what its process
	// needs; less than 20 s.
	Startup time.Duration
	// Cold is how much longer the first request of a worker that starts cold takes.
	Cold time.Duration
	Seed uint64 // of what the workers draw, each from a stream of its own
	// Requests is how many all workers together may get, so that their journals need not be read
	// before they end; 0: not known.
	Requests uint64
	// Pin, where it is not empty, gives worker i of its generation the CPU Pin[i % len(Pin)] alone.
	Pin   []int
	Fault Fault
	// IdleTimeout is how long a worker waits for the next request on a connection that it has
	// answered, before it closes it; 0: for ever. With AcceptBlocking it waits all the same.
	IdleTimeout time.Duration
	// MaxRequests is how many requests a worker takes of one connection: with the answer to the
	// last it says that it closes the connection, and does. 0: any number.
	MaxRequests int
	// Grace is how long a worker that was told to stop may take to finish what it accepted; then it
	// closes what is left. One that has not ended a second later is killed. Default 1 s.
	Grace time.Duration
}

// Work is the service time of a request: at most one of Sleep and Burn is not zero.
type Work struct {
	Sleep time.Duration `json:"sleep_ns"`
	Burn  time.Duration `json:"burn_ns"` // of the thread's CPU time
	// Distribution is how the time varies from request to request. Empty: Fixed.
	Distribution vocabulary.Distribution `json:"distribution,omitempty"`
	// Slow and SlowShare, with Bimodal: that share of the requests, 0 to 1, takes Slow.
	Slow      time.Duration `json:"slow_ns,omitempty"`
	SlowShare float64       `json:"slow_share,omitempty"`
}

// Fault is a known defect for proving that the harness reports it at its size. Zero: none.
type Fault struct {
	// ResetFrom, ResetEvery and ResetCount: so many requests of load process 0 are answered with a
	// RST, from that sequence number on, each so far behind the one before; 0 stands for 1.
	ResetFrom  uint64 `json:"reset_from"`
	ResetEvery uint64 `json:"reset_every"`
	ResetCount uint64 `json:"reset_count"`
}

// Listen returns a listener for connections to that address, as the workers have it, in the calling
// thread's network namespace. The caller closes it.
func (c Config) Listen(at netip.AddrPort) (int, error) {
	o := socket.ListenOptions{
		Backlog: c.Backlog, ReuseAddr: true, ReusePort: c.Sockets == vocabulary.SocketsReuseport,
		DeferAccept: c.DeferAccept,
	}
	switch {
	case len(c.ListenAt) == 0:
	case c.ListenAt[0] == vocabulary.ListenDual:
		at, o.DualStack = netip.AddrPortFrom(netip.IPv6Unspecified(), at.Port()), true
	case c.ListenAt[0] == vocabulary.ListenAny && at.Addr().Is6():
		at = netip.AddrPortFrom(netip.IPv6Unspecified(), at.Port())
	case c.ListenAt[0] == vocabulary.ListenAny:
		at = netip.AddrPortFrom(netip.IPv4Unspecified(), at.Port())
	}
	return socket.Listen(at, o)
}
