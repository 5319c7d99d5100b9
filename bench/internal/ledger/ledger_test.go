package ledger

import (
	"net/http"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/load"
	"reuseport-bench/results"
	"reuseport-bench/results/cause"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/journal"
	"reuseport-bench/servers/wire"
)

const ms = Time(time.Millisecond)

// begin is the instant at which attempt 0 is due. Attempt i is due i ms later.
const begin = clock.Instant(1_000_000_000)

// worker and generation identify the worker that serves the attempts.
const worker, generation = 3, 1

func testLoad(n int) Load {
	return Load{
		Shape:     load.Shape{Rate: 1000, Duration: time.Duration(n) * time.Millisecond},
		Processes: 1, Tries: 1, Sources: netip.MustParsePrefix("127.64.0.0/10"),
	}
}

// testBook returns an open book of n attempts, after applying change to its load.
func testBook(t *testing.T, n int, change ...func(*Load)) *Book {
	t.Helper()
	l := testLoad(n)
	for _, f := range change {
		f(&l)
	}
	b, err := NewBook(l)
	if err != nil {
		t.Fatal(err)
	}
	b.Start(begin)
	return b
}

func reuses(l *Load)  { l.Reuses = true }
func proxied(l *Load) { l.Proxied = true }

// kept makes the load keep n connections from the start.
func kept(n uint64) func(*Load) { return func(l *Load) { l.Reuses, l.Kept = true, n } }

// An account holds the client's and the server's account of one attempt.
type account struct {
	class results.Class
	phase results.Phase
	// done is the time, in ms, from the instant at which the attempt was due until it ended.
	done int64
	// server is the worker's journal of the connection, with a letter for each record: a (accept),
	// q (request) and r (response). end is the way in which the connection ended; 0: the worker
	// died.
	server string
	end    journal.End
	status int
}

var served = account{done: 1, server: "aqr", end: journal.EndServed}

// enter adds the client's and the server's account of attempt i to the book.
func enter(b *Book, i int, a account) {
	due := int64(begin) + int64(b.scheduled(i))
	s := results.Sample{
		Sequence: uint64(i), Scheduled: due, Sent: due, Done: due + a.done*int64(ms),
		Source: b.sources.At(uint64(i)), Class: a.class, Phase: a.phase, Status: a.status,
		Worker: -1, Generation: -1,
	}
	switch a.class {
	case results.ClassNone:
		s.Worker, s.Generation = worker, generation
	case results.ClassLocal:
		s.Errno = int(unix.EMFILE)
	}
	b.Sample(&s)
	enterServer(b, journal.Record{
		At: clock.Instant(due), Conn: uint32(i), Peer: b.sources.At(uint64(i)),
		Attempt: wire.Attempt{Sequence: uint64(i)}, Identified: true,
	}, a.server, a.end)
}

// enterServer adds a worker's journal of a connection. r is the template of its records.
func enterServer(b *Book, r journal.Record, server string, end journal.End) {
	kinds := map[rune]journal.Kind{
		'a': journal.Accepted, 'q': journal.Requested, 'r': journal.Answered,
	}
	for _, c := range server {
		r.Kind = kinds[c]
		b.Record(worker, r)
	}
	if end != 0 {
		r.Kind, r.End = journal.Ended, end
		b.Record(worker, r)
	}
}

// closes returns facts in which the listener of worker 7 was closed between 2 and 3 ms. c has the
// other fields of that Closing.
func closes(c Closing) *Facts {
	c.Worker, c.From, c.To = 7, 2*ms, 3*ms
	return &Facts{Duration: time.Second, Closings: []Closing{c}}
}

func queue() *Facts { return closes(Closing{OwnsQueue: true}) }

func overflow(n int64) *Facts {
	return &Facts{Duration: time.Second, Moved: map[string]int64{"TcpExtListenOverflows": n}}
}

// abortedHandshakes returns facts in which the kernel reset n handshakes because the accept queue
// was full when their last ACK arrived.
func abortedHandshakes(n int64) *Facts {
	f := overflow(n)
	f.Moved["TcpExtEmbryonicRsts"] = n
	return f
}

// readQueues adds to f a reading of the accept queues at 1 s, which lists the given connections.
func readQueues(f *Facts, waiting ...netip.AddrPort) *Facts {
	f.QueueReadings = []QueueReading{{At: 1000 * ms, Waiting: waiting}}
	return f
}

// kernelSays returns facts with event e on the connection of attempt 0, 1 ms after the attempt was
// sent. The listener of worker 7 was closed between 0 and 3 ms; c has the other fields of that
// Closing.
func kernelSays(e Event, c Closing) *Facts {
	f := closes(c)
	f.Closings[0].From, f.Closings[0].To = 0, 3*ms
	e.At, e.FromServer = 1*ms, true
	f.Trace = &Trace{Events: map[netip.AddrPort][]Event{attempt0: {e}}}
	return f
}

var (
	gonePod  = netip.MustParseAddr("198.18.10.1")
	livePod  = netip.MustParseAddr("198.18.20.1")
	service  = netip.MustParseAddr("198.19.0.1")
	noPod    netip.Addr
	attempt0 = netip.MustParseAddrPort("127.64.0.1:10000")
)

// routed returns facts in which connection tracking says that attempt 0 was sent to the pod with
// the address to. Pod 3 listened from listens to gone, and clients were sent to it from −8 ms to
// removed. Unless alone is set, clients are also sent to pod 2, which always listens.
func routed(to netip.Addr, listens, gone, removed Time, alone bool) *Facts {
	r := &Routes{Service: service, Translations: map[netip.AddrPort]netip.Addr{}}
	if to.IsValid() {
		r.Translations[attempt0] = to
	}
	if !alone {
		r.Pods = append(r.Pods, Pod{
			Addr: livePod, Worker: 2, Routed: []Span{{-8 * ms, Never}},
			Listens: -9 * ms, Gone: Never, Silent: Never,
		})
	}
	r.Pods = append(r.Pods, Pod{
		Addr: gonePod, Worker: 3, Routed: []Span{{-8 * ms, removed}},
		Listens: listens, Gone: gone, Silent: gone,
	})
	return &Facts{Duration: time.Second, Routes: r}
}

// Each case names the rule that decides it, and every rule decides at least one case.
func TestRules(t *testing.T) {
	const (
		wait    = results.PhaseWait
		connect = results.PhaseConnect
		reset   = results.ClassReset
		timeout = results.ClassTimeout
		refused = results.ClassRefused
	)
	inHandshake := queue()
	inHandshake.Steps = []Step{
		{Do: "replace", Held: []netip.AddrPort{attempt0}, Trigger: new(2 * ms)},
	}
	queued := Event{Kind: ResetSent, Reason: "tcp_state", Worker: 7}
	unread := account{reset, wait, 2, "", 0, 0}
	silent := account{timeout, connect, 900, "", 0, 0}
	accepted := Event{Kind: ResetSent, Reason: "tcp_state", Socket: 90, Worker: 7}
	answers := Event{Kind: ResetSent, Reason: "tcp_flags", Flags: 0x18, Socket: 71, Worker: -1}
	full := Event{Kind: SegmentDropped, Reason: reasonQueueFull, Flags: 0x18, Worker: -1}
	aborted := Event{Kind: ResetSent, Reason: reasonAborted, Flags: 0x18, Worker: -1}
	badSYN := Event{Kind: ResetSent, Reason: reasonAborted, Flags: 0x02, Worker: -1}
	filtered := Event{Kind: SegmentDropped, Reason: "netfilter_drop", Flags: 2, Worker: -1}
	owned := Closing{OwnsQueue: true}
	waited := account{timeout, wait, 900, "", 0, 0}
	resetLate := kernelSays(queued, owned)
	resetLate.Trace.Events[attempt0][0].At = 950 * ms
	heldUp := Event{Kind: SegmentDropped, Reason: "netfilter_drop", Flags: 0x10, Worker: -1}
	heldFirst := readQueues(kernelSays(heldUp, Closing{}))
	heldFirst.Moved = overflow(5).Moved
	fullThen, later := kernelSays(heldUp, Closing{}), full
	later.At, later.FromServer = 2*ms, true
	fullThen.Trace.Events[attempt0] = append(fullThen.Trace.Events[attempt0], later)
	closedToo := readQueues(queue())
	closedToo.Moved = overflow(5).Moved
	passedOn := readQueues(overflow(5))
	passedOn.Workers = []Worker{{ID: 9, Acceptor: true}}

	decided := map[string]bool{}
	for _, tt := range []struct {
		name    string
		account account
		facts   *Facts
		change  func(*Load)
		want    Verdict // without Explained and Kernel, which are derived
	}{
		{"out of descriptors", account{results.ClassLocal, connect, 0, "", 0, 0}, nil, nil, Verdict{Cause: cause.Client, Evidence: ByClient, Worker: -1, Rule: "the load's own doing"}},
		{"aborted by the load on purpose", account{results.ClassAborted, wait, 0, "aq", journal.EndPeer, 0}, nil, nil, Verdict{Cause: cause.Client, Evidence: ByClient, Worker: -1, Rule: "the load's own doing"}},

		{"the last ACK is answered by a reset", unread, kernelSays(aborted, Closing{}), nil, Verdict{Cause: cause.AcceptOverflow, Evidence: ByKernel, Worker: -1, Rule: "ACK reset at a full queue"}},
		{"a bad SYN is answered by a reset", unread, kernelSays(badSYN, owned), nil, Verdict{Cause: cause.ResetHalfOpen, Evidence: ByKernel, Worker: 7, Rule: "reset answers the client"}},
		{"the kernel resets an answer", unread, kernelSays(answers, owned), nil, Verdict{Cause: cause.ResetHalfOpen, Evidence: ByKernel, Worker: 7, Rule: "reset answers the client"}},
		{"the kernel resets a queued connection", unread, kernelSays(queued, owned), nil, Verdict{Cause: cause.ResetAtClose, Evidence: ByKernel, Worker: 7, Rule: "reset in the queue"}},
		{"an end of file, and a reset by the kernel", account{results.ClassEOF, wait, 2, "", 0, 0}, kernelSays(queued, owned), nil, Verdict{Cause: cause.ResetAtClose, Evidence: ByKernel, Worker: 7, Rule: "reset in the queue"}},
		{"the kernel resets a connection of a killed worker", unread, kernelSays(accepted, Closing{Killed: true}), nil, Verdict{Cause: cause.WorkerCrash, Evidence: ByKernel, Worker: 7, Rule: "reset of an accepted connection, worker killed"}},
		{"the kernel resets a connection that an acceptor closed", unread, kernelSays(accepted, Closing{}), nil, Verdict{Cause: cause.ClosedByWorker, Evidence: ByKernel, Worker: 7, Rule: "reset of an accepted connection"}},
		{"the last ACK meets a full queue", account{timeout, wait, 900, "", 0, 0}, kernelSays(full, Closing{}), nil, Verdict{Cause: cause.AcceptOverflow, Evidence: ByKernel, Worker: -1, Rule: "ACK dropped at a full queue"}},
		{"the SYN is dropped", silent, kernelSays(filtered, Closing{}), nil, Verdict{Cause: cause.SYNTimeout, Evidence: ByKernel, Worker: -1, Rule: "SYN dropped"}},
		{"refused, confirmed by the kernel", account{refused, connect, 2, "", 0, 0}, kernelSays(answers, Closing{}), nil, Verdict{Cause: cause.Refused, Evidence: ByKernel, Worker: -1, Rule: "refused"}},
		{"refused by a firewall", account{refused, connect, 2, "", 0, 0}, kernelSays(filtered, Closing{}), nil, Verdict{Cause: cause.Refused, Evidence: ByKernel, Worker: -1, Rule: "refused"}},
		{"reset on purpose, confirmed by the kernel", account{reset, wait, 2, "aq", journal.EndAborted, 0}, kernelSays(accepted, Closing{}), nil, Verdict{Cause: cause.ClosedByWorker, Evidence: ByKernel, Worker: worker, Rule: "closed unanswered"}},
		{"a FIN, which has no event", account{results.ClassEOF, wait, 2, "aq", journal.EndUnanswered, 0}, kernelSays(accepted, Closing{}), nil, Verdict{Cause: cause.ClosedByWorker, Evidence: ByWorker, Worker: worker, Rule: "closed unanswered"}},

		{"reset by the worker on purpose", account{reset, wait, 1, "aq", journal.EndAborted, 0}, nil, nil, Verdict{Cause: cause.ClosedByWorker, Evidence: ByWorker, Worker: worker, Rule: "closed unanswered"}},
		{"read, and given to no handler", account{results.ClassEOF, wait, 1, "aq", journal.EndUnhandled, 0}, nil, nil, Verdict{Cause: cause.ClosedByWorker, Evidence: ByWorker, Worker: worker, Rule: "closed unanswered"}},
		{"closed unanswered", account{results.ClassEOF, wait, 1, "aq", journal.EndUnanswered, 0}, nil, nil, Verdict{Cause: cause.ClosedByWorker, Evidence: ByWorker, Worker: worker, Rule: "closed unanswered"}},
		{"closed before it was read", account{reset, wait, 1, "a", journal.EndUnanswered, 0}, nil, nil, Verdict{Cause: cause.ClosedByWorker, Evidence: ByWorker, Worker: worker, Rule: "closed unanswered"}},
		{"worker died while serving", account{reset, wait, 1, "aq", 0, 0}, queue(), nil, Verdict{Cause: cause.WorkerCrash, Evidence: ByWorker, Worker: worker, Rule: "worker died"}},
		{"worker died before reading", account{results.ClassEOF, wait, 1, "a", 0, 0}, nil, nil, Verdict{Cause: cause.WorkerCrash, Evidence: ByWorker, Worker: worker, Rule: "worker died"}},

		{"a proxy hangs up", unread, nil, proxied, Verdict{Cause: cause.ProxyError, Evidence: ByClient, Worker: -1, Rule: "proxy's own error"}},
		{"a proxy hangs up while a listener closes", unread, queue(), proxied, Verdict{Cause: cause.ProxyError, Evidence: ByClient, Worker: -1, Rule: "proxy's own error"}},
		{"a kernel event about a proxy's connection", unread, kernelSays(answers, Closing{}), proxied, Verdict{Cause: cause.ProxyError, Evidence: ByKernel, Worker: -1, Rule: "proxy's own error"}},

		{"a proxy answers 502 while a listener closes", account{results.ClassErrorAnswer, results.PhaseBody, 2, "", 0, http.StatusBadGateway}, queue(), proxied, Verdict{Cause: cause.ResetAtClose, Evidence: ByWorker, Worker: 7, Rule: "proxy met a closing listener"}},
		{"a proxy answers 503", account{results.ClassErrorAnswer, results.PhaseBody, 2, "", 0, http.StatusServiceUnavailable}, queue(), proxied, Verdict{Cause: cause.ProxyError, Evidence: ByClient, Worker: -1, Rule: "proxy's own error"}},

		{"a proxy answers 504, and its worker's peer is gone", account{results.ClassErrorAnswer,
			results.PhaseBody, 2, "aq", journal.EndPeer, http.StatusGatewayTimeout}, nil, proxied,
			Verdict{Cause: cause.ErrorAnswer, Evidence: ByClient, Worker: worker,
				Rule: "answered by an error"}},
		{"a proxy answers for a worker that hung up", account{results.ClassErrorAnswer,
			results.PhaseBody, 2, "aq", journal.EndUnanswered, http.StatusBadGateway}, nil, proxied,
			Verdict{Cause: cause.ClosedByWorker, Evidence: ByWorker, Worker: worker,
				Rule: "closed unanswered"}},
		{"a server without a journal answers 503", account{results.ClassErrorAnswer,
			results.PhaseBody, 2, "", 0, http.StatusServiceUnavailable}, queue(), nil,
			Verdict{Cause: cause.ErrorAnswer, Evidence: ByClient, Worker: -1,
				Rule: "answered by an error"}},
		{"a worker answers 503", account{results.ClassErrorAnswer, results.PhaseBody, 2, "aqr",
			journal.EndServed, http.StatusServiceUnavailable}, queue(), nil,
			Verdict{Cause: cause.ErrorAnswer, Evidence: ByClient, Worker: worker,
				Rule: "answered by an error"}},
		{"503 behind a Service, from whoever", account{results.ClassErrorAnswer,
			results.PhaseBody, 2, "", 0, http.StatusServiceUnavailable},
			routed(gonePod, -9*ms, -1*ms, 9*ms, false), nil,
			Verdict{Cause: cause.ErrorAnswer, Evidence: ByClient, Worker: -1,
				Rule: "answered by an error"}},

		{"reset in the handshake", account{reset, connect, 2, "", 0, 0}, queue(), nil, Verdict{Cause: cause.ResetHalfOpen, Evidence: ByWorker, Worker: 7, Rule: "handshake at a closing listener"}},
		{"its handshake was held up", unread, inHandshake, nil, Verdict{Cause: cause.ResetHalfOpen, Evidence: ByWorker, Worker: 7, Rule: "handshake at a closing listener"}},
		{"reset in the queue of a closed listener", unread, queue(), nil, Verdict{Cause: cause.ResetAtClose, Evidence: ByWorker, Worker: 7, Rule: "in the queue of a closing listener"}},
		{"end of file in the queue", account{results.ClassEOF, wait, 2, "", 0, 0}, queue(), nil, Verdict{Cause: cause.ResetAtClose, Evidence: ByWorker, Worker: 7, Rule: "in the queue of a closing listener"}},
		{"killed before it could note the accept", unread, closes(Closing{Killed: true}), nil, Verdict{Cause: cause.WorkerCrash, Evidence: ByWorker, Worker: 7, Rule: "accepted by a worker that was killed"}},
		{"created at a closing listener and migrated half-closed", account{results.ClassEOF, wait, 2, "a", journal.EndPeer, 0}, queue(), nil, Verdict{Cause: cause.ResetAtClose, Evidence: ByWorker, Worker: 7, Rule: "accepted after a closing listener let go"}},

		{"silence at the Service's own address", silent, routed(service, -9*ms, -1*ms, 9*ms, false), nil, Verdict{Cause: cause.Untranslated, Evidence: ByKernel, Worker: -1, Rule: "kept the Service's address"}},
		{"silence from a pod that no rule leads to", silent, routed(gonePod, -9*ms, -2*ms, -1*ms, false), nil, Verdict{Cause: cause.StaleConntrack, Evidence: ByKernel, Worker: 3, Rule: "old entry of connection tracking"}},
		{"silence from a pod that has gone", silent, routed(gonePod, -9*ms, -1*ms, 9*ms, false), nil, Verdict{Cause: cause.StaleEndpoint, Evidence: ByKernel, Worker: 3, Rule: "sent to a pod that was gone"}},
		{"refused by a pod that has gone", account{refused, connect, 0, "", 0, 0}, routed(gonePod, -9*ms, -1*ms, 9*ms, false), nil, Verdict{Cause: cause.StaleEndpoint, Evidence: ByKernel, Worker: 3, Rule: "sent to a pod that was gone"}},
		{"no route to a pod that has gone", account{results.ClassUnreachable, connect, 0, "", 0, 0}, routed(gonePod, -9*ms, -1*ms, 9*ms, false), nil, Verdict{Cause: cause.StaleEndpoint, Evidence: ByKernel, Worker: 3, Rule: "sent to a pod that was gone"}},
		{"silence while the queues of others overflow", silent, overflowing(routed(gonePod, -9*ms, -1*ms, 9*ms, false)), nil, Verdict{Cause: cause.StaleEndpoint, Evidence: ByKernel, Worker: 3, Rule: "sent to a pod that was gone"}},
		{"silence from a pod before it listened", silent, routed(gonePod, 1000*ms, Never, Never, false), nil, Verdict{Cause: cause.EarlyEndpoint, Evidence: ByKernel, Worker: 3, Rule: "sent to a pod that did not listen yet"}},
		{"silence while clients were sent nowhere", silent, routed(noPod, -9*ms, -2*ms, -1*ms, true), nil, Verdict{Cause: cause.NoEndpoint, Evidence: ByKernel, Worker: -1, Rule: "no pod to be sent to"}},
		{"refused while clients were sent nowhere", account{refused, connect, 0, "", 0, 0}, routed(noPod, -9*ms, -2*ms, -1*ms, true), nil, Verdict{Cause: cause.NoEndpoint, Evidence: ByKernel, Worker: -1, Rule: "no pod to be sent to"}},
		{"refused, and connection tracking forgot it", account{refused, connect, 0, "", 0, 0}, routed(noPod, -9*ms, -1*ms, 9*ms, false), nil, Verdict{Cause: cause.StaleEndpoint, Evidence: ByWorker, Worker: 3, Rule: "refused by a pod that was gone"}},
		{"refused before the pod listened, and forgotten", account{refused, connect, 0, "", 0, 0}, routed(noPod, 5*ms, Never, Never, false), nil, Verdict{Cause: cause.EarlyEndpoint, Evidence: ByWorker, Worker: 3, Rule: "refused by a pod that did not listen yet"}},
		{"refused after the rules had changed", account{refused, connect, 0, "", 0, 0}, routed(noPod, -9*ms, -2*ms, -1*ms, false), nil, Verdict{Cause: cause.Refused, Evidence: ByClient, Worker: -1, Rule: "refused"}},
		{"silence from a pod that listens", silent, routed(livePod, -9*ms, -2*ms, -1*ms, false), nil, Verdict{Cause: cause.SYNTimeout, Evidence: ByClient, Worker: -1, Rule: "SYN unanswered"}},
		{"silence, and connection tracking forgot it", silent, routed(noPod, -9*ms, -1*ms, 9*ms, false), nil, Verdict{Cause: cause.SYNTimeout, Evidence: ByClient, Worker: -1, Rule: "SYN unanswered"}},
		{"accepted by a pod that has gone", account{timeout, wait, 900, "aq", journal.EndPeer, 0}, routed(gonePod, -9*ms, -1*ms, 9*ms, false), nil, Verdict{Cause: cause.Timeout, Evidence: ByWorker, Worker: worker, Rule: "accepted too late"}},

		{"unreachable", account{results.ClassUnreachable, connect, 0, "", 0, 0}, nil, nil, Verdict{Cause: cause.NoRoute, Evidence: ByClient, Worker: -1, Rule: "unreachable"}},
		{"served too late", account{timeout, wait, 900, "aqr", journal.EndServed, 0}, nil, nil, Verdict{Cause: cause.Timeout, Evidence: ByWorker, Worker: worker, Rule: "accepted too late"}},
		{"accepted after the client had left", account{timeout, wait, 900, "a", journal.EndPeer, 0}, nil, nil, Verdict{Cause: cause.Timeout, Evidence: ByWorker, Worker: worker, Rule: "accepted too late"}},
		{"waited in the queue", account{timeout, wait, 900, "", 0, 0}, overflow(5), nil, Verdict{Cause: cause.Timeout, Evidence: ByClient, Worker: -1, Rule: "connected, and never accepted"}},
		{"left in the queue", waited, readQueues(overflow(5), attempt0), nil, Verdict{Cause: cause.QueuedUnaccepted, Evidence: ByKernel, Worker: -1, Rule: "left in an accept queue"}},
		{"reset in the queue after its client had left", waited, resetLate, nil, Verdict{Cause: cause.QueuedUnaccepted, Evidence: ByKernel, Worker: 7, Rule: "left in an accept queue"}},
		{"in the queue at first, accepted later", account{timeout, wait, 900, "a", journal.EndPeer, 0}, readQueues(overflow(5), attempt0), nil, Verdict{Cause: cause.Timeout, Evidence: ByWorker, Worker: worker, Rule: "accepted too late"}},
		{"in no queue, and a queue overflowed", waited, readQueues(overflow(5)), nil, Verdict{Cause: cause.AcceptOverflow, Evidence: ByCounter, Worker: -1, Rule: "last ACK at a full queue"}},
		{"in no queue, after being held up", waited, heldFirst, nil, Verdict{Cause: cause.AcceptOverflow, Evidence: ByCounter, Worker: -1, Rule: "last ACK at a full queue"}},
		{"held up, then the queue was full", waited, fullThen, nil, Verdict{Cause: cause.AcceptOverflow, Evidence: ByKernel, Worker: -1, Rule: "ACK dropped at a full queue"}},
		{"in no queue, and none overflowed", waited, readQueues(&Facts{Duration: time.Second}), nil, Verdict{Cause: cause.Timeout, Evidence: ByClient, Worker: -1, Rule: "connected, and never accepted"}},
		{"in no queue, but one has ended", waited, closedToo, nil, Verdict{Cause: cause.Timeout, Evidence: ByClient, Worker: -1, Rule: "connected, and never accepted"}},
		{"in no queue, but an acceptor may have had it", waited, passedOn, nil, Verdict{Cause: cause.Timeout, Evidence: ByClient, Worker: -1, Rule: "connected, and never accepted"}},
		{"no answer to the SYN, and a queue overflowed", silent, overflow(5), nil, Verdict{Cause: cause.AcceptOverflow, Evidence: ByCounter, Worker: -1, Rule: "SYN at a full queue"}},
		{"reset, and handshakes were aborted", unread, abortedHandshakes(1), nil, Verdict{Cause: cause.AcceptOverflow, Evidence: ByCounter, Worker: -1, Rule: "last ACK reset at a full queue"}},
		{"no answer to a SYN that met a closing listener", silent, queue(), nil, Verdict{Cause: cause.SYNTimeout, Evidence: ByWorker, Worker: 7, Rule: "SYN at a closing listener"}},
		{"no answer to the SYN", silent, nil, nil, Verdict{Cause: cause.SYNTimeout, Evidence: ByClient, Worker: -1, Rule: "SYN unanswered"}},
		{"refused", account{refused, connect, 0, "", 0, 0}, nil, nil, Verdict{Cause: cause.Refused, Evidence: ByClient, Worker: -1, Rule: "refused"}},

		{"refused, and accepted", account{refused, connect, 0, "aqr", journal.EndServed, 0}, nil, nil, Verdict{Cause: cause.Unknown, Evidence: ByClient, Worker: -1, Rule: "unexplained"}},
		{"reset before the listener closed", account{reset, wait, 1, "", 0, 0}, queue(), nil, Verdict{Cause: cause.Unknown, Evidence: ByClient, Worker: -1, Rule: "unexplained"}},
		{"reset, and nothing closed", unread, nil, nil, Verdict{Cause: cause.Unknown, Evidence: ByClient, Worker: -1, Rule: "unexplained"}},
		{"end of file that neither side sent", account{results.ClassEOF, wait, 2, "a", journal.EndPeer, 0}, nil, nil, Verdict{Cause: cause.Unknown, Evidence: ByClient, Worker: -1, Rule: "unexplained"}},
		{"reset, and the worker says it answered", account{reset, wait, 1, "aqr", journal.EndServed, 0}, queue(), nil, Verdict{Cause: cause.Unknown, Evidence: ByClient, Worker: -1, Rule: "unexplained"}},
		{"killed at another time", account{reset, wait, 1, "", 0, 0}, closes(Closing{Killed: true}), nil, Verdict{Cause: cause.Unknown, Evidence: ByClient, Worker: -1, Rule: "unexplained"}},
		{"a shared socket handed on resets nothing", unread, closes(Closing{}), nil, Verdict{Cause: cause.Unknown, Evidence: ByClient, Worker: -1, Rule: "unexplained"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := testBook(t, 1)
			if tt.change != nil {
				b = testBook(t, 1, tt.change)
			}
			enter(b, 0, tt.account)
			facts := tt.facts
			if facts == nil {
				facts = &Facts{Duration: time.Second}
			}
			first, again := b.Close(facts).Verdict(0), b.Close(facts).Verdict(0)
			if first != again {
				t.Errorf("judged again: %+v, at first %+v", again, first)
			}
			got := first
			got.Kernel, got.Explained = nil, false
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			if first.Explained != (tt.want.Cause != cause.Unknown) {
				t.Errorf("explained: %v", first.Explained)
			}
			hasEvents := facts.Trace != nil || facts.QueueReadings != nil
			if (first.Kernel != nil) != (first.Evidence == ByKernel && hasEvents) {
				t.Errorf("the verdict has the kernel event %+v", first.Kernel)
			}
			if b.unmatched != 0 {
				t.Errorf("%d unmatched accounts", b.unmatched)
			}
			decided[first.Rule] = true
		})
	}
	for _, rule := range slices.Concat(keptConnections(t), foreignServers(t)) {
		decided[rule] = true
	}
	for _, r := range rules {
		if !decided[r.name] {
			t.Errorf("no case is decided by the rule %q", r.name)
		}
	}
}

// keptConnections judges attempts that reuse the connection of attempt 0. It returns the rules that
// decided.
func keptConnections(t *testing.T) (rules []string) {
	silent := account{results.ClassTimeout, results.PhaseWait, 900, "", 0, 0}
	unconnected := account{results.ClassTimeout, results.PhaseConnect, 900, "", 0, 0}
	for _, tt := range []struct {
		name    string
		facts   *Facts
		account account     // of attempt 1
		end     journal.End // of the connection; 0: the worker died while it was open
		want    string
		worker  int
	}{
		{"silence from a node that is down", routed(gonePod, -9*ms, -1*ms, 9*ms, false), silent, journal.EndPeer, cause.StaleConnection, 3},
		{"silence from a pod that listens", routed(livePod, -9*ms, -1*ms, 9*ms, false), silent, journal.EndPeer, cause.Timeout, worker},
		{"closed by its pod, which has gone", routed(gonePod, -9*ms, -1*ms, 9*ms, false), account{results.ClassEOF, results.PhaseWait, 2, "", 0, 0}, journal.EndServed, cause.ClosedByWorker, worker},
		{"closed by the worker while it was idle", &Facts{Duration: time.Second}, account{results.ClassReset, results.PhaseWait, 2, "", 0, 0}, journal.EndServed, cause.ClosedByWorker, worker},
		{"worker died", &Facts{Duration: time.Second}, account{results.ClassReset, results.PhaseWait, 2, "", 0, 0}, 0, cause.WorkerCrash, worker},
		{"no kept connection was free", overflow(5), unconnected, journal.EndPeer, cause.Timeout, noWorker},
	} {
		t.Run("kept connection: "+tt.name, func(t *testing.T) {
			b := testBook(t, 2, reuses)
			enter(b, 0, account{done: 1, server: "aqr"})
			due := int64(begin) + int64(b.scheduled(1))
			source := b.sources.At(0)
			if tt.account == unconnected {
				source = netip.AddrPort{}
			}
			b.Sample(&results.Sample{
				Sequence: 1, Scheduled: due, Sent: due, Done: due + tt.account.done*int64(ms),
				Source: source, Class: tt.account.class, Phase: tt.account.phase,
				Worker: -1, Generation: -1,
			})
			if tt.end != 0 {
				b.Record(worker, journal.Record{Conn: 0, Kind: journal.Ended, End: tt.end})
			}
			got := b.Close(tt.facts).Verdict(1)
			if got.Cause != tt.want || got.Worker != tt.worker || !got.Explained {
				t.Errorf("got %+v, want %s by worker %d", got, tt.want, tt.worker)
			}
			rules = append(rules, got.Rule)
		})
	}
	return rules
}

func overflowing(f *Facts) *Facts {
	f.Moved = map[string]int64{"TcpExtListenOverflows": 5}
	return f
}

// Fill counts error answers by their status. It also counts the attempts whose samples are marked
// as Retriable or Unverified.
func TestAnswers(t *testing.T) {
	for _, reuses := range []bool{true, false} {
		b := testBook(t, 5, func(l *Load) { l.Reuses = reuses })
		for i, s := range []results.Sample{
			{Class: results.ClassErrorAnswer, Phase: results.PhaseBody, Status: 503},
			{Class: results.ClassErrorAnswer, Phase: results.PhaseBody, Status: 500},
			{Class: results.ClassErrorAnswer, Phase: results.PhaseBody, Status: 503},
			{Class: results.ClassReset, Phase: results.PhaseWait, Retriable: true},
			{Status: 200, Unverified: true, Worker: -1, Generation: -1},
		} {
			s.Sequence, s.Source = uint64(i), b.sources.At(uint64(i))
			s.Scheduled = int64(begin) + int64(i)*int64(ms)
			s.Sent, s.Done = s.Scheduled, s.Scheduled+1000
			b.Sample(&s)
		}
		var r results.Trial
		a := b.Close(&Facts{Duration: 5 * time.Millisecond})
		a.Fill(&r)
		want := map[string]int64{"500": 1, "503": 2}
		if d := cmp.Diff(r.ErrorAnswers, want); d != "" || r.LostByCause[cause.ErrorAnswer] != 3 {
			t.Errorf("%d lost by error_answer, by status: got -, want +:\n%s",
				r.LostByCause[cause.ErrorAnswer], d)
		}
		if (r.Retriable != nil) != reuses || reuses && *r.Retriable != 1 || r.Unverified != 1 {
			t.Errorf("kept connections %t: retriable %v, unverified %d", reuses, r.Retriable,
				r.Unverified)
		}
		if got, want := r.Losses[0].Error, "error answer 503"; got != want {
			t.Errorf("the first loss has error %q, want %q", got, want)
		}
	}
}
