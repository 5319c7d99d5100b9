package results

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/results/jsonfile"
)

// plannedRun returns a run of one scenario and two variants, each with this many planned trials.
func plannedRun(trials int) *Run {
	run := newRun()
	run.Scenarios[0].Trials = trials
	return run
}

// longTrial returns a trial with this many lost attempts, all of them listed.
func longTrial(losses int) *Trial {
	t := restartTrial(int64(losses))
	t.Attempts, t.Served = 10_000, 10_000-t.Lost
	for i := range losses {
		t.Losses = append(t.Losses, Loss{
			Sequence: int64(i), Source: "127.0.3.7:20481", Phase: "wait", Error: "reset",
			Server: "never accepted", Cause: "reset_at_close", Evidence: "kernel",
			Worker: new(2), Step: new(0),
		})
	}
	return t
}

// In a run of many trials, each trial lists only a share of the losses, but counts all.
func TestLossesAreCutShort(t *testing.T) {
	for trials, want := range map[int]int{1: 2000, 8: 312, 100: 25, 1000: 20} {
		r := newRoom(plannedRun(trials)) // two variants
		trial := longTrial(2000)
		size, err := r.fit(trial)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(trial.Losses); n != want || int64(n)+trial.LossesOmitted != trial.Lost {
			t.Errorf("of %d trials each lists %d losses and omits %d, want %d", trials, n,
				trial.LossesOmitted, want)
		}
		all := int64(2*trials) * 11 / 8 // including repeats of invalid trials
		if limit := maxSize(); size.text*all > limit.text || size.memory*all > limit.memory {
			t.Errorf("%d trials of %+v are more than %+v", all, size, limit)
		}
		if diff := cmp.Diff(longTrial(2000).Losses[:len(trial.Losses)], trial.Losses); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// In a run of very many trials, a trial that takes more than its share has no windows and, if that
// does not suffice, lists no losses.
func TestLargeTrialsAreCutShort(t *testing.T) {
	for _, test := range []struct {
		workers, losses int
		windows         bool
	}{{1, 10, true}, {20, 10, false}, {100, 0, false}} {
		r := newRoom(plannedRun(5000)) // a share is 12.6 kB of memory
		trial := longTrial(10)
		trial.Windows = &Windows{EdgesNS: make([]int64, 1000)}
		if trial.Workers = make([]Worker, test.workers); test.windows {
			trial.Windows.EdgesNS = nil
		}
		if _, err := r.fit(trial); err != nil {
			t.Fatal(err)
		}
		if n := len(trial.Losses); n != test.losses || (trial.Windows != nil) != test.windows {
			t.Errorf("%d workers: %d losses, windows %v; want %d, %v", test.workers, n,
				trial.Windows != nil, test.losses, test.windows)
		}
	}
}

// Append refuses a run that would become too large as soon as its first block is complete, long
// before the limit is reached.
func TestTooLargeARun(t *testing.T) {
	large := func() *Trial {
		trial := restartTrial(0)
		trial.Workers = make([]Worker, 2000)
		return trial
	}
	s, err := Create(t.TempDir(), plannedRun(1000))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Append("rolling-restart", closeLabels, large()); err != nil {
		t.Fatalf("the first trial: %v", err)
	}
	wantError(t, s.Append("rolling-restart", drainLabels, large()),
		"with 2000 trials like those so far", "could not be read again; plan fewer")
	if n := len(load(t, s.Dir()).Scenarios[0].Variants[0].Trials); n != 1 {
		t.Errorf("%d trials are kept, want the first", n)
	}
	// A resumed run has the same limits.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again, _, err := Open(s.Dir())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if diff := cmp.Diff(s.room, again.room, cmp.AllowUnexported(room{}, size{})); diff != "" {
		t.Errorf("the room (-before +after):\n%s", diff)
	}
	few, err := Create(t.TempDir(), plannedRun(10))
	if err != nil {
		t.Fatal(err)
	}
	defer few.Close()
	for _, labels := range []map[string]string{closeLabels, drainLabels} {
		if err := few.Append("rolling-restart", labels, large()); err != nil {
			t.Errorf("a large trial of a small run: %v", err)
		}
	}
}

// The size of a run is not extrapolated to other scenarios, or to trials that may not be run.
func TestRoomWithoutExtrapolation(t *testing.T) {
	large := restartTrial(0)
	large.Workers = make([]Worker, 2000)
	several, auto := plannedRun(500), plannedRun(1)
	other := *several.Scenarios[0]
	other.Name = "other"
	several.Scenarios = append(several.Scenarios, &other)
	auto.Scenarios[0].Looks = []int{1, 1000}
	for name, run := range map[string]*Run{"two scenarios": several, "looks": auto} {
		r := newRoom(run)
		for range r.block {
			s, err := r.fit(large)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			r.add(s)
		}
		r.used.text = maxSize().text
		if _, err := r.fit(large); err == nil {
			t.Errorf("%s: a full run has room for another trial", name)
		}
	}
}

// Append does not write a trial that Load could not read.
func TestUnreadableTrial(t *testing.T) {
	s, err := Create(t.TempDir(), plannedRun(1))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	trial := restartTrial(0)
	trial.Steps = make([]Step, 60_000)
	wantError(t, s.Append("rolling-restart", closeLabels, trial), "could not be read again",
		"plan fewer steps")
	if err := s.Append("rolling-restart", closeLabels, restartTrial(0)); err != nil {
		t.Errorf("a trial after it: %v", err)
	}
	if n := len(load(t, s.Dir()).Scenarios[0].Variants[0].Trials); n != 1 {
		t.Errorf("%d trials are kept, want one", n)
	}
}

// sizeOf returns the number of bytes that a trial adds to RunFile.
func TestSizeOf(t *testing.T) {
	run := newRun()
	run.FinishedAt = new(startedAt())
	size, err := sizeOf(longTrial(10))
	if err != nil {
		t.Fatal(err)
	}
	lengths := map[int]int{}
	for n := range 3 {
		run.Scenarios[0].Variants[0].Trials = nil
		for range n {
			run.Scenarios[0].Variants[0].Trials = append(run.Scenarios[0].Variants[0].Trials,
				longTrial(10))
		}
		var text strings.Builder
		if err := EncodeJSON(&text, run); err != nil {
			t.Fatal(err)
		}
		lengths[n] = text.Len()
	}
	between := len(",\n" + strings.Repeat(jsonfile.Indent, trialDepth))
	if got := int64(lengths[2] - lengths[1] - between); got != size.text {
		t.Errorf("sizeOf returned %d bytes; the trial added %d to the file", size.text, got)
	}
}
