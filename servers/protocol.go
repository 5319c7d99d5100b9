package servers

import (
	"net/netip"
	"time"

	"reuseport-bench/servers/wire"
)

// File descriptors of a worker, fixed by the order of exec.Cmd.ExtraFiles.
const (
	fdControl  = 3 // read: the Worker configuration, then commands, as JSON lines
	fdEvents   = 4 // write: events, as JSON lines
	fdJournal  = 5 // memfd
	fdListener = 6 // the shared socket, where there is one
)

// Sockets is how the workers of a group listen.
type Sockets string

// The ways to listen.
const (
	Shared    Sockets = "shared"    // one socket, bound by the parent, inherited by every worker
	Reuseport Sockets = "reuseport" // one socket each, bound with SO_REUSEPORT
)

// Kind is the architecture of a worker.
type Kind string

// The kinds of worker.
const (
	Loop Kind = "loop" // one thread, one epoll loop (loop.go)
	HTTP Kind = "http" // Go's net/http (http.go)
)

// Way is how a worker ends.
type Way string

// The ways to end.
const (
	Kill    Way = "kill"    // SIGKILL
	Close   Way = "close"   // close the listener, finish what was accepted, exit
	Drain   Way = "drain"   // accept until the queue is empty, then as Close
	Migrate Way = "migrate" // as Close, in a namespace where tcp_migrate_req=1 saves the queue
	Handoff Way = "handoff" // leave the shared socket to the successor, finish what was accepted, exit
	// Shutdown, with HTTP only, is http.Server.Shutdown: what was accepted and is read only after it began
	// is closed without an answer.
	Shutdown Way = "shutdown"
)

// Fault is a known defect for proving that the harness reports it at its size. Zero: none.
type Fault struct {
	// ResetFrom and ResetCount: requests of load process 0 with sequence in
	// [ResetFrom, ResetFrom+ResetCount) are answered with a RST.
	ResetFrom  uint64 `json:"reset_from"`
	ResetCount uint64 `json:"reset_count"`
}

// workerConfig is the first line on the control pipe.
type workerConfig struct {
	ID         int            `json:"id"`
	Generation int            `json:"generation"`
	Kind       Kind           `json:"kind"`
	Sockets    Sockets        `json:"sockets"`
	Address    netip.AddrPort `json:"address"`
	Backlog    int            `json:"backlog"`
	Work       Work           `json:"work"`
	Seed       uint64         `json:"seed"`
	Fault      Fault          `json:"fault"`
	Grace      time.Duration  `json:"grace_ns"` // how long finishing may take once stopped
}

// command is every later line on the control pipe.
type command struct {
	Stop Way `json:"stop"`
}

// event is a line from the worker. A worker says ready once, then after a stop command closed
// and at last stopped; failed at any time ends the conversation.
type event struct {
	Event string       `json:"event"`
	At    wire.Instant `json:"at"`
	// From, with closed: the instant before close(2) was called; At is the one after it returned.
	From  wire.Instant `json:"from,omitempty"`
	Error string       `json:"error,omitempty"`
}

const (
	eventReady   = "ready"
	eventClosed  = "closed"
	eventStopped = "stopped"
	eventFailed  = "failed"
)
