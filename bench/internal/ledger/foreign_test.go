package ledger

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/bench/internal/load"
	"reuseport-bench/bench/internal/witness"
	"reuseport-bench/results"
	"reuseport-bench/results/cause"
	"reuseport-bench/servers/clock"
)

// The sizes of a request and of its answer, in bytes.
const requestSize, answerSize = 81, 131

// foreignPID is the PID of the third-party server's only process, unless a test sets others.
const foreignPID = 4711

func foreignServer(l *Load) { l.Foreign = true }

// got is the client's account of an attempt at a third-party server.
type got struct {
	class    results.Class
	phase    results.Phase
	done     int64 // when the attempt ended, in ms after it was due
	status   int
	received int
	source   uint64 // 1 + number of the try whose connection it used; 0: it opened its own
	worker   int    // 1 + index in load.Identities
	failed   []results.FailedTry
	again    int64 // when the last of several tries began, in ms after it was due
}

var wasServed = got{done: 1, status: 200, received: answerSize}

// enterGot adds the client's account of attempt i.
func enterGot(b *Book, i int, g got) {
	due := int64(begin) + int64(b.scheduled(i))
	s := results.Sample{
		Sequence: uint64(i), Scheduled: due, Sent: due, Done: due + g.done*int64(ms),
		Class: g.class, Phase: g.phase, Status: g.status, Received: g.received,
		Source: b.sources.At(b.maxAttempts()*uint64(len(g.failed)) + uint64(i)),
		Worker: g.worker - 1, Generation: -1, Failed: g.failed,
	}
	if g.source > 0 {
		s.Source = b.sources.At(g.source - 1)
	}
	if g.phase != results.PhaseConnect {
		s.Written = requestSize
	}
	if len(g.failed) > 0 {
		s.LastSent = due + g.again*int64(ms)
	}
	b.Sample(&s)
}

// endOf returns the end of a connection that the given try opened. read and unread are the numbers
// of bytes that the server read and left unread, and sent is the number that it sent, until a
// process closed the connection at the instant closed.
func endOf(
	b *Book, try uint64, way witness.Way, read, unread, sent int, closed Time,
) witness.SocketEnd {
	return witness.SocketEnd{
		Server: netip.MustParseAddrPort("127.0.0.1:80"), Client: b.sources.At(try),
		Cookie: try + 1, Way: way, Accepted: true, Known: witness.KnowsAll,
		Received: uint64(read + unread), Unread: uint64(unread), Sent: uint64(sent),
		Reader: foreignPID, Closer: foreignPID,
		Born: begin, FirstRead: begin, Closed: begin + clock.Instant(closed),
		Ended: begin + clock.Instant(closed),
	}
}

// servedEnd returns the end of the connection of attempt i, if the attempt opened it and was served
// on it.
func servedEnd(b *Book, i int) witness.SocketEnd {
	return endOf(b, uint64(i), witness.Closed, requestSize, 0, answerSize, Time(i+1)*ms)
}

// watched returns facts whose witness traced the given ends. The kernel's counters agree with the
// ends.
func watched(ends ...witness.SocketEnd) *Facts {
	unread := int64(0)
	for i := range ends {
		if ends[i].Way == witness.ClosedUnread {
			unread++
		}
	}
	return &Facts{Duration: time.Second, Witness: &witness.Account{
		Ends: ends, Births: int64(len(ends)), Moved: kernel.Counters{
			"TcpPassiveOpens": int64(len(ends)), "TcpExtTCPAbortOnClose": unread,
		},
	}}
}

// untraced changes facts as if an ordinary user had run the trial. The witness then relies on
// obituaries: they contain neither processes nor times, and of a socket that the kernel had
// cleared, only the client's address without its port.
func untraced(f *Facts) *Facts {
	w := f.Witness
	w.Untraced, w.Births = "needs CAP_BPF; run as root", 0
	for i := range w.Ends {
		e := &w.Ends[i]
		e.Reader, e.Closer, e.Exiting, e.Signal = 0, 0, false, 0
		e.Born, e.FirstRead, e.Closed, e.Ended = 0, 0, 0, 0
		switch e.Way {
		case witness.ListenerClosed, witness.Aborted:
			client := netip.AddrPortFrom(e.Client.Addr(), 0)
			*e = witness.SocketEnd{Client: client, Way: witness.Reset, Known: witness.KnowsWay}
		case witness.StillOpen, witness.StillQueued:
			e.Known = witness.KnowsClient | witness.KnowsState | witness.KnowsWay |
				witness.KnowsBytes | witness.KnowsFIN | witness.KnowsAccepted
		default:
			e.Way, e.Known = witness.UnknownWay, witness.KnowsClient|witness.KnowsBytes
			if e.Received > 0 {
				e.Known |= witness.KnowsAccepted
			}
		}
	}
	return f
}

// closed adds to facts the close of a listener between 0 and 3 ms.
func closed(f *Facts) *Facts {
	f.Closings = []Closing{{Worker: noWorker, To: 3 * ms, OwnsQueue: true}}
	return f
}

// foreignServers judges attempts at a third-party server, each as if root had run the trial and as
// if an ordinary user had. It returns the rules that decided.
func foreignServers(t *testing.T) (decided []string) {
	const (
		connect, send = results.PhaseConnect, results.PhaseSend
		wait, body    = results.PhaseWait, results.PhaseBody
		reset, eof    = results.ClassReset, results.ClassEOF
		timeout       = results.ClassTimeout
		process       = 0 // the id of foreignPID's process
	)
	type want struct {
		state    State
		cause    string
		evidence Evidence
		worker   int
		rule     string
	}
	wasReset := got{class: reset, phase: wait, done: 2}
	hadEOF := got{class: eof, phase: wait, done: 2}
	waited := got{class: timeout, phase: wait, done: 900}
	cutShort := got{class: eof, phase: body, done: 2, received: 20}
	killed := func(e *witness.SocketEnd) { e.Exiting, e.Signal = true, unix.SIGKILL }
	exited := func(e *witness.SocketEnd) { e.Exiting = true }
	unaccepted := func(e *witness.SocketEnd) { e.Accepted = false }
	none := func(e *witness.SocketEnd) { *e = witness.SocketEnd{} } // the witness has no end
	const (
		closedRule, died = "closed unanswered", "worker died"
		part             = "closed with a part of the request read"
		cut              = "closed with a part of the response sent"
		middle           = "process killed in the middle"
		late, held       = "accepted too late", "held to the end"
		never            = "connected, and never accepted"
	)
	unknown := want{Unwitnessed, cause.Unknown, ByClient, -1, "unexplained"}
	for _, tt := range []struct {
		name               string
		got                got
		way                witness.Way
		read, unread, sent int
		change             func(*witness.SocketEnd)
		facts              func(*Facts) *Facts
		root, user         want
	}{
		{"reset with its listener", wasReset, witness.ListenerClosed, 0, requestSize, 0, unaccepted, closed, want{NeverAccepted, cause.ResetAtClose, ByKernel, process, "reset in the queue"}, want{Unwitnessed, cause.ResetAtClose, ByCounter, -1, ruleEmptiedAtClose}},
		{"left in a queue", waited, witness.StillQueued, 0, requestSize, 0, unaccepted, nil, want{NeverAccepted, cause.QueuedUnaccepted, ByKernel, -1, "left in an accept queue"}, want{NeverAccepted, cause.QueuedUnaccepted, ByKernel, -1, "left in an accept queue"}},
		{"half-open", wasReset, 0, 0, 0, 0, none, closed, want{NeverAccepted, cause.ResetHalfOpen, ByKernel, -1, "no socket was made for it"}, want{Unwitnessed, cause.ResetHalfOpen, ByWorker, -1, "no obituary is left for it"}},
		{"closed unread", wasReset, witness.ClosedUnread, 0, requestSize, 0, nil, nil, want{UnreadClosed, cause.ClosedByWorker, ByKernel, process, closedRule}, want{UnreadClosed, cause.ClosedByWorker, ByKernel, -1, closedRule}},
		{"killed with it unread", wasReset, witness.ClosedUnread, 0, requestSize, 0, killed, nil, want{UnreadDied, cause.WorkerCrash, ByKernel, process, died}, want{UnreadClosed, cause.ClosedByWorker, ByKernel, -1, closedRule}},
		{"exited with it unread", wasReset, witness.ClosedUnread, 0, requestSize, 0, exited, nil, want{UnreadClosed, cause.ClosedByWorker, ByKernel, process, closedRule}, want{UnreadClosed, cause.ClosedByWorker, ByKernel, -1, closedRule}},
		{"read in part", wasReset, witness.ClosedUnread, 9, requestSize - 9, 0, nil, nil, want{PartRead, cause.ClosedByWorker, ByKernel, process, part}, want{PartRead, cause.ClosedByWorker, ByKernel, -1, part}},
		{"killed with a part read", wasReset, witness.ClosedUnread, 9, requestSize - 9, 0, killed, nil, want{PartRead, cause.WorkerCrash, ByKernel, process, middle}, want{PartRead, cause.ClosedByWorker, ByKernel, -1, part}},
		{"read, unanswered", hadEOF, witness.Closed, requestSize, 0, 0, nil, nil, want{ReadUnanswered, cause.ClosedByWorker, ByKernel, process, closedRule}, want{ReadUnanswered, cause.ClosedByWorker, ByKernel, -1, closedRule}},
		{"killed with it read", hadEOF, witness.Closed, requestSize, 0, 0, killed, nil, want{ReadDied, cause.WorkerCrash, ByKernel, process, died}, want{ReadUnanswered, cause.ClosedByWorker, ByKernel, -1, closedRule}},
		{"read, and reset on purpose", wasReset, witness.Aborted, requestSize, 0, 0, nil, nil, want{ReadAborted, cause.ClosedByWorker, ByKernel, process, closedRule}, want{Unwitnessed, cause.ClosedByWorker, ByCounter, -1, ruleEmptied}},
		{"cut off", cutShort, witness.Closed, requestSize, 0, 20, nil, nil, want{PartAnswered, cause.CutOff, ByKernel, process, cut}, want{PartAnswered, cause.CutOff, ByKernel, -1, cut}},
		{"answered, and its client's kernel lost that by a reset", wasReset, witness.ClosedUnread, 40, requestSize - 40, answerSize, nil, nil, want{PartAnswered, cause.CutOff, ByKernel, process, cut}, want{PartAnswered, cause.CutOff, ByKernel, -1, cut}},
		{"killed within the answer", cutShort, witness.Closed, requestSize, 0, 20, killed, nil, want{PartAnswered, cause.WorkerCrash, ByKernel, process, middle}, want{PartAnswered, cause.CutOff, ByKernel, -1, cut}},
		{"held, read", waited, witness.StillOpen, requestSize, 0, 0, nil, nil, want{ReadHeld, cause.Timeout, ByKernel, process, held}, want{ReadHeld, cause.Timeout, ByKernel, -1, held}},
		{"held, unread", waited, witness.StillOpen, 0, requestSize, 0, nil, nil, want{UnreadHeld, cause.Timeout, ByKernel, process, held}, want{UnreadHeld, cause.Timeout, ByKernel, -1, held}},
		{"read, and its client left", waited, witness.Closed, requestSize, 0, 0, nil, nil, want{ReadPeerGone, cause.Timeout, ByKernel, process, late}, want{ReadPeerGone, cause.Timeout, ByKernel, -1, late}},
		{"unread, and its client left", waited, witness.ClosedUnread, 0, requestSize, 0, nil, nil, want{UnreadPeerGone, cause.Timeout, ByKernel, process, late}, want{UnreadPeerGone, cause.Timeout, ByKernel, -1, late}},
		{"answered too late", waited, witness.Closed, requestSize, 0, answerSize, nil, nil, want{Answered, cause.Timeout, ByKernel, process, late}, want{Answered, cause.Timeout, ByKernel, -1, late}},
		{"its last ACK was lost", waited, 0, 0, 0, 0, none, nil, want{NeverAccepted, cause.Timeout, ByClient, -1, never}, want{Unwitnessed, cause.Timeout, ByClient, -1, never}},
		{"no answer to the SYN", got{class: timeout, phase: connect, done: 900}, 0, 0, 0, 0, none, nil, want{NeverAccepted, cause.SYNTimeout, ByClient, -1, "SYN unanswered"}, want{NeverAccepted, cause.SYNTimeout, ByClient, -1, "SYN unanswered"}},
		{"refused", got{class: results.ClassRefused, phase: connect, done: 1}, 0, 0, 0, 0, none, nil, want{NeverAccepted, cause.Refused, ByClient, -1, "refused"}, want{NeverAccepted, cause.Refused, ByClient, -1, "refused"}},
		{"an error answer", got{class: results.ClassErrorAnswer, phase: body, done: 2, status: 503, received: answerSize}, witness.Closed, requestSize, 0, answerSize, nil, nil, want{Answered, cause.ErrorAnswer, ByClient, process, "answered by an error"}, want{Answered, cause.ErrorAnswer, ByClient, -1, "answered by an error"}},
		{"a malformed answer", got{class: results.ClassInvalid, phase: body, done: 2, received: 9}, witness.Closed, requestSize, 0, 9, nil, nil, want{Answered, cause.InvalidAnswer, ByClient, process, "malformed answer"}, want{Answered, cause.InvalidAnswer, ByClient, -1, "malformed answer"}},

		// The client's account and the end contradict each other.
		{"refused, and accepted", got{class: results.ClassRefused, phase: connect, done: 1}, witness.Closed, 0, 0, 0, nil, nil, want{UnreadClosed, cause.Unknown, ByClient, -1, "unexplained"}, want{}},
		{"reset, and still open", wasReset, witness.StillOpen, requestSize, 0, 0, nil, nil, want{ReadHeld, cause.Unknown, ByClient, -1, "unexplained"}, want{ReadHeld, cause.Unknown, ByClient, -1, "unexplained"}},
		{"reset, and open with a part read", wasReset, witness.StillOpen, 9, requestSize - 9, 0, nil, nil, want{PartRead, cause.Unknown, ByClient, -1, "unexplained"}, want{PartRead, cause.Unknown, ByClient, -1, "unexplained"}},
		{"cut off by its client, says the kernel", cutShort, witness.ResetByPeer, requestSize, 0, 20, nil, nil, want{PartAnswered, cause.Unknown, ByClient, -1, "unexplained"}, want{}},
		{"reset before the server closed", wasReset, witness.ClosedUnread, 0, requestSize, 0, func(e *witness.SocketEnd) { e.Closed += clock.Instant(9 * ms) }, nil, want{UnreadClosed, cause.Unknown, ByClient, -1, "unexplained"}, want{}},
		{"reset by its client, says the kernel", wasReset, witness.ResetByPeer, 0, requestSize, 0, nil, nil, want{UnreadPeerGone, cause.Unknown, ByClient, -1, "unexplained"}, want{}},
		{"reset, and nobody knows of it", wasReset, 0, 0, 0, 0, none, nil, want{}, unknown},
	} {
		for _, user := range []bool{false, true} {
			name, want := "foreign, root: "+tt.name, tt.root
			if user {
				name, want = "foreign, user: "+tt.name, tt.user
			}
			if want.cause == "" {
				continue
			}
			t.Run(name, func(t *testing.T) {
				b := testBook(t, 2, foreignServer)
				enterGot(b, 0, tt.got)
				enterGot(b, 1, wasServed)
				ends := []witness.SocketEnd{servedEnd(b, 1)}
				e := endOf(b, 0, tt.way, tt.read, tt.unread, tt.sent, 1*ms)
				if tt.change != nil {
					tt.change(&e)
				}
				if e.Known != 0 {
					ends = append(ends, e)
				}
				f := watched(ends...)
				if tt.facts != nil {
					f = tt.facts(f)
				}
				if user {
					f = untraced(f)
				}
				a := b.Close(f)
				v := a.Verdict(0)
				if want.cause == cause.Unknown {
					want.worker = v.Worker
				}
				explained := want.cause != cause.Unknown
				if v.Explained != explained || !a.Verdict(1).Explained {
					t.Errorf("explained %v; the served attempt %+v", v.Explained, a.Verdict(1))
				}
				g := struct {
					state    State
					cause    string
					evidence Evidence
					worker   int
					rule     string
				}{b.attempts[0].State, v.Cause, v.Evidence, v.Worker, v.Rule}
				if g != want {
					t.Errorf("got  %v %+v\nwant %v %+v", g.state, g, want.state, want)
				}
				if got, want := residual(a), map[bool]int64{false: 1}[explained]; got != want {
					t.Errorf("residual %d, want %d", got, want)
				}
				decided = append(decided, v.Rule)
			})
		}
	}
	return append(decided, clientOnly(t)...)
}

// residual returns the residual of a trial.
func residual(a *Account) int64 {
	var r results.Trial
	a.Fill(&r)
	return r.Residual
}

// clientOnly judges attempts of which only the client's account is known. It returns the rules that
// decided.
func clientOnly(t *testing.T) (decided []string) {
	const connect, send, wait, body = results.PhaseConnect, results.PhaseSend, results.PhaseWait,
		results.PhaseBody
	for _, tt := range []struct {
		class results.Class
		phase results.Phase
		state State
		cause string
	}{
		{results.ClassNone, 0, Answered, ""},
		{results.ClassRefused, connect, NeverAccepted, cause.Refused},
		{results.ClassUnreachable, connect, NeverAccepted, cause.NoRoute},
		{results.ClassReset, connect, Unwitnessed, cause.Reset},
		{results.ClassReset, send, Unwitnessed, cause.Reset},
		{results.ClassReset, wait, Unwitnessed, cause.Reset},
		{results.ClassReset, body, Unwitnessed, cause.CutOff},
		{results.ClassEOF, wait, Unwitnessed, cause.Closed},
		{results.ClassEOF, body, Unwitnessed, cause.CutOff},
		{results.ClassTimeout, connect, NeverAccepted, cause.SYNTimeout},
		{results.ClassTimeout, wait, Unwitnessed, cause.Timeout},
		{results.ClassTimeout, body, Unwitnessed, cause.Timeout},
		{results.ClassInvalid, body, Unwitnessed, cause.InvalidAnswer},
		{results.ClassErrorAnswer, body, Answered, cause.ErrorAnswer},
		{results.ClassAborted, wait, Unwitnessed, cause.Client},
		{15, wait, Unwitnessed, cause.Unknown}, // a class that no rule knows
	} {
		name := "client only: " + tt.phase.String() + ": " + tt.class.String()
		t.Run(name, func(t *testing.T) {
			b := testBook(t, 1, foreignServer)
			enterGot(b, 0, got{class: tt.class, phase: tt.phase, done: 2})
			a := b.Close(&Facts{Duration: time.Second, Unwitnessed: "ENOBUFS"})
			v := a.Verdict(0)
			if b.attempts[0].State != tt.state || v.Cause != tt.cause || !v.Explained {
				t.Errorf("%v, %+v; want %v, %s", b.attempts[0].State, v, tt.state, tt.cause)
			}
			if tt.cause != "" && v.Evidence != ByClient {
				t.Errorf("known from %v", v.Evidence)
			}
			var r results.Trial
			a.Fill(&r)
			want := &results.Witness{ClientOnly: "ENOBUFS"}
			if diff := cmp.Diff(r.Witness, want); diff != "" || r.Residual != 0 {
				t.Errorf("residual %d; witness: got -, want +:\n%s", r.Residual, diff)
			}
			decided = append(decided, v.Rule)
		})
	}
	return decided
}

// TestClientOnly checks the reasons why the witness's account is not used, and that nothing is
// concluded from that account then.
func TestClientOnly(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Load)
		facts  func(*Facts)
		want   string // the beginning of the reason; "": the account is used
	}{
		{"traced", nil, nil, ""},
		{"not traced", nil, func(f *Facts) { untraced(f) }, ""},
		{"no witness", nil, func(f *Facts) { f.Witness = nil }, "nothing watched"},
		{"lost ends", nil, func(f *Facts) { f.Witness.Lost = 3 }, "the kernel had no room for 3"},
		{"a proxy", proxied, nil, "a proxy is between"},
		{"ports in turn", func(l *Load) { l.Ports = 2 }, func(f *Facts) { untraced(f) },
			"clients use ports again, and connections were not traced (needs CAP_BPF"},
		{"ports in turn, traced", func(l *Load) { l.Ports = 2 }, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			changes := []func(*Load){foreignServer}
			if tt.change != nil {
				changes = append(changes, tt.change)
			}
			b := testBook(t, 4, changes...)
			var ends []witness.SocketEnd
			for i := range 4 {
				enterGot(b, i, wasServed)
				e := servedEnd(b, i)
				e.Born = begin + clock.Instant(i)*clock.Instant(ms) + 1000
				ends = append(ends, e)
			}
			f := watched(ends...)
			if tt.facts != nil {
				tt.facts(f)
			}
			var r results.Trial
			b.Close(f).Fill(&r)
			w := r.Witness
			if r.Residual != 0 || !strings.HasPrefix(w.ClientOnly, tt.want) ||
				(w.ClientOnly == "") != (tt.want == "") || (w.By == "") != (tt.want != "") {
				t.Errorf("residual %d, %+v; want %q", r.Residual, w, tt.want)
			}
		})
	}
}

// TestForeignBalance checks that if the kernel, the witness and the clients disagree about a
// connection, the residual counts that connection once.
func TestForeignBalance(t *testing.T) {
	probe := netip.MustParseAddrPort("127.0.0.9:40000")
	for _, tt := range []struct {
		name     string
		user     bool
		change   func(b *Book, w *witness.Account)
		want     int64
		stranger int64
	}{
		{"balanced", false, nil, 0, 0},
		{"balanced, not traced", true, nil, 0, 0},
		{"an end of a served attempt is missing", false, func(_ *Book, w *witness.Account) {
			w.Ends = w.Ends[1:]
		}, 1, 0},
		{"the same, not traced", true, func(_ *Book, w *witness.Account) {
			w.Ends = w.Ends[1:]
		}, 1, 0},
		{"the same, and the kernel did not count it", false, func(_ *Book, w *witness.Account) {
			w.Ends, w.Births = w.Ends[1:], w.Births-1
			w.Moved["TcpPassiveOpens"]--
		}, 1, 0},
		{"the end of a lost attempt is missing", false, func(_ *Book, w *witness.Account) {
			w.Ends = w.Ends[:3]
			w.Moved["TcpExtTCPAbortOnClose"] = 0
		}, 1, 0},
		{"the same, not traced, so that nothing explains the attempt", true,
			func(_ *Book, w *witness.Account) {
				w.Ends = w.Ends[:3]
				w.Moved["TcpExtTCPAbortOnClose"] = 0
			}, 1, 0},
		{"the kernel counted two more", false, func(_ *Book, w *witness.Account) {
			w.Moved["TcpPassiveOpens"] += 2
		}, 2, 0},
		{"the kernel counted one less", false, func(_ *Book, w *witness.Account) {
			w.Moved["TcpPassiveOpens"]--
		}, 1, 0},
		{"listeners made one more", false, func(_ *Book, w *witness.Account) { w.Births++ }, 1, 0},
		{"the kernel does not count", false, func(_ *Book, w *witness.Account) {
			w.Moved = nil
		}, 0, 0},
		{"an end that is nobody's", false, func(b *Book, w *witness.Account) {
			e := servedEnd(b, 0)
			e.Client = b.sources.At(b.maxAttempts() + 40)
			add(w, e)
		}, 1, 0},
		{"an end that is nobody's, and was not counted", false, func(b *Book, w *witness.Account) {
			e := servedEnd(b, 0)
			e.Client = b.sources.At(b.maxAttempts() + 40)
			w.Ends = append(w.Ends, e)
		}, 1, 0},
		{"two ends of one connection", false, func(b *Book, w *witness.Account) {
			add(w, servedEnd(b, 0))
		}, 1, 0},
		{"a socket that was made twice", false, func(b *Book, w *witness.Account) {
			e := servedEnd(b, 0)
			e.Way, e.Accepted, e.Received, e.Sent = witness.NotEstablished, false, 0, 0
			w.Ends = append([]witness.SocketEnd{e}, w.Ends...)
			w.Births++
			w.Moved["TcpPassiveOpens"]++
		}, 0, 0},
		{"a socket that was made twice, and seen last", true, func(b *Book, w *witness.Account) {
			add(w, witness.SocketEnd{Client: b.sources.At(0), Known: witness.KnowsClient})
		}, 0, 0},
		{"an anonymous end too many", true, func(b *Book, w *witness.Account) {
			add(w, witness.SocketEnd{Way: witness.Reset, Known: witness.KnowsWay,
				Client: netip.AddrPortFrom(b.sources.At(0).Addr(), 0)})
		}, 1, 0},
		{"an anonymous end of a probe", true, func(_ *Book, w *witness.Account) {
			add(w, witness.SocketEnd{Way: witness.Reset, Known: witness.KnowsWay,
				Client: netip.AddrPortFrom(probe.Addr(), 0)})
		}, 0, 1},
		{"a probe", false, func(b *Book, w *witness.Account) {
			e := servedEnd(b, 0)
			e.Client = probe
			add(w, e)
		}, 0, 1},
		{"served, and reset afterwards", true, func(b *Book, w *witness.Account) {
			w.Ends[0] = witness.SocketEnd{Way: witness.Reset, Known: witness.KnowsWay,
				Client: netip.AddrPortFrom(b.sources.At(0).Addr(), 0)}
		}, 0, 0},
		{"served, and never read", false, func(_ *Book, w *witness.Account) {
			w.Ends[0].Unread, w.Ends[0].Sent = requestSize, 0
		}, 1, 0},
		{"served, and nothing was read", false, func(_ *Book, w *witness.Account) {
			w.Ends[0].Unread = requestSize
		}, 1, 0},
		{"served, with a byte missing", false, func(_ *Book, w *witness.Account) {
			w.Ends[0].Sent--
		}, 1, 0},
		{"served before the request was read", false, func(_ *Book, w *witness.Account) {
			w.Ends[0].Unread = requestSize - 1
		}, 0, 0},
		{"closed unread, and not counted", false, func(_ *Book, w *witness.Account) {
			w.Moved["TcpExtTCPAbortOnClose"]--
		}, 1, 0},
		{"closed unread by somebody else", false, func(_ *Book, w *witness.Account) {
			w.Moved["TcpExtTCPAbortOnClose"] += 2
		}, 2, 0},
		{"closed unread by a client", false, func(_ *Book, w *witness.Account) {
			w.Ends[0].Sent += 40 // after the answer that the client read
			w.Moved["TcpExtTCPAbortOnClose"]++
		}, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := testBook(t, 4, foreignServer)
			var ends []witness.SocketEnd
			for i := range 3 {
				enterGot(b, i, wasServed)
				ends = append(ends, servedEnd(b, i))
			}
			enterGot(b, 3, got{class: results.ClassReset, phase: results.PhaseWait, done: 2})
			ends = append(ends,
				endOf(b, 3, witness.ClosedUnread, 0, requestSize, 0, 4*ms))
			f := watched(ends...)
			if tt.user {
				untraced(f)
			}
			if tt.change != nil {
				tt.change(b, f.Witness)
			}
			a := b.Close(f)
			if got := residual(a); got != tt.want {
				t.Errorf("residual %d, want %d", got, tt.want)
			}
			if got := residual(b.Close(f)); got != tt.want {
				t.Errorf("judged again: residual %d, want %d", got, tt.want)
			}
			if a.foreign.strangers != tt.stranger {
				t.Errorf("%d strangers, want %d", a.foreign.strangers, tt.stranger)
			}
		})
	}
}

// TestForeignAborted checks that a connection which the load itself reset does not count as closed
// by the server with unread data. Without a trace, both ends look the same.
func TestForeignAborted(t *testing.T) {
	b := testBook(t, 1, foreignServer)
	enterGot(b, 0, got{class: results.ClassAborted, phase: results.PhaseWait})
	f := untraced(watched(endOf(b, 0, witness.ResetByPeer, 0, requestSize, 0, 1*ms)))
	if got := residual(b.Close(f)); got != 0 {
		t.Errorf("residual %d, want 0", got)
	}
}

// add adds an end to an account, and counts it in the account's kernel counters.
func add(w *witness.Account, e witness.SocketEnd) {
	w.Ends = append(w.Ends, e)
	w.Births++
	w.Moved["TcpPassiveOpens"]++
}

// TestForeignKept checks the attempts on one reused connection. The last attempt is judged by the
// bytes that come after those of the attempts before it.
func TestForeignKept(t *testing.T) {
	const reset, wait = results.ClassReset, results.PhaseWait
	lost := got{class: reset, phase: wait, done: 2}
	saysIdle := got{class: results.ClassEOF, phase: wait, done: 2, status: 408}
	const sizeOf408 = 70
	for _, tt := range []struct {
		name         string
		last         got
		way          witness.Way
		read, unread int // in all
		sent         int
		want         State
		cause        string
		residual     int64
	}{
		{"all served", wasServed, witness.Closed, 3 * requestSize, 0, 3 * answerSize, Answered, "", 0},
		{"closed while it was idle", lost, witness.Closed, 2 * requestSize, 0, 2 * answerSize, UnreadClosed, cause.ClosedByWorker, 0},
		{"closed while it was idle, with 408", saysIdle, witness.Closed, 2 * requestSize, 0, 2*answerSize + sizeOf408, UnreadClosed, cause.ClosedByWorker, 0},
		{"the same, and the request was unread", saysIdle, witness.ClosedUnread, 2 * requestSize, requestSize, 2*answerSize + sizeOf408, UnreadClosed, cause.ClosedByWorker, 0},
		{"the same, and its client closed first", saysIdle, witness.ResetByPeer, 2 * requestSize, requestSize, 2*answerSize + sizeOf408, UnreadClosed, cause.ClosedByWorker, 0},
		{"closed unread", lost, witness.ClosedUnread, 2 * requestSize, requestSize, 2 * answerSize, UnreadClosed, cause.ClosedByWorker, 0},
		{"read in part", lost, witness.ClosedUnread, 2*requestSize + 1, requestSize - 1, 2 * answerSize, PartRead, cause.ClosedByWorker, 0},
		{"read", lost, witness.Closed, 3 * requestSize, 0, 2 * answerSize, ReadUnanswered, cause.ClosedByWorker, 0},
		{"answered in part", lost, witness.Closed, 3 * requestSize, 0, 2*answerSize + 1, PartAnswered, cause.CutOff, 0},
		{"the second was not answered", lost, witness.Closed, 2 * requestSize, 0, answerSize, UnreadClosed, cause.ClosedByWorker, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := testBook(t, 3, foreignServer, reuses)
			enterGot(b, 0, wasServed)
			second, last := wasServed, tt.last
			second.source, last.source = 1, 1
			enterGot(b, 2, last) // samples may come in any order
			enterGot(b, 1, second)
			e := endOf(b, 0, tt.way, tt.read, tt.unread, tt.sent, 3*ms)
			a := b.Close(watched(e))
			v := a.Verdict(2)
			if b.attempts[2].State != tt.want || v.Cause != tt.cause || v.Worker != 0 {
				t.Errorf("%v, %+v; want %v, %s", b.attempts[2].State, v, tt.want, tt.cause)
			}
			var r results.Trial
			a.Fill(&r)
			if r.Residual != tt.residual || r.Workers[0].Accepted != 1 {
				t.Errorf("residual %d, want %d; workers %+v", r.Residual, tt.residual, r.Workers)
			}
		})
	}
}

// TestForeignKeptEmptied checks a reused connection that has no end and whose last attempt was
// reset. It adds at most one to the residual.
func TestForeignKeptEmptied(t *testing.T) {
	for _, tt := range []struct {
		name     string
		user     bool
		end      bool // the witness has an anonymous end
		want     string
		residual int64
	}{
		{"with an anonymous end", true, true, cause.ClosedByWorker, 0},
		{"without one", true, false, cause.Unknown, 1},
		{"without one, traced", false, false, cause.Unknown, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := testBook(t, 2, foreignServer, reuses)
			enterGot(b, 0, wasServed)
			enterGot(b, 1, got{
				class: results.ClassReset, phase: results.PhaseWait, done: 2, source: 1,
			})
			var ends []witness.SocketEnd
			if tt.end {
				ends = append(ends, endOf(b, 0, witness.Aborted, requestSize, 0, answerSize, 2*ms))
			}
			f := closed(watched(ends...))
			if tt.user {
				untraced(f)
			}
			a := b.Close(f)
			if v := a.Verdict(1); v.Cause != tt.want || residual(a) != tt.residual {
				t.Errorf("%+v, residual %d; want %s, %d", v, residual(a), tt.want, tt.residual)
			}
		})
	}
}

// TestForeignKeptFromStart checks that a connection that was kept from the start must have an end.
func TestForeignKeptFromStart(t *testing.T) {
	b := testBook(t, 1, foreignServer, kept(2))
	g := wasServed
	g.source = 1 + b.maxAttempts()
	enterGot(b, 0, g)
	used := endOf(b, b.maxAttempts(), witness.Closed, requestSize, 0, answerSize, 3*ms)
	idle := endOf(b, b.maxAttempts()+1, witness.Closed, 0, 0, 0, 3*ms)
	if got := residual(b.Close(watched(used, idle))); got != 0 {
		t.Errorf("residual %d, want 0", got)
	}
	if got := residual(b.Close(watched(used))); got != 1 {
		t.Errorf("residual %d without the idle one's end, want 1", got)
	}
}

// TestForeignRetries checks the ends of connections of failed tries, and that a request that was
// read twice counts as repeated.
func TestForeignRetries(t *testing.T) {
	b := testBook(t, 3, foreignServer, func(l *Load) { l.Tries = 2 })
	again := wasServed
	again.failed = []results.FailedTry{{Failure: results.FailureUnanswered, Opened: true}}
	enterGot(b, 0, again)
	refused := wasServed
	refused.failed = []results.FailedTry{{Failure: results.FailureRefused, Opened: true}}
	enterGot(b, 1, refused)
	enterGot(b, 2, again)
	ends := []witness.SocketEnd{
		endOf(b, 0, witness.Closed, requestSize, 0, 0, 1*ms),         // read, unanswered
		endOf(b, 2, witness.ClosedUnread, 9, requestSize-9, 0, 1*ms), // read in part
	}
	for try := range uint64(3) {
		e := endOf(b, 3+try, witness.Closed, requestSize, 0, answerSize, 1*ms)
		ends = append(ends, e)
	}
	var r results.Trial
	b.Close(watched(ends...)).Fill(&r)
	if r.Residual != 0 || r.Retries.Repeated != 1 || r.Retries.RepeatedUnhandled != nil {
		t.Errorf("residual %d, %+v; want one attempt that was read twice", r.Residual, r.Retries)
	}
}

// TestForeignRetriedOnKept checks that the attempts on a connection are put in the order in which
// they used it. If one was tried again, that is not the order of the schedule.
func TestForeignRetriedOnKept(t *testing.T) {
	b := testBook(t, 2, foreignServer, reuses, func(l *Load) { l.Tries = 2 })
	enterGot(b, 0, got{
		class: results.ClassReset, phase: results.PhaseWait, done: 9, source: 2, again: 5,
		failed: []results.FailedTry{{Failure: results.FailureRefused, Opened: true}},
	})
	enterGot(b, 1, wasServed)
	e := endOf(b, 1, witness.ClosedUnread, requestSize+9, requestSize-9, answerSize, 8*ms)
	a := b.Close(watched(e))
	if v := a.Verdict(0); b.attempts[0].State != PartRead || residual(a) != 0 {
		t.Errorf("%v, %+v, residual %d; want it read in part", b.attempts[0].State, v, residual(a))
	}
}

// TestForeignProcesses checks the processes that are found from response headers, from the witness,
// and if neither names any.
func TestForeignProcesses(t *testing.T) {
	ids := []load.Identities{{Workers: []string{"7", "9"}}}
	for _, tt := range []struct {
		name string
		ids  []load.Identities
		user bool
		want []results.Worker
		top  float64 // share of requests; 0: not known
	}{
		{"by header", ids, true, []results.Worker{
			{ID: 0, Name: "7", Generation: 1, Accepted: 3, Served: 3},
			{ID: 1, Name: "9", Generation: 2, Accepted: 1, Served: 1},
		}, 1},
		{"by header and PID", ids, false, []results.Worker{
			{ID: 0, Name: "7", Generation: 1, Accepted: 3, Served: 3},
			{ID: 1, Name: "9", Generation: 2, Accepted: 1, Served: 1},
		}, 1},
		{"by PID", nil, false, []results.Worker{
			{ID: 0, Name: "PID 4711", Generation: 1, Accepted: 4, Served: 3},
			{ID: 1, Name: "PID 4712", Generation: 2, Accepted: 1, Served: 1},
		}, 1},
		{"not at all", nil, true, nil, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := testBook(t, 5, foreignServer)
			var ends []witness.SocketEnd
			for i := range 5 {
				g, e := wasServed, servedEnd(b, i)
				g.worker = 1
				switch i {
				case 3: // the old process reads it after the trigger, and does not answer
					e.FirstRead += clock.Instant(4*ms + 700)
					g = got{class: results.ClassEOF, phase: results.PhaseWait, done: 2}
					e.Sent = 0
				case 4:
					g.worker, e.Reader, e.Closer = 2, foreignPID+1, foreignPID+1
				}
				enterGot(b, i, g)
				ends = append(ends, e)
			}
			f := watched(ends...)
			f.Identities = tt.ids
			f.Steps = []Step{
				{Do: "kill", At: 1 * ms, Trigger: new(1 * ms)}, // begins no generation
				{Do: "stall", At: 2 * ms, Trigger: new(2 * ms)},
				{Do: "restart", At: 4 * ms, Trigger: new(4 * ms)},
			}
			const restart = 2
			if tt.user {
				untraced(f)
			}
			a := b.Close(f)
			var r results.Trial
			a.Fill(&r)
			if diff := cmp.Diff(r.Workers, tt.want); diff != "" || r.Residual != 0 {
				t.Errorf("residual %d; workers: got -, want +:\n%s", r.Residual, diff)
			}
			if tt.top == 0 {
				if r.Fairness != nil || a.Step(restart).TakeoverNS != nil {
					t.Errorf("fairness %+v, takeover %v", r.Fairness, a.Step(restart).TakeoverNS)
				}
				return
			}
			fair := r.Fairness
			if fair == nil || fair.Requests.TopShare != tt.top || fair.Generation != 1 {
				t.Errorf("fairness %+v", r.Fairness)
			}
			if ns := a.Step(restart).TakeoverNS; ns == nil || *ns != int64(1*ms) {
				t.Errorf("takeover %v, want 1 ms", ns)
			}
			tail := a.Step(restart).TailNS
			if tt.user != (tail == nil) || tail != nil && *tail != 700 {
				t.Errorf("tail %v, want 700 ns as root", tail)
			}
			wantWorker := map[bool]int{false: 0, true: noWorker}[tt.user]
			if v := a.Verdict(3); v.Worker != wantWorker {
				t.Errorf("the lost attempt is that of %d, want %d", v.Worker, wantWorker)
			}
		})
	}
}

// TestForeignGenerations checks that a process which reloads its configuration counts as a new
// process in the new generation, and that each load process numbers the names in responses
// independently.
func TestForeignGenerations(t *testing.T) {
	b := testBook(t, 4, foreignServer, func(l *Load) { l.Processes = 2 })
	f := &Facts{Duration: time.Second, Identities: []load.Identities{
		{Workers: []string{"5"}, Generations: []string{"3", "4"}},
		{Workers: []string{"5"}, Generations: []string{"4"}},
	}}
	for i, generation := range []int{0, -1, 1, 0} {
		due := int64(begin) + int64(i)*int64(ms)
		b.Sample(&results.Sample{
			Process: i % 2, Sequence: uint64(i / 2), Scheduled: due, Sent: due, Done: due + 1000,
			Status: 200, Generation: generation, Source: b.sources.At(uint64(i)),
		})
	}
	f.Steps = []Step{{Do: "restart", At: 2 * ms, Trigger: new(2 * ms)}}
	a := b.Close(f)
	var r results.Trial
	a.Fill(&r)
	want := []results.Worker{
		{ID: 0, Name: "5", Generation: 3, Accepted: 1, Served: 1},
		// its responses name no generation
		{ID: 1, Name: "5", Generation: 1, Accepted: 1, Served: 1},
		{ID: 2, Name: "5", Generation: 4, Accepted: 2, Served: 2},
	}
	if diff := cmp.Diff(r.Workers, want); diff != "" {
		t.Errorf("got -, want +:\n%s", diff)
	}
	if r.Fairness.Generation != 4 {
		t.Errorf("fairness of generation %d, want 4, which answered longest", r.Fairness.Generation)
	}
	if ns := a.Step(0).TakeoverNS; ns == nil || *ns != 1000 {
		t.Errorf("takeover %v, want 1 µs", ns)
	}
}

// TestForeignRespawn checks that a process of an old generation does not count for the takeover,
// even if it starts in a step's window.
func TestForeignRespawn(t *testing.T) {
	b := testBook(t, 2, foreignServer)
	f := &Facts{
		Duration: time.Second, Steps: []Step{{Do: "restart", At: 1 * ms, Trigger: new(1 * ms)}},
		Identities: []load.Identities{{Workers: []string{"5", "6"}, Generations: []string{"1"}}},
	}
	for i := range 2 {
		due := int64(begin) + int64(i)*int64(ms)
		b.Sample(&results.Sample{
			Sequence: uint64(i), Scheduled: due, Sent: due, Done: due + 1000, Status: 200,
			Worker: i, Source: b.sources.At(uint64(i)),
		})
	}
	if ns := b.Close(f).Step(0).TakeoverNS; ns != nil {
		t.Errorf("takeover after %v", time.Duration(*ns))
	}
}

// TestBackground checks that losses that no step caused are counted as background.
func TestBackground(t *testing.T) {
	b := testBook(t, 30, foreignServer)
	for i := range 30 {
		g := wasServed
		if i == 2 || i == 12 || i == 25 {
			g = got{class: results.ClassRefused, phase: results.PhaseConnect}
		}
		enterGot(b, i, g)
	}
	f := &Facts{Duration: time.Second, Unwitnessed: "-"}
	for over, want := range map[Time]int64{0: 1, 20 * ms: 2, 30 * ms: 1, 11 * ms: 3} {
		f.Steps = []Step{{Do: "restart", At: 10 * ms, Trigger: new(10 * ms)}}
		if over > 0 {
			f.Steps[0].Over = &over
		}
		var r results.Trial
		a := b.Close(f)
		a.Fill(&r)
		if *r.Background != want || a.Step(0).Lost != 3-want {
			t.Errorf("over at %v: %d in the background, %d at the step; want %d, %d",
				time.Duration(over), *r.Background, a.Step(0).Lost, want, 3-want)
		}
	}
}

// TestForeignRecording checks that judging a recording gives the same verdicts as the trial.
func TestForeignRecording(t *testing.T) {
	b := testBook(t, 2, foreignServer)
	b.Keep()
	enterGot(b, 0, got{class: results.ClassReset, phase: results.PhaseWait, done: 2})
	enterGot(b, 1, wasServed)
	f := watched(endOf(b, 0, witness.ClosedUnread, 9, requestSize-9, 0, 2*ms), servedEnd(b, 1))
	a := b.Close(f)
	r := a.Recording()
	r.Trial = &results.Trial{}
	var file bytes.Buffer
	if err := r.Write(&file); err != nil {
		t.Fatal(err)
	}
	again := &Recording{}
	if line, err := again.decode(&file); err != nil {
		t.Fatalf("line %d: %v", line, err)
	}
	judged, err := again.Judge()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(judged.Verdicts(), a.Verdicts()); diff != "" || len(a.Verdicts()) != 1 {
		t.Errorf("%d verdicts; read again -, at first +:\n%s", len(a.Verdicts()), diff)
	}
	if at := again.Facts.Witness.Ends[0].Closed; at != clock.Instant(2*ms) {
		t.Errorf("closed at %v, want 2 ms after the first attempt", time.Duration(at))
	}
	if f.Witness.Ends[0].Closed != begin+clock.Instant(2*ms) {
		t.Error("the facts themselves have changed")
	}
}
