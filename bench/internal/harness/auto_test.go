package harness

import (
	"strings"
	"testing"
	"time"

	"reuseport-bench/bench/internal/gates/gatestest"
	"reuseport-bench/bench/internal/plan"
	"reuseport-bench/results"
	"reuseport-bench/results/compare"
	"reuseport-bench/scenarios"
)

// auto plans the scenario with blocks to be added, and a run of it with so many blocks done, each a
// trial of these.
func auto(t *testing.T, gates string, budget time.Duration, of map[string]gatestest.Series) (*runner, *plan.Scenario) {
	t.Helper()
	s := gatestest.Scenario(t, gates)
	p, err := plan.New([]*scenarios.Scenario{s}, 1, plan.Machine{CPUs: []int{0, 1}}, plan.Options{Auto: true, AutoBudget: budget})
	if err != nil {
		t.Fatal(err)
	}
	sp := p.Scenarios[0]
	return &runner{plan: p, pace: newPace(p), run: &results.Run{Scenarios: []*results.Scenario{gatestest.Measured(sp.Blocks(), of)}}}, sp
}

// Blocks are added, look by look, while a gate is undecided; none when all are decided, the looks
// have come to their end or the time has.
func TestAutoAddsBlocks(t *testing.T) {
	const gate = "  - {when: {workers: 2}, expect: response.p50 < 1.1 * baseline.response.p50}\n"
	noisy := gatestest.Timed(func(block int) float64 { return 100 * (1 + 0.02*float64(block*7%11)) })
	steady := gatestest.Timed(func(int) float64 { return 100 })
	minute := []time.Duration{time.Minute}

	r, sp := auto(t, gate, time.Hour, map[string]gatestest.Series{"1": steady, "control": steady, "2": steady})
	if got, want := sp.Blocks(), plan.AutoLooks()[0]; got != want || sp.Alpha() != compare.Alpha/float64(len(plan.AutoLooks())) {
		t.Fatalf("%d blocks at first, want %d; alpha %v", got, want, sp.Alpha())
	}
	if added, err := r.moreTrials(minute); err != nil || len(added) != 0 {
		t.Errorf("%d trials added to what is decided, error %v", len(added), err)
	}

	undecided := map[string]gatestest.Series{"1": steady, "control": steady, "2": noisy}
	r, sp = auto(t, gate, time.Hour, undecided)
	for _, want := range append(plan.AutoLooks()[1:], 0) {
		added, err := r.moreTrials(minute)
		if err != nil {
			t.Fatal(err)
		}
		if want == 0 {
			if len(added) != 0 {
				t.Errorf("%d trials added after the last look", len(added))
			}
			break
		}
		if sp.Blocks() != want || r.run.Scenarios[0].Trials != want {
			t.Fatalf("%d blocks, the run says %d, want %d", sp.Blocks(), r.run.Scenarios[0].Trials, want)
		}
		for _, j := range added {
			if j.Block < len(r.run.Scenarios[0].Variants[0].Trials) || j.Block >= want {
				t.Fatalf("block %d added at the look of %d", j.Block, want)
			}
		}
		r.run.Scenarios[0] = gatestest.Measured(want, undecided)
		r.run.Scenarios[0].Trials = want
	}

	// Twelve blocks took a minute, so six more take half of one; there are ten seconds left.
	r, sp = auto(t, gate, 70*time.Second, undecided)
	if added, err := r.moreTrials(minute); err != nil || sp.Blocks() != 14 || len(added) != 2*3 {
		t.Errorf("%d blocks and %d trials added in ten seconds, error %v; want 14 and 6", sp.Blocks(), len(added), err)
	}
	told := ""
	r, _ = auto(t, gate, time.Minute, undecided)
	r.cfg.Progress = func(p Progress) { told = p.Note }
	if added, err := r.moreTrials(minute); err != nil || len(added) != 0 || !strings.Contains(told, "budget of 1m0s is used up, 1 gate not decided") {
		t.Errorf("%d trials added without time, error %v, told %q", len(added), err, told)
	}
}

// A run knows as much of its plan as reports say of it.
func TestNewRun(t *testing.T) {
	s := gatestest.Scenario(t, "  - expect: lost == 0\n")
	p, err := plan.New([]*scenarios.Scenario{s}, 1, plan.Machine{CPUs: []int{0, 1}}, plan.Options{Budget: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	sp, out := p.Scenarios[0], newRun(p, RunConfig{}).Scenarios[0]
	if out.Trials != sp.Blocks() || out.MinValid != sp.MinValid || out.QuickLook() != sp.QuickLook() || out.QuickLook() == "" {
		t.Errorf("%d trials, %d valid needed, %q; the plan has %d, %d, %q",
			out.Trials, out.MinValid, out.QuickLook(), sp.Blocks(), sp.MinValid, sp.QuickLook())
	}
}
