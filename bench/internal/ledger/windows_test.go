package ledger

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/results"
	"reuseport-bench/results/cause"
)

func TestWindowEdges(t *testing.T) {
	for _, tt := range []struct {
		name       string
		durationMS Time
		triggers   []Time // ms
		want       []Time // ms
	}{
		{"shorter than a window", 4, []Time{2}, []Time{0, 4}},
		{"no steps", 20, nil, []Time{0, 5, 10, 15, 20}},
		{"long", 1000, nil, every(0, 1000, 10)},
		{
			"fine windows around the trigger", 4000, []Time{1002},
			slices.Concat(every(0, 960, 40), every(997, 1042, 5), every(1080, 4000, 40)),
		},
		{
			// The fine windows of the second step do not move its trigger.
			"two steps, 33 ms apart", 4000, []Time{1000, 1033},
			slices.Concat(every(0, 960, 40), every(995, 1025, 5), every(1033, 1073, 5),
				every(1080, 4000, 40)),
		},
		{"a trigger near the end", 4000, []Time{3998}, append(every(0, 3960, 40), 3993, 4000)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var triggers []Time
			for _, at := range tt.triggers {
				triggers = append(triggers, at*ms)
			}
			got := windowEdges(time.Duration(tt.durationMS*ms), triggers)
			for i := range got {
				got[i] /= ms
			}
			if diff := cmp.Diff(got, tt.want); diff != "" {
				t.Errorf("got -, want +:\n%s", diff)
			}
		})
	}
	for _, steps := range []int{1, 16, 100, 160, 1000} {
		var triggers []Time
		for i := range steps {
			triggers = append(triggers, Time(i)*100*ms)
		}
		n := len(windowEdges(time.Duration(steps)*100*time.Millisecond, triggers)) - 1
		if n < 2 || n > maxFine+coarseWindows {
			t.Errorf("%d steps give %d windows", steps, n)
		}
	}
}

// every returns the numbers from a to b in steps of by.
func every(a, b, by Time) (all []Time) {
	for at := a; at <= b; at += by {
		all = append(all, at)
	}
	return all
}

// Losses of known instants are in their windows and bins. Attempts are due 1 ms apart; the step's
// trigger is at 200 ms.
func TestWindows(t *testing.T) {
	const n = 400
	reset := func(done int64) account {
		return account{class: results.ClassReset, phase: results.PhaseWait, done: done}
	}
	refused := account{class: results.ClassRefused, phase: results.PhaseConnect}
	lost := map[int]account{
		100: reset(1),                                 // before the step: not by it
		130: {class: results.ClassTimeout, done: 300}, // still waiting at the trigger
		197: reset(5), 199: reset(2), 200: refused, 201: refused, 260: refused,
	}
	b := testBook(t, n)
	for i := range n {
		a, is := lost[i]
		if a.class == results.ClassTimeout {
			a.phase = results.PhaseConnect
		}
		if !is {
			if a = served; i%5 == 2 {
				a.done = int64(10 + i%2)
			}
		}
		enter(b, i, a)
	}
	r := &results.Trial{}
	b.Close(&Facts{
		Duration: n * time.Millisecond, Steps: []Step{step(200*ms, "replace")},
		Closings: []Closing{{Worker: 7, From: 0, To: n * ms, OwnsQueue: true}},
	}).Fill(r)
	w := r.Windows
	if w.Len() != 80 || w.EdgesNS[40] != int64(200*ms) {
		t.Fatalf("%d windows, %v", w.Len(), w.EdgesNS)
	}
	window := map[int]map[string]int64{} // lost, by window and cause
	for name, byWindow := range w.Lost {
		for i, n := range byWindow {
			if window[i] == nil {
				window[i] = map[string]int64{}
			}
			window[i][name] = n
		}
	}
	want := map[int]map[string]int64{
		20: {cause.ResetAtClose: 1}, 26: {cause.SYNTimeout: 1}, 39: {cause.ResetAtClose: 2},
		40: {cause.Refused: 2}, 52: {cause.Refused: 1},
	}
	if diff := cmp.Diff(window, want); diff != "" {
		t.Errorf("lost by window: got -, want +:\n%s", diff)
	}
	for i := range w.Len() {
		served, longest := int64(5), int64(10)
		for _, n := range want[i] {
			served -= n
		}
		if longest += int64((5*i + 2) % 2); i == 39 { // attempt 197 is the slow one
			longest = 1
		}
		if w.Served[i] != served || w.ResponseNS.P50[i] != int64(ms) ||
			w.ResponseNS.P99[i] != longest*int64(ms) || w.ResponseNS.Max[i] != longest*int64(ms) {
			t.Errorf("window %d: %d served, %d, %d and %d ns; want %d, 1 ms, %d ms", i, w.Served[i],
				w.ResponseNS.P50[i], w.ResponseNS.P99[i], w.ResponseNS.Max[i], served, longest)
		}
	}
	around := &results.AroundStops{
		Stops: 1, BinNS: int64(ms), Bins: 50,
		Lost: results.Counts{
			cause.ResetAtClose: {-3: 1, -1: 1}, cause.Refused: {0: 1, 1: 1},
		},
		Before: map[string]int64{cause.SYNTimeout: 1}, After: map[string]int64{cause.Refused: 1},
	}
	if diff := cmp.Diff(r.AroundStops, around); diff != "" {
		t.Errorf("around the stop: got -, want +:\n%s", diff)
	}
}

// A step that ends no worker has no stop.
func TestNoStops(t *testing.T) {
	b := testBook(t, 10)
	for i := range 10 {
		enter(b, i, served)
	}
	r := &results.Trial{}
	b.Close(&Facts{
		Duration: 10 * time.Millisecond, Steps: []Step{step(5*ms, "stall"), step(6*ms, "add")},
	}).Fill(r)
	if r.AroundStops != nil {
		t.Errorf("%+v", r.AroundStops)
	}
}

// In every trial of the corpus, the windows have all attempts, and the losses around the stops are
// those of the steps that ended workers.
func TestWindowsOfCorpus(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(corpus, "*", "*.jsonl.gz"))
	if err != nil {
		t.Fatal(err)
	}
	stops, losses := int64(0), int64(0)
	for n := 0; n < len(files); n += 5 { // reading all takes seconds
		r, err := ReadRecording(files[n])
		if err != nil {
			t.Fatal(err)
		}
		a, err := r.Judge()
		if err != nil {
			t.Fatal(err)
		}
		got := &results.Trial{}
		a.Fill(got)
		served, byStep := int64(0), int64(0)
		for _, n := range got.Windows.Served {
			served += n
		}
		for k := range r.Facts.Steps {
			if s := a.Step(k); s.Do.Kind().Ends() && s.StopNS != nil {
				byStep += s.Lost
			}
		}
		around := int64(0)
		if s := got.AroundStops; s != nil {
			around = s.Lost.Total()
			for _, outside := range []map[string]int64{s.Before, s.After} {
				for _, n := range outside {
					around += n
				}
			}
			stops += s.Stops
		}
		if served != got.Served || got.Windows.Lost.Total() != got.Lost || around != byStep {
			t.Errorf("%s: %d served, %d lost, %d around stops; want %d, %d, %d", files[n], served,
				got.Windows.Lost.Total(), around, got.Served, got.Lost, byStep)
		}
		losses += around
	}
	if stops == 0 || losses == 0 {
		t.Errorf("%d stops, %d losses", stops, losses)
	}
}
