package vocabulary

import "slices"

// StopMode is how a worker ends.
type StopMode string

// The stop modes.
const (
	StopKill           StopMode = "kill"
	StopClose          StopMode = "close"
	StopDrain          StopMode = "drain"
	StopMigrate        StopMode = "migrate"
	StopBPFMigrate     StopMode = "bpf-migrate"
	StopBPFDrain       StopMode = "bpf-drain"
	StopInherit        StopMode = "inherit"
	StopHandoff        StopMode = "handoff"
	StopTableflip      StopMode = "tableflip"
	StopBindAfterClose StopMode = "bind-after-close"
	StopLBDrain        StopMode = "lb-drain"
	StopShutdown       StopMode = "shutdown"
)

// Handover is how a worker's successor comes by its listening socket.
type Handover string

// The ways to pass a listening socket on.
const (
	// NoHandover: each worker binds its own, and a shared one is inherited from the parent at
	// fork(2), as prefork servers have it.
	NoHandover Handover = ""
	// SocketActivation: a supervisor, which is the parent, holds the sockets for good and gives
	// them
	// to each worker at execve(2), by systemd's convention: LISTEN_FDS, LISTEN_PID and
	// LISTEN_FDNAMES (sd_listen_fds(3)).
	SocketActivation Handover = "socket-activation"
	// SCMRights: a worker asks its predecessor, to which it is not related, for the socket over a
	// Unix socket and gets it as SCM_RIGHTS (unix(7)). HAProxy's expose-fd listeners and -x, and
	// Meta's Zero Downtime Release, do it so.
	SCMRights Handover = "scm-rights"
	// Tableflip: the predecessor starts its successor and passes it the socket, by
	// cloudflare/tableflip.
	Tableflip Handover = "tableflip"
)

// Closing is what a worker that is told to stop does with its listener.
type Closing int

// The ways to close a listener.
const (
	ClosesNever    Closing = iota // the kernel does, when it ends the process
	ClosesAtOnce                  // before anything else
	ClosesEmpty                   // when it has accepted what is queued
	ClosesShutdown                // http.Server.Shutdown does
)

// A StopModeRow is the row of a stop mode.
type StopModeRow struct {
	Name    StopMode
	Doc     string
	Closes  Closing
	Sockets Only[Sockets]
	Kind    Only[ServerKind]
	Path    Only[Path]
	Pods    bool // pods end so, too
	// Handover is how the listener gets to the successor; NoHandover: it has one of its own.
	Handover Handover
	// Start is how a worker's successor may be started.
	Start Only[Start]
	// Rebinds: the successor can bind only when the old worker has closed.
	Rebinds bool
	// Unlists: an eBPF program stops choosing the worker before it is told to stop.
	Unlists bool
	Needs   []Capability
}

var (
	notShared = Only[Sockets]{[]Sockets{SocketsReuseport, SocketsExclusive},
		"a shared socket stays open in the successor; use inherit or handoff"}
	byProgram = Only[Sockets]{[]Sockets{SocketsReuseport},
		"an eBPF program chooses among the sockets of a reuseport group"}
	passedOn = Only[Sockets]{[]Sockets{SocketsShared, SocketsReuseport},
		"the socket is passed on, so nobody has to bind it again"}
	whenFree = Only[Sockets]{[]Sockets{SocketsExclusive},
		"others need not wait until the address is free; use close"}
)

var stopModes = []StopModeRow{
	{Name: StopKill, Pods: true,
		Doc: "SIGKILL, whatever is queued or being served"},
	{Name: StopClose, Closes: ClosesAtOnce, Sockets: notShared, Pods: true,
		Doc: "close the listener, finish what was accepted, exit"},
	{Name: StopDrain, Closes: ClosesEmpty, Sockets: notShared, Pods: true,
		Doc: "accept until the queue is empty, then close"},
	{Name: StopMigrate, Closes: ClosesAtOnce, Sockets: notShared,
		Needs: []Capability{TCPMigrateReq},
		Doc: "close, and let the kernel move the queue to a surviving socket of the group " +
			"(net.ipv4.tcp_migrate_req)"},
	{Name: StopBPFMigrate, Closes: ClosesAtOnce, Sockets: byProgram, Unlists: true,
		Needs: []Capability{SKMigrate, SockArray},
		Doc: "close, and let an eBPF program move the queue to the new workers (sockets " +
			"reuseport; " +
			"needs root)"},
	{Name: StopBPFDrain, Closes: ClosesEmpty, Sockets: byProgram, Unlists: true,
		Needs: []Capability{SKReuseport, SockArray, TraceIterTCP},
		Doc: "an eBPF selector first sends new connections to the new workers only; then, once " +
			"no " +
			"handshake is under way at the old one, drain (sockets reuseport; needs root)"},
	{Name: StopInherit, Closes: ClosesAtOnce, Sockets: passedOn, Handover: SocketActivation,
		Doc: "a supervisor holds the listening sockets and passes them to each worker at exec " +
			"(LISTEN_FDS, as systemd); finish what was accepted, exit"},
	{Name: StopHandoff, Closes: ClosesAtOnce, Sockets: passedOn, Handover: SCMRights,
		Doc: "the successor asks the old worker for its listening socket (SCM_RIGHTS over a Unix " +
			"socket, as HAProxy); finish what was accepted, exit"},
	// As the examples of its documentation have it.
	{Name: StopTableflip, Closes: ClosesShutdown, Sockets: passedOn, Handover: Tableflip,
		Kind: Only[ServerKind]{[]ServerKind{ServerHTTP},
			"it is a library for Go servers; a loop has inherit and handoff"},
		Start: Only[Start]{[]Start{StartCold}, "there a worker is started by the one that it replaces"},
		Doc: "cloudflare/tableflip: the old worker starts its successor and passes it the " +
			"socket, then " +
			"http.Server.Shutdown (kind http)"},
	{Name: StopBindAfterClose, Closes: ClosesAtOnce, Sockets: whenFree, Rebinds: true,
		Doc: "close; the successor, started before, tries to bind every 10 ms and succeeds only " +
			"then " +
			"(sockets exclusive)"},
	{Name: StopLBDrain, Closes: ClosesAtOnce, Sockets: whenFree, Rebinds: true,
		Path: Only[Path]{[]Path{PathHAProxy},
			"without a load balancer nobody can be told to send nothing any more; use drain"},
		Doc: "the load balancer first sends the old worker nothing any more; then " +
			"bind-after-close " +
			"(path haproxy)"},
	// What was accepted and is read only after it began is closed without an answer.
	{Name: StopShutdown, Closes: ClosesShutdown, Pods: true,
		Kind: Only[ServerKind]{[]ServerKind{ServerHTTP},
			"it is Go's http.Server.Shutdown; a loop has close and drain"},
		Doc: "Go's http.Server.Shutdown, which closes what was accepted and is read only then " +
			"(kind http)"},
}

func (r StopModeRow) value() Value { return Value{string(r.Name), r.Doc} }

// StopModes returns the table of stop modes.
func StopModes() []StopModeRow { return slices.Clone(stopModes) }

// Row returns the row of m; the zero row if there is none.
func (m StopMode) Row() StopModeRow { return rowOf(stopModes, m) }
