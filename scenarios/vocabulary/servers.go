package vocabulary

import "slices"

// ServerKind is the architecture of a worker.
type ServerKind string

// The kinds of server.
const (
	ServerLoop ServerKind = "loop"
	ServerHTTP ServerKind = "http"
	// ServerCommand is a third-party server, started by a command.
	ServerCommand ServerKind = "command"
)

// A ServerKindRow is the row of a kind of server.
type ServerKindRow struct {
	Name   ServerKind
	Doc    string
	Phrase string     // see Value.Phrase
	Accept AcceptMode // the default accept mode; "" if the accept mode is unknown
}

var serverKinds = []ServerKindRow{
	{Name: ServerLoop, Phrase: "epoll loops",
		Accept: AcceptEpoll,
		Doc:    "one thread with one epoll loop that accepts and serves, as in nginx or Redis"},
	{Name: ServerHTTP, Phrase: "Go's net/http",
		Accept: AcceptNetpoll,
		Doc:    "Go's net/http: one goroutine per connection"},
	{Name: ServerCommand, Phrase: "your own server",
		Doc: "a server of your own, such as nginx or gunicorn: server.start starts it, and " +
			"server.restarts says how it is restarted"},
}

func (r ServerKindRow) value() Value {
	return Value{Name: string(r.Name), Doc: r.Doc, Phrase: r.Phrase}
}

// ServerKinds returns the table of kinds of server.
func ServerKinds() []ServerKindRow { return slices.Clone(serverKinds) }

// WorkerKinds returns the rows of the kinds of server that are workers of this program.
func WorkerKinds() []ServerKindRow {
	third := func(r ServerKindRow) bool { return r.Name == ServerCommand }
	return slices.DeleteFunc(ServerKinds(), third)
}

// Row returns the row of k, or the zero row if k has none.
func (k ServerKind) Row() ServerKindRow { return rowOf(serverKinds, k) }

// Start is the time at which the process of a worker is started, if a step starts the worker.
type Start string

// The values of Start.
const (
	StartParked Start = "parked"
	StartCold   Start = "cold"
)

var starts = []Row[Start]{
	{StartParked, "before the load begins; the process initialises itself and waits, and the " +
		"step only makes it listen"},
	{StartCold, "by the step, so that the step includes the start of the process"},
}

// Distribution is the distribution of the service times of requests.
type Distribution string

// The distributions.
const (
	DistributionFixed       Distribution = "fixed"
	DistributionExponential Distribution = "exponential"
	DistributionBimodal     Distribution = "bimodal"
)

var distributions = []Row[Distribution]{
	{DistributionFixed, "every request takes sleep or burn"},
	{DistributionExponential, "exponentially distributed times whose mean is sleep or burn"},
	{DistributionBimodal, "slow for the share slow_share of the requests; sleep or burn for " +
		"the others"},
}

// Distributions returns the table of distributions.
func Distributions() []Row[Distribution] { return slices.Clone(distributions) }

// Pin determines the CPUs on which a worker may run.
type Pin string

// The pins.
const (
	PinNone Pin = "none"
	PinCPU  Pin = "cpu"
)

var pins = []Row[Pin]{
	{PinNone, "any of the servers' CPUs, as the scheduler decides"},
	{PinCPU, "one CPU for each worker: worker i of a generation runs on CPU i of the servers' " +
		"CPUs, modulo the number of these CPUs"},
}

// Sockets is the way in which the workers of a generation listen.
type Sockets string

// The ways to listen.
const (
	SocketsShared    Sockets = "shared"
	SocketsReuseport Sockets = "reuseport"
	SocketsExclusive Sockets = "exclusive"
	SocketsServer    Sockets = "server"
)

var socketModes = []PhrasedRow[Sockets]{
	{SocketsShared, "one listening socket that all workers inherit", "one shared socket"},
	{SocketsReuseport, "one listening socket for each worker, bound with SO_REUSEPORT",
		"a SO_REUSEPORT socket each"},
	{SocketsExclusive, "one worker with a listening socket that is bound without SO_REUSEPORT",
		"a socket without SO_REUSEPORT"},
	{SocketsServer, "the server opens its listening sockets itself (server.kind: command)",
		"sockets that the server opens itself"},
}

// Listen is the address to which a listening socket is bound.
type Listen string

// The addresses to bind.
const (
	ListenSpecific Listen = "specific"
	ListenAny      Listen = "any"
	ListenDual     Listen = "dual"
)

var listens = []Row[Listen]{
	{ListenSpecific, "the address that clients connect to"},
	{ListenAny, "every address of the host in one family: 0.0.0.0 or ::"},
	{ListenDual, "every address of the host in both families, by an IPv6 socket that also " +
		"accepts IPv4"},
}

// AcceptMode is the way in which a worker gets the connections of its listening socket.
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
	Phrase      string // see Value.Phrase
	Source      string // see Value.Source
	Kind        Only[ServerKind]
	Sockets     Only[Sockets]
	Connections Only[Connections]
	// Passes is true if an additional process accepts all connections and passes them to the
	// workers.
	Passes bool
	Needs  []Capability
}

var (
	byLoop     = Only[ServerKind]{[]ServerKind{ServerLoop}, "Go's net/http accepts by netpoll"}
	passedFrom = Only[Sockets]{[]Sockets{SocketsShared}, "it accepts from one socket for all " +
		"workers"}
)

var acceptModes = []AcceptModeRow{
	{Name: AcceptEpoll, Phrase: "epoll",
		Kind: byLoop, Source: "epoll(7)",
		Doc: "level-triggered epoll: a connection on a shared socket wakes every idle worker, " +
			"and one worker gets the connection (the thundering herd)"},
	{Name: AcceptEpollExclusive, Phrase: "EPOLLEXCLUSIVE",
		Kind: byLoop, Needs: []Capability{EpollExclusive},
		Source: "EPOLLEXCLUSIVE, epoll_ctl(2)",
		Doc: "level-triggered epoll that wakes one or a few workers for a connection, and " +
			"always the same workers first"},
	{Name: AcceptEpollEdge, Phrase: "edge-triggered epoll",
		Kind: byLoop, Source: "EPOLLET, epoll(7)",
		Doc: "edge-triggered epoll: the worker that is woken accepts connections until the " +
			"queue is empty"},
	{Name: AcceptBlocking, Phrase: "a blocking accept",
		Kind: byLoop, Source: "accept(2)",
		Connections: Only[Connections]{[]Connections{ConnectionsNew},
			"such a worker serves one client until the connection ends"},
		Doc: "a blocking accept(2): a worker serves one connection to its end before it " +
			"accepts the next; the kernel wakes the workers in turn"},
	{Name: AcceptAcceptor, Phrase: "one acceptor for all",
		Kind: byLoop, Sockets: passedFrom, Passes: true,
		Source: "SCM_RIGHTS, unix(7)",
		Doc: "an additional process accepts all connections and passes them to the workers " +
			"in turn"},
	{Name: AcceptAcceptorAck, Phrase: "one acceptor that waits for acknowledgements",
		Kind: byLoop, Sockets: passedFrom, Passes: true,
		Source: "SCM_RIGHTS, unix(7)",
		Doc: "as acceptor, but a worker gets its next connection only after it has " +
			"acknowledged the previous one, as in Node's cluster module"},
	{Name: AcceptNetpoll, Phrase: "Go's own poller",
		Source: "runtime/netpoll_epoll.go of Go",
		Kind: Only[ServerKind]{[]ServerKind{ServerHTTP},
			"a loop has epoll, epoll-exclusive, epoll-edge, blocking, acceptor and acceptor-ack"},
		Doc: "the poller of Go's runtime"},
}

func (r AcceptModeRow) value() Value {
	return Value{Name: string(r.Name), Doc: r.Doc, Phrase: r.Phrase, Source: r.Source,
		Needs: slices.Concat(
			r.Kind.needs("server.kind"), r.Sockets.needs("sockets"),
			r.Connections.needs("load.connections"), capabilityNeeds(r.Needs))}
}

// AcceptModes returns the table of accept modes.
func AcceptModes() []AcceptModeRow { return slices.Clone(acceptModes) }

// Row returns the row of m, or the zero row if m has none.
func (m AcceptMode) Row() AcceptModeRow { return rowOf(acceptModes, m) }

// Selector decides which socket of a reuseport group gets a connection.
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
	Phrase  string // see Value.Phrase
	Source  string // see Value.Source
	BPF     bool   // the selector is an eBPF program; see servers/selector
	Kind    Only[ServerKind]
	Sockets Only[Sockets]
	Pin     Only[Pin]
	// Inherits is true if the selector also works when a new worker takes over the socket of an old
	// one instead of binding its own.
	Inherits bool
	// LeavesOut is true if the selector's eBPF program can skip a worker although the worker's
	// socket still listens.
	LeavesOut bool
	Needs     []Capability
}

var (
	amongSockets = Only[Sockets]{[]Sockets{SocketsReuseport},
		"with one shared socket there is nothing to select"}
	bpfNeeds = []Capability{SKReuseport, SockArray}
)

// Sources that several selectors share.
const (
	classicBPF = "SO_ATTACH_REUSEPORT_CBPF, socket(7)"
	bpfSelect  = "BPF_PROG_TYPE_SK_REUSEPORT, include/uapi/linux/bpf.h"
)

var selectors = []SelectorRow{
	{Name: SelectorHash, Phrase: "the kernel's hash",
		Inherits: true, LeavesOut: true,
		Source: "reuseport_select_sock, net/core/sock_reuseport.c",
		Doc:    "the kernel's hash of addresses and ports"},
	{Name: SelectorCPU, Phrase: "a choice by CPU",
		Sockets: amongSockets, Inherits: true, Source: classicBPF,
		Doc: "the socket whose number is the CPU that handles the SYN, modulo the number of " +
			"sockets in the group"},
	{Name: SelectorCPUFixed, Phrase: "a choice by CPU of a fixed number",
		Sockets: amongSockets, Inherits: true, Source: classicBPF,
		Doc: "as cpu, but modulo the number of workers at the start: a worker that is added " +
			"gets no connections, and hash distributes the share of a worker that is gone"},
	{Name: SelectorIncomingCPU, Phrase: "SO_INCOMING_CPU",
		Sockets: amongSockets, Needs: []Capability{IncomingCPU},
		Source: "SO_INCOMING_CPU, socket(7)",
		Pin: Only[Pin]{[]Pin{PinCPU}, "it gives each CPU's connections to the worker of that " +
			"CPU"},
		Doc: "the worker that is pinned to the CPU that handles the SYN"},
	{Name: SelectorRoundRobin, Phrase: "round robin",
		BPF: true, Sockets: amongSockets, LeavesOut: true, Needs: bpfNeeds,
		Source: bpfSelect,
		Doc:    "each worker in turn (eBPF)"},
	{Name: SelectorWeighted, Phrase: "weights",
		BPF: true, Sockets: amongSockets, LeavesOut: true, Needs: bpfNeeds,
		Source: bpfSelect,
		Doc:    "a worker at random, with the probability canary for the last worker (eBPF)"},
	{Name: SelectorSlowStart, Phrase: "a slow start",
		BPF: true, Sockets: amongSockets, LeavesOut: true, Needs: bpfNeeds,
		Source: bpfSelect,
		Doc: "a worker at random; the share of a worker that a step cold-start adds grows " +
			"evenly over the step's time for (eBPF)"},
	{Name: SelectorLeastLoaded, Phrase: "the least loaded worker",
		BPF: true, Sockets: amongSockets, LeavesOut: true, Needs: bpfNeeds,
		Source: bpfSelect,
		Kind:   Only[ServerKind]{[]ServerKind{ServerLoop}, "only such a loop says how busy it is"},
		Doc: "the worker with the fewest connections, queued and in progress; a stuck worker " +
			"gets none (eBPF)"},
	{Name: SelectorEmpty, Phrase: "an empty eBPF program",
		BPF: true, Sockets: amongSockets, Needs: bpfNeeds, Source: bpfSelect,
		Doc: "an eBPF program that leaves the choice to hash; it shows the time that running " +
			"any program takes"},
}

func (r SelectorRow) value() Value {
	return Value{Name: string(r.Name), Doc: r.Doc, Phrase: r.Phrase, Source: r.Source,
		Needs: slices.Concat(
			r.Sockets.needs("sockets"), r.Kind.needs("server.kind"), r.Pin.needs("pin"),
			capabilityNeeds(r.Needs))}
}

// Selectors returns the table of selectors.
func Selectors() []SelectorRow { return slices.Clone(selectors) }

// Row returns the row of s, or the zero row if s has none.
func (s Selector) Row() SelectorRow { return rowOf(selectors, s) }

// Stall is the way in which a step keeps a worker from serving for a while.
type Stall string

// The ways to stall.
const (
	StallSignal Stall = "sigstop"
	StallSpin   Stall = "spin"
)

// A StallRow is the row of a way to stall.
type StallRow struct {
	Name Stall
	Doc  string
	Kind Only[ServerKind]
}

var stalls = []StallRow{
	{Name: StallSignal, Doc: "SIGSTOP stops the process, and SIGCONT continues it after the " +
		"time for"},
	{Name: StallSpin,
		Kind: Only[ServerKind]{[]ServerKind{ServerLoop},
			"net/http has no one loop that could spin; use sigstop"},
		Doc: "the worker's loop spins: it uses a CPU and serves no client"},
}

func (r StallRow) value() Value {
	return Value{Name: string(r.Name), Doc: r.Doc, Needs: r.Kind.needs("server.kind")}
}

// Row returns the row of s, or the zero row if s has none.
func (s Stall) Row() StallRow { return rowOf(stalls, s) }

// QueueDepth is the source of the lengths of accept queues.
type QueueDepth string

// The sources of a queue's length.
const (
	DepthComputed QueueDepth = "computed"
	DepthSampled  QueueDepth = "sampled"
)

var queueDepths = []Row[QueueDepth]{
	{DepthComputed, "computed after the load, from the times at which each connection was " +
		"established and at which a worker accepted it"},
	{DepthSampled, "computed, and also read from the kernel 25 times a second while the load " +
		"runs, which takes about 0.5 % of a CPU"},
}

var traces = []Row[Switch]{
	{On, "as root on Linux 6.10 or later, the kernel's events show why each connection was " +
		"lost; otherwise causes are inferred"},
	{Off, "causes are inferred from the records of clients and workers and from counters"},
}
