package ledger

import (
	"net/netip"
	"slices"
	"time"

	"reuseport-bench/bench/internal/load"
	"reuseport-bench/bench/internal/witness"
	"reuseport-bench/scenarios/vocabulary"
)

// A Time is an instant of a trial, as the time since its first scheduled attempt. It is negative
// before that attempt.
type Time time.Duration

// Add returns the instant d after t.
func (t Time) Add(d time.Duration) Time { return t + Time(d) }

// Sub returns the duration from u to t.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// clockSlack is the largest error between two processes' readings of the same clock; see
// clock.Clock.
const clockSlack = 50 * time.Microsecond

// Facts holds everything that is known about a trial except its samples and journals. It is plain
// data: tests write it by hand, and files store it.
type Facts struct {
	Duration time.Duration `json:"duration_ns"` // of the schedule
	Workers  []Worker      `json:"workers"`
	Closings []Closing     `json:"closings"` // sorted by From
	Steps    []Step        `json:"steps"`    // sorted by From
	// Moved holds the change of each kernel counter while the load ran, summed over the lab's hosts
	// and pods.
	Moved map[string]int64 `json:"moved"`
	// ResetsSent is the change of TcpOutRsts until the last worker had stopped. Kernel events are
	// recorded for the same time.
	ResetsSent int64 `json:"resets_sent"`
	// QueueReadings are sorted by At. Empty: the queues were not read, or could not be read.
	QueueReadings []QueueReading `json:"queue_readings,omitempty"`

	// Witness is the servers' account of a trial with a third-party server, which keeps no journal:
	// the end of each connection. Its instants are readings of the clock, like those of a sample;
	// Recording turns them into offsets. Nil with a third-party server: there is no such account,
	// and Unwitnessed says why.
	Witness     *witness.Account `json:"witness,omitempty"`
	Unwitnessed string           `json:"unwitnessed,omitempty"`
	// Identities holds, for each load process, the names that the servers' responses gave to the
	// processes that sent them. It is empty if responses do not name processes, or come from
	// workers of this program.
	Identities []load.Identities `json:"identities,omitempty"`

	Trace  *Trace  `json:"trace,omitempty"`  // nil: kernel events were not recorded
	Routes *Routes `json:"routes,omitempty"` // nil without a Service
}

// A Worker is one worker process of a trial.
type Worker struct {
	ID         int  `json:"id"`
	Generation int  `json:"generation"`
	Acceptor   bool `json:"acceptor,omitempty"` // it only accepts connections, for other workers
	// BindFailed is true if the worker could not bind its address and so never listened.
	BindFailed bool `json:"bind_failed,omitempty"`
	// Listener is the inode of the worker's own listening socket, which earlier workers may have
	// owned before it. 0: the workers share one socket.
	Listener uint64 `json:"listener,omitempty"`
	// Pod is the address of the pod in which a third-party server runs as this worker. The zero
	// value: it is a process of this program.
	Pod    netip.Addr `json:"pod,omitzero"`
	Ready  *Time      `json:"ready,omitempty"`  // when it began to listen
	Closed *Time      `json:"closed,omitempty"` // when its listener was closed
}

// A QueueReading lists the connections that were in accept queues at an instant, as the kernel
// reported them (sock_diag).
type QueueReading struct {
	At Time `json:"at"`
	// Waiting lists the client's address of every such connection.
	Waiting []netip.AddrPort `json:"waiting"`
}

// A Closing describes the close of a listener.
type Closing struct {
	Worker int `json:"worker"` // the owner; -1: no worker closed it
	// The kernel began to close the listener after From and had finished by To.
	From Time `json:"from"`
	To   Time `json:"to"`
	// OwnsQueue is true if the accept queue ended with this close. If other processes share the
	// socket, the queue goes on.
	OwnsQueue bool `json:"owns_queue,omitempty"`
	Killed    bool `json:"killed,omitempty"` // the worker was killed
}

// during reports whether the close may have happened while the attempt was under way.
func (c *Closing) during(a *Attempt) bool {
	return c.From <= a.Done.Add(clockSlack) && a.Sent <= c.To.Add(clockSlack)
}

// A Step is one step of the timeline as it was carried out.
type Step struct {
	Do     vocabulary.StepName `json:"do"`
	Target string              `json:"target"`
	// For is the planned duration of the step or, for a cold start, the warm-up time. 0: the step
	// has no planned duration.
	For time.Duration `json:"for,omitempty"`
	At  Time          `json:"at"` // when the step started
	// Ready is the instant at which the last new worker began to listen, or stalled workers
	// resumed. Nil: neither happened.
	Ready *Time `json:"ready,omitempty"`
	// Trigger is the instant just before the step sent its first stop signal or, if it stopped no
	// worker, just before it started its first worker. Nil: the step did neither.
	Trigger *Time `json:"trigger,omitempty"`
	Began   *Time `json:"began,omitempty"`  // when a rollout started its first pod
	Closed  *Time `json:"closed,omitempty"` // when the last old listener was closed
	// Over is the instant at which the restart of a third-party server was over: a change had been
	// seen, and the processes that it replaced were gone. The step does not cause later losses.
	// Nil: not known, or another kind of step.
	Over *Time `json:"over,omitempty"`
	// Stopped and Started are the IDs of the workers that the step stopped and started.
	Stopped []int `json:"stopped,omitempty"`
	Started []int `json:"started,omitempty"`
	// Held lists the client's addresses of the connections whose handshakes were held up
	// (server.fault.half_open) during the step.
	Held []netip.AddrPort `json:"held,omitempty"`
	// Serving is the number of serving workers after the step added one.
	Serving int `json:"serving,omitempty"`
}

// From returns the instant from which a step may have effects on attempts: its trigger or, if the
// step started pods before the trigger, the start of the first pod, because rules may lead to the
// pod from then on.
func (s *Step) From() Time {
	switch {
	case s.Began != nil && (s.Trigger == nil || *s.Began < *s.Trigger):
		return *s.Began
	case s.Trigger != nil:
		return *s.Trigger
	}
	return s.At
}

// A Trace holds the kernel events of a trial's connections.
type Trace struct {
	// Events maps each client's address to the events of its connections, in the order of arrival.
	Events map[netip.AddrPort][]Event `json:"events"`
}

// EventKind is the kind of a kernel event on a connection.
type EventKind string

// The kinds of event.
const (
	ResetSent      EventKind = "reset sent"
	SegmentDropped EventKind = "segment dropped"
	// StillQueued is not traced. It is derived from a QueueReading.
	StillQueued EventKind = "still queued"
)

// An Event is something that the kernel did with one connection to the servers: it sent a reset,
// dropped a segment, or left the connection in an accept queue.
type Event struct {
	At   Time      `json:"at"`
	Kind EventKind `json:"kind"`
	// Reason is the kernel's name for the reason of the event, in lower case. For ResetSent it
	// comes from enum sk_rst_reason, for SegmentDropped from enum skb_drop_reason.
	Reason string `json:"reason"`
	// FromServer is true if the servers' host sent the reset or dropped the segment, and false if
	// the client's host did.
	FromServer bool `json:"from_server,omitempty"`
	// Flags holds the TCP flags (byte 13 of the header: RFC 9293, 3.1) of the dropped segment, or
	// of the segment that the reset answered. 0: the reset answered no segment.
	Flags uint8 `json:"flags,omitempty"`
	// Socket is the inode of the socket that the kernel was working on. It is 0 if the connection
	// was still in an accept queue, where no process has it.
	Socket uint64 `json:"socket,omitempty"`
	// Worker is the worker in whose context the kernel caused the event; -1: in no worker's
	// context. When a process closes a listener, the kernel resets the connections in the
	// listener's accept queue in the context of that process.
	Worker int `json:"worker"`
}

// String returns the kind and the reason of the event.
func (e *Event) String() string { return string(e.Kind) + ": " + e.Reason }

// stillQueued is the event for every connection that a QueueReading lists.
var stillQueued = Event{
	Kind: StillQueued, Reason: "no process has accepted it", FromServer: true, Worker: noWorker,
}

// queued returns the client's addresses of the connections that were seen in an accept queue.
func (f *Facts) queued() map[netip.AddrPort]bool {
	all := map[netip.AddrPort]bool{}
	for i := range f.QueueReadings {
		for _, client := range f.QueueReadings[i].Waiting {
			all[client] = true
		}
	}
	return all
}

// passesOn reports whether an acceptor process accepts connections and passes them to the workers.
// If so, a connection that no worker has accepted may be in the acceptor.
func (f *Facts) passesOn() bool {
	return slices.ContainsFunc(f.Workers, func(w Worker) bool { return w.Acceptor })
}

// reasonQueueFull is the kernel's reason for dropping the last ACK of a handshake because the
// accept queue is full. If a SYN arrives while the queue is full, the kernel drops the SYN without
// an event.
const reasonQueueFull = "tcp_listen_overflow"

// reasonAborted is the kernel's reason for a reset that ends a handshake. It gives this reason
// after a bad SYN and, with tcp_abort_on_overflow=1, if the accept queue is full (tcp_check_req in
// net/ipv4/tcp_minisocks.c).
const reasonAborted = "invalid_syn"

const flagSYN = 0x02 // RFC 9293, 3.1

// between returns the first reset and the first drop by the servers' host on an attempt's
// connection while the attempt was under way. Events at other times belong to another attempt on
// the connection, or to the close of the connection. A drop because of a full queue takes
// precedence over other drops: the client sends a segment that was dropped for another reason
// again, and it may then find the queue full. The order of t.Events is ignored, because CPUs write
// to the ring buffer concurrently.
func (t *Trace) between(source netip.AddrPort, sent, done Time) (reset, dropped *Event) {
	if t == nil {
		return nil, nil
	}
	var full *Event
	events := t.Events[source]
	for i := range events {
		e := &events[i]
		if e.At < sent.Add(-clockSlack) || e.At > done.Add(clockSlack) || !e.FromServer {
			continue
		}
		switch e.Kind {
		case ResetSent:
			reset = earlier(reset, e)
		case SegmentDropped:
			if dropped = earlier(dropped, e); e.Reason == reasonQueueFull {
				full = earlier(full, e)
			}
		}
	}
	if full != nil {
		dropped = full
	}
	return reset, dropped
}

// resetLater returns the reset that ended a connection in an accept queue when the listener was
// closed, after the client had given up at the instant done. If there was no such reset, it returns
// nil.
func (t *Trace) resetLater(source netip.AddrPort, done Time) *Event {
	if t == nil {
		return nil
	}
	events := t.Events[source]
	i := slices.IndexFunc(events, func(e Event) bool {
		return e.Kind == ResetSent && e.FromServer && e.Flags == 0 && e.Socket == 0 &&
			e.At > done.Add(clockSlack)
	})
	if i < 0 {
		return nil
	}
	return &events[i]
}

func earlier(a, b *Event) *Event {
	if a == nil || b.At < a.At {
		return b
	}
	return a
}
