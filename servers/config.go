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
	Backlog int            // the backlog of each listening socket
	// ListenAt determines the kind of address that listening sockets are bound to: the first
	// element in the first generation, the second, if any, in all later ones. Empty:
	// ListenSpecific.
	ListenAt    []vocabulary.Listen
	DeferAccept time.Duration // TCP_DEFER_ACCEPT, in whole seconds; 0: off
	// Users determines the user IDs that workers run under. Default UsersOne: this program's own.
	Users  vocabulary.Users
	Accept vocabulary.AcceptMode // "": the default of Kind
	// Handover is the method by which a worker gets its predecessor's socket, if it has a
	// predecessor. The predecessor is the latest serving worker with the same index or, if
	// SCMRights passes a shared socket, any serving worker.
	Handover vocabulary.Handover
	// PortPerIndex makes worker i of each generation listen on Address's port + i.
	PortPerIndex bool
	// MayBeTaken tolerates workers whose address is already in use. With SocketsReuseport, for
	// example, a socket of another user may use the port: the kernel lets sockets share a port only
	// if one user ID owns them all (socket(7), SO_REUSEPORT; inet_csk_bind_conflict in
	// net/ipv4/inet_connection_sock.c). Such a worker exits and does not appear in its generation's
	// Workers; see Worker.BindError. With MayBeTaken, workers start one after the other.
	MayBeTaken bool
	// Selection is the method that selects a listener for each connection, with SocketsReuseport.
	// Default SelectorHash.
	Selection vocabulary.Selector
	// ListedOnly, with SelectorHash, restricts the hash to workers that are ready and not stopped.
	// StopBPFMigrate and StopBPFDrain require it. The other eBPF selectors always select from those
	// workers only.
	ListedOnly bool
	// BPFMigrates lets the selector also choose the listener that takes over the accept queue of a
	// closed listener (Linux 5.14).
	BPFMigrates bool
	// Canary, with SelectorWeighted, is the share of the connections, between 0 and 1, that goes to
	// the last worker of a generation. The other workers share the rest equally. Canary has no
	// effect with one worker.
	Canary float64
	Work   Work
	// Startup is the time that a worker waits before it listens, in addition to the time that its
	// process needs to start. It must be less than 20 s.
	Startup time.Duration
	// Cold is the additional service time of the first request in a worker that starts cold. It
	// falls to 0 during the worker's warm-up time.
	Cold time.Duration
	Seed uint64 // of the workers' random streams; each worker has its own stream
	// Requests is an upper limit on the number of requests that all workers together get. It
	// determines the size of each journal, so that no journal need be read before its worker exits.
	// 0: unknown.
	Requests uint64
	// Pin, if not empty, restricts worker i of each generation to CPU Pin[i % len(Pin)].
	Pin   []int
	Fault Fault
	// IdleTimeout is the time that a worker waits for the next request on a connection that it has
	// answered. Then it closes the connection. 0: no limit. AcceptBlocking ignores it.
	IdleTimeout time.Duration
	// MaxRequests is the maximum number of requests that a worker serves on one connection. The
	// last response announces that the worker will close the connection. 0: no limit.
	MaxRequests int
	// Grace is the time that a stopped worker has to finish the connections that it has accepted.
	// Then the worker closes those that are left. If it still runs one second after that, it is
	// killed. Default 1 s.
	Grace time.Duration
	// TermMode is the mode in which an adopted worker stops when it gets SIGTERM. Default
	// StopClose.
	TermMode vocabulary.StopMode `json:",omitempty"`
}

// Work is the service time of a request. At most one of Sleep and Burn is nonzero.
type Work struct {
	Sleep time.Duration `json:"sleep_ns"`
	Burn  time.Duration `json:"burn_ns"` // CPU time of the serving thread
	// Distribution is the distribution of service times over the requests. Empty: Fixed.
	Distribution vocabulary.Distribution `json:"distribution,omitempty"`
	// With Bimodal, a share SlowShare of the requests, between 0 and 1, takes Slow instead.
	Slow      time.Duration `json:"slow_ns,omitempty"`
	SlowShare float64       `json:"slow_share,omitempty"`
}

// Fault is a deliberate defect of known size, to prove that the harness reports it correctly. Zero:
// none.
type Fault struct {
	// Workers answer ResetCount requests of load process 0 with a RST: the request with sequence
	// number ResetFrom and every ResetEvery-th request after it. A ResetEvery of 0 means 1.
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
