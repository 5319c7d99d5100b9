package harness

import (
	"net/netip"
	"time"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/bench/internal/kube"
	"reuseport-bench/bench/internal/load"
	"reuseport-bench/results"
	"reuseport-bench/scenarios"
	"reuseport-bench/servers"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/journal"
)

// Facts are everything that a trial is judged by, and how it was judged, as plain data: workers and
// pods are known by their numbers and names. 'run --keep-facts' writes a file for each trial,
// gzipped JSON lines: the first line is a factsHeader, each other one a factsLine. Instants are in
// nanoseconds from the first scheduled attempt; one that was not reached is absent.
//
// The format is no contract. Whoever changes it raises factsVersion; a reader refuses every other
// version, and the file is recorded anew.
const (
	factsFormat  = "reuseport-bench facts"
	factsVersion = 1
)

// A factsHeader is the first line of a file: what it is, and of which trial.
type factsHeader struct {
	Format     string            `json:"format"`
	Version    int               `json:"version"`
	Program    string            `json:"program"` // its version
	Kernel     string            `json:"kernel"`
	Privileged bool              `json:"privileged"`
	Scenario   string            `json:"scenario"`
	Labels     map[string]string `json:"labels"`
	Block      int               `json:"block"`
	Order      int               `json:"order"`
}

// A factsLine is every other line: exactly one of its fields is set. The lines come in the order of
// the fields, so that a file without a trial is one that was cut off.
type factsLine struct {
	Setup       *setupFact       `json:"setup,omitempty"`
	Counters    *countersFact    `json:"counters,omitempty"`
	Worker      *workerFact      `json:"worker,omitempty"`
	Closing     *closingFact     `json:"closing,omitempty"`
	Step        *stepFact        `json:"step,omitempty"`
	Routes      *routesFact      `json:"routes,omitempty"`
	Route       *routeFact       `json:"route,omitempty"`
	Translation *translationFact `json:"translation,omitempty"`
	Pod         *podFact         `json:"pod,omitempty"`
	PodEvent    *podEventFact    `json:"pod_event,omitempty"`
	Trace       *traceFact       `json:"trace,omitempty"`
	KernelEvent *kernelEventFact `json:"kernel_event,omitempty"`
	Sample      *sampleFact      `json:"sample,omitempty"`
	Record      *recordFact      `json:"record,omitempty"`
	Verdict     *verdictFact     `json:"verdict,omitempty"`
	Trial       *results.Trial   `json:"trial,omitempty"`
}

// A setupFact is what is known of a trial before its load begins. Fault, Kube and Validity are as
// package scenarios has them, durations in ns.
type setupFact struct {
	Begin    clock.Instant      `json:"begin"` // of the first scheduled attempt, on the clock
	Network  string             `json:"network"`
	Family   string             `json:"family"`
	Path     string             `json:"path"`
	Kind     servers.Kind       `json:"kind"`
	Sockets  servers.Sockets    `json:"sockets"`
	Listener uint64             `json:"listener,omitempty"` // the inode of a shared socket
	Accept   servers.Accept     `json:"accept"`
	Passing  servers.Handover   `json:"passing,omitempty"`
	Stop     string             `json:"stop,omitempty"`
	Fault    scenarios.Fault    `json:"fault"`
	Kube     scenarios.Kube     `json:"kube"`
	Duration time.Duration      `json:"duration_ns"` // of the schedule
	Load     []load.Config      `json:"load"`        // of each load process
	Proxied  bool               `json:"proxied"`
	Kubelets []netip.Addr       `json:"kubelets,omitempty"`
	CPUs     []int              `json:"server_cpus"`
	Validity scenarios.Validity `json:"validity"`
}

// A traceFact is what came of asking the kernel about the losses, beside its events. Heard is false
// where it could not be asked; the result says why.
type traceFact struct {
	Result *results.Trace `json:"result"` // without the agreement, which is the judge's
	Heard  bool           `json:"heard"`
}

// A countersFact is the kernel's counters around the load, without those that stayed 0.
type countersFact struct {
	Before     kernel.Counters `json:"before"`
	After      kernel.Counters `json:"after"`
	ResetsSent int64           `json:"resets_sent"` // for as long as the trace listened
}

// A workerFact is one worker process.
type workerFact struct {
	ID         int              `json:"id"`
	Generation int              `json:"generation"`
	Place      int              `json:"place"`
	Acceptor   bool             `json:"acceptor,omitempty"`
	PID        int              `json:"pid"`
	Listener   uint64           `json:"listener,omitempty"` // its inode
	BindError  string           `json:"bind_error,omitempty"`
	Ready      *int64           `json:"ready,omitempty"`
	Closed     servers.StopMode `json:"closed,omitempty"` // how its listener was closed: from, to
	From       *int64           `json:"from,omitempty"`
	To         *int64           `json:"to,omitempty"`
	Missed     uint64           `json:"missed,omitempty"` // records
}

// A closingFact is a closing, in the order that the judge has them in.
type closingFact struct {
	Worker int   `json:"worker"`
	From   int64 `json:"from"`
	To     int64 `json:"to"`
	Queue  bool  `json:"queue"`
	Killed bool  `json:"killed"`
}

// A stepFact is a step as it was carried out; see fired.
type stepFact struct {
	Do        string           `json:"do"`
	For       time.Duration    `json:"for_ns,omitempty"`
	Target    string           `json:"target"`
	At        *int64           `json:"at,omitempty"`
	Began     *int64           `json:"began,omitempty"`
	Trigger   *int64           `json:"trigger,omitempty"`
	Ready     *int64           `json:"ready,omitempty"`
	Closed    *int64           `json:"closed,omitempty"`
	Stopped   []int            `json:"stopped,omitempty"` // workers, as the next two
	Started   []int            `json:"started,omitempty"`
	Silenced  []int            `json:"silenced,omitempty"`
	Held      []netip.AddrPort `json:"held,omitempty"`
	Serving   int              `json:"serving,omitempty"`
	Endpoints int              `json:"endpoints,omitempty"`
}

// A routesFact says that clients were sent to pods; see routes.
type routesFact struct {
	Service netip.Addr `json:"service,omitzero"`
	Shared  bool       `json:"shared,omitempty"`
}

// A routeFact is a routedPod.
type routeFact struct {
	Addr    netip.Addr `json:"addr"`
	Worker  int        `json:"worker"`
	Routed  []spanFact `json:"routed,omitempty"`
	Listens *int64     `json:"listens,omitempty"`
	Gone    *int64     `json:"gone,omitempty"`
	Silent  *int64     `json:"silent,omitempty"`
}

// A spanFact is a span; without from it has always been so, without until it stays so.
type spanFact struct {
	From  *int64 `json:"from,omitempty"`
	Until *int64 `json:"until,omitempty"`
}

// A translationFact is where the clients' node has sent a connection, by the client's end.
type translationFact struct {
	Source netip.AddrPort `json:"source"`
	To     netip.Addr     `json:"to"`
}

// A podFact is a pod, and when its node fell silent.
type podFact struct {
	Name     string     `json:"name"`
	Node     string     `json:"node"`
	Addr     netip.Addr `json:"addr"`
	Workers  []int      `json:"workers"`
	Silenced *int64     `json:"silenced,omitempty"`
}

// A podEventFact is a kube.Event.
type podEventFact struct {
	At        int64          `json:"at"`
	Kind      kube.EventKind `json:"kind"`
	Pod       string         `json:"pod,omitempty"`
	Node      string         `json:"node,omitempty"`
	Endpoints []endpointFact `json:"endpoints,omitempty"`
	Err       string         `json:"err,omitempty"`
}

// An endpointFact is a kube.Endpoint.
type endpointFact struct {
	Pod         string `json:"pod"`
	Serving     bool   `json:"serving,omitempty"`
	Terminating bool   `json:"terminating,omitempty"`
}

// A kernelEventFact is a kernel.LossEvent, and the client's end of the connection that it is about.
type kernelEventFact struct {
	Client      netip.AddrPort `json:"client"`
	At          int64          `json:"at"`
	Kind        string         `json:"kind"`
	Reason      string         `json:"reason,omitempty"`
	Source      netip.AddrPort `json:"source,omitzero"`
	Destination netip.AddrPort `json:"destination,omitzero"`
	Flags       uint8          `json:"flags,omitempty"`
	Sequence    uint32         `json:"sequence,omitempty"`
	Socket      uint64         `json:"socket,omitempty"`
	State       uint8          `json:"state,omitempty"`
	PID         int            `json:"pid,omitempty"`
}

// A sampleFact is a results.Sample.
type sampleFact struct {
	Process    int            `json:"process,omitempty"`
	Sequence   uint64         `json:"sequence"`
	Scheduled  int64          `json:"scheduled"`
	Sent       *int64         `json:"sent,omitempty"`
	Connected  *int64         `json:"connected,omitempty"`
	FirstByte  *int64         `json:"first_byte,omitempty"`
	Done       *int64         `json:"done,omitempty"`
	Source     netip.AddrPort `json:"source,omitzero"`
	Phase      string         `json:"phase,omitempty"`
	Class      string         `json:"class"`
	Status     int            `json:"status,omitempty"`
	Worker     int            `json:"worker"`
	Generation int            `json:"generation"`
	Failed     []failedFact   `json:"failed,omitempty"`
	LastSent   *int64         `json:"last_sent,omitempty"`
	GaveUp     results.GaveUp `json:"gave_up,omitempty"`
}

// A failedFact is a results.FailedTry.
type failedFact struct {
	Failure string `json:"failure"`
	Opened  bool   `json:"opened,omitempty"`
}

// A recordFact is a journal.Record of a worker. Records are in the order in which they were read,
// over all workers.
type recordFact struct {
	Worker     int            `json:"worker"`
	At         int64          `json:"at"`
	Conn       uint32         `json:"conn"`
	Kind       string         `json:"kind"` // of recordKinds
	Peer       netip.AddrPort `json:"peer,omitzero"`
	Process    uint16         `json:"process,omitempty"`
	Sequence   uint64         `json:"sequence,omitempty"`
	Try        uint8          `json:"try,omitempty"`
	Identified bool           `json:"identified,omitempty"`
	End        string         `json:"end,omitempty"` // of recordEnds
	Errno      uint16         `json:"errno,omitempty"`
}

var (
	recordKinds = [...]string{
		journal.Accepted: "accept", journal.Requested: "request",
		journal.Answered: "response", journal.Ended: "end",
	}
	recordEnds = [...]string{
		journal.EndServed: "served", journal.EndPeer: "peer", journal.EndPeerReset: "peer reset",
		journal.EndUnanswered: "unanswered", journal.EndAborted: "aborted",
		journal.EndWriteError: "write error",
	}
)

// A verdictFact is the judgement of an attempt, by its index in the schedule. Attempts without one
// were served, and both sides agree.
type verdictFact struct {
	Attempt   int    `json:"attempt"`
	Server    string `json:"server"` // what the workers know of it
	Cause     string `json:"cause,omitempty"`
	Evidence  string `json:"evidence,omitempty"`
	Worker    int    `json:"worker"` // -1: nobody's
	Explained bool   `json:"explained"`
	Step      *int   `json:"step,omitempty"`   // that it is put down to
	Kernel    string `json:"kernel,omitempty"` // what the kernel said
}
