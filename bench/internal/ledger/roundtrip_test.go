package ledger

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"reuseport-bench/results"
	"reuseport-bench/results/cause"
)

// With a round trip, segments arrive half a round trip after they were sent, in both directions.
func TestRoundTrip(t *testing.T) {
	const trip = 40 * time.Millisecond
	type verdict struct {
		Cause    string
		Evidence Evidence
		Worker   int
	}
	lost := func(connected int64, class results.Class) results.Sample {
		s := results.Sample{Class: class, Phase: results.PhaseWait, Done: 75}
		if s.Connected = connected; connected == 0 {
			s.Phase = results.PhaseConnect
		}
		return s
	}
	for _, test := range []struct {
		name   string
		sample results.Sample // instants are in ms
		trip   time.Duration
		closed Time // the listener of worker 3
		want   verdict
	}{
		{"in the queue: the ACK came before the close", lost(41, results.ClassReset), trip, 65 * ms,
			verdict{cause.ResetAtClose, ByWorker, 3}},
		{"half-open: the ACK came after it", lost(41, results.ClassReset), trip, 55 * ms,
			verdict{cause.ResetHalfOpen, ByWorker, 3}},
		{"in the queue: without a round trip the ACK is there at once",
			lost(41, results.ClassReset), 0, 55 * ms, verdict{cause.ResetAtClose, ByWorker, 3}},
		{"the SYN met a closing listener", lost(0, results.ClassTimeout), trip, 20 * ms,
			verdict{cause.SYNTimeout, ByWorker, 3}},
		{"without a round trip the SYN came before", lost(0, results.ClassTimeout), 0, 20 * ms,
			verdict{cause.SYNTimeout, ByClient, -1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := testBook(t, 1, func(l *Load) { l.RoundTrip = test.trip })
			s := test.sample
			s.Scheduled, s.Sent, s.Worker, s.Generation = int64(begin), int64(begin), -1, -1
			s.Source = b.sources.At(0)
			for _, at := range []*int64{&s.Connected, &s.Done} {
				if *at != 0 {
					*at = int64(begin) + *at*int64(ms)
				}
			}
			b.Sample(&s)
			v := b.Close(&Facts{Duration: time.Second, Closings: []Closing{
				{Worker: 3, From: test.closed, To: test.closed + 1*ms, OwnsQueue: true},
			}}).Verdict(0)
			if diff := cmp.Diff(verdict{v.Cause, v.Evidence, v.Worker}, test.want); diff != "" {
				t.Errorf("got -, want +:\n%s", diff)
			}
		})
	}
}

// A connection joins the accept queue when the last ACK of its handshake reaches the server. A
// reset reaches the client half a round trip after the server sent it.
func TestQueuesBehindRoundTrip(t *testing.T) {
	b := testBook(t, 2, func(l *Load) { l.RoundTrip = 20 * time.Millisecond })
	// The clients are connected at 20 and 21 ms, so the connections join the queue at 30 and 31 ms.
	// The first is accepted at 34 ms. The second is reset at 41 ms, and its client receives the
	// reset at 51 ms.
	waiting{established: 20 * ms, accepted: 34 * ms}.enter(b, 0)
	waiting{established: 20 * ms, class: results.ClassReset}.enter(b, 1)
	a := b.Close(&Facts{
		Duration: 100 * time.Millisecond,
		Workers:  []Worker{{ID: 0, Listener: 7, Ready: new(Time(0)), Closed: new(Time(100 * ms))}},
		Closings: []Closing{{Worker: 0, From: 41 * ms, To: 42 * ms, OwnsQueue: true}},
	})
	got, unplaced := a.Queues(EqualWindows(10*time.Millisecond, 20))
	// Of the 100 ms, one connection waits for 4 ms, beginning at 30 ms, and the other for 10 ms,
	// beginning at 31 ms.
	want := []Queue{{Worker: 0, Max: 2, Mean: 0.14, Longest: []int64{0, 0, 0, 2, 1}}}
	near := cmpopts.EquateApprox(0, 1e-4) // ticks of 16 ns
	if diff := cmp.Diff(got, want, near); diff != "" || unplaced != 0 {
		t.Errorf("unplaced %d; got -, want +:\n%s", unplaced, diff)
	}
}
