package ledger

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"reuseport-bench/results"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/journal"
	"reuseport-bench/servers/wire"
)

// waiting describes an attempt whose connection waits to be accepted. established and accepted are
// times in ns after the attempt was due.
type waiting struct {
	established, accepted Time // accepted 0: never
	worker                int
	class                 results.Class
}

// enter adds the client's and the server's account of attempt i to the book.
func (w waiting) enter(b *Book, i int) {
	due := begin.Add(time.Duration(b.scheduled(i)))
	s := results.Sample{
		Sequence: uint64(i), Scheduled: int64(due), Sent: int64(due),
		Connected: int64(due.Add(time.Duration(w.established))),
		Done:      int64(due.Add(50 * time.Millisecond)), Source: b.sources.At(uint64(i)),
		Worker: -1, Generation: -1, Class: w.class, Phase: results.PhaseWait,
	}
	if w.class == results.ClassNone {
		s.Worker, s.Generation = w.worker, generation
	}
	b.Sample(&s)
	if w.accepted == 0 {
		return
	}
	r := journal.Record{
		At: due.Add(time.Duration(w.accepted)), Conn: uint32(i), Peer: b.sources.At(uint64(i)),
		Attempt: wire.Attempt{Sequence: uint64(i)}, Identified: true,
	}
	for _, r.Kind = range []journal.Kind{journal.Accepted, journal.Requested, journal.Answered} {
		b.Record(w.worker, r)
	}
	r.Kind, r.End = journal.Ended, journal.EndServed
	b.Record(w.worker, r)
}

// The length of a queue follows from the instants at which its connections were established and
// accepted. Attempts are due 1 ms apart.
func TestQueues(t *testing.T) {
	const shared, own, other = 0, 7, 8
	at := func(ms int) *Time { return new(Time(ms) * Time(time.Millisecond)) }
	worker := func(id int, listener uint64, ready, closed int) Worker {
		return Worker{ID: id, Listener: listener, Ready: at(ready), Closed: at(closed)}
	}
	for _, tt := range []struct {
		name     string
		workers  []Worker
		attempts []waiting
		facts    func(*Facts)
		want     []Queue
		unplaced int64
	}{
		{
			name: "no connection waits", workers: []Worker{worker(0, own, -9, 99)},
			attempts: []waiting{{established: 1, accepted: 1}, {established: 1, accepted: 1}},
			want:     []Queue{{Worker: 0}},
		},
		{
			name:     "accepted before its client is connected",
			workers:  []Worker{worker(0, own, -9, 99)},
			attempts: []waiting{{established: 3 * ms, accepted: 1 * ms}},
			want:     []Queue{{Worker: 0}},
		},
		{
			// In 10 ms, three connections wait from 0, 1 and 2 ms until 5 ms.
			name:    "a worker stands still",
			workers: []Worker{worker(0, own, -9, 99), worker(1, other, -9, 99)},
			attempts: []waiting{
				{accepted: 5 * ms}, {accepted: 4 * ms}, {accepted: 3 * ms}, {worker: 1}, {accepted: 1},
			},
			want: []Queue{
				{Worker: 0, Max: 3, Mean: 1.2, Longest: []int64{2, 3, 3}}, {Worker: 1},
			},
		},
		{
			name:     "one queue of two workers",
			workers:  []Worker{worker(0, shared, -9, 99), worker(1, shared, -9, 99)},
			attempts: []waiting{{accepted: 2 * ms}, {accepted: 1 * ms, worker: 1}},
			want:     []Queue{{Worker: noWorker, Max: 2, Mean: 0.3, Longest: []int64{2}}},
		},
		{
			// The socket listened from 2 to 6 ms.
			name:     "a socket that is handed over",
			workers:  []Worker{worker(0, own, 2, 4), worker(1, own, 3, 6)},
			attempts: []waiting{{}, {}, {accepted: 1 * ms}, {accepted: 3 * ms, worker: 1}},
			want:     []Queue{{Worker: 0, Max: 1, Mean: 1, Longest: []int64{0, 1, 1}}},
		},
		{
			name:     "reset in the queue of a closed listener",
			workers:  []Worker{worker(0, own, -9, 60), worker(1, other, -9, 99)},
			attempts: []waiting{{class: results.ClassReset}},
			facts: func(f *Facts) {
				f.Closings = []Closing{{Worker: 0, From: 0, To: 60 * ms, OwnsQueue: true}}
			},
			want: []Queue{{Worker: 0, Max: 1, Mean: 1, Longest: longest(1, 25)}, {Worker: 1}},
		},
		{
			name: "given up, and never accepted", workers: []Worker{worker(0, own, -9, 99)},
			attempts: []waiting{{class: results.ClassTimeout}},
			want:     []Queue{{Worker: 0}}, unplaced: 1,
		},
		{
			name: "given up at a shared socket", workers: []Worker{worker(0, shared, -9, 99)},
			attempts: []waiting{{class: results.ClassTimeout}},
			want:     []Queue{{Worker: noWorker, Max: 1, Mean: 1, Longest: longest(1, 25)}},
		},
		{
			name: "never established", workers: []Worker{worker(0, own, -9, 99)},
			attempts: []waiting{{established: -Time(begin), class: results.ClassRefused}},
			want:     []Queue{{Worker: 0}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := testBook(t, 10)
			for i := range 10 {
				w := waiting{worker: tt.workers[0].ID}
				if i < len(tt.attempts) {
					w = tt.attempts[i]
				}
				if w.class == results.ClassNone {
					// by default, the connection is accepted at once
					w.accepted = max(w.accepted, 1)
				}
				w.enter(b, i)
			}
			f := &Facts{Duration: 10 * time.Millisecond, Workers: tt.workers}
			if tt.facts != nil {
				tt.facts(f)
			}
			got, unplaced := b.Close(f).Queues(EqualWindows(2*time.Millisecond, 100))
			near := cmpopts.EquateApprox(0, 1e-4) // ticks of 16 ns
			if diff := cmp.Diff(got, tt.want, near, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("got -, want +:\n%s", diff)
			}
			if unplaced != tt.unplaced {
				t.Errorf("%d unplaced, want %d", unplaced, tt.unplaced)
			}
		})
	}
}

// longest returns n windows in which the queue has the given length.
func longest(length int64, n int) (all []int64) {
	for range n {
		all = append(all, length)
	}
	return all
}

// A sweep gives the same lengths as a count of the connections at each instant, even if journal
// records arrive before samples.
func TestQueuesOfMany(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const n, window = 500, 7 * time.Millisecond
	for _, journalsFirst := range []bool{false, true} {
		all := make([]waiting, n)
		b := testBook(t, n)
		for i := range all {
			all[i].established = Time(random.IntN(3000)) * 16_000
			all[i].accepted = all[i].established + Time(random.IntN(3750))*16_000
			all[i].worker = random.IntN(2)
			if !journalsFirst {
				all[i].enter(b, i)
			}
		}
		for i := n - 1; journalsFirst && i >= 0; i-- {
			all[i].enter(b, i)
		}
		f := &Facts{Duration: n * time.Millisecond, Workers: []Worker{
			{ID: 0, Listener: 7, Ready: new(Time(-1))}, {ID: 1, Listener: 8, Ready: new(Time(-1))},
		}}
		got, unplaced := b.Close(f).Queues(EqualWindows(window, 1000))
		if unplaced != 0 || len(got) != 2 {
			t.Fatalf("%d unplaced, %d queues", unplaced, len(got))
		}
		for w, q := range got {
			most, total := int64(0), Time(0)
			for i := range all {
				if all[i].worker != w {
					continue
				}
				from := b.scheduled(i) + all[i].established
				to := b.scheduled(i) + all[i].accepted
				total += max(0, min(to, Time(f.Duration))-from)
				// number of connections in the queue when this one joins
				waits, at := int64(0), from
				for k := range all {
					from, to := b.scheduled(k)+all[k].established, b.scheduled(k)+all[k].accepted
					if all[k].worker == w && from <= at && at < to {
						waits++
					}
				}
				most = max(most, waits)
			}
			highest := int64(0)
			for _, l := range q.Longest {
				highest = max(highest, l)
			}
			mean := float64(total) / float64(f.Duration)
			if q.Max != most || highest != most || math.Abs(q.Mean-mean) > 1e-6*mean {
				t.Errorf("worker %d: at most %d, in a window %d, on average %v; want %d, %d and %v",
					w, q.Max, highest, q.Mean, most, most, mean)
			}
		}
	}
}

// Attempts on reused connections do not wait in a queue. Behind a proxy, no queue is known.
func TestQueuesOfOthers(t *testing.T) {
	for name, change := range map[string]func(*Load){"reused": reuses, "proxied": proxied} {
		b := testBook(t, 2, change)
		waiting{accepted: 1 * ms}.enter(b, 0)
		due := int64(begin) + int64(b.scheduled(1))
		b.Sample(&results.Sample{ // sent on the connection of attempt 0
			Sequence: 1, Scheduled: due, Sent: due, Connected: due, Done: due + 1,
			Source: b.sources.At(0), Worker: 0, Generation: generation,
		})
		f := &Facts{
			Duration: 2 * time.Millisecond,
			Workers:  []Worker{{Listener: 7, Ready: new(Time(0))}},
		}
		got, unplaced := b.Close(f).Queues(EqualWindows(time.Millisecond, 10))
		if name == "proxied" && got != nil {
			t.Errorf("%s: %+v", name, got)
		}
		if name == "reused" && (len(got) != 1 || got[0].Max != 1 || unplaced != 0) {
			t.Errorf("%s: %+v, %d unplaced", name, got, unplaced)
		}
	}
}

// ticks returns at least 1, because 0 means unknown. A wait that is too long for a uint32 becomes
// the largest uint32.
func TestTicks(t *testing.T) {
	for d, want := range map[time.Duration]uint32{
		-1: 1, 0: 1, 16: 1, 160: 10, time.Hour: math.MaxUint32,
	} {
		if got := ticks(d); got != want {
			t.Errorf("%v: %d, want %d", d, got, want)
		}
	}
	if d := clock.Instant(0).Add(math.MaxUint32 * waitTick); d < clock.Instant(time.Minute) {
		t.Errorf("ticks last %v, less than the longest timeout", d)
	}
}
