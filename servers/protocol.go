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

// This file is the protocol between a Group and package worker, on the pipes of package child.

// Descriptors of a worker that follow its pipes, in the order of child.Options.Files.
const (
	FDJournal = child.FilesFD
	// FDListener is a listening socket of the parent's, or the channel from an acceptor. In an
	// acceptor it is the shared socket, followed by the channels to the workers.
	FDListener = FDJournal + 1
	// FDSelector is the first of the selector's descriptors, if workers have their own sockets.
	FDSelector = FDJournal + 1
)

// WorkerConfig is the first line on the control pipe: the group's configuration, with this worker's
// own Address, and the settings of this worker.
//
// A parked process reads two of them: the first, with Parked set, when it is started, and the
// second when it becomes a worker. The settings of the worker have no meaning in the first.
type WorkerConfig struct {
	Config
	Parked     bool // the process waits for a second configuration
	ID         int
	Index      int
	Generation int
	// ColdFor is the warm-up time, during which the additional time of Cold falls linearly to 0.
	ColdFor time.Duration
	// Inherited is true if the worker inherited its listener, as FDListener.
	Inherited bool
	// Network, if not empty, is the path of the network namespace to listen in instead of the
	// process's own.
	Network string
	// From is the address at which the worker asks its predecessor for the listener. Offer is the
	// address at which the worker gives the listener to its successor.
	From, Offer string
	Selected    bool // the group has an eBPF selector
	Slot        int  // the worker's slot in the selector
	Members     int  // with SelectorCPU, number of sockets in the group, including this worker's
	CPU         int  // the worker's CPU, with IncomingCPU
	Channels    int  // in an acceptor, its number of workers; 0: not an acceptor
}

// Command is any later line on the control pipe. Exactly one field is set, except that Stop and
// Grace may be set together.
type Command struct {
	Stop vocabulary.StopMode `json:"stop,omitempty"`
	// Grace, with Stop, is the maximum time that the worker may take to finish its work; 0:
	// Config.Grace. Without Stop it shortens the remaining time of a worker that is already
	// stopping.
	Grace time.Duration `json:"grace_ns,omitempty"`
	// BusyLoop makes a worker of kind loop compute for that time and do nothing else.
	BusyLoop time.Duration `json:"busy_loop_ns,omitempty"`
	// Members, with SelectorCPU, is the group's new number of sockets.
	Members int `json:"members,omitempty"`
	// Upgrade, with Tableflip, tells a worker to start its successor. Its value is the address to
	// which the successor connects to report to the parent.
	Upgrade string `json:"upgrade,omitempty"`
}

// Event is a line on the events pipe. A parked process sends "parked" once. A worker sends "ready"
// once and, after a stop command, "closed" and finally "stopped". It sends "journal" whenever its
// journal must be read. An Applicant that has become a worker sends "term" when it first gets
// SIGTERM. A worker may send "failed" at any time, and nothing after that.
type Event struct {
	Event string        `json:"event"`
	At    clock.Instant `json:"at"`
	// Listener, in a ready event, is the inode of the worker's own listening socket.
	Listener uint64 `json:"listener,omitempty"`
	// From, in a closed event, is the instant before close(2); At is the instant after it.
	From clock.Instant `json:"from,omitempty"`
	// CPU, in a stopped event, is the user and system time of the process so far.
	CPU   time.Duration `json:"cpu_ns,omitempty"`
	Error string        `json:"error,omitempty"`
	// Errno, in a failed event, is EADDRINUSE if the worker's address was taken.
	Errno unix.Errno `json:"errno,omitempty"`
}

// The kinds of event.
const (
	EventParked  = "parked"
	EventReady   = "ready"
	EventJournal = "journal"
	EventTerm    = "term"
	EventClosed  = "closed"
	EventStopped = "stopped"
	EventFailed  = "failed"
)

// Environment variables of a worker.
const (
	// EnvAdopt holds the address at which a process that the Group did not start asks for a
	// worker's pipes and journal: an abstract name if another worker started the process, and the
	// path of an Adopter otherwise.
	EnvAdopt = "REUSEPORT_BENCH_ADOPT"

	// Set together with the path of an Adopter: the fields Pod and Generation of the Applicant. A
	// pod's template sets EnvPod from metadata.name.
	EnvPod        = "POD_NAME"
	EnvGeneration = "REUSEPORT_BENCH_GENERATION"

	// Set with SocketActivation (sd_listen_fds(3)).
	EnvListenPID   = "LISTEN_PID"
	EnvListenFDs   = "LISTEN_FDS"
	EnvListenNames = "LISTEN_FDNAMES"
)

// ListenerName is the listener's name among the descriptors of an activated worker.
const ListenerName = "listener"

// activationEnvironment returns the variables that a supervisor adds to the environment of a
// worker, except LISTEN_PID. The worker sets LISTEN_PID itself, since its PID is unknown before the
// fork.
func activationEnvironment() []string {
	names := []string{"control", "events", "journal", ListenerName} // from descriptor 3 on
	return []string{
		EnvListenFDs + "=" + strconv.Itoa(len(names)),
		EnvListenNames + "=" + strings.Join(names, ":"),
	}
}
