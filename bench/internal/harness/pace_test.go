package harness

import (
	"strings"
	"testing"
	"time"

	"reuseport-bench/bench/internal/plan"
	"reuseport-bench/results"
	"reuseport-bench/scenarios"
)

// What is left takes as much longer than planned as what has ended, and repeats are expected as
// often as they were needed.
func TestPace(t *testing.T) {
	good := &results.Trial{Valid: true}
	bad := &results.Trial{InvalidReasons: []string{"the load generator ran late (p99 138ms)"}}
	p := pace{of: []stretch{{left: 10 * time.Second}}, repeats: 3}
	if got := p.Left(); got != 10*time.Second {
		t.Errorf("at first %v are left, want what is planned", got)
	}
	p.ended(0, time.Second, 2*time.Second, good)
	if got := p.Left(); got != 18*time.Second {
		t.Errorf("%v are left, want 9 s of trials that take twice as long", got)
	}
	p.ended(0, time.Second, 2*time.Second, bad)
	if got := p.Left(); got != (8+3)*2*time.Second {
		t.Errorf("%v are left, want 8 s and three repeats, for no more may be added", got)
	}
	if reason, _ := p.reasons.Commonest(); p.invalid != 1 || results.ShortReason(reason) != "the load generator ran late" {
		t.Errorf("%d invalid for %q", p.invalid, reason)
	}
	p.ended(0, time.Second, 0, nil) // before the run was resumed
	if got := p.Left(); got != (7+3)*2*time.Second {
		t.Errorf("%v are left", got)
	}
	// Another scenario goes by this one until a trial of it has ended, and then by that.
	p.repeats, p.of = 0, append(p.of, stretch{left: 4 * time.Second})
	if got := p.Left(); got != (7+4)*2*time.Second {
		t.Errorf("%v are left, want 11 s of trials that take twice as long", got)
	}
	p.ended(1, time.Second, time.Second, good)
	if got := p.Left(); got != 7*2*time.Second+3*time.Second {
		t.Errorf("%v are left, want 14 s, and 3 s of trials that take as long as planned", got)
	}
}

// A scenario is given up after two blocks in which no trial counts, unless it is to go on.
func TestFutile(t *testing.T) {
	s, err := scenarios.Load("steady")
	if err != nil {
		t.Fatal(err)
	}
	p, err := plan.New([]*scenarios.Scenario{s}, 1, plan.Machine{CPUs: []int{0, 1}}, plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	bad := func(block int) *results.Trial {
		return &results.Trial{Block: block, InvalidReasons: []string{"something else kept the workers waiting for a CPU (1s)"}}
	}
	out := &results.Scenario{Name: "steady"}
	for range p.Scenarios[0].Variants {
		out.Variants = append(out.Variants, &results.Variant{Trials: []*results.Trial{bad(0)}})
	}
	r := &runner{plan: p}
	if why := r.futile(p.Scenarios[0], out); why != "" {
		t.Errorf("given up after a block: %s", why)
	}
	for _, v := range out.Variants {
		v.Trials = append(v.Trials, bad(1))
	}
	why := r.futile(p.Scenarios[0], out)
	if !strings.Contains(why, "none of 4 trials was valid; no setting helps: something else kept the workers waiting for a CPU in 4 of 4 trials") {
		t.Errorf("given up for %q", why)
	}
	r.cfg.KeepGoing = true
	if why := r.futile(p.Scenarios[0], out); why != "" {
		t.Errorf("given up although it is to go on: %s", why)
	}
	r.cfg.KeepGoing = false
	r.before = map[*results.Variant]int{out.Variants[0]: 2, out.Variants[1]: 1}
	if why := r.futile(p.Scenarios[0], out); why != "" {
		t.Errorf("given up after one trial since it was resumed: %s", why)
	}
	out.Variants[0].Trials[1] = &results.Trial{Block: 1, Valid: true}
	if why := r.futile(p.Scenarios[0], out); why != "" {
		t.Errorf("given up with a valid trial: %s", why)
	}
}
