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
	Workers int            // number per generation, at least 1
	Address netip.AddrPort // where the workers listen, in the network of Env
	Backlog int            // of each listening socket
	// ListenAt says what listening sockets are bound to: the first element for the first
	// generation's workers, the second, if any, for all later ones. Empty: ListenSpecific.
	ListenAt    []vocabulary.Listen
	DeferAccept time.Duration // TCP_DEFER_ACCEPT, in whole seconds; 0: off
	// Users says under which user ids workers run. Default UsersOne: this program's.
	Users  vocabulary.Users
	Accept vocabulary.AcceptMode // "": the kind's own
	// Handover is how a worker gets its predecessor's socket, if it has a predecessor. The
	// predecessor is the latest serving worker with the same index or, if SCMRights passes a shared
	// socket, any serving worker.
	Handover vocabulary.Handover
	// PortPerIndex makes worker i of each generation listen on Address's port + i.
	PortPerIndex bool
	// MayBeTaken allows a worker to find its address taken. With SocketsReuseport, for example,
	// another user's socket may have it: the kernel lets sockets share a port only if one user id
	// owns them all (socket(7), SO_REUSEPORT; inet_csk_bind_conflict in
	// net/ipv4/inet_connection_sock.c). Such a worker exits and does not appear in its generation's
	// Workers; see Worker.BindError. With MayBeTaken, workers start one after the other.
	MayBeTaken bool
	// Selection is the selector, with SocketsReuseport. Default SelectorHash.
	Selection vocabulary.Selector
	// ListedOnly, with SelectorHash, restricts the hash to workers that are ready and not stopped.
	// StopBPFMigrate and StopBPFDrain need it. The other eBPF selectors always have this
	// restriction.
	ListedOnly bool
	// BPFMigrates lets the selector also choose the listener that gets the queue of a closed one
	// (Linux 5.14).
	BPFMigrates bool
	// Canary, with SelectorWeighted, is the share of the connections, between 0 and 1, that goes to
	// the last worker of a generation. The others share the rest equally. With one worker it has no
	// effect.
	Canary float64
	Work   Work
	// Startup is how long a worker waits before it listens, in addition to the time that its
	// process needs. It must be less than 20 s.
	Startup time.Duration
	// Cold is the additional service time of the first request in a worker that starts cold.
	Cold time.Duration
	Seed uint64 // of the workers' random streams; each worker has its own
	// Requests is the maximum number of requests that all workers together may get. Journals are
	// made large enough for it, so that they need not be read before the workers end. 0: not known.
	Requests uint64
	// Pin, if not empty, restricts worker i of each generation to CPU Pin[i % len(Pin)].
	Pin   []int
	Fault Fault
	// IdleTimeout is how long a worker waits for the next request on a connection that it has
	// answered, before it closes the connection; 0: for ever. AcceptBlocking ignores it.
	IdleTimeout time.Duration
	// MaxRequests is the maximum number of requests that a worker takes on one connection. The last
	// answer announces that the worker closes the connection. 0: any number.
	MaxRequests int
	// Grace is the time that a stopped worker has to finish the connections that it has accepted.
	// Then it closes those that are left. A worker that has not exited a second later is killed.
	// Default 1 s.
	Grace time.Duration
}

// Work is the service time of a request. At most one of Sleep and Burn is nonzero.
type Work struct {
	Sleep time.Duration `json:"sleep_ns"`
	Burn  time.Duration `json:"burn_ns"` // of the thread's CPU time
	// Distribution is how the time varies between requests. Empty: Fixed.
	Distribution vocabulary.Distribution `json:"distribution,omitempty"`
	// With Bimodal, a share SlowShare of the requests, 0 to 1, takes the time Slow.
	Slow      time.Duration `json:"slow_ns,omitempty"`
	SlowShare float64       `json:"slow_share,omitempty"`
}

// Fault is a deliberate defect of known size, to prove that the harness reports it correctly. Zero:
// none.
type Fault struct {
	// Workers answer ResetCount requests of load process 0 with a RST: the one with sequence number
	// ResetFrom and every ResetEvery-th after it. A ResetEvery of 0 means 1.
	ResetFrom  uint64 `json:"reset_from"`
	ResetEvery uint64 `json:"reset_every"`
	ResetCount uint64 `json:"reset_count"`
}

// Listen returns a listener at the address, with the options of a worker's own listener. The
// listener is in the calling thread's network namespace. The caller closes it.
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
