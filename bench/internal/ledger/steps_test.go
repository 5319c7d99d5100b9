package ledger

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/results"
	"reuseport-bench/scenarios/vocabulary"
)

// step returns a step with the given trigger.
func step(at Time, do vocabulary.StepName) Step {
	return Step{Do: do, Target: "generation 0", At: at, Trigger: new(at)}
}

func TestStep(t *testing.T) {
	const n = 1000
	reset := account{class: results.ClassReset, phase: results.PhaseWait}
	resetAfter := func(done int64) account {
		return account{class: results.ClassReset, phase: results.PhaseWait, done: done}
	}
	timeout := account{class: results.ClassTimeout, phase: results.PhaseWait, done: 300}
	// cost returns the expected cost of a step. gap and outage are in ms.
	cost := func(gap, outage int64, share float64, lost int64) results.Step {
		return results.Step{
			GapNS: new(gap * nsMS), OutageNS: new(outage * nsMS), LostShare: &share, Lost: lost,
		}
	}
	cutOff := cost(2, 2, 1, 2)
	cutOff.Censored = true
	for _, tt := range []struct {
		name  string
		steps []Time
		lost  map[int]account
		step  int
		want  results.Step
	}{
		{"nothing lost", []Time{100}, nil, 0, cost(0, 0, 0, 0)},
		{"a run of three", []Time{100}, map[int]account{200: reset, 201: reset, 202: reset}, 0,
			cost(3, 3, 1, 3)},
		{"two runs: gap is the longer, outage spans both", []Time{100},
			map[int]account{200: reset, 210: reset, 211: reset}, 0, cost(2, 12, 0.25, 3)},
		{"every other one", []Time{100}, map[int]account{200: reset, 202: reset, 204: reset}, 0,
			cost(1, 5, 0.6, 3)},
		{"queued before the trigger", []Time{100},
			map[int]account{98: resetAfter(3), 99: resetAfter(2)}, 0, cost(2, 2, 1, 2)},
		{"lost before the trigger", []Time{100}, map[int]account{50: reset}, 0, cost(0, 0, 0, 0)},
		{"caused by the second of two steps", []Time{100, 200},
			map[int]account{199: resetAfter(2), 201: reset}, 1, cost(1, 3, 2./3, 2)},
		{"a timeout is caused by the step before it was sent", []Time{100, 200},
			map[int]account{150: timeout}, 0, cost(1, 1, 1, 1)},
		{"a timeout due before the first step, still waiting then", []Time{100, 200},
			map[int]account{99: timeout}, 0, cost(1, 1, 1, 1)},
		{"cut off by the end", []Time{100}, map[int]account{998: reset, 999: reset}, 0,
			cutOff},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := testBook(t, n)
			for i := range n {
				if a, ok := tt.lost[i]; ok {
					enter(b, i, a)
				} else {
					enter(b, i, served)
				}
			}
			f := &Facts{
				Duration: n * time.Millisecond,
				Closings: []Closing{{Worker: 7, To: n * ms, OwnsQueue: true}},
			}
			for _, at := range tt.steps {
				f.Steps = append(f.Steps, step(at*ms, "replace"))
			}
			got := b.Close(f).Step(tt.step)
			want := tt.want
			want.Do, want.Target, want.AtNS = "replace", "generation 0", int64(tt.steps[tt.step]*ms)
			want.ResolutionNS = new(nsMS)
			want.StopNS, want.StallNS = &want.AtNS, new(nsMS)
			want.Dropped, want.NeverSent, want.ScheduleLagMaxNS = &want.Lost, new(int64), new(int64)
			if diff := cmp.Diff(got, want); diff != "" {
				t.Errorf("got -, want +:\n%s", diff)
			}
		})
	}
}

// If an attempt was due just before a step's trigger but sent after it, its loss is attributed to
// that step, not to the one before.
func TestLateTimeout(t *testing.T) {
	const n, late = 300, 199
	b := testBook(t, n)
	for i := range n {
		if i == late {
			silent := account{class: results.ClassTimeout, phase: results.PhaseConnect, done: 300}
			enter(b, i, silent)
		} else {
			enter(b, i, served)
		}
	}
	b.attempts[late].Sent = 200*ms + ms/10
	a := b.Close(&Facts{
		Duration: n * time.Millisecond,
		Steps:    []Step{step(100*ms, "replace"), step(200*ms, "replace")},
	})
	if first, second := a.Step(0).Lost, a.Step(1).Lost; first != 0 || second != 1 {
		t.Errorf("the steps lost %d and %d, want 0 and 1", first, second)
	}
}

func TestStall(t *testing.T) {
	const n = 500
	b := testBook(t, n)
	for i := range n {
		a := served
		if i >= 90 && i < 150 { // served only when the servers resume, at 150 ms
			a.done = int64(150 - i)
		}
		enter(b, i, a)
	}
	steps := []Step{step(100*ms, "stall")}
	got := b.Close(&Facts{Duration: n * time.Millisecond, Steps: steps}).Step(0)
	if got.StallNS == nil || *got.StallNS != int64(60*ms) {
		t.Errorf("stall %v, want 60 ms: the attempt due at 90 ms waits at the trigger", got.StallNS)
	}
	if *got.GapNS != 0 || got.Lost != 0 {
		t.Errorf("gap %d, lost %d, want 0 and 0", *got.GapNS, got.Lost)
	}
}

func TestTakeoverAndTail(t *testing.T) {
	const n = 300
	b := testBook(t, n)
	for i := range n {
		enter(b, i, served)
		if i >= 105 { // the new generation answers
			b.attempts[i].Worker = 9
		}
	}
	b.workers[worker].lastAccept = begin.Add(107 * time.Millisecond)
	s := step(100*ms, "replace")
	s.Stopped, s.Started = []int{worker}, []int{9}
	got := b.Close(&Facts{Duration: n * time.Millisecond, Steps: []Step{s}}).Step(0)
	// attempt 105 is answered 1 ms after it was due
	if got.TakeoverNS == nil || *got.TakeoverNS != int64(6*ms) {
		t.Errorf("takeover %v, want 6 ms", got.TakeoverNS)
	}
	if got.TailNS == nil || *got.TailNS != int64(7*ms) {
		t.Errorf("tail %v, want 7 ms", got.TailNS)
	}
}

// Of the attempts that a worker has served, those count that were sent at the instant or later.
func TestServedSince(t *testing.T) {
	const n = 300
	b := testBook(t, n)
	for i := range n {
		if i == 250 { // lost
			enter(b, i, account{class: results.ClassRefused, phase: results.PhaseConnect})
		} else {
			enter(b, i, served)
		}
		b.attempts[i].Server = worker
		if i >= 280 {
			b.attempts[i].Server = 9
		}
	}
	a := b.Close(&Facts{Duration: n * time.Millisecond})
	at := b.attempts[200].Sent
	for _, c := range []struct {
		worker int
		since  Time
		want   int64
	}{{worker, at, 79}, {worker, at + 1, 78}, {9, at, 20}, {10, at, 0}} {
		if got := a.ServedSince(c.worker, c.since); got != c.want {
			t.Errorf("worker %d since %v: %d, want %d", c.worker, c.since, got, c.want)
		}
	}
}

func TestSentAfterClose(t *testing.T) {
	const n = 300
	b := testBook(t, n)
	for i := range n {
		if i == 98 || i == 120 { // attempt 98 is sent before the close, attempt 120 after it
			enter(b, i, account{class: results.ClassRefused, phase: results.PhaseConnect})
		} else {
			enter(b, i, served)
		}
	}
	s := step(99*ms, "replace")
	s.Stopped, s.Closed = []int{worker}, new(100*ms)
	a := b.Close(&Facts{
		Duration: n * time.Millisecond, Steps: []Step{s},
		Closings: []Closing{{Worker: 7, From: 99 * ms, To: 100 * ms, OwnsQueue: true}},
	})
	if got := a.sentAfterClose(); got == nil || *got != 1 {
		t.Errorf("sent after close: %v, want 1", got)
	}
	if got := b.Close(&Facts{Duration: n * time.Millisecond}).sentAfterClose(); got != nil {
		t.Errorf("sent after close %d without a step that closes, want nil", *got)
	}
}
