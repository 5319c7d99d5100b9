package vocabulary

import "slices"

// ServerKind is the architecture of a worker.
type ServerKind string

// The kinds of server.
const (
	ServerLoop ServerKind = "loop"
	ServerHTTP ServerKind = "http"
)

// A ServerKindRow is the row of a kind of server.
type ServerKindRow struct {
	Name   ServerKind
	Doc    string
	Accept AcceptMode // by default
}

var serverKinds = []ServerKindRow{
	{Name: ServerLoop, Accept: AcceptEpoll,
		Doc: "one thread, one epoll loop that accepts and serves in line"},
	{Name: ServerHTTP, Accept: AcceptNetpoll, Doc: "Go's net/http, a goroutine per connection"},
}

func (r ServerKindRow) value() Value { return Value{string(r.Name), r.Doc} }

// ServerKinds returns the table of kinds of server.
func ServerKinds() []ServerKindRow { return slices.Clone(serverKinds) }

// Row returns the row of k; the zero row if there is none.
func (k ServerKind) Row() ServerKindRow { return rowOf(serverKinds, k) }

// Start is when the processes are started for the workers that steps start.
type Start string

// The ways to start.
const (
	StartParked Start = "parked"
	StartCold   Start = "cold"
)

var starts = []Row[Start]{
	{StartParked, "before the load begins: it initialises itself and waits, and the step makes it " +
		"listen"},
	{StartCold, "by the step, which then includes what the system and the program take for a start"},
}

// Distribution is how service time varies from request to request.
type Distribution string

// The distributions.
const (
	DistributionFixed       Distribution = "fixed"
	DistributionExponential Distribution = "exponential"
	DistributionBimodal     Distribution = "bimodal"
)

var distributions = []Row[Distribution]{
	{DistributionFixed, "every request takes sleep or burn"},
	{DistributionExponential, "sleep or burn is the mean of exponentially distributed times"},
	{DistributionBimodal, "sleep or burn, but slow for a share of the requests, slow_share"},
}

// Distributions returns the table of distributions.
func Distributions() []Row[Distribution] { return slices.Clone(distributions) }

// Pin is which CPUs a worker may run on.
type Pin string

// The pins.
const (
	PinNone Pin = "none"
	PinCPU  Pin = "cpu"
)

var pins = []Row[Pin]{
	{PinNone, "any of the servers' CPUs, as the scheduler likes"},
	{PinCPU, "one CPU each: worker i of a generation on the servers' CPU i, starting over where " +
		"there are more workers"},
}

// Sockets is how the workers of a generation listen.
type Sockets string

// The ways to listen.
const (
	SocketsShared    Sockets = "shared"
	SocketsReuseport Sockets = "reuseport"
	SocketsExclusive Sockets = "exclusive"
)

var socketModes = []Row[Sockets]{
	{SocketsShared, "one listening socket, which all workers inherit"},
	{SocketsReuseport, "one listening socket each, bound with SO_REUSEPORT"},
	{SocketsExclusive, "one worker's own listening socket, bound without SO_REUSEPORT"},
}

// Listen is what a listening socket is bound to.
type Listen string

// The addresses to listen at.
const (
	ListenSpecific Listen = "specific"
	ListenAny      Listen = "any"
	ListenDual     Listen = "dual"
)

var listens = []Row[Listen]{
	{ListenSpecific, "the address that clients connect to"},
	{ListenAny, "every address of the host, of that family: 0.0.0.0 or ::"},
	{ListenDual, "every address of the host, of both families: an IPv6 socket that takes IPv4"},
}

// AcceptMode is how a worker gets the connections of its listening socket.
type AcceptMode string

// The accept modes.
const (
	AcceptEpoll          AcceptMode = "epoll"
	AcceptEpollExclusive AcceptMode = "epoll-exclusive"
	AcceptEpollEdge      AcceptMode = "epoll-edge"
	AcceptBlocking       AcceptMode = "blocking"
	AcceptAcceptor       AcceptMode = "acceptor"
	AcceptAcceptorAck    AcceptMode = "acceptor-ack"
	AcceptNetpoll        AcceptMode = "netpoll"
)

// An AcceptModeRow is the row of an accept mode.
type AcceptModeRow struct {
	Name        AcceptMode
	Doc         string
	Kind        Only[ServerKind]
	Sockets     Only[Sockets]
	Connections Only[Connections]
	// Passes: one process more accepts for all workers, and passes the connections on.
	Passes bool
	Needs  []Capability
}

var (
	byLoop     = Only[ServerKind]{[]ServerKind{ServerLoop}, "Go's net/http accepts by netpoll"}
	passedFrom = Only[Sockets]{[]Sockets{SocketsShared}, "it accepts from one socket for all workers"}
)

var acceptModes = []AcceptModeRow{
	{Name: AcceptEpoll, Kind: byLoop,
		Doc: "level-triggered epoll: a connection on a shared socket wakes every idle worker " +
			"(kind loop)"},
	{Name: AcceptEpollExclusive, Kind: byLoop, Needs: []Capability{EpollExclusive},
		Doc: "the same, but it wakes only one or a few (EPOLLEXCLUSIVE; kind loop)"},
	{Name: AcceptEpollEdge, Kind: byLoop,
		Doc: "edge-triggered epoll: who is woken accepts until the queue is empty (EPOLLET; kind " +
			"loop)"},
	{Name: AcceptBlocking, Kind: byLoop,
		Connections: Only[Connections]{[]Connections{ConnectionsNew},
			"such a worker is its one client's until the connection ends"},
		Doc: "accept(2) itself: one connection at a time, served to its end (kind loop)"},
	{Name: AcceptAcceptor, Kind: byLoop, Sockets: passedFrom, Passes: true,
		Doc: "one process more accepts for all workers and passes the connections round in turn " +
			"(SCM_RIGHTS; kind loop)"},
	{Name: AcceptAcceptorAck, Kind: byLoop, Sockets: passedFrom, Passes: true,
		Doc: "the same, but a worker gets its next connection only when it has acknowledged the " +
			"last, as in Node's cluster module (SCM_RIGHTS; kind loop)"},
	{Name: AcceptNetpoll,
		Kind: Only[ServerKind]{[]ServerKind{ServerHTTP},
			"a loop has epoll, epoll-exclusive, epoll-edge, blocking, acceptor and acceptor-ack"},
		Doc: "Go's own poller (kind http)"},
}

func (r AcceptModeRow) value() Value { return Value{string(r.Name), r.Doc} }

// AcceptModes returns the table of accept modes.
func AcceptModes() []AcceptModeRow { return slices.Clone(acceptModes) }

// Row returns the row of m; the zero row if there is none.
func (m AcceptMode) Row() AcceptModeRow { return rowOf(acceptModes, m) }

// Selector is who decides which socket of a reuseport group gets a connection.
type Selector string

// The selectors.
const (
	SelectorHash        Selector = "hash"
	SelectorCPU         Selector = "cpu"
	SelectorCPUFixed    Selector = "cpu-fixed"
	SelectorIncomingCPU Selector = "incoming-cpu"
	SelectorRoundRobin  Selector = "round-robin"
	SelectorWeighted    Selector = "weighted"
	SelectorSlowStart   Selector = "slow-start"
	SelectorLeastLoaded Selector = "least-loaded"
	SelectorEmpty       Selector = "empty-stand-in"
)

// A SelectorRow is the row of a selector.
type SelectorRow struct {
	Name    Selector
	Doc     string
	BPF     bool // an eBPF program; see servers/selector
	Sockets Only[Sockets]
	Pin     Only[Pin]
	// Inherits: it goes on to work when a socket is handed over instead of bound anew.
	Inherits bool
	// LeavesOut: it can leave a worker out whose socket still listens, with an eBPF program.
	LeavesOut bool
	Needs     []Capability
}

var (
	amongSockets = Only[Sockets]{[]Sockets{SocketsReuseport},
		"with one shared socket there is nothing to select"}
	bpfNeeds = []Capability{SKReuseport, SockArray}
)

var selectors = []SelectorRow{
	{Name: SelectorHash, Inherits: true, LeavesOut: true,
		Doc: "the kernel's hash of addresses and ports"},
	{Name: SelectorCPU, Sockets: amongSockets, Inherits: true,
		Doc: "the CPU that handles the SYN, modulo the number of sockets in the group, which it " +
			"follows (classic BPF)"},
	{Name: SelectorCPUFixed, Sockets: amongSockets, Inherits: true,
		Doc: "the same, but modulo the number of workers at the start, whatever the group is: a " +
			"worker that is added gets nothing, and the share of one that has gone is the hash's"},
	{Name: SelectorIncomingCPU, Sockets: amongSockets, Needs: []Capability{IncomingCPU},
		Pin: Only[Pin]{[]Pin{PinCPU}, "it gives each CPU's connections to the worker of that CPU"},
		Doc: "the worker that is pinned to the CPU that handles the SYN (SO_INCOMING_CPU; needs " +
			"pin: cpu)"},
	{Name: SelectorRoundRobin, BPF: true, Sockets: amongSockets, LeavesOut: true, Needs: bpfNeeds,
		Doc: "each worker in turn (eBPF; needs root)"},
	{Name: SelectorWeighted, BPF: true, Sockets: amongSockets, LeavesOut: true, Needs: bpfNeeds,
		Doc: "at random, the last worker with probability canary (eBPF; needs root)"},
	{Name: SelectorSlowStart, BPF: true, Sockets: amongSockets, LeavesOut: true, Needs: bpfNeeds,
		Doc: "at random; a worker that a cold-start adds gets its share by and by, over that " +
			"step's " +
			"for (eBPF; needs root)"},
	{Name: SelectorLeastLoaded, BPF: true, Sockets: amongSockets, LeavesOut: true, Needs: bpfNeeds,
		Doc: "the worker with the least in its queue and in its hands, but none that is stuck " +
			"(eBPF; " +
			"needs root; kind loop)"},
	{Name: SelectorEmpty, BPF: true, Sockets: amongSockets, Needs: bpfNeeds,
		Doc: "a stand-in, no selector: an eBPF program that chooses nobody, so that hash does; what " +
			"it costs, every program costs (needs root)"},
}

func (r SelectorRow) value() Value { return Value{string(r.Name), r.Doc} }

// Selectors returns the table of selectors.
func Selectors() []SelectorRow { return slices.Clone(selectors) }

// Row returns the row of s; the zero row if there is none.
func (s Selector) Row() SelectorRow { return rowOf(selectors, s) }

// Stall is how a worker stands still.
type Stall string

// The ways to stand still.
const (
	StallSignal Stall = "sigstop"
	StallSpin   Stall = "spin"
)

// A StallRow is the row of a way to stand still.
type StallRow struct {
	Name Stall
	Doc  string
	Kind Only[ServerKind]
}

var stalls = []StallRow{
	{Name: StallSignal, Doc: "SIGSTOP, and SIGCONT after for: the process is not run"},
	{Name: StallSpin,
		Kind: Only[ServerKind]{[]ServerKind{ServerLoop},
			"net/http has no one loop that could spin; use sigstop"},
		Doc: "the worker's loop turns on the spot: it uses its CPU and serves nobody (kind loop)"},
}

func (r StallRow) value() Value { return Value{string(r.Name), r.Doc} }

// Row returns the row of s; the zero row if there is none.
func (s Stall) Row() StallRow { return rowOf(stalls, s) }

// QueueDepth is where the lengths of accept queues come from.
type QueueDepth string

// The sources of a queue's length.
const (
	DepthComputed QueueDepth = "computed"
	DepthSampled  QueueDepth = "sampled"
)

var queueDepths = []Row[QueueDepth]{
	{DepthComputed, "after the load, from when each connection was established and when a worker " +
		"accepted it"},
	{DepthSampled, "the kernel is asked as well, 25 times a second while the load runs, which " +
		"takes about half a percent of a CPU"},
}

var traces = []Row[Switch]{
	{On, "where it may be asked (root, Linux 6.10), the kernel says why each connection was " +
		"lost; " +
		"elsewhere causes are inferred"},
	{Off, "causes are inferred"},
}
