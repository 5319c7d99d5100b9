package servers

import (
	"net/netip"
	"time"

	"reuseport-bench/servers/selector"
	"reuseport-bench/servers/socket"
)

// Config describes a group of workers.
type Config struct {
	Kind    Kind
	Sockets Sockets
	Workers int            // per generation, at least 1
	Address netip.AddrPort // where they listen, in the network of Env
	Backlog int            // of each listening socket
	Accept  Accept         // "": the kind's own
	// Handover is how a worker comes by its predecessor's socket, where it has a predecessor: the latest with its index that has
	// not been told to stop or, with Shared, any such worker.
	Handover Handover
	// PortPerIndex makes worker i of its generation listen at Address's port + i.
	PortPerIndex bool
	// MayBeTaken makes it no error that a worker finds its address taken, as with Reuseport by another user's: the kernel lets sockets share
	// a port only if one user id owns them all (socket(7), SO_REUSEPORT; inet_csk_bind_conflict in net/ipv4/inet_connection_sock.c). Such
	// a worker ends, and is none of its generation's Workers; see Worker.BindError. With it, workers start one after the other.
	MayBeTaken bool
	// Selection, with Reuseport. "": Hash.
	Selection Selection
	// ListedOnly, with Hash, spreads connections by a hash over those workers only that are ready and have not been told to
	// stop. It is needed for BPFMigrate and BPFDrain; the other selections by eBPF do so anyway.
	ListedOnly bool
	// BPFMigrates lets the selection decide also where the queue of a closed listener goes (Linux 5.14).
	BPFMigrates bool
	// Canary, with Weighted, is the share of the connections, between 0 and 1, that goes to the last worker of a generation; the
	// others share the rest. With one worker it says nothing.
	Canary float64
	Work   Work
	// Startup is how long a worker takes from its start until it listens, beyond what its process needs; less than 20 s.
	Startup time.Duration
	// Cold is how much longer the first request of a worker that starts cold takes.
	Cold time.Duration
	Seed uint64 // of what the workers draw, each from a stream of its own
	// Pin, where it is not empty, gives worker i of its generation the CPU Pin[i % len(Pin)] alone.
	Pin   []int
	Fault Fault
	// Grace bounds how long a stopped worker may take to finish what it accepted. Default 1 s.
	Grace time.Duration
}

// Sockets is how the workers of a group listen.
type Sockets string

// The ways to listen.
const (
	Shared    Sockets = "shared"    // one socket, bound by the parent, inherited by every worker
	Reuseport Sockets = "reuseport" // one socket each, bound with SO_REUSEPORT
	Exclusive Sockets = "exclusive" // one worker's own, bound without: nobody else can bind the address
)

// Accept is how a worker gets the connections of its listening socket.
type Accept string

// The ways to accept.
const (
	// Epoll is level-triggered: a connection on a shared socket wakes every idle worker (the herd).
	Epoll Accept = "epoll"
	// EpollExclusive wakes one of them or a few (EPOLLEXCLUSIVE, Linux 4.5).
	EpollExclusive Accept = "epoll-exclusive"
	// EpollEdge is edge-triggered: a worker that is woken accepts until the queue is empty.
	EpollEdge Accept = "epoll-edge"
	// Blocking waits in accept(2), and serves one connection to its end before the next. Idle workers are woken in turn.
	Blocking Accept = "blocking"
	// ByAcceptor leaves accepting to one process more, which passes each connection to a worker in turn (SCM_RIGHTS).
	ByAcceptor Accept = "acceptor"
	// Netpoll, with HTTP only, is Go's own poller: edge-triggered, not exclusive.
	Netpoll Accept = "netpoll"
)

// Selection is who decides which socket of a reuseport group gets a connection.
type Selection string

// The selections. The last three are selectors in eBPF; see package selector.
const (
	Hash Selection = "hash" // the kernel, by a hash of addresses and ports
	// ByCPU is a classic BPF program: the CPU that handles the SYN, modulo the number of workers.
	ByCPU Selection = "cpu"
	// IncomingCPU is SO_INCOMING_CPU: a worker that is pinned gets what its CPU handles.
	IncomingCPU Selection = "incoming-cpu"
	RoundRobin  Selection = Selection(selector.RoundRobin)
	Weighted    Selection = Selection(selector.Weighted)
	LeastLoaded Selection = Selection(selector.LeastLoaded)
	// SlowStart is at random, and a worker that starts cold gets its share by and by.
	SlowStart Selection = "slow-start"
)

// ByBPF says that the selection needs an eBPF program.
func (s Selection) ByBPF() bool {
	return s == RoundRobin || s == Weighted || s == LeastLoaded || s == SlowStart
}

// Kind is the architecture of a worker.
type Kind string

// The kinds of worker.
const (
	Loop Kind = "loop" // one thread, one epoll loop
	HTTP Kind = "http" // Go's net/http
)

// Work is the service time of a request: at most one of Sleep and Burn is not zero.
type Work struct {
	Sleep time.Duration `json:"sleep_ns"`
	Burn  time.Duration `json:"burn_ns"` // of the thread's CPU time
	// Distribution is how the time varies from request to request. Empty: Fixed.
	Distribution Distribution `json:"distribution,omitempty"`
	// Slow and SlowShare, with Bimodal: that share of the requests, 0 to 1, takes Slow.
	Slow      time.Duration `json:"slow_ns,omitempty"`
	SlowShare float64       `json:"slow_share,omitempty"`
}

// Distribution is how service time varies from request to request.
type Distribution string

// The distributions.
const (
	Fixed       Distribution = "fixed"
	Exponential Distribution = "exponential" // with Sleep or Burn as its mean
	Bimodal     Distribution = "bimodal"     // Sleep or Burn, now and then Slow
)

// Fault is a known defect for proving that the harness reports it at its size. Zero: none.
type Fault struct {
	// ResetFrom, ResetEvery and ResetCount: so many requests of load process 0 are answered with a RST, from that sequence number on,
	// each so far behind the one before; 0 stands for 1.
	ResetFrom  uint64 `json:"reset_from"`
	ResetEvery uint64 `json:"reset_every"`
	ResetCount uint64 `json:"reset_count"`
}

// Listen returns a listener, as the workers have it, in the calling thread's network namespace. The
// caller closes it.
func (c Config) Listen(at netip.AddrPort) (int, error) {
	return socket.Listen(at, socket.ListenOptions{Backlog: c.Backlog, ReuseAddr: true, ReusePort: c.Sockets == Reuseport})
}
