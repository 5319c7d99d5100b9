package harness

import (
	"net/netip"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/load"
	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/results"
	"reuseport-bench/results/cause"
	"reuseport-bench/scenarios"
	"reuseport-bench/servers"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/journal"
	"reuseport-bench/servers/wire"
)

const ms = int64(time.Millisecond)

// begin is the instant of the first attempt in these tests; attempt i is due i ms later.
const begin = clock.Instant(1_000_000_000)

func testBooks(t *testing.T, n int) *books { t.Helper(); return testBooksOf(t, n, 0) }

// testBooksOf are of n attempts that may be tried again that often.
func testBooksOf(t *testing.T, n, retries int) *books {
	t.Helper()
	b, err := newBooks([]load.Config{{
		Processes: 1, Shape: load.Shape{Rate: 1000, Duration: time.Duration(n) * time.Millisecond},
		Sources: netlab.AddressesOf(netlab.Loopback, netlab.IPv4).Sources,
		Retry:   load.Retry{Max: retries},
	}})
	if err != nil {
		t.Fatal(err)
	}
	b.start(begin)
	return b
}

// account is one attempt as both sides tell of it.
type account struct {
	class results.Class
	phase results.Phase
	// done is when it ended, in ms after it was due. Worker 3 of generation 1 serves.
	done int64
	// server is what the worker says: any of the letters a (accept), q (request), r (response), and
	// then the end.
	server string
	end    journal.End
}

var testWorker = &servers.Worker{ID: 3, Generation: 1}

func (b *books) tell(i int, a account) {
	due := int64(begin) + b.scheduled(i)
	s := results.Sample{Sequence: uint64(i), Scheduled: due, Sent: due, Done: due + a.done*ms, Class: a.class, Phase: a.phase, Worker: -1, Generation: -1}
	if a.class == results.ClassLocal {
		s.Errno = int(unix.EMFILE)
	}
	if a.class == results.ClassNone {
		s.Worker, s.Generation = testWorker.ID, testWorker.Generation
	}
	b.sample(&s)
	b.account(journal.Record{
		At: clock.Instant(due), Conn: uint32(i), Peer: b.sources.At(uint64(i)), Attempt: wire.Attempt{Sequence: uint64(i)}, Identified: true,
	}, a.server, a.end)
}

// account enters the records of a connection, which are all like r.
func (b *books) account(r journal.Record, server string, end journal.End) {
	for _, c := range server {
		r.Kind = map[rune]journal.Kind{'a': journal.Accepted, 'q': journal.Requested, 'r': journal.Answered}[c]
		b.record(testWorker, r)
	}
	if end != 0 {
		r.Kind, r.End = journal.Ended, end
		b.record(testWorker, r)
	}
}

var served = account{done: 1, server: "aqr", end: journal.EndServed}

func TestJudge(t *testing.T) {
	const (
		wait    = results.PhaseWait
		connect = results.PhaseConnect
	)
	closed := []closing{{worker: 7, from: 2 * ms, to: 3 * ms, queue: true}} // attempt 0 is due at 0
	for _, tt := range []struct {
		name      string
		account   account
		closings  []closing
		overflows int64
		want      judgement
	}{
		{"served", served, nil, 0, judgement{"", evidenceNone, 3, true}},
		{"served by a worker killed before it could note it", account{done: 1, server: "aq"}, nil, 0, judgement{"", evidenceNone, 3, true}},
		{"served, and no worker knows of it", account{done: 1}, nil, 0, judgement{"", evidenceNone, -1, false}},
		{"served, and the worker says it closed unanswered", account{done: 1, server: "aq", end: journal.EndUnanswered}, nil, 0, judgement{"", evidenceNone, 3, false}},
		{"reset in the queue of a closed listener", account{results.ClassReset, wait, 2, "", 0}, closed, 0, judgement{cause.ResetAtClose, evidenceWorker, 7, true}},
		{"reset before the listener closed", account{results.ClassReset, wait, 1, "", 0}, closed, 0, judgement{cause.Unknown, evidenceClient, -1, false}},
		{"reset, and nothing closed", account{results.ClassReset, wait, 2, "", 0}, nil, 0, judgement{cause.Unknown, evidenceClient, -1, false}},
		{"reset in the handshake", account{results.ClassReset, connect, 2, "", 0}, closed, 0, judgement{cause.ResetHalfOpen, evidenceWorker, 7, true}},
		{"end of file in the queue", account{results.ClassEOF, wait, 2, "", 0}, closed, 0, judgement{cause.ResetAtClose, evidenceWorker, 7, true}},
		{"end of file that nobody sent", account{results.ClassEOF, wait, 2, "", 0}, nil, 0, judgement{cause.Unknown, evidenceClient, -1, false}},
		{"reset by the worker on purpose", account{results.ClassReset, wait, 1, "aq", journal.EndAborted}, nil, 0, judgement{cause.ClosedByWorker, evidenceWorker, 3, true}},
		{"closed unanswered", account{results.ClassEOF, wait, 1, "aq", journal.EndUnanswered}, nil, 0, judgement{cause.ClosedByWorker, evidenceWorker, 3, true}},
		{"closed before it was read", account{results.ClassReset, wait, 1, "a", journal.EndUnanswered}, nil, 0, judgement{cause.ClosedByWorker, evidenceWorker, 3, true}},
		{"worker died serving", account{results.ClassReset, wait, 1, "aq", 0}, closed, 0, judgement{cause.WorkerCrash, evidenceWorker, 3, true}},
		{"worker died before reading", account{results.ClassEOF, wait, 1, "a", 0}, nil, 0, judgement{cause.WorkerCrash, evidenceWorker, 3, true}},
		{"reset, and the worker says it answered", account{results.ClassReset, wait, 1, "aqr", journal.EndServed}, closed, 0, judgement{cause.Unknown, evidenceClient, -1, false}},
		{"killed before it could note the accept", account{results.ClassReset, wait, 2, "", 0}, []closing{{worker: 7, from: 2 * ms, to: 3 * ms, killed: true}}, 0, judgement{cause.WorkerCrash, evidenceWorker, 7, true}},
		{"the same at another time", account{results.ClassReset, wait, 1, "", 0}, []closing{{worker: 7, from: 2 * ms, to: 3 * ms, killed: true}}, 0, judgement{cause.Unknown, evidenceClient, -1, false}},
		{"a shared socket handed on resets nothing", account{results.ClassReset, wait, 2, "", 0}, []closing{{worker: 7, from: 2 * ms, to: 3 * ms}}, 0, judgement{cause.Unknown, evidenceClient, -1, false}},
		{"born at a closing listener, migrated, and dead on arrival", account{results.ClassEOF, wait, 2, "a", journal.EndPeer}, closed, 0, judgement{cause.ResetAtClose, evidenceWorker, 7, true}},
		{"an end of file that nobody sent", account{results.ClassEOF, wait, 2, "a", journal.EndPeer}, nil, 0, judgement{cause.Unknown, evidenceClient, -1, false}},
		{"refused", account{results.ClassRefused, connect, 0, "", 0}, nil, 0, judgement{cause.Refused, evidenceClient, -1, true}},
		{"refused, and accepted", account{results.ClassRefused, connect, 0, "aqr", journal.EndServed}, nil, 0, judgement{cause.Unknown, evidenceClient, -1, false}},
		{"no answer to the SYN", account{results.ClassTimeout, connect, 900, "", 0}, nil, 0, judgement{cause.SYNTimeout, evidenceClient, -1, true}},
		{"no answer to a SYN that met a closing listener", account{results.ClassTimeout, connect, 900, "", 0}, closed, 0, judgement{cause.SYNTimeout, evidenceWorker, 7, true}},
		{"no answer to a SYN long before a listener closed", account{results.ClassTimeout, connect, 900, "", 0}, []closing{{worker: 7, from: 20 * ms, to: 30 * ms, queue: true}}, 0, judgement{cause.SYNTimeout, evidenceClient, -1, true}},
		{"no answer to the SYN, a queue overflowed", account{results.ClassTimeout, connect, 900, "", 0}, nil, 5, judgement{cause.AcceptOverflow, evidenceCounter, -1, true}},
		{"waited in the queue", account{results.ClassTimeout, wait, 900, "", 0}, nil, 5, judgement{cause.Timeout, evidenceClient, -1, true}},
		{"served too late", account{results.ClassTimeout, wait, 900, "aqr", journal.EndServed}, nil, 0, judgement{cause.Timeout, evidenceWorker, 3, true}},
		{"accepted after the client had left", account{results.ClassTimeout, wait, 900, "a", journal.EndPeer}, nil, 0, judgement{cause.Timeout, evidenceWorker, 3, true}},
		{"unreachable", account{results.ClassUnreachable, connect, 0, "", 0}, nil, 0, judgement{cause.NoRoute, evidenceClient, -1, true}},
		{"out of descriptors", account{results.ClassLocal, connect, 0, "", 0}, nil, 0, judgement{cause.Client, evidenceClient, -1, true}},
		{"aborted by the load on purpose", account{results.ClassAborted, wait, 0, "aq", journal.EndPeer}, nil, 0, judgement{cause.Client, evidenceClient, -1, true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := testBooks(t, 1)
			b.tell(0, tt.account)
			b.close()
			j := judge{closings: tt.closings, overflows: tt.overflows}
			got := j.judge(&b.attempts[0])
			if diff := cmp.Diff(got, tt.want, cmp.AllowUnexported(judgement{})); diff != "" {
				t.Errorf("got -, want +:\n%s", diff)
			}
			if b.strays != 0 {
				t.Errorf("%d strays", b.strays)
			}
		})
	}
}

func TestKilledWorkerTakesOneUnnotedConnection(t *testing.T) {
	b := testBooks(t, 2)
	reset := account{results.ClassReset, results.PhaseWait, 2, "", 0}
	b.tell(0, reset)
	b.tell(1, reset)
	b.close()
	j := judge{closings: []closing{{worker: 7, from: 1 * ms, to: 3 * ms, killed: true}}}
	if first, second := j.judge(&b.attempts[0]), j.judge(&b.attempts[1]); !first.explained || second.explained {
		t.Errorf("got %+v and %+v; one thread cannot have accepted two at once", first, second)
	}
}

func TestBooksUnsent(t *testing.T) {
	b := testBooks(t, 2)
	b.tell(0, served)
	b.close()
	if got := (&judge{}).judge(&b.attempts[1]); got.cause != cause.Client {
		t.Errorf("an attempt without a sample is put down to %q, want %q", got.cause, cause.Client)
	}
}

func TestBooksStrays(t *testing.T) {
	record := func(kind journal.Kind, conn uint32, sequence uint64) journal.Record {
		return journal.Record{Kind: kind, Conn: conn, Peer: netip.MustParseAddrPort("127.64.0.1:10000"), Identified: true, Attempt: wire.Attempt{Sequence: sequence}}
	}
	for _, tt := range []struct {
		name string
		tell func(*books)
	}{
		{"sample twice", func(b *books) { b.sample(&results.Sample{}) }},
		{"sample beyond the schedule", func(b *books) { b.sample(&results.Sample{Sequence: 99}) }},
		{"sample of a process that is not there", func(b *books) { b.sample(&results.Sample{Process: 1}) }},
		{"request served twice", func(b *books) {
			b.record(testWorker, record(journal.Accepted, 50, 0))
			b.record(testWorker, record(journal.Requested, 50, 0))
		}},
		{"request nobody sent", func(b *books) {
			b.record(testWorker, record(journal.Accepted, 50, 0))
			b.record(testWorker, record(journal.Requested, 50, 77))
		}},
		{"end of a connection that never began", func(b *books) { b.record(testWorker, record(journal.Ended, 51, 0)) }},
		{"connection from elsewhere", func(b *books) {
			r := record(journal.Accepted, 52, 0)
			r.Peer = netip.MustParseAddrPort("127.0.0.1:5")
			b.record(testWorker, r)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := testBooks(t, 2)
			b.tell(0, served)
			b.tell(1, served)
			tt.tell(b)
			b.close()
			if b.strays == 0 {
				t.Error("not noticed")
			}
		})
	}
}

// step is a fired step with its trigger at the given ms.
func step(at int64, do string) *fired {
	trigger := begin + clock.Instant(at*ms)
	return &fired{step: scenarios.Step{Do: do}, target: "generation 0", at: trigger, trigger: trigger}
}

// What was due just before a step's trigger, but sent after it, has met that step and not the one before.
func TestLateTimeout(t *testing.T) {
	const n, late = 300, 199
	b := testBooks(t, n)
	for i := range n {
		if i == late {
			b.tell(i, account{results.ClassTimeout, results.PhaseConnect, 300, "", 0})
		} else {
			b.tell(i, served)
		}
	}
	b.attempts[late].sent = 200*ms + ms/10
	b.close()
	m := measure(b, &judge{}, nil, n*ms, []*fired{step(100, stepReplace), step(200, stepReplace)})
	if first, second := m.step(0).Lost, m.step(1).Lost; first != 0 || second != 1 {
		t.Errorf("%d and %d lost at the steps, want 0 and 1", first, second)
	}
}

func TestStepMetrics(t *testing.T) {
	const n = 1000
	reset := account{results.ClassReset, results.PhaseWait, 0, "", 0}
	timeout := account{results.ClassTimeout, results.PhaseWait, 300, "", 0}
	for _, tt := range []struct {
		name  string
		steps []int64
		lost  map[int]account
		step  int
		want  results.Step
	}{
		{"nothing lost", []int64{100}, nil, 0, results.Step{}},
		{"a run of three", []int64{100}, map[int]account{200: reset, 201: reset, 202: reset}, 0,
			results.Step{GapNS: 3 * ms, OutageNS: 3 * ms, LostShare: 1, Lost: 3}},
		{"two runs: gap is the longer, outage spans both", []int64{100}, map[int]account{200: reset, 210: reset, 211: reset}, 0,
			results.Step{GapNS: 2 * ms, OutageNS: 12 * ms, LostShare: 0.25, Lost: 3}},
		{"every other one", []int64{100}, map[int]account{200: reset, 202: reset, 204: reset}, 0,
			results.Step{GapNS: 1 * ms, OutageNS: 5 * ms, LostShare: 0.6, Lost: 3}},
		{"queued before the trigger", []int64{100}, map[int]account{98: {results.ClassReset, results.PhaseWait, 3, "", 0}, 99: {results.ClassReset, results.PhaseWait, 2, "", 0}}, 0,
			results.Step{GapNS: 2 * ms, OutageNS: 2 * ms, LostShare: 1, Lost: 2}},
		{"lost before the trigger is nobody's", []int64{100}, map[int]account{50: reset}, 0, results.Step{}},
		{"put down to the later of two steps", []int64{100, 200}, map[int]account{199: {results.ClassReset, results.PhaseWait, 2, "", 0}, 201: reset}, 1,
			results.Step{GapNS: 1 * ms, OutageNS: 3 * ms, LostShare: 2. / 3, Lost: 2}},
		{"a timeout belongs to the step before it was sent", []int64{100, 200}, map[int]account{150: timeout}, 0,
			results.Step{GapNS: 1 * ms, OutageNS: 1 * ms, LostShare: 1, Lost: 1}},
		{"a timeout due before the first step, still waiting then", []int64{100, 200}, map[int]account{99: timeout}, 0,
			results.Step{GapNS: 1 * ms, OutageNS: 1 * ms, LostShare: 1, Lost: 1}},
		{"cut off by the end", []int64{100}, map[int]account{998: reset, 999: reset}, 0,
			results.Step{GapNS: 2 * ms, OutageNS: 2 * ms, LostShare: 1, Lost: 2, Censored: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := testBooks(t, n)
			for i := range n {
				if a, ok := tt.lost[i]; ok {
					b.tell(i, a)
				} else {
					b.tell(i, served)
				}
			}
			b.close()
			var steps []*fired
			for _, at := range tt.steps {
				steps = append(steps, step(at, stepReplace))
			}
			j := &judge{closings: []closing{{worker: 7, from: 0, to: n * ms, queue: true}}}
			got := measure(b, j, nil, n*ms, steps).step(tt.step)
			want := tt.want
			want.Do, want.Target, want.AtNS, want.ResolutionNS = stepReplace, "generation 0", tt.steps[tt.step]*ms, ms
			want.StopNS = &want.AtNS
			want.Dropped, want.NeverSent = &want.Lost, new(int64) // the load failed at none
			stall := ms
			want.StallNS = &stall
			if diff := cmp.Diff(got, want); diff != "" {
				t.Errorf("got -, want +:\n%s", diff)
			}
		})
	}
}

func TestStall(t *testing.T) {
	const n = 500
	b := testBooks(t, n)
	for i := range n {
		a := served
		if i >= 90 && i < 150 { // served only when the servers go on at 150
			a.done = int64(150 - i)
		}
		b.tell(i, a)
	}
	b.close()
	got := measure(b, &judge{}, nil, n*ms, []*fired{step(100, stepStall)}).step(0)
	if got.StallNS == nil || *got.StallNS != 60*ms {
		t.Errorf("stall %v, want 60 ms: the attempt due at 90 ms was waiting when the step came", got.StallNS)
	}
	if got.GapNS != 0 || got.Lost != 0 {
		t.Errorf("gap %d, lost %d; nothing was lost", got.GapNS, got.Lost)
	}
}

func TestTakeoverAndTail(t *testing.T) {
	const n = 300
	b := testBooks(t, n)
	for i := range n {
		b.tell(i, served)
		if i >= 105 { // the new generation answers
			b.attempts[i].worker = 9
		}
	}
	b.workers[testWorker.ID].lastAccept = begin + clock.Instant(107*ms)
	b.close()
	s := step(100, stepReplace)
	s.stopped = []*servers.Worker{testWorker}
	s.started = []*servers.Worker{{ID: 9, Generation: 2}}
	got := measure(b, &judge{}, nil, n*ms, []*fired{s}).step(0)
	if got.TakeoverNS == nil || *got.TakeoverNS != 6*ms { // due at 105, answered 1 ms later
		t.Errorf("takeover %v, want 6 ms", got.TakeoverNS)
	}
	if got.TailNS == nil || *got.TailNS != 7*ms {
		t.Errorf("tail %v, want 7 ms", got.TailNS)
	}
}

func TestSentAfterClose(t *testing.T) {
	const n = 300
	reset := account{results.ClassRefused, results.PhaseConnect, 0, "", 0}
	b := testBooks(t, n)
	for i := range n {
		if i == 98 || i == 120 { // one before the close, one after
			b.tell(i, reset)
		} else {
			b.tell(i, served)
		}
	}
	b.close()
	s := step(99, stepReplace)
	s.stopped = []*servers.Worker{testWorker}
	s.closed = begin + clock.Instant(100*ms)
	m := measure(b, &judge{closings: []closing{{worker: 7, from: 99 * ms, to: 100 * ms, queue: true}}}, nil, n*ms, []*fired{s})
	if got := m.sentAfterClose(); got == nil || *got != 1 {
		t.Errorf("sent after close: %v, want 1", got)
	}
	if got := measure(b, &judge{}, nil, n*ms, nil).sentAfterClose(); got != nil {
		t.Errorf("sent after close without a step that closes: %d, want none", *got)
	}
}

// An attempt sent on a reused connection and never read is put down to what ended the connection.
// What is measured of a step is what its kind does to workers. TestKernelStepKinds holds the kinds to
// what steps really do.
func TestStepKinds(t *testing.T) {
	const n = 300
	for _, kind := range scenarios.StepKinds() {
		b := testBooks(t, n)
		for i := range n {
			b.tell(i, served)
			if i >= 105 {
				b.attempts[i].worker = 9
			}
		}
		b.close()
		s := step(100, kind.Name)
		s.step.For = 10 * time.Millisecond
		s.serving = 1
		j := &judge{}
		if kind.Starts {
			s.started = []*servers.Worker{{ID: 9, Generation: 2}}
		}
		if kind.Ends {
			s.stopped, s.closed = []*servers.Worker{testWorker}, begin+clock.Instant(101*ms)
			j.closings = []closing{{worker: testWorker.ID, from: 100 * ms, to: 101 * ms, queue: true}}
		}
		m := measure(b, j, nil, n*ms, []*fired{s})
		trial := &results.Trial{Steps: []results.Step{m.step(0)}, LostSentAfterClose: m.sentAfterClose()}
		figures := trial.Figures()
		has := func(metric string) bool { _, ok := figures[metric]; return ok }
		got := map[string]bool{
			results.MetricGap: has(results.MetricGap), results.MetricOutage: has(results.MetricOutage),
			results.MetricStall: has(results.MetricStall), results.MetricTakeover: has(results.MetricTakeover),
			results.MetricTail:           has(results.MetricTail),
			results.MetricSentAfterClose: trial.LostSentAfterClose != nil,
			results.MetricLostPerRestart: len(trial.Restarts()) > 0,
		}
		want := map[string]bool{
			results.MetricGap: true, results.MetricOutage: true, results.MetricStall: true,
			results.MetricTakeover: kind.Starts, results.MetricTail: kind.Ends, results.MetricSentAfterClose: kind.Ends,
			results.MetricLostPerRestart: kind.Restarts,
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("%s: measured -, want +:\n%s", kind.Name, diff)
		}
	}
}

func TestBooksReusedConnection(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  journal.End // 0: the worker died with the connection open
		want string
	}{
		{"closed by the worker while it was idle", journal.EndServed, cause.ClosedByWorker},
		{"worker died", 0, cause.WorkerCrash},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := testBooks(t, 2)
			b.ends, b.via = map[uint64]serverEnd{}, make([]uint32, 2)
			b.tell(0, account{done: 1, server: "aqr"})
			lost := results.Sample{
				Sequence: 1, Sent: int64(begin), Done: int64(begin) + 2*ms, Source: b.sources.At(0),
				Phase: results.PhaseWait, Class: results.ClassReset, Worker: -1, Generation: -1,
			}
			b.sample(&lost)
			if tt.end != 0 {
				b.record(testWorker, journal.Record{Conn: 0, Kind: journal.Ended, End: tt.end})
			}
			b.close()
			got := (&judge{}).judge(&b.attempts[1])
			if got.cause != tt.want || got.worker != testWorker.ID || !got.explained {
				t.Errorf("got %+v, want %s by worker %d", got, tt.want, testWorker.ID)
			}
		})
	}
}

// Two attempts; the first makes up to three tries. What the servers say of each must be something that a client can have met.
func TestBooksTries(t *testing.T) {
	const (
		refused    = results.FailureRefused
		unanswered = results.FailureUnanswered
		timeout    = results.FailureConnectTimeout
	)
	type record struct {
		try    uint8
		server string // as account.server
		end    journal.End
	}
	for _, tt := range []struct {
		name     string
		failed   []results.Failure // of attempt 0; it is served then
		records  []record
		strays   int64
		repeated int64
		state    serverState
	}{
		{"at once", nil, []record{{0, "aqr", journal.EndServed}}, 0, 0, answered},
		{"after a refusal", []results.Failure{refused}, []record{{1, "aqr", journal.EndServed}}, 0, 0, answered},
		{"after it was read", []results.Failure{unanswered}, []record{{0, "aq", journal.EndAborted}, {1, "aqr", journal.EndServed}}, 0, 1, answered},
		{"after it was read by workers that died", []results.Failure{unanswered, unanswered}, []record{{0, "aq", 0}, {1, "aq", 0}, {2, "aqr", journal.EndServed}}, 0, 1, answered},
		{"after it was accepted, not read", []results.Failure{unanswered}, []record{{0, "a", journal.EndUnanswered}, {1, "aqr", journal.EndServed}}, 0, 0, answered},
		{"accepted when the client had given up", []results.Failure{timeout}, []record{{0, "a", journal.EndPeer}, {1, "aqr", journal.EndServed}}, 0, 0, answered},
		{"read, and yet refused", []results.Failure{refused}, []record{{0, "aq", journal.EndAborted}, {1, "aqr", journal.EndServed}}, 1, 1, answered},
		{"accepted, and yet refused", []results.Failure{refused}, []record{{0, "a", journal.EndPeer}, {1, "aqr", journal.EndServed}}, 1, 0, answered},
		{"answered, and yet tried again", []results.Failure{unanswered}, []record{{0, "aqr", journal.EndServed}, {1, "aqr", journal.EndServed}}, 1, 1, answered},
		{"a try that the load has not made", nil, []record{{0, "aqr", journal.EndServed}, {1, "aqr", journal.EndServed}}, 1, 0, answered},
		{"the same try twice", []results.Failure{refused}, []record{{1, "aqr", journal.EndServed}, {1, "q", journal.EndAborted}}, 1, 0, answered},
		{"a try beyond the policy", nil, []record{{0, "aqr", journal.EndServed}, {3, "q", 0}}, 1, 0, answered},
		{"nobody knows of the last", []results.Failure{unanswered}, []record{{0, "aq", journal.EndAborted}}, 0, 0, neverAccepted},
	} {
		for _, sampleFirst := range []bool{true, false} {
			t.Run(tt.name, func(t *testing.T) {
				b := testBooksOf(t, 2, 2)
				sample := results.Sample{Sent: int64(begin), Done: int64(begin) + 9*ms, LastSent: int64(begin) + 5*ms, Worker: testWorker.ID, Generation: 1}
				for _, f := range tt.failed {
					sample.Failed = append(sample.Failed, results.FailedTry{Failure: f, Opened: true})
				}
				if sampleFirst {
					b.sample(&sample)
				}
				for conn, rec := range tt.records {
					r := journal.Record{Conn: uint32(10 + conn), Attempt: wire.Attempt{Try: rec.try}, Identified: true, Peer: b.sources.At(uint64(rec.try) * 2)}
					if rec.server[0] != 'a' { // on the connection before
						r.Kind = journal.Accepted
						r.Peer = b.sources.At(4)
						b.record(testWorker, r)
					}
					b.account(r, rec.server, rec.end)
				}
				if !sampleFirst {
					b.sample(&sample)
				}
				b.tell(1, served)
				b.close()
				got := b.retries()
				if b.strays != tt.strays || got.Repeated != tt.repeated || b.attempts[0].state != tt.state {
					t.Errorf("%d strays, %d repeated, %v; want %d, %d, %v", b.strays, got.Repeated, b.attempts[0].state, tt.strays, tt.repeated, tt.state)
				}
				if want := b.sources.At(uint64(2 * len(tt.failed))); b.connection(0) != want || b.connection(1) != b.sources.At(1) {
					t.Errorf("connections %v, %v; want %v for the first", b.connection(0), b.connection(1), want)
				}
				if again := len(tt.failed) > 0; again && b.lastTry(0).sent != 5*ms || b.attempts[0].sent != 0 {
					t.Errorf("sent %d, the last try %d", b.attempts[0].sent, b.lastTry(0).sent)
				}
				want := results.Retries{Tries: int64(2 + len(tt.failed)), Repeated: tt.repeated, Failed: got.Failed, MaskedNS: got.MaskedNS}
				if len(tt.failed) > 0 {
					want.TriedAgain, want.Masked = 1, 1
				}
				if diff := cmp.Diff(&want, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		}
	}
}

// Where nothing is tried again nobody speaks of it, and attempts take what they took.
func TestBooksWithoutTries(t *testing.T) {
	b := testBooks(t, 1)
	b.tell(0, served)
	b.record(testWorker, journal.Record{Conn: 9, Kind: journal.Accepted, Peer: b.sources.At(0)})
	b.record(testWorker, journal.Record{Conn: 9, Kind: journal.Requested, Attempt: wire.Attempt{Try: 1}, Identified: true})
	b.close()
	if b.retries() != nil || b.strays != 1 {
		t.Errorf("retries %+v, %d strays; want none, and one for a try that nobody may make", b.retries(), b.strays)
	}
	if size := unsafe.Sizeof(attempt{}); size != 32 {
		t.Errorf("an attempt takes %d bytes, want 32", size)
	}
}

// Attempts that come from the same port in turn are told apart by time: a connection belongs to the last that was due when it was accepted.
func TestBooksPortsInTurn(t *testing.T) {
	b := testBooks(t, 25) // every ms
	b.sources, b.ports = b.sources.InTurn(10), 10
	for i := range 25 {
		switch i {
		case 3: // accepted at 5 ms, when 13 was not due yet, and left by its client
			b.sample(&results.Sample{Sequence: 3, Sent: int64(begin) + 3*ms, Done: int64(begin) + 8*ms, Class: results.ClassTimeout, Phase: results.PhaseWait, Worker: -1, Generation: -1})
			b.account(journal.Record{At: begin.Add(5 * time.Millisecond), Conn: 3, Peer: b.sources.At(3)}, "a", journal.EndPeer)
		case 23: // accepted as late as that, and nobody comes after it
			b.sample(&results.Sample{Sequence: 23, Sent: int64(begin) + 23*ms, Done: int64(begin) + 28*ms, Class: results.ClassTimeout, Phase: results.PhaseWait, Worker: -1, Generation: -1})
			b.account(journal.Record{At: begin.Add(40 * time.Millisecond), Conn: 23, Peer: b.sources.At(23)}, "a", journal.EndPeer)
		default:
			b.tell(i, served)
		}
	}
	b.close()
	for i, want := range map[int]serverState{3: unreadPeerGone, 13: answered, 23: unreadPeerGone} {
		if got := b.attempts[i].state; got != want {
			t.Errorf("attempt %d: %v, want %v", i, got, want)
		}
	}
	if b.strays != 0 {
		t.Errorf("%d strays", b.strays)
	}
}

// The workers that a step was to stop are those that the one before has started: leaving out whom it did not come to must not take them from that one.
func TestToldLeavesTheGenerationAlone(t *testing.T) {
	generation := []*servers.Worker{{ID: 1}, {ID: 2}}
	if got := told(generation); len(got) != 0 || generation[0] == nil || generation[1] == nil {
		t.Errorf("told %v of %v", got, generation)
	}
}
