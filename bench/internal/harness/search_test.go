package harness

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"reuseport-bench/bench/internal/plan"
	"reuseport-bench/results"
)

// limitedTo returns a function that simulates tries with servers that can serve limit attempts per
// second. Above that rate, p99 exceeds the bound.
func limitedTo(limit float64) func(float64) (*results.Trial, error) {
	return func(perSecond float64) (*results.Trial, error) {
		p99 := int64(time.Millisecond)
		if perSecond > limit {
			p99 = int64(time.Second)
		}
		return &results.Trial{
			Valid: true, Attempts: 100, ResponseNS: &results.Percentiles{P99: p99},
		}, nil
	}
}

// searchingBy returns a search for a rate.
func searchingBy(bound time.Duration, try func(float64) (*results.Trial, error)) *searching {
	text := func(rate float64) string { return fmt.Sprintf("%.0f/s", rate) }
	return &searching{bound: bound, try: try, text: text}
}

func TestSearchFindsTheLimit(t *testing.T) {
	for _, limit := range []float64{40, 300, 700, 999, 1240} {
		s := searchingBy(10*time.Millisecond, limitedTo(limit))
		trial, err := s.run(1000, 0.03)
		if err != nil || !trial.Valid {
			t.Fatalf("limit %v: %v, %v", limit, trial, err)
		}
		if got := trial.Search.PerSecond; got > limit || got < limit/1.03 {
			t.Errorf("limit %v: found %v, want at most 3 %% less", limit, got)
		}
	}
}

// TestSearchForgivesOneFailure checks that a rate fails only after two failed tries, because one
// may be due to the machine. A try with a drop fails in the same way as a try with late answers.
func TestSearchForgivesOneFailure(t *testing.T) {
	tried := map[float64]int{}
	try := func(perSecond float64) (*results.Trial, error) {
		if tried[perSecond]++; tried[perSecond] == 1 {
			return &results.Trial{Valid: true, Attempts: 100, Lost: 2, Dropped: 1}, nil
		}
		return limitedTo(800)(perSecond)
	}
	s := searchingBy(10*time.Millisecond, try)
	trial, err := s.run(1000, 0.03)
	if err != nil {
		t.Fatal(err)
	}
	if got := trial.Search.PerSecond; math.Abs(got-788) > 12 {
		t.Errorf("found %v, want about 3 %% less than 800", got)
	}
	first := trial.Search.Tries[0]
	if first.Outcome != results.TryFailed || first.Note != "1 of 100 dropped" {
		t.Errorf("the first try is %+v", first)
	}
}

func TestSearchGivesUp(t *testing.T) {
	invalid := func(float64) (*results.Trial, error) {
		return &results.Trial{InvalidReasons: []string{"the machine paused"}}, nil
	}
	for name, try := range map[string]func(float64) (*results.Trial, error){
		"never valid": invalid, "never passes": limitedTo(0),
	} {
		s := searchingBy(time.Millisecond, try)
		trial, err := s.run(1000, 0.03)
		if err != nil || trial.Valid || trial.Search.PerSecond != 0 ||
			len(trial.InvalidReasons) == 0 {
			t.Errorf("%s: %+v, %v; want an invalid trial with a reason", name, trial, err)
		}
	}
	broken := errors.New("broken")
	s := &searching{try: func(float64) (*results.Trial, error) { return nil, broken }}
	if trial, err := s.run(1000, 0.03); !errors.Is(err, broken) || trial != nil {
		t.Errorf("%v, %v; want the error", trial, err)
	}
}

// TestSearchForASetting simulates a setting whose values from a limit on drop nothing.
func TestSearchForASetting(t *testing.T) {
	ms := float64(time.Millisecond)
	for name, test := range map[string]struct {
		sought plan.Search
		passes func(value float64) bool
		want   float64 // the value to find; 0 means none
	}{
		"the least duration": {
			plan.Search{Setting: "kube.pre_stop", From: 0, To: 2000 * ms, Times: true, Step: 1},
			func(x float64) bool { return x >= 433*ms }, 433 * ms,
		},
		"the greatest number": {
			plan.Search{Setting: "server.backlog", From: 4096, To: 1, Step: 1},
			func(x float64) bool { return x <= 129 }, 129,
		},
		"every value passes": {
			plan.Search{Setting: "kube.pre_stop", From: 100 * ms, To: 200 * ms, Times: true, Step: 1},
			func(float64) bool { return true }, 100 * ms,
		},
		"no value passes": {
			plan.Search{Setting: "kube.pre_stop", From: 0, To: 200 * ms, Times: true, Step: 1},
			func(float64) bool { return false }, 0,
		},
	} {
		test.sought.Precision = 0.01
		s := &searching{setting: &test.sought, text: test.sought.Text}
		s.try = func(x float64) (*results.Trial, error) {
			trial := &results.Trial{Valid: true, Attempts: 50}
			if !test.passes(x) {
				trial.Lost, trial.Dropped = 1, 1
			}
			return trial, nil
		}
		found, err := s.between()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if test.want == 0 {
			if found.Valid || found.Search.Value != nil || found.Search.Unit != "ns" ||
				found.Search.Setting != test.sought.Setting ||
				!strings.Contains(found.InvalidReasons[0], "200ms") {
				t.Errorf("%s: %+v, want an invalid trial that names the value", name, found)
			}
			continue
		}
		r := found.Search
		if r.Value == nil || !test.passes(*r.Value) ||
			math.Abs(*r.Value-test.want) > test.sought.Resolution() {
			t.Errorf("%s: found %v, want %v or up to %v more", name, r.Value, test.want,
				test.sought.Resolution())
			continue
		}
		if r.Failed != nil && (test.passes(*r.Failed) ||
			math.Abs(*r.Failed-*r.Value) > test.sought.Resolution()) {
			t.Errorf("%s: the nearest value that failed is %v, and %v was found", name, *r.Failed,
				*r.Value)
		}
		if all := test.passes(test.sought.From); all != (r.Failed == nil) {
			t.Errorf("%s: failed %v", name, r.Failed)
		}
	}
}
