package gates

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/bench/internal/gates/gatestest"
	"reuseport-bench/results"
	"reuseport-bench/results/compare"
	"reuseport-bench/results/metrics"
)

// drifting returns the trials of a variant on a machine whose response times grow up to fourfold
// from block to block and fall again. Two variants in the same block differ only by their factors.
func drifting(factor float64) gatestest.Series {
	return gatestest.Timed(func(block int) float64 {
		return factor * 100 * (1 + float64(block%4)) * (1 + 0.01*float64(block%3))
	})
}

// gateOnTwo returns a gate on the variant of two workers, in YAML.
func gateOnTwo(expect string) string {
	return "  - {when: {workers: 2}, expect: " + expect + "}\n"
}

func outcomesOf(out *results.Scenario) (all []string) {
	for _, g := range out.Gates {
		all = append(all, g.Labels["workers"]+" "+g.Outcome)
	}
	return all
}

func TestGateOutcomes(t *testing.T) {
	losing := func(lost int64) gatestest.Series {
		return func(block int) *results.Trial {
			trial := gatestest.Timed(func(int) float64 { return 100 })(block)
			trial.Lost, trial.Dropped = lost, lost
			trial.LostByCause = map[string]int64{"reset_at_close": lost}
			trial.Steps[0].Lost = lost
			return trial
		}
	}
	offered := func(perSecond float64) gatestest.Series {
		return func(block int) *results.Trial {
			trial := gatestest.Timed(func(int) float64 { return 100 })(block)
			trial.OfferedPerSecond = &perSecond
			return trial
		}
	}
	tests := []struct {
		name   string
		gates  string
		blocks int
		of     map[string]gatestest.Series
		want   []string
		note   string // part of the last gate's note
	}{
		{
			"a count is exact", "  - expect: lost_by_cause.reset_at_close == 0\n", 8,
			map[string]gatestest.Series{"1": losing(0), "2": losing(1)},
			[]string{"1 pass", "2 fail"},
			"8 valid trials, 8000 attempts, 8 lost (reset_at_close 8)",
		},
		{
			"too few trials", "  - expect: lost_by_cause.reset_at_close == 0\n", 2,
			map[string]gatestest.Series{"1": losing(0), "2": losing(1)},
			[]string{"1 undecided", "2 undecided"}, "2 valid trials, 3 are needed",
		},
		{
			// Over the blocks, the variants' medians overlap. Within each block, the ratio is 1.2.
			"a ratio is paired",
			gateOnTwo("response.p50 < 1.1 * baseline.response.p50"), 8,
			map[string]gatestest.Series{"1": drifting(1), "2": drifting(1.2)},
			[]string{"2 fail"}, "response_p50_ns: ratio to the baseline 1.2 [1.2, 1.2] (96.8 %); ",
		},
		{
			"within the bound",
			gateOnTwo("response.p50 < 1.1 * baseline.response.p50"), 8,
			map[string]gatestest.Series{"1": drifting(1), "2": drifting(1.05)},
			[]string{"2 pass"},
			"response_p50_ns: ratio to the baseline 1.05 [1.05, 1.05] (96.8 %); ",
		},
		{
			"no interval",
			gateOnTwo("response.p50 < 1.1 * baseline.response.p50"), 5,
			map[string]gatestest.Series{"1": drifting(1), "2": drifting(3)},
			[]string{"2 undecided"}, "need ≥ 6 blocks for a 96.8 % interval, have 5",
		},
		{
			"an absolute bound",
			gateOnTwo("response.p50 < 1ms"), 8,
			map[string]gatestest.Series{"1": drifting(1), "2": drifting(1)},
			[]string{"2 pass"}, "response_p50_ns 25",
		},
		{
			"a bound inside the interval",
			gateOnTwo("response.p50 < 300us"), 8,
			map[string]gatestest.Series{"1": drifting(1), "2": drifting(1)},
			[]string{"2 undecided"}, "straddles the bound",
		},
		{
			"losses against the baseline's",
			gateOnTwo("lost_per_restart < baseline.lost_per_restart + 0.5"), 12,
			map[string]gatestest.Series{"1": losing(0), "2": losing(4)},
			[]string{"2 fail"}, "lost_per_restart: difference to the baseline 2 [",
		},
		{
			"any metric, as run.json names it",
			gateOnTwo("offered_per_second > 400"), 8,
			map[string]gatestest.Series{"1": losing(0), "2": offered(500)},
			[]string{"2 pass"}, "offered_per_second 500 [500, 500] (96.8 %); 8 valid trials",
		},
		{
			"two figures, one of them wrong",
			gateOnTwo("response.p50 < 1s && response.p99 < 1ms"), 8,
			map[string]gatestest.Series{"1": drifting(1), "2": drifting(1)},
			[]string{"2 fail"}, "",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := gatestest.Scenario(t, test.gates)
			out := gatestest.Measured(test.blocks, test.of)
			if err := Evaluate(s, out, compare.Alpha); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(outcomesOf(out), test.want); diff != "" {
				t.Errorf("outcomes (-got +want):\n%s%v", diff, out.Gates)
			}
			if last := out.Gates[len(out.Gates)-1]; !strings.Contains(last.Note, test.note) {
				t.Errorf("note %q does not say %q", last.Note, test.note)
			}
			if out.Gates[0].Line != 8 || out.Gates[0].File != "gated.yaml" {
				t.Errorf("the gate is at %s:%d, want gated.yaml:8",
					out.Gates[0].File, out.Gates[0].Line)
			}
		})
	}
}

// The more gates are undecided, the wider their intervals: a gate that fails when it is alone is
// undecided among eight undecided gates. Decided gates do not widen the intervals of the others.
func TestGatesAreAFamily(t *testing.T) {
	noisy := gatestest.Timed(func(block int) float64 { return 100 + float64(block%7) })
	slower := gatestest.Timed(func(block int) float64 { return 108 + float64(block*5%11) })
	const gate = "  - {when: {workers: 2}, expect: response.p50 < %g * baseline.response.p50}\n"
	alone := fmt.Sprintf(gate, 1.07)
	tests := []struct {
		name, gates, want string
	}{
		{"alone", alone, results.GateFail},
		{"among eight undecided", alone + strings.Repeat(fmt.Sprintf(gate, 1.099), 8), results.GateUndecided},
		{"among eight decided", alone + strings.Repeat(fmt.Sprintf(gate, 3.), 8), results.GateFail},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			out := gatestest.Measured(10, map[string]gatestest.Series{"1": noisy, "2": slower})
			if err := Evaluate(gatestest.Scenario(t, test.gates), out, compare.Alpha); err != nil {
				t.Fatal(err)
			}
			if got := out.Gates[0].Outcome; got != test.want {
				t.Errorf("%s, want %s: %s", got, test.want, out.Gates[0].Note)
			}
		})
	}
}

// MoreTrials is about right: with twice as many more trials, the gate is decided.
func TestMoreTrials(t *testing.T) {
	s := gatestest.Scenario(t, gateOnTwo("response.p50 < 1.1 * baseline.response.p50"))
	base := gatestest.Timed(func(int) float64 { return 100 })
	head := gatestest.Timed(func(block int) float64 {
		return 100 * (1.06 + 0.0121*float64(block*7%11-5))
	})
	judge := func(blocks int) results.GateResult {
		out := gatestest.Measured(blocks, map[string]gatestest.Series{"1": base, "2": head})
		if err := Evaluate(s, out, compare.Alpha); err != nil {
			t.Fatal(err)
		}
		return out.Gates[0]
	}
	at := 6
	first := judge(at)
	if first.MoreTrials == nil || *first.MoreTrials < 2 {
		t.Fatalf("undecided without an estimate of further trials: %+v", first)
	}
	if enough := judge(at + 2*(*first.MoreTrials)); enough.Outcome != results.GatePass {
		t.Errorf("after twice the %d more trials: %+v", *first.MoreTrials, enough)
	}
	want := fmt.Sprintf("about %d more trials would decide it (--trials %d)",
		*first.MoreTrials, at+*first.MoreTrials)
	if !strings.Contains(first.Note, want) {
		t.Errorf("note %q does not say %q", first.Note, want)
	}
	// If the true ratio equals the bound, no number of trials decides the gate.
	same := gatestest.Scenario(t, gateOnTwo("response.p50 < 1.06 * baseline.response.p50"))
	out := gatestest.Measured(11, map[string]gatestest.Series{"1": base, "2": head})
	if err := Evaluate(same, out, compare.Alpha); err != nil {
		t.Fatal(err)
	}
	g := out.Gates[0]
	if g.MoreTrials != nil || !strings.Contains(g.Note, "deciding would take more than") {
		t.Errorf("a bound at the center: %+v", g)
	}
}

// Gates skip the A/A arm. If it differs from the baseline, the scenario is void.
func TestGatesAreVoid(t *testing.T) {
	gates := "  - expect: response.p50 < 3 * baseline.response.p50\n  - expect: residual == 0\n"
	for _, test := range []struct {
		name    string
		control gatestest.Series
		void    string
	}{
		{"the same", drifting(1), ""},
		{"another machine", drifting(1.3),
			"the baseline, measured twice, differs from itself: response_p50_ns ratio 1.3"},
		{"a little slower", drifting(1.02), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			out := gatestest.Measured(8, map[string]gatestest.Series{
				"1": drifting(1), "control": test.control, "2": drifting(1),
			})
			if err := Evaluate(gatestest.Scenario(t, gates), out, compare.Alpha); err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(out.Void, test.void) || (test.void == "") != (out.Void == "") {
				t.Errorf("void %q, want %q", out.Void, test.void)
			}
			// Counts are exact on any machine.
			want := []string{"1 pass", "2 pass", "1 pass", "2 pass"}
			if test.void != "" {
				want = []string{"1 undecided", "2 undecided", "1 pass", "2 pass"}
			}
			if diff := cmp.Diff(outcomesOf(out), want); diff != "" {
				t.Errorf("outcomes (-got +want):\n%s", diff)
			}
			if len(out.AA) != 1 || out.AA[0].Metric != "response_p50_ns" {
				t.Errorf("A/A compares %v", out.AA)
			}
		})
	}
}

// Only gates on figures that vary by chance need an A/A arm.
func TestControlMetrics(t *testing.T) {
	for _, test := range []struct {
		expect string
		want   []string
	}{
		{"residual == 0", nil},
		{"lost_by_cause.reset_at_close == 0", []string{metrics.DroppedPerRestart}},
		{"dropped == 0", []string{metrics.DroppedPerRestart}},
		{"dropped_per_restart < 0.1 && lost_by_cause.client == 0",
			[]string{metrics.DroppedPerRestart, metrics.LostPerRestart}},
		{"response_p99_ns < 1s && response_sd_ns < 1s", []string{"response_p99_ns", "response_sd_ns"}},
		{"workers_listening > 1", nil}, // not a figure that varies by chance
		{"lost == 0 && response.p99 < 1s", []string{metrics.LostPerRestart, "response_p99_ns"}},
		{"service.max < baseline.service.max", []string{"service_max_ns"}},
		{"lost_per_attempt < 0.1", []string{metrics.LostPerRestart}},
	} {
		s := gatestest.Scenario(t, "  - expect: "+test.expect+"\n")
		if diff := cmp.Diff(ControlMetrics(s), test.want); diff != "" {
			t.Errorf("%s (-got +want):\n%s", test.expect, diff)
		}
	}
}

// After a quick look, which has fewer trials than the gates need, they are undecided.
func TestGatesOfQuickLook(t *testing.T) {
	out := gatestest.Measured(2, map[string]gatestest.Series{"1": drifting(1), "2": drifting(1)})
	out.Trials = 2
	s := gatestest.Scenario(t, gateOnTwo("lost == 0"))
	if err := Evaluate(s, out, compare.Alpha); err != nil {
		t.Fatal(err)
	}
	const note = "quick: 2 of 3 trials that gates need; decides nothing"
	if g := out.Gates[0]; g.Outcome != results.GateUndecided || g.Note != note {
		t.Errorf("%s, %q; want %s, %q", g.Outcome, g.Note, results.GateUndecided, note)
	}
}

// No blocks are added for a gate that cannot be decided. An expression that fails, such as a
// division by zero, does not make the run fail.
func TestGatesThatCannotBeDecided(t *testing.T) {
	second := map[string]gatestest.Series{"2": drifting(1)}
	both := map[string]gatestest.Series{"1": drifting(1), "2": drifting(1)}
	for _, test := range []struct {
		expect, note string
		of           map[string]gatestest.Series
	}{
		{"response.p50 < 1.1 * baseline.response.p50", "the baseline was not run", second},
		{"lost_sent_after_close == 0", "lost_sent_after_close was not measured", both},
		{"masked == 0", "masked was not measured", both},
		{"attempts / lost > 0", "division by zero", both},
	} {
		out := gatestest.Measured(8, test.of)
		s := gatestest.Scenario(t, gateOnTwo(test.expect))
		if err := Evaluate(s, out, compare.Alpha); err != nil {
			t.Fatal(err)
		}
		g := out.Gates[0]
		if g.Outcome != results.GateUndecided || !g.Undecidable ||
			!strings.Contains(g.Note, test.note) {
			t.Errorf("%s: %+v", test.expect, g)
		}
	}
}
