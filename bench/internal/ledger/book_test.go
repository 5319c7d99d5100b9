package ledger

import (
	"net/netip"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"reuseport-bench/results"
	"reuseport-bench/results/cause"
	"reuseport-bench/servers/journal"
	"reuseport-bench/servers/wire"
)

func TestUnsent(t *testing.T) {
	b := testBook(t, 2)
	enter(b, 0, served)
	a := b.Close(&Facts{Duration: time.Second})
	if got := a.Verdict(1); got.Cause != cause.Client {
		t.Errorf("an attempt without a sample has the cause %q, want %q", got.Cause, cause.Client)
	}
}

// A served attempt is explained only if the client's and the servers' accounts of it agree.
func TestServed(t *testing.T) {
	for _, tt := range []struct {
		name    string
		account account
		want    Verdict
	}{
		{"served", served, Verdict{Worker: worker, Explained: true}},
		{"by a worker that was killed before it could journal it", account{done: 1, server: "aq"}, Verdict{Worker: worker, Explained: true}},
		{"but no worker accepted it", account{done: 1}, Verdict{Worker: -1}},
		{"but the worker closed it unanswered", account{done: 1, server: "aq", end: journal.EndUnanswered}, Verdict{Worker: worker}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := testBook(t, 1)
			enter(b, 0, tt.account)
			a := b.Close(&Facts{Duration: time.Second})
			if got := a.Verdict(0); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			var r results.Trial
			a.Fill(&r)
			if want := int64(1); !tt.want.Explained && r.Residual != want {
				t.Errorf("residual %d, want %d", r.Residual, want)
			}
		})
	}
}

func TestUnmatched(t *testing.T) {
	record := func(kind journal.Kind, conn uint32, sequence uint64) journal.Record {
		return journal.Record{
			Kind: kind, Conn: conn, Peer: attempt0,
			Identified: true, Attempt: wire.Attempt{Sequence: sequence},
		}
	}
	for _, tt := range []struct {
		name string
		add  func(*Book)
	}{
		{"sample twice", func(b *Book) { b.Sample(&results.Sample{}) }},
		{"sample beyond the schedule", func(b *Book) { b.Sample(&results.Sample{Sequence: 99}) }},
		{"sample of a missing process", func(b *Book) { b.Sample(&results.Sample{Process: 1}) }},
		{"request served twice", func(b *Book) {
			b.Record(worker, record(journal.Accepted, 50, 0))
			b.Record(worker, record(journal.Requested, 50, 0))
		}},
		{"request that was never sent", func(b *Book) {
			b.Record(worker, record(journal.Accepted, 50, 0))
			b.Record(worker, record(journal.Requested, 50, 77))
		}},
		{"end of a connection that never began", func(b *Book) {
			b.Record(worker, record(journal.Ended, 51, 0))
		}},
		{"connection from elsewhere", func(b *Book) {
			r := record(journal.Accepted, 52, 0)
			r.Peer = netip.MustParseAddrPort("127.0.0.1:5")
			b.Record(worker, r)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := testBook(t, 2)
			enter(b, 0, served)
			enter(b, 1, served)
			tt.add(b)
			var r results.Trial
			b.Close(&Facts{Duration: time.Second}).Fill(&r)
			if r.Residual == 0 {
				t.Error("the residual is 0")
			}
		})
	}
}

// The servers' account of each try must not contradict the client's. Attempt 0 makes up to three
// tries, and attempt 1 makes one.
func TestTries(t *testing.T) {
	const (
		refused    = results.FailureRefused
		unanswered = results.FailureUnanswered
		timeout    = results.FailureConnectTimeout
	)
	type record struct {
		try    uint8
		server string // see account.server
		end    journal.End
	}
	for _, tt := range []struct {
		name      string
		failed    []results.Failure // failed tries of attempt 0 before the served one
		records   []record
		unmatched int64
		repeated  int64
		unhandled int64 // repeated attempts of which at most one try reached a handler
		state     State
	}{
		{"first try", nil, []record{{0, "aqr", journal.EndServed}}, 0, 0, 0, Answered},
		{"after a refusal", []results.Failure{refused}, []record{{1, "aqr", journal.EndServed}}, 0, 0, 0, Answered},
		{"after it was read", []results.Failure{unanswered}, []record{{0, "aq", journal.EndAborted}, {1, "aqr", journal.EndServed}}, 0, 1, 0, Answered},
		{"after it was read by workers that died", []results.Failure{unanswered, unanswered}, []record{{0, "aq", 0}, {1, "aq", 0}, {2, "aqr", journal.EndServed}}, 0, 1, 0, Answered},
		{"after it was accepted but not read", []results.Failure{unanswered}, []record{{0, "a", journal.EndUnanswered}, {1, "aqr", journal.EndServed}}, 0, 0, 0, Answered},
		{"after it was accepted too late", []results.Failure{timeout}, []record{{0, "a", journal.EndPeer}, {1, "aqr", journal.EndServed}}, 0, 0, 0, Answered},
		{"after it was read but not handled", []results.Failure{unanswered}, []record{{0, "aq", journal.EndUnhandled}, {1, "aqr", journal.EndServed}}, 0, 1, 1, Answered},
		{"read three times, handled twice", []results.Failure{unanswered, unanswered}, []record{{0, "aq", journal.EndUnhandled}, {1, "aq", journal.EndUnanswered}, {2, "aqr", journal.EndServed}}, 0, 1, 0, Answered},
		{"read, but refused", []results.Failure{refused}, []record{{0, "aq", journal.EndAborted}, {1, "aqr", journal.EndServed}}, 1, 1, 0, Answered},
		{"accepted, but refused", []results.Failure{refused}, []record{{0, "a", journal.EndPeer}, {1, "aqr", journal.EndServed}}, 1, 0, 0, Answered},
		{"answered, but retried", []results.Failure{unanswered}, []record{{0, "aqr", journal.EndServed}, {1, "aqr", journal.EndServed}}, 1, 1, 0, Answered},
		{"a try that the load did not make", nil, []record{{0, "aqr", journal.EndServed}, {1, "aqr", journal.EndServed}}, 1, 0, 0, Answered},
		{"the same try twice", []results.Failure{refused}, []record{{1, "aqr", journal.EndServed}, {1, "q", journal.EndAborted}}, 1, 0, 0, Answered},
		{"a try beyond the policy", nil, []record{{0, "aqr", journal.EndServed}, {3, "q", 0}}, 1, 0, 0, Answered},
		{"the last try was never accepted", []results.Failure{unanswered}, []record{{0, "aq", journal.EndAborted}}, 0, 0, 0, NeverAccepted},
	} {
		for _, sampleFirst := range []bool{true, false} {
			t.Run(tt.name, func(t *testing.T) {
				b := testBook(t, 2, func(l *Load) { l.Tries = 3 })
				sample := results.Sample{
					Sent: int64(begin), LastSent: int64(begin) + int64(5*ms),
					Done: int64(begin) + int64(9*ms), Worker: worker, Generation: generation,
				}
				for _, f := range tt.failed {
					try := results.FailedTry{Failure: f, Opened: true}
					sample.Failed = append(sample.Failed, try)
				}
				if sampleFirst {
					b.Sample(&sample)
				}
				for conn, rec := range tt.records {
					r := journal.Record{
						Conn: uint32(10 + conn), Peer: b.sources.At(uint64(rec.try) * 2),
						Attempt: wire.Attempt{Try: rec.try}, Identified: true,
					}
					if rec.server[0] != 'a' { // the connection had already been accepted
						r.Kind = journal.Accepted
						r.Peer = b.sources.At(4)
						b.Record(worker, r)
					}
					enterServer(b, r, rec.server, rec.end)
				}
				if !sampleFirst {
					b.Sample(&sample)
				}
				enter(b, 1, served)
				got := b.Close(&Facts{Duration: time.Second}).retries()
				if b.unmatched != tt.unmatched || got.Repeated != tt.repeated ||
					*got.RepeatedUnhandled != tt.unhandled || b.attempts[0].State != tt.state {
					t.Errorf("%d unmatched, %d repeated, %d unhandled, %v; want %d, %d, %d, %v",
						b.unmatched, got.Repeated, *got.RepeatedUnhandled, b.attempts[0].State,
						tt.unmatched, tt.repeated, tt.unhandled, tt.state)
				}
				first, second := b.sources.At(uint64(2*len(tt.failed))), b.sources.At(1)
				if b.connection(0) != first || b.connection(1) != second {
					t.Errorf("connections %v and %v, want %v and %v",
						b.connection(0), b.connection(1), first, second)
				}
				sent, lastSent := b.attempts[0].Sent, b.lastTry(0).Sent
				if len(tt.failed) > 0 && lastSent != 5*ms || sent != 0 {
					t.Errorf("sent %d, the last try %d", sent, lastSent)
				}
				want := &results.Retries{
					Tries: int64(2 + len(tt.failed)), Repeated: tt.repeated,
					RepeatedUnhandled: &tt.unhandled, Failed: got.Failed, MaskedNS: got.MaskedNS,
				}
				if len(tt.failed) > 0 {
					want.TriedAgain, want.Masked = 1, 1
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("got +, want -:\n%s", diff)
				}
			})
		}
	}
}

// Without retries, there are no retry results, and attempts take no extra memory.
func TestWithoutTries(t *testing.T) {
	b := testBook(t, 1)
	enter(b, 0, served)
	b.Record(worker, journal.Record{Conn: 9, Kind: journal.Accepted, Peer: b.sources.At(0)})
	b.Record(worker, journal.Record{
		Conn: 9, Kind: journal.Requested, Attempt: wire.Attempt{Try: 1}, Identified: true,
	})
	got := b.Close(&Facts{Duration: time.Second}).retries()
	if got != nil || b.unmatched != 1 {
		t.Errorf("retries %+v, %d unmatched; want none, and 1 for a second try", got, b.unmatched)
	}
	if size := unsafe.Sizeof(Attempt{}); size != 32 {
		t.Errorf("an attempt takes %d bytes, want 32", size)
	}
}

// If attempts use ports in turn, a connection belongs to an attempt from the same port: the last
// one that was due when the connection was accepted.
func TestPortsInTurn(t *testing.T) {
	b := testBook(t, 25, func(l *Load) { l.Ports = 10 }) // an attempt is due every ms
	gaveUp := func(i int, accepted time.Duration) {
		due := int64(begin) + int64(b.scheduled(i))
		b.Sample(&results.Sample{
			Sequence: uint64(i), Sent: due, Done: due + int64(5*ms),
			Class: results.ClassTimeout, Phase: results.PhaseWait, Worker: -1, Generation: -1,
		})
		r := journal.Record{At: begin.Add(accepted), Conn: uint32(i), Peer: b.sources.At(uint64(i))}
		enterServer(b, r, "a", journal.EndPeer)
	}
	for i := range 25 {
		switch i {
		case 3: // accepted at 5 ms, before attempt 13 was due; its client then left
			gaveUp(3, 5*time.Millisecond)
		case 23: // accepted equally late, but no later attempt uses its port
			gaveUp(23, 40*time.Millisecond)
		default:
			enter(b, i, served)
		}
	}
	b.Close(&Facts{Duration: time.Second})
	for i, want := range map[int]State{3: UnreadPeerGone, 13: Answered, 23: UnreadPeerGone} {
		if got := b.attempts[i].State; got != want {
			t.Errorf("attempt %d: %v, want %v", i, got, want)
		}
	}
	if b.unmatched != 0 {
		t.Errorf("%d unmatched", b.unmatched)
	}
}

// Connections kept from the start were not opened by any attempt. Of the three in this test, one
// serves attempt 0; one is closed by its worker before the worker reads the request of attempt 1;
// and one stays idle. Attempt 2 finds no free connection, and attempt 3 opens one.
func TestKeptConnections(t *testing.T) {
	const n = 4
	b := testBook(t, n, kept(3))
	record := func(conn uint32, kind journal.Kind, at Time, r journal.Record) {
		r.Conn, r.Kind, r.At, r.Identified = conn, kind, b.Instant(at), true
		b.Record(worker, r)
	}
	for k := range uint32(3) {
		record(k, journal.Accepted, -20*ms, journal.Record{Peer: b.sources.At(n + uint64(k))})
	}
	record(0, journal.Requested, 1*ms, journal.Record{})
	record(0, journal.Answered, 3*ms, journal.Record{})
	record(1, journal.Ended, 2*ms, journal.Record{End: journal.EndServed})
	opened := journal.Record{Peer: b.sources.At(3), Attempt: wire.Attempt{Sequence: 3}}
	record(3, journal.Accepted, 4*ms, opened)
	record(3, journal.Requested, 4*ms, opened)
	record(3, journal.Answered, 5*ms, opened)
	record(0, journal.Ended, 9*ms, journal.Record{End: journal.EndPeer})
	record(2, journal.Ended, 9*ms, journal.Record{End: journal.EndPeer})
	for i, s := range []results.Sample{
		{Source: b.sources.At(n), Worker: worker},
		{
			Source: b.sources.At(n + 1), Class: results.ClassReset, Phase: results.PhaseWait,
			Worker: -1,
		},
		{Class: results.ClassTimeout, Phase: results.PhaseConnect, Worker: -1},
		{Source: b.sources.At(3), Worker: worker},
	} {
		s.Sequence, s.Sent = uint64(i), int64(begin)+int64(b.scheduled(i))
		s.Done = s.Sent + int64(2*ms)
		b.Sample(&s)
	}
	ready, closed := -50*ms, 900*ms
	workers := []Worker{{ID: worker, Ready: &ready, Closed: &closed}}
	a := b.Close(&Facts{Duration: time.Second, Workers: workers})
	for i, want := range []Verdict{
		{Worker: worker},
		{cause.ClosedByWorker, ByWorker, worker, "closed unanswered", false, nil},
		{cause.Timeout, ByClient, -1, "no connection was free", false, nil},
		{Worker: worker},
	} {
		want.Explained = true
		if got := a.Verdict(i); got != want {
			t.Errorf("attempt %d: %+v, want %+v", i, got, want)
		}
	}
	var r results.Trial
	a.Fill(&r)
	first, second := r.Losses[0].Source, r.Losses[1].Source
	if r.Residual != 0 || first != b.sources.At(n+1).String() || second != "" {
		t.Errorf("residual %d, lost from %q and %q", r.Residual, first, second)
	}
	// Only one connection was opened while the load ran.
	r.Workers = []results.Worker{{ID: worker, Accepted: 4}}
	for _, e := range a.Equalities(&r)[:2] {
		if e.Ledger != 1 {
			t.Errorf("%s: the ledger says %d, want 1", e.Counter, e.Ledger)
		}
	}
	if w := r.Fairness.Windows; len(w) != 1 || w[0].Connections != 1 {
		t.Errorf("connections over time: %+v, want only that of attempt 3", w)
	}
}

// Fairness is also computed for requests and busy time. Each of two workers has two connections.
// One worker answers three requests in 9 ms, the other one request in 1 ms.
func TestFairnessOfWork(t *testing.T) {
	b := testBook(t, 4, kept(4))
	var facts Facts
	facts.Duration = time.Second
	for id, took := range map[int][]Time{5: {4 * ms, 3 * ms, 2 * ms}, 6: {1 * ms}} {
		for k := range uint32(2) {
			r := journal.Record{Kind: journal.Accepted, Conn: k, At: begin}
			r.Peer = b.sources.At(uint64(id))
			b.Record(id, r)
		}
		for i, took := range took {
			r := journal.Record{Kind: journal.Requested, At: b.Instant(10 * ms), Identified: true}
			r.Attempt.Sequence = uint64(i + (id-5)*3)
			b.Record(id, r)
			r.Kind, r.At = journal.Answered, b.Instant(10*ms+took)
			b.Record(id, r)
		}
		ready, closed := -1*ms, 20*ms
		facts.Workers = append(facts.Workers, Worker{ID: id, Ready: &ready, Closed: &closed})
	}
	var r results.Trial
	b.Close(&facts).Fill(&r)
	f := r.Fairness
	f.Windows = nil
	want := &results.Fairness{
		Jain: 1, MaxOverMean: 1, TopShare: 0.5, Chi2P: 1,
		Requests: &results.Spread{Jain: 0.8, MaxOverMean: 1.5, TopShare: 0.75},
		BusyTime: &results.Spread{Jain: 100. / (2 * 82), MaxOverMean: 1.8, TopShare: 0.9},
	}
	if diff := cmp.Diff(want, f, cmpopts.EquateApprox(1e-12, 0)); diff != "" {
		t.Errorf("fairness (-want +got):\n%s", diff)
	}
}
