package vocabulary

import "slices"

// StopMode is the way in which a worker is stopped.
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

// Handover is the way in which a worker's successor gets the listening socket.
type Handover string

// The ways to pass a listening socket on.
const (
	// NoHandover: each worker binds its own socket, or inherits a shared one from the parent at
	// fork(2), as in prefork servers.
	NoHandover Handover = ""
	// SocketActivation: the parent is a supervisor that keeps the sockets and passes them to each
	// worker at execve(2), by systemd's convention: LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES
	// (sd_listen_fds(3)).
	SocketActivation Handover = "socket-activation"
	// SCMRights: a worker connects to its predecessor, which is not its parent, over a Unix socket,
	// and receives the listening socket in an SCM_RIGHTS message (unix(7)). HAProxy ("expose-fd
	// listeners" and -x) and Meta's Zero Downtime Release do the same.
	SCMRights Handover = "scm-rights"
	// Tableflip: the predecessor starts its successor, which inherits the socket, by means of the
	// library cloudflare/tableflip.
	Tableflip Handover = "tableflip"
)

// Closing is the time at which a worker that has been told to stop closes its listener.
type Closing int

// The values of Closing.
const (
	ClosesNever    Closing = iota // the kernel closes the listener when the process exits
	ClosesAtOnce                  // before anything else
	ClosesEmpty                   // when its accept queue is empty
	ClosesShutdown                // http.Server.Shutdown closes it
)

// A StopModeRow is the row of a stop mode.
type StopModeRow struct {
	Name    StopMode
	Doc     string
	Phrase  string // see Value.Phrase
	Source  string // see Value.Source
	Closes  Closing
	Sockets Only[Sockets]
	Kind    Only[ServerKind]
	Path    Only[Path]
	Pods    bool // pods can be stopped in this way
	OnePod  bool // workers in one pod can be, too
	// Handover is the way in which the successor gets the listener. With NoHandover the successor
	// has its own.
	Handover Handover
	// Start lists the values of server.start with which the stop mode works.
	Start Only[Start]
	// Rebinds is true if the successor can bind only after the old worker has closed its socket.
	Rebinds bool
	// Unlists is true if an eBPF program stops choosing the worker's socket before the worker is
	// told to stop.
	Unlists bool
	Needs   []Capability
}

var (
	notShared = Only[Sockets]{[]Sockets{SocketsReuseport, SocketsExclusive},
		"a shared socket stays open in the successor; use inherit or handoff"}
	byProgram = Only[Sockets]{[]Sockets{SocketsReuseport},
		"an eBPF program chooses among the sockets of a reuseport group"}
	passedOn = Only[Sockets]{[]Sockets{SocketsShared, SocketsReuseport},
		"the socket is passed on, so no process has to bind it again"}
	whenFree = Only[Sockets]{[]Sockets{SocketsExclusive},
		"other sockets need not wait until the address is free; use close"}
)

// Sources that several stop modes share.
const (
	listenStop = "inet_csk_listen_stop, net/ipv4/inet_connection_sock.c"
	goShutdown = "https://pkg.go.dev/net/http#Server.Shutdown"
)

var stopModes = []StopModeRow{
	{Name: StopKill, Phrase: "killing the workers",
		Pods: true, Source: "signal(7)",
		Doc: "the worker dies by SIGKILL; the connections that it was serving are lost, and " +
			"so is its accept queue, unless another process also has the socket"},
	{Name: StopClose, Phrase: "closing the listener",
		Closes: ClosesAtOnce, Sockets: notShared, Pods: true, Source: listenStop,
		Doc: "the worker closes its listener, finishes the connections that it had accepted, " +
			"and exits"},
	{Name: StopDrain, Phrase: "draining the accept queue before closing",
		Closes: ClosesEmpty, Sockets: notShared, Pods: true, Source: "accept(2)",
		Doc: "the worker accepts until its accept queue is empty (EAGAIN), then closes the " +
			"listener"},
	{Name: StopMigrate, Phrase: "letting the kernel migrate the queue",
		Closes: ClosesAtOnce, Sockets: notShared, OnePod: true,
		Needs:  []Capability{TCPMigrateReq},
		Source: "tcp_migrate_req, Documentation/networking/ip-sysctl.rst (Linux 5.14)",
		Doc: "the worker closes its listener, and the kernel moves the accept queue to another " +
			"socket of the group (net.ipv4.tcp_migrate_req)"},
	{Name: StopBPFMigrate, Phrase: "letting an eBPF program migrate the queue",
		Closes: ClosesAtOnce, Sockets: byProgram, Unlists: true,
		Needs:  []Capability{SKMigrate, SockArray},
		Source: "BPF_SK_REUSEPORT_SELECT_OR_MIGRATE, include/uapi/linux/bpf.h (Linux 5.14)",
		Doc: "the worker closes its listener, and an eBPF program moves the accept queue to a " +
			"worker of the new generation"},
	{Name: StopBPFDrain, Phrase: "draining behind an eBPF program that steers new connections away",
		Closes: ClosesEmpty, Sockets: byProgram, Unlists: true,
		Needs:  []Capability{SKReuseport, SockArray, TraceIterTCP},
		Source: "BPF_PROG_TYPE_SK_REUSEPORT, include/uapi/linux/bpf.h",
		Doc: "an eBPF selector sends new connections only to the new workers; when the old " +
			"listener has no handshake in flight, the old worker empties its accept queue and " +
			"closes the listener"},
	{Name: StopInherit, Phrase: "inheriting the socket from a supervisor (as with systemd)",
		Closes: ClosesAtOnce, Sockets: passedOn, Handover: SocketActivation,
		Source: "sd_listen_fds(3)",
		Doc: "a supervisor keeps the listening sockets open and passes them to each worker at " +
			"exec, as systemd socket activation does (LISTEN_FDS); the old worker finishes the " +
			"connections that it had accepted, and exits"},
	{Name: StopHandoff, Phrase: "handing the socket off to the successor (as HAProxy does)",
		Closes: ClosesAtOnce, Sockets: passedOn, Handover: SCMRights, OnePod: true,
		Source: "SCM_RIGHTS, unix(7)",
		Doc: "the successor asks the old worker for its listening socket over a Unix socket, " +
			"as HAProxy -x does (SCM_RIGHTS); the old worker finishes the connections that it " +
			"had accepted, and exits"},
	// The worker behaves as the examples in tableflip's documentation do.
	{Name: StopTableflip, Phrase: "passing the socket on with cloudflare/tableflip",
		Closes: ClosesShutdown, Sockets: passedOn, Handover: Tableflip,
		Source: "https://pkg.go.dev/github.com/cloudflare/tableflip",
		Kind: Only[ServerKind]{[]ServerKind{ServerHTTP},
			"it is a library for Go servers; a loop has inherit and handoff"},
		Start: Only[Start]{[]Start{StartCold}, "the old worker starts its successor itself"},
		Doc: "cloudflare/tableflip: the old worker starts its successor, passes it the socket, " +
			"and then calls http.Server.Shutdown"},
	{Name: StopBindAfterClose, Phrase: "binding the address after the old worker has closed it",
		Closes: ClosesAtOnce, Sockets: whenFree, Rebinds: true,
		Source: "EADDRINUSE, bind(2)",
		Doc: "the worker closes its listener; its successor already runs, tries to bind every " +
			"10 ms, and succeeds only after the close"},
	{Name: StopLBDrain, Phrase: "draining the worker at the load balancer first",
		Closes: ClosesAtOnce, Sockets: whenFree, Rebinds: true,
		Source: "\"set server\", HAProxy management guide, 9.3",
		Path: Only[Path]{[]Path{PathHAProxy},
			"only a load balancer can be told to stop sending connections; use drain"},
		Doc: "the load balancer first stops sending connections to the old worker; then the " +
			"worker is replaced as with bind-after-close"},
	{Name: StopShutdown, Phrase: "calling http.Server.Shutdown",
		Closes: ClosesShutdown, Pods: true, Source: goShutdown,
		Kind: Only[ServerKind]{[]ServerKind{ServerHTTP},
			"it is Go's http.Server.Shutdown; a loop has close and drain"},
		Doc: "the worker calls Go's http.Server.Shutdown, which drops a connection that was " +
			"accepted before the call if its request is read after the call"},
}

func (r StopModeRow) value() Value {
	return Value{Name: string(r.Name), Doc: r.Doc, Phrase: r.Phrase, Source: r.Source,
		Needs: slices.Concat(
			r.Sockets.needs("sockets"), r.Kind.needs("server.kind"), r.Path.needs("path"),
			capabilityNeeds(r.Needs))}
}

// StopModes returns the table of stop modes.
func StopModes() []StopModeRow { return slices.Clone(stopModes) }

// Row returns the row of m, or the zero row if m has none.
func (m StopMode) Row() StopModeRow { return rowOf(stopModes, m) }
