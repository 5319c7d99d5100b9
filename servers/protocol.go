package servers

import (
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/selector"
)

// File descriptors of a worker, fixed by the order of exec.Cmd.ExtraFiles.
const (
	fdControl = 3 // read: the Worker configuration, then commands, as JSON lines
	fdEvents  = 4 // write: events, as JSON lines
	fdJournal = 5 // memfd
	// fdListener is a listening socket of the parent's, or the channel from an acceptor; of an acceptor itself the shared
	// socket, and the channels to the workers after it.
	fdListener = 6
	// fdSelector is the first of the descriptors of a selector, where workers have sockets of their own.
	fdSelector = 6
)

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
	Loop Kind = "loop" // one thread, one epoll loop (loop.go)
	HTTP Kind = "http" // Go's net/http (http.go)
)

// StopMode is how a worker ends.
type StopMode string

// The stop modes.
const (
	Kill    StopMode = "kill"    // SIGKILL
	Close   StopMode = "close"   // close the listener, finish what was accepted, exit
	Drain   StopMode = "drain"   // accept until the queue is empty, then as Close
	Migrate StopMode = "migrate" // as Close, in a namespace where tcp_migrate_req=1 saves the queue
	// BPFMigrate is Close, in a group whose program moves the queue to the workers that are listed.
	BPFMigrate StopMode = "bpf-migrate"
	// BPFDrain takes the worker off its selector's list, lets it go on until no handshake is under
	// way at its listener, and is then as Drain.
	BPFDrain StopMode = "bpf-drain"
	// Inherit and Handoff leave the socket to the successor, finish what was accepted, and exit: with
	// SocketActivation, and with SCMRights.
	Inherit StopMode = "inherit"
	Handoff StopMode = "handoff"
	// Upgrade, with HTTP and Tableflip, is Shutdown once the successor is ready, as tableflip's
	// documentation has it.
	Upgrade StopMode = "tableflip"
	// BindAfterClose, with Exclusive only, is Close; the successor has been trying to bind meanwhile.
	BindAfterClose StopMode = "bind-after-close"
	// Shutdown, with HTTP only, is http.Server.Shutdown: what was accepted and is read only after it
	// began is closed without an answer.
	Shutdown StopMode = "shutdown"
	// LBDrain is BindAfterClose, of a worker that the load balancer in front of it sends nothing to.
	LBDrain StopMode = "lb-drain"
)

// ClosesAtOnce reports whether a worker that is told to end so closes its listener before anything
// else.
func (m StopMode) ClosesAtOnce() bool {
	switch m {
	case Close, Migrate, BPFMigrate, Inherit, Handoff, BindAfterClose, LBDrain:
		return true
	}
	return false
}

// DrainsQueue reports whether a worker that is told to end so accepts until its queue is empty before
// it closes its listener.
func (m StopMode) DrainsQueue() bool { return m == Drain || m == BPFDrain }

// Fault is a known defect for proving that the harness reports it at its size. Zero: none.
type Fault struct {
	// ResetFrom, ResetEvery and ResetCount: so many requests of load process 0 are answered with a RST, from that sequence number on,
	// each so far behind the one before; 0 stands for 1.
	ResetFrom  uint64 `json:"reset_from"`
	ResetEvery uint64 `json:"reset_every"`
	ResetCount uint64 `json:"reset_count"`
}

// workerConfig is the first line on the control pipe: what its group is configured as, with Address
// where this worker listens, and what is the worker's own.
type workerConfig struct {
	Config
	ID         int
	Index      int
	Generation int
	// ColdFor is how long it takes to get warm: what Cold adds falls evenly to nothing within it.
	ColdFor time.Duration
	// Inherited says that fdListener is the listener.
	Inherited bool
	// From is where to ask the predecessor for the listener, and Offer where to give it to a successor.
	From, Offer string
	Selected    bool // the group has a selector in eBPF
	Slot        int  // in the selector
	CPU         int  // with IncomingCPU
	Channels    int  // of an acceptor, to how many workers; 0: it is none
}

// command is every later line on the control pipe: one of its fields.
type command struct {
	Stop StopMode `json:"stop,omitempty"`
	// BusyLoop makes a worker's loop compute for that long and do nothing else.
	BusyLoop time.Duration `json:"busy_loop_ns,omitempty"`
	// Upgrade, with Tableflip, makes a worker start its successor, which is to report at that address.
	Upgrade string `json:"upgrade,omitempty"`
}

// event is a line from the worker. A worker says ready once, then after a stop command closed
// and at last stopped; failed at any time ends the conversation.
type event struct {
	Event string        `json:"event"`
	At    clock.Instant `json:"at"`
	// Listener, with ready: the inode of the worker's own listening socket.
	Listener uint64 `json:"listener,omitempty"`
	// From, with closed: the instant before close(2) was called; At is the one after it returned.
	From clock.Instant `json:"from,omitempty"`
	// CPU, with stopped, is the user and system time of the process until then.
	CPU   time.Duration `json:"cpu_ns,omitempty"`
	Error string        `json:"error,omitempty"`
	// Errno, with failed: EADDRINUSE where the worker's address was taken.
	Errno unix.Errno `json:"errno,omitempty"`
}

const (
	eventReady   = "ready"
	eventClosed  = "closed"
	eventStopped = "stopped"
	eventFailed  = "failed"
)
