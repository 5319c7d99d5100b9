package harness

import (
	"net/http"
	"time"

	"reuseport-bench/results"
	"reuseport-bench/results/cause"
)

// evidence is what a cause rests on.
type evidence uint8

const (
	evidenceNone evidence = iota // served
	evidenceKernel
	evidenceCounter
	evidenceWorker
	evidenceClient
)

var evidenceNames = [...]string{"", "kernel", "counter", "worker", "client"}

func (e evidence) String() string { return evidenceNames[e] }

// closing is the end of a worker's listener, in nanoseconds from the first scheduled attempt.
type closing struct {
	worker   int
	from, to int64
	queue    bool // the accept queue went with it; a shared socket's lives on
	killed   bool // the whole process went with it
}

// judgement is the terminal state of one attempt: what became of it, and why.
type judgement struct {
	cause    string // "" when served
	evidence evidence
	worker   int // whose close, crash or answer it was, or -1
	// explained is false when the two sides contradict each other or no account explains the loss.
	explained bool
}

// A judge finds causes without a kernel trace: from the client's phase and errno, the workers'
// journals, the instants at which listeners were closed, and the namespace's counters.
type judge struct {
	closings  []closing         // by from
	overflows int64             // TcpExtListenOverflows
	proxied   bool              // a proxy stands between client and workers
	held      map[*attempt]bool // whose handshakes were held up while listeners were closed
	routes    *routes           // nil without a Service
	// unnoted says whose kill has been blamed for a connection already; see killedDuring.
	unnoted map[int]bool
}

// clockSlack bounds the error between two processes' readings of one clock; see clock.Clock.
const clockSlack = int64(50 * time.Microsecond)

// overlaps says that the listener was being closed at some instant between sent and done.
func (c closing) overlaps(a *attempt) bool {
	return c.from <= a.done+clockSlack && a.sent <= c.to+clockSlack
}

// closingDuring is the last listener that was being closed, queue and all, while the attempt was
// under way.
func (j *judge) closingDuring(a *attempt) (worker int, ok bool) {
	for i := len(j.closings) - 1; i >= 0; i-- {
		if c := j.closings[i]; c.queue && c.overlaps(a) {
			return c.worker, true
		}
	}
	return -1, false
}

// synDelay bounds the time from the sent instant to the SYN: the sender may lose its CPU in between.
const synDelay = int64(5 * time.Millisecond)

// closingAt is the listener that was being closed when a SYN sent at the instant arrived. The kernel drops
// such a SYN without an answer: the listener is found, and is in TCP_CLOSE already (tcp_v4_rcv).
func (j *judge) closingAt(sent int64) (worker int, ok bool) {
	for _, c := range j.closings {
		if c.queue && c.from <= sent+synDelay && sent <= c.to+clockSlack {
			return c.worker, true
		}
	}
	return -1, false
}

// killedDuring is the last worker that was killed while the attempt was under way. A worker that is
// killed between accept(2) and the note of it in its journal takes one connection with it that nobody
// has accounts of; one, for one goroutine accepts.
func (j *judge) killedDuring(a *attempt) (worker int, ok bool) {
	for i := len(j.closings) - 1; i >= 0; i-- {
		if c := j.closings[i]; c.killed && c.overlaps(a) && !j.unnoted[c.worker] {
			if j.unnoted == nil {
				j.unnoted = map[int]bool{}
			}
			j.unnoted[c.worker] = true
			return c.worker, true
		}
	}
	return -1, false
}

func (j *judge) judge(a *attempt) judgement {
	server := int(a.server)
	lost := func(name string, e evidence, worker int) judgement {
		return judgement{cause: name, evidence: e, worker: worker, explained: name != cause.Unknown}
	}
	if a.class == results.ClassNone {
		// A worker that is killed between handing the response to the kernel and noting it has
		// read the request and died, and yet the client is served.
		ok := a.worker == a.server && (a.state == answered || a.state == readDied)
		return judgement{worker: server, explained: ok}
	}
	switch a.class {
	case results.ClassLocal, results.ClassUnsent, results.ClassAborted:
		return lost(cause.Client, evidenceClient, -1)
	case results.ClassUnreachable:
		return lost(cause.NoRoute, evidenceClient, -1)
	case results.ClassTimeout:
		return j.timeout(a)
	case results.ClassRefused:
		if a.state == neverAccepted {
			return lost(cause.Refused, evidenceClient, -1)
		}
		return lost(cause.Unknown, evidenceClient, -1)
	}
	// The connection ended before the response was complete.
	switch a.state {
	case readUnanswered, readAborted, unreadClosed:
		return lost(cause.ClosedByWorker, evidenceWorker, server)
	case readDied, unreadDied:
		return lost(cause.WorkerCrash, evidenceWorker, server)
	case neverAccepted:
		if j.proxied {
			return j.byProxy(a)
		}
		// A child that is made while its listener is being closed copies sk_shutdown, which __tcp_close sets before it leaves
		// TCP_LISTEN; once established it sends a FIN for it, and is thrown away all the same (net/ipv4/tcp.c;
		// tcp_rcv_state_process in net/ipv4/tcp_input.c). Its client reads an end of file.
		if w, ok := j.closingDuring(a); ok && (a.class == results.ClassReset || a.class == results.ClassEOF) {
			if a.phase == results.PhaseConnect || j.held[a] {
				return lost(cause.ResetHalfOpen, evidenceWorker, w)
			}
			return lost(cause.ResetAtClose, evidenceWorker, w)
		}
		if w, ok := j.killedDuring(a); ok {
			return lost(cause.WorkerCrash, evidenceWorker, w)
		}
	case unreadPeerGone:
		// The worker that accepted it read an end of file that the client had not sent: seen once in some
		// 9,000 migrating restarts, with TCPAbortOnData +1. Likely a child as above, which migration let live to be accepted.
		if w, ok := j.closingDuring(a); ok {
			return lost(cause.ResetAtClose, evidenceWorker, w)
		}
	}
	return lost(cause.Unknown, evidenceClient, -1)
}

// byProxy is the cause where no worker has seen the request and a proxy has given up: its connection was reset in the queue
// of a listener that was being closed, which it says by a 502 (Bad Gateway), or it found nobody to connect to.
func (j *judge) byProxy(a *attempt) judgement {
	if w, ok := j.closingDuring(a); ok && a.status == http.StatusBadGateway {
		return judgement{cause: cause.ResetAtClose, evidence: evidenceWorker, worker: w, explained: true}
	}
	return judgement{cause: cause.ProxyError, evidence: evidenceClient, worker: -1, explained: true}
}

func (j *judge) timeout(a *attempt) judgement {
	j2 := judgement{cause: cause.Timeout, evidence: evidenceWorker, worker: int(a.server), explained: true}
	switch {
	case a.state != neverAccepted: // accepted, perhaps long after the client had left
	case a.phase != results.PhaseConnect: // still in an accept queue
		j2.evidence = evidenceClient
	case j.overflows > 0:
		j2.cause, j2.evidence = cause.AcceptOverflow, evidenceCounter
	default:
		return j.synTimeout(a)
	}
	return j2
}

// synTimeout is the cause of a SYN that nobody answered.
func (j *judge) synTimeout(a *attempt) judgement {
	v := judgement{cause: cause.SYNTimeout, evidence: evidenceClient, worker: int(a.server), explained: true}
	if w, ok := j.closingAt(a.sent); ok {
		v.evidence, v.worker = evidenceWorker, w
	}
	return v
}
