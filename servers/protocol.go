package servers

import (
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/child"
	"reuseport-bench/servers/clock"
)

// What follows is said between a Group and package worker, on the pipes of package child.

// Descriptors of a worker beside its pipes, in the order of child.Options.Files.
const (
	FDJournal = child.FilesFD
	// FDListener is a listening socket of the parent's, or the channel from an acceptor; of an
	// acceptor itself the shared socket, and the channels to the workers after it.
	FDListener = FDJournal + 1
	// FDSelector is the first of the descriptors of a selector, where workers have sockets of their
	// own.
	FDSelector = FDJournal + 1
)

// WorkerConfig is the first line on the control pipe: what the worker's group is configured as,
// with Address where this worker listens, and what is the worker's own.
//
// A process that is parked gets two: the first, with Parked, when it is started, and the second
// when it becomes a worker. What of the first depends on the worker is of no meaning.
type WorkerConfig struct {
	Config
	Parked     bool // another configuration follows; the process is to wait for it
	ID         int
	Index      int
	Generation int
	// ColdFor is how long it takes to get warm: what Cold adds falls evenly to nothing within it.
	ColdFor time.Duration
	// Inherited says that FDListener is the listener.
	Inherited bool
	// Network, where it is not empty, is the path of the network namespace to listen in, in place
	// of that of the process.
	Network string
	// From is where to ask the predecessor for the listener, and Offer where to give it to a
	// successor.
	From, Offer string
	Selected    bool // the group has a selector in eBPF
	Slot        int  // in the selector
	Members     int  // with SelectorCPU, how many sockets the group has once this worker has joined
	CPU         int  // with IncomingCPU
	Channels    int  // of an acceptor, to how many workers; 0: it is none
}

// Command is every later line on the control pipe: one of its fields, or Stop and Grace.
type Command struct {
	Stop vocabulary.StopMode `json:"stop,omitempty"`
	// Grace, with Stop, is how long the worker may take to finish what it has; 0: Config.Grace. On
	// its own it is for a worker that was told to stop before: it has no more time than that.
	Grace time.Duration `json:"grace_ns,omitempty"`
	// BusyLoop makes a worker's loop compute for that long and do nothing else.
	BusyLoop time.Duration `json:"busy_loop_ns,omitempty"`
	// Members, with SelectorCPU, is how many sockets the group has now.
	Members int `json:"members,omitempty"`
	// Upgrade, with Tableflip, makes a worker start its successor, which is to report at that
	// address.
	Upgrade string `json:"upgrade,omitempty"`
}

// Event is a line on the events pipe. A process that is parked says so once. A worker says ready
// once, then after a stop command closed and at last stopped; failed at any time ends the
// conversation. It says journal whenever its journal is to be read.
type Event struct {
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

// The events.
const (
	EventParked  = "parked"
	EventReady   = "ready"
	EventJournal = "journal"
	EventClosed  = "closed"
	EventStopped = "stopped"
	EventFailed  = "failed"
)

// Environment variables of a worker.
const (
	// EnvAdopt is the address at which a worker that another one started asks for its pipes and its
	// journal.
	EnvAdopt = "REUSEPORT_BENCH_ADOPT"

	// With SocketActivation (sd_listen_fds(3)).
	EnvListenPID   = "LISTEN_PID"
	EnvListenFDs   = "LISTEN_FDS"
	EnvListenNames = "LISTEN_FDNAMES"
)

// ListenerName is what the listener is called among the descriptors of a worker that is activated.
const ListenerName = "listener"

// activationEnvironment is what a supervisor puts into the environment of a worker, but for
// LISTEN_PID, which the worker sets itself: no one knows it before the fork.
func activationEnvironment() []string {
	names := []string{"control", "events", "journal", ListenerName} // from descriptor 3 on
	return []string{EnvListenFDs + "=" + strconv.Itoa(len(names)), EnvListenNames + "=" + strings.Join(names, ":")}
}
