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

// auto returns a runner of a scenario with --trials auto, and the scenario's plan. The runner
// already has a run, which contains the first blocks, with trials from the given series.
func auto(
	t *testing.T, gates string, budget time.Duration, of map[string]gatestest.Series,
) (*runner, *plan.Scenario) {
	t.Helper()
	s := gatestest.Scenario(t, gates)
	machine := plan.Machine{CPUs: []int{0, 1}}
	options := plan.Options{Auto: true, AutoBudget: budget}
	p, err := plan.New([]*scenarios.Scenario{s}, 1, machine, options)
	if err != nil {
		t.Fatal(err)
	}
	sp := p.Scenarios[0]
	run := &results.Run{Scenarios: []*results.Scenario{gatestest.Measured(sp.Blocks(), of)}}
	return &runner{plan: p, pace: newPace(p), run: run}, sp
}

// TestAutoAddsBlocks checks that, while a gate is undecided, blocks are added from one look (a
// judgement of the gates) to the next. This ends when all gates are decided, after the last look,
// or when the budget is exhausted.
func TestAutoAddsBlocks(t *testing.T) {
	const gate = "  - {when: {workers: 2}, expect: response.p50 < 1.1 * baseline.response.p50}\n"
	noisy := gatestest.Timed(func(block int) float64 {
		return 100 * (1 + 0.02*float64(block*7%11))
	})
	steady := gatestest.Timed(func(int) float64 { return 100 })
	minute := []time.Duration{time.Minute}

	decided := map[string]gatestest.Series{"1": steady, "control": steady, "2": steady}
	r, sp := auto(t, gate, time.Hour, decided)
	looks := plan.AutoLooks()
	if sp.Blocks() != looks[0] || sp.Alpha() != compare.Alpha/float64(len(looks)) {
		t.Fatalf("%d blocks at first, want %d; alpha %v", sp.Blocks(), looks[0], sp.Alpha())
	}
	if added, err := r.moreTrials(minute); err != nil || len(added) != 0 {
		t.Errorf("%d trials added although all gates are decided, error %v", len(added), err)
	}

	undecided := map[string]gatestest.Series{"1": steady, "control": steady, "2": noisy}
	r, sp = auto(t, gate, time.Hour, undecided)
	for _, want := range append(looks[1:], 0) {
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
			t.Fatalf("%d blocks in the plan and %d in the run, want %d",
				sp.Blocks(), r.run.Scenarios[0].Trials, want)
		}
		for _, j := range added {
			if j.Block < len(r.run.Scenarios[0].Variants[0].Trials) || j.Block >= want {
				t.Fatalf("block %d added for the look at %d", j.Block, want)
			}
		}
		r.run.Scenarios[0] = gatestest.Measured(want, undecided)
		r.run.Scenarios[0].Trials = want
	}

	// Twelve blocks took a minute, so six more would take half a minute, but only ten seconds are
	// left.
	r, sp = auto(t, gate, 70*time.Second, undecided)
	if added, err := r.moreTrials(minute); err != nil || sp.Blocks() != 14 || len(added) != 2*3 {
		t.Errorf("%d blocks and %d added trials for ten seconds, error %v; want 14 and 6",
			sp.Blocks(), len(added), err)
	}
	note := ""
	r, _ = auto(t, gate, time.Minute, undecided)
	r.cfg.Progress = func(p Progress) { note = p.Note }
	added, err := r.moreTrials(minute)
	if err != nil || len(added) != 0 {
		t.Errorf("%d trials added without budget, error %v", len(added), err)
	}
	if want := "budget of 1m0s is used up, 1 gate still undecided"; !strings.Contains(note, want) {
		t.Errorf("note %q, want %q", note, want)
	}
}

// TestNewRun checks that a run records the parts of its plan that reports mention.
func TestNewRun(t *testing.T) {
	s := gatestest.Scenario(t, "  - expect: lost == 0\n")
	machine := plan.Machine{CPUs: []int{0, 1}}
	p, err := plan.New([]*scenarios.Scenario{s}, 1, machine, plan.Options{Budget: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	sp, out := p.Scenarios[0], newRun(p, RunConfig{}).Scenarios[0]
	if out.Trials != sp.Blocks() || out.MinValid != sp.MinValid ||
		out.QuickLook() != sp.QuickLook() || out.QuickLook() == "" {
		t.Errorf("%d trials, %d valid needed, %q; the plan has %d, %d, %q",
			out.Trials, out.MinValid, out.QuickLook(), sp.Blocks(), sp.MinValid, sp.QuickLook())
	}
	if out.ScenarioMinValid != 0 {
		t.Errorf("min_valid was not lowered, and the run says that it was %d", out.ScenarioMinValid)
	}
	p, err = plan.New([]*scenarios.Scenario{s}, 1, machine, plan.Options{Trials: 1})
	if err != nil {
		t.Fatal(err)
	}
	out = newRun(p, RunConfig{}).Scenarios[0]
	if out.MinValid != 1 || out.ScenarioMinValid != s.MinValid || s.MinValid < 2 {
		t.Errorf("%d valid needed, and the scenario asks for %d; want 1 and %d",
			out.MinValid, out.ScenarioMinValid, s.MinValid)
	}
}
