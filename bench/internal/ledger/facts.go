package ledger

import (
	"net/netip"
	"slices"
	"time"

	"reuseport-bench/bench/internal/load"
	"reuseport-bench/bench/internal/witness"
	"reuseport-bench/scenarios/vocabulary"
)

// A Time is an instant of a trial, as an offset from its first scheduled attempt. It is negative
// before that.
type Time time.Duration

// Add returns the instant d after t.
func (t Time) Add(d time.Duration) Time { return t + Time(d) }

// Sub returns the duration from u to t.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// clockSlack is the largest error between two processes' readings of the same clock; see
// clock.Clock.
const clockSlack = 50 * time.Microsecond

// Facts holds what is known of a trial besides its samples and journals. It is plain data: tests
// write it by hand, and files store it.
type Facts struct {
	Duration time.Duration `json:"duration_ns"` // of the schedule
	Workers  []Worker      `json:"workers"`
	Closings []Closing     `json:"closings"` // sorted by From
	Steps    []Step        `json:"steps"`    // sorted by From
	// Moved holds the change of each kernel counter while the load ran, summed over the lab's hosts
	// and pods.
	Moved map[string]int64 `json:"moved"`
	// ResetsSent is the change of TcpOutRsts until the last worker had stopped. Kernel events are
	// recorded until then, too.
	ResetsSent int64 `json:"resets_sent"`
	// QueueReadings are sorted by At. Empty: the kernel was not asked, or gave no answer.
	QueueReadings []QueueReading `json:"queue_readings,omitempty"`

	// Witness is what became of the connections to servers that keep no journal, the servers' side
	// of the trial. Its instants are those of the clock, like a sample's, and Recording makes
	// offsets of them. Nil: nothing is known of that side, and Unwitnessed says why.
	Witness     *witness.Account `json:"witness,omitempty"`
	Unwitnessed string           `json:"unwitnessed,omitempty"`
	// Identities are what the servers' answers said of their processes, one entry for each load
	// process. Empty: the answers were not to say it, or came from our own workers.
	Identities []load.Identities `json:"identities,omitempty"`

	Trace  *Trace  `json:"trace,omitempty"`  // nil: kernel events were not recorded
	Routes *Routes `json:"routes,omitempty"` // nil without a Service
}

// A Worker is one listener process of a trial.
type Worker struct {
	ID         int  `json:"id"`
	Generation int  `json:"generation"`
	Acceptor   bool `json:"acceptor,omitempty"` // it only accepts, for the other workers
	// BindFailed: it could not bind its address, and never listened.
	BindFailed bool `json:"bind_failed,omitempty"`
	// Listener is the inode of its own listening socket, which may have had other owners before. 0:
	// its socket is shared.
	Listener uint64 `json:"listener,omitempty"`
	Ready    *Time  `json:"ready,omitempty"`  // when it began to listen
	Closed   *Time  `json:"closed,omitempty"` // when its listener was closed
}

// A QueueReading is the content of the accept queues at an instant, as the kernel reports it
// (sock_diag).
type QueueReading struct {
	At Time `json:"at"`
	// Waiting lists the client's address of every connection that no process had accepted.
	Waiting []netip.AddrPort `json:"waiting"`
}

// A Closing is the end of a listener.
type Closing struct {
	Worker int `json:"worker"` // the owner; -1: no worker closed it
	// The kernel began to close the listener after From, and had closed it by To.
	From Time `json:"from"`
	To   Time `json:"to"`
	// OwnsQueue: the accept queue ended with the listener. The queue of a shared socket lives on.
	OwnsQueue bool `json:"owns_queue,omitempty"`
	Killed    bool `json:"killed,omitempty"` // the worker was killed
}

// during reports whether the listener may have been closed while the attempt was under way.
func (c *Closing) during(a *Attempt) bool {
	return c.From <= a.Done.Add(clockSlack) && a.Sent <= c.To.Add(clockSlack)
}

// A Step is one step of the timeline as it was carried out.
type Step struct {
	Do     vocabulary.StepName `json:"do"`
	Target string              `json:"target"`
	// For is the planned duration of a step that lasts; of a cold-start, the warm-up time.
	For time.Duration `json:"for,omitempty"`
	At  Time          `json:"at"` // when it started
	// Ready is when the last new worker listened, or when stalled workers resumed. Nil: neither
	// happened.
	Ready *Time `json:"ready,omitempty"`
	// Trigger is just before the first stop signal or, if the step stops no worker, before it
	// starts one. Nil: the step did neither.
	Trigger *Time `json:"trigger,omitempty"`
	Began   *Time `json:"began,omitempty"`  // when a rollout started its first pod
	Closed  *Time `json:"closed,omitempty"` // when the last old listener was closed
	// Over is when a step was over that restarted a server without a journal: its change was seen,
	// and what it replaced was gone. Later losses are background. Nil: not known, or another step.
	Over *Time `json:"over,omitempty"`
	// Stopped and Started are the IDs of the workers that the step stopped and started.
	Stopped []int `json:"stopped,omitempty"`
	Started []int `json:"started,omitempty"`
	// Held lists the client's addresses of the connections whose handshakes were held up meanwhile.
	Held []netip.AddrPort `json:"held,omitempty"`
	// Serving is the number of serving workers after the step had added one.
	Serving int `json:"serving,omitempty"`
}

// From returns when a step begins to have consequences: at its trigger or, if it starts a pod
// before that, when it starts the first one, because rules may then lead to that pod.
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
	// Events are keyed by the client's address, each list in the order of arrival.
	Events map[netip.AddrPort][]Event `json:"events"`
}

// EventKind says what the kernel did with a connection.
type EventKind string

// The kinds of event.
const (
	ResetSent      EventKind = "reset sent"
	SegmentDropped EventKind = "segment dropped"
	// StillQueued comes from a QueueReading.
	StillQueued EventKind = "still queued"
)

// An Event is one reset or one dropped segment of a connection to the servers.
type Event struct {
	At   Time      `json:"at"`
	Kind EventKind `json:"kind"`
	// Reason is the kernel's name of the reason, in lower case: from enum sk_rst_reason for
	// ResetSent, from enum skb_drop_reason for SegmentDropped.
	Reason string `json:"reason"`
	// FromServer: the servers' host sent the reset or dropped the segment, not the client's.
	FromServer bool `json:"from_server,omitempty"`
	// Flags are the TCP flags of the segment that was answered or dropped, byte 13 of its header
	// (RFC 9293, 3.1). 0: the reset answered no segment.
	Flags uint8 `json:"flags,omitempty"`
	// Socket is the inode of the socket that the kernel was working on. It is 0 if no process had
	// the connection yet, because it was still in an accept queue.
	Socket uint64 `json:"socket,omitempty"`
	// Worker is the process in whose context the event happened; -1: in no worker's. Closing a
	// listener, and resetting the connections in its queue, happens in the context of the process
	// that closes it.
	Worker int `json:"worker"`
}

// String returns the kind of the event and its reason.
func (e *Event) String() string { return string(e.Kind) + ": " + e.Reason }

// stillQueued is the event of every connection that a QueueReading names.
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

// passesOn reports whether an acceptor hands connections to the workers. A connection that no
// worker has may then still be the acceptor's.
func (f *Facts) passesOn() bool {
	return slices.ContainsFunc(f.Workers, func(w Worker) bool { return w.Acceptor })
}

// reasonQueueFull is the kernel's reason for dropping the last ACK of a handshake because the
// accept queue is full. A SYN that meets a full queue is dropped without an event.
const reasonQueueFull = "tcp_listen_overflow"

// reasonAborted is the kernel's reason for a reset that ends a handshake: after a bad SYN, and with
// tcp_abort_on_overflow=1 if the accept queue is full (tcp_check_req in net/ipv4/tcp_minisocks.c).
const reasonAborted = "invalid_syn"

const flagSYN = 0x02 // RFC 9293, 3.1

// between returns the first reset and the first drop that the servers' host made on an attempt's
// connection while the attempt was under way. Other events belong to an earlier attempt on the
// connection, or to its end. A drop at a full queue takes precedence: a segment dropped for another
// reason is sent again, and then meets the queue. The order of arrival is ignored, because CPUs
// write to the ring of events concurrently.
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

// resetLater returns the reset of a connection that was still in its accept queue when the listener
// was closed, after its client had given up. It is nil if there was none.
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
