package harness

import (
	"strings"
	"testing"
	"time"

	"reuseport-bench/bench/internal/plan"
	"reuseport-bench/results"
	"reuseport-bench/scenarios"
)

// TestPace checks that the rest of a run is expected to exceed its planned time by the same factor
// as so far, and to need repeats at the same rate.
func TestPace(t *testing.T) {
	good := &results.Trial{Valid: true}
	bad := &results.Trial{InvalidReasons: []string{"the load generator ran late (p99 138ms)"}}
	p := pace{of: []tally{{left: 10 * time.Second}}, repeats: 3}
	if got := p.Left(); got != 10*time.Second {
		t.Errorf("%v left at first, want the planned 10 s", got)
	}
	p.ended(0, time.Second, 2*time.Second, good)
	if got := p.Left(); got != 18*time.Second {
		t.Errorf("%v left, want 18 s: 9 s of trials that take twice as long", got)
	}
	p.ended(0, time.Second, 2*time.Second, bad)
	if got := p.Left(); got != (8+3)*2*time.Second {
		t.Errorf("%v left, want 22 s: 8 s and the last three repeats, twice as long", got)
	}
	reason, _ := p.reasons.Commonest()
	if p.invalid != 1 || results.ShortReason(reason) != "the load generator ran late" {
		t.Errorf("%d invalid for %q", p.invalid, reason)
	}
	p.ended(0, time.Second, 0, nil) // ended before the run was resumed
	if got := p.Left(); got != (7+3)*2*time.Second {
		t.Errorf("%v left, want 20 s", got)
	}
	// A second scenario uses the figures of the first until one of its own trials has ended.
	p.repeats, p.of = 0, append(p.of, tally{left: 4 * time.Second})
	if got := p.Left(); got != (7+4)*2*time.Second {
		t.Errorf("%v left, want 22 s: 11 s of trials that take twice as long", got)
	}
	p.ended(1, time.Second, time.Second, good)
	if got := p.Left(); got != 7*2*time.Second+3*time.Second {
		t.Errorf("%v left, want 14 s, and 3 s of trials that take as long as planned", got)
	}
}

// TestFutile checks that a scenario is stopped after two blocks without a valid trial, unless
// KeepGoing is set.
func TestFutile(t *testing.T) {
	s, err := scenarios.Load("steady")
	if err != nil {
		t.Fatal(err)
	}
	p, err := plan.New([]*scenarios.Scenario{s}, 1, plan.Machine{CPUs: []int{0, 1}}, plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	const noCPU = "something else kept the workers waiting for a CPU"
	bad := func(block int) *results.Trial {
		return &results.Trial{Block: block, InvalidReasons: []string{noCPU + " (1s)"}}
	}
	out := &results.Scenario{Name: "steady"}
	for range p.Scenarios[0].Variants {
		out.Variants = append(out.Variants, &results.Variant{Trials: []*results.Trial{bad(0)}})
	}
	r := &runner{plan: p}
	if why := r.futile(p.Scenarios[0], out); why != "" {
		t.Errorf("stopped after one block: %s", why)
	}
	for _, v := range out.Variants {
		v.Trials = append(v.Trials, bad(1))
	}
	why := r.futile(p.Scenarios[0], out)
	want := "none of 4 trials was valid; no setting helps: " + noCPU + " in 4 of 4 trials"
	if !strings.Contains(why, want) {
		t.Errorf("stopped because %q, want %q", why, want)
	}
	r.cfg.KeepGoing = true
	if why := r.futile(p.Scenarios[0], out); why != "" {
		t.Errorf("stopped in spite of KeepGoing: %s", why)
	}
	r.cfg.KeepGoing = false
	r.before = map[*results.Variant]int{out.Variants[0]: 2, out.Variants[1]: 1}
	if why := r.futile(p.Scenarios[0], out); why != "" {
		t.Errorf("stopped after one trial since the resume: %s", why)
	}
	out.Variants[0].Trials[1] = &results.Trial{Block: 1, Valid: true}
	if why := r.futile(p.Scenarios[0], out); why != "" {
		t.Errorf("stopped with a valid trial: %s", why)
	}
}
