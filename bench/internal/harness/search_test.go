package harness

import (
	"errors"
	"math"
	"testing"
	"time"

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

func TestSearchFindsTheLimit(t *testing.T) {
	for _, limit := range []float64{40, 300, 700, 999, 1240} {
		s := &searching{bound: 10 * time.Millisecond, try: limitedTo(limit)}
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
	s := &searching{bound: 10 * time.Millisecond, try: try}
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
		s := &searching{bound: time.Millisecond, try: try}
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
