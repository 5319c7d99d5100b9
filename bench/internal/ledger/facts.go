package ledger

import (
	"net/netip"
	"slices"
	"time"

	"reuseport-bench/scenarios/vocabulary"
)

// A Time is an instant of a trial, as an offset from its first scheduled attempt. It is negative
// before that.
type Time time.Duration

// Add returns the instant d after t.
func (t Time) Add(d time.Duration) Time { return t + Time(d) }

// Sub returns the duration from u to t.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// clockSlack bounds the error between two processes' readings of one clock; see clock.Clock.
const clockSlack = 50 * time.Microsecond

// Facts is what is known of a trial besides its samples and journals. It is plain data: a test can
// write it, and a file can hold it.
type Facts struct {
	Duration time.Duration `json:"duration_ns"` // of the schedule
	Workers  []Worker      `json:"workers"`
	Closings []Closing     `json:"closings"` // by From
	Steps    []Step        `json:"steps"`    // by From
	// Moved is by how much the kernel's counters moved while the load ran, over the lab's hosts
	// and pods.
	Moved map[string]int64 `json:"moved"`
	// ResetsSent is by how much TcpOutRsts moved until the last worker had stopped, which is how
	// long the kernel's events were recorded.
	ResetsSent int64 `json:"resets_sent"`
	// QueueReadings are by At. Empty: the kernel was not asked, or did not say.
	QueueReadings []QueueReading `json:"queue_readings,omitempty"`

	Trace  *Trace  `json:"trace,omitempty"`  // nil: the kernel was not asked, or could not say
	Routes *Routes `json:"routes,omitempty"` // nil without a Service
}

// A Worker is one listener process of a trial.
type Worker struct {
	ID         int  `json:"id"`
	Generation int  `json:"generation"`
	Acceptor   bool `json:"acceptor,omitempty"` // it serves nobody and accepts for the others
	// BindFailed: it could not have its address, and never listened.
	BindFailed bool `json:"bind_failed,omitempty"`
	// Listener is the inode of its own listening socket, which others may have had before; 0: it
	// shares one.
	Listener uint64 `json:"listener,omitempty"`
	Ready    *Time  `json:"ready,omitempty"`  // it listened
	Closed   *Time  `json:"closed,omitempty"` // its listener was closed
}

// A QueueReading is what the kernel said of the accept queues at an instant (sock_diag).
type QueueReading struct {
	At Time `json:"at"`
	// Waiting are the client's ends of all connections that no process had accepted.
	Waiting []netip.AddrPort `json:"waiting"`
}

// A Closing is the end of a listener.
type Closing struct {
	Worker int `json:"worker"` // whose listener it was; -1: no worker closed it
	// From is before the kernel began to close the listener, To after it had.
	From Time `json:"from"`
	To   Time `json:"to"`
	// OwnsQueue: the accept queue ended with it. A shared socket's queue lives on.
	OwnsQueue bool `json:"owns_queue,omitempty"`
	Killed    bool `json:"killed,omitempty"` // the whole process ended with it
}

// during reports whether the listener was being closed at some instant while the attempt was
// under way.
func (c *Closing) during(a *Attempt) bool {
	return c.From <= a.Done.Add(clockSlack) && a.Sent <= c.To.Add(clockSlack)
}

// A Step is one step of the timeline as it was carried out.
type Step struct {
	Do     vocabulary.StepName `json:"do"`
	Target string              `json:"target"`
	// For is how long a step that lasts was to last; of a cold-start, until the newcomer is warm.
	For time.Duration `json:"for,omitempty"`
	At  Time          `json:"at"` // when it began
	// Ready is when the last new worker listened, or stalled ones went on; nil: neither.
	Ready *Time `json:"ready,omitempty"`
	// Trigger is just before the first stop signal; of a step that stops no worker, before it
	// starts one. Nil: it never came to that.
	Trigger *Time `json:"trigger,omitempty"`
	Began   *Time `json:"began,omitempty"`  // a rollout started its first pod
	Closed  *Time `json:"closed,omitempty"` // the last old listener was closed
	// Stopped and Started are the IDs of the workers whose lives the step ended and began.
	Stopped []int `json:"stopped,omitempty"`
	Started []int `json:"started,omitempty"`
	// Held are the client's ends of the connections whose handshakes were held up meanwhile.
	Held []netip.AddrPort `json:"held,omitempty"`
	// Serving is how many workers served when the step had added one.
	Serving int `json:"serving,omitempty"`
}

// From returns when a step begins to have consequences: at its trigger or, where rules may lead to
// a new pod before that, when it started the first one.
func (s *Step) From() Time {
	switch {
	case s.Began != nil && (s.Trigger == nil || *s.Began < *s.Trigger):
		return *s.Began
	case s.Trigger != nil:
		return *s.Trigger
	}
	return s.At
}

// A Trace is what the kernel said of the connections of a trial.
type Trace struct {
	// Events are by the client's end of the connection, in the order in which they were reported.
	Events map[netip.AddrPort][]Event `json:"events"`
}

// EventKind is what the kernel did with a connection.
type EventKind string

// The kinds of event.
const (
	ResetSent      EventKind = "reset sent"
	SegmentDropped EventKind = "segment dropped"
	// StillQueued is of a QueueReading.
	StillQueued EventKind = "still queued"
)

// An Event is one reset or one dropped segment of a connection to the servers.
type Event struct {
	At   Time      `json:"at"`
	Kind EventKind `json:"kind"`
	// Reason is the kernel's name for why, in lower case: of enum sk_rst_reason for ResetSent, of
	// enum skb_drop_reason for SegmentDropped.
	Reason string `json:"reason"`
	// FromServer: it was the servers' host that sent or received, not the client's.
	FromServer bool `json:"from_server,omitempty"`
	// Flags are those of the segment that was answered or dropped, byte 13 of its header
	// (RFC 9293, 3.1); 0: the reset answered no segment.
	Flags uint8 `json:"flags,omitempty"`
	// Socket is the inode of the socket that the kernel had in hand. It is 0 where no process had
	// the connection yet: it waited in an accept queue.
	Socket uint64 `json:"socket,omitempty"`
	// Worker is on whose time it happened; -1: no worker's. Listeners are closed, and what they
	// had queued is reset, on the time of whoever closes them.
	Worker int `json:"worker"`
}

// String returns what the kernel did, and its reason.
func (e *Event) String() string { return string(e.Kind) + ": " + e.Reason }

// stillQueued is the kernel's word on every connection that a QueueReading names.
var stillQueued = Event{
	Kind: StillQueued, Reason: "no process has accepted it", FromServer: true, Worker: noWorker,
}

// queued returns the client's ends of the connections that were seen in an accept queue.
func (f *Facts) queued() map[netip.AddrPort]bool {
	all := map[netip.AddrPort]bool{}
	for i := range f.QueueReadings {
		for _, client := range f.QueueReadings[i].Waiting {
			all[client] = true
		}
	}
	return all
}

// passesOn reports whether one process accepts for the others, so that a connection which no worker
// has may be in that one's hands.
func (f *Facts) passesOn() bool {
	return slices.ContainsFunc(f.Workers, func(w Worker) bool { return w.Acceptor })
}

// reasonQueueFull is the kernel's reason for dropping the last ACK of a handshake whose listener's
// accept queue is full. A SYN that meets such a queue is refused without an event.
const reasonQueueFull = "tcp_listen_overflow"

// reasonAborted is the kernel's reason for a reset that ends a handshake: of a bad SYN, and of a
// full accept queue with tcp_abort_on_overflow=1 (tcp_check_req in net/ipv4/tcp_minisocks.c).
const reasonAborted = "invalid_syn"

const flagSYN = 0x02 // RFC 9293, 3.1

// between returns the first reset and the first drop of an attempt's connection: by the servers'
// host, while the attempt was under way. Others are of an earlier attempt on the connection, or of
// its end. A drop at a full queue comes before all others: what else was dropped, was sent again,
// and met that queue. Processors do not queue for the ring of events, so the order of arrival is
// not used.
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

// resetLater returns the reset of a connection in its accept queue, on the close of the listener,
// after its client had given up; nil: there was none.
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
