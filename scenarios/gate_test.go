package scenarios

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/results/cause"
	"reuseport-bench/scenarios/vocabulary"
)

// numberedFigures has a value of its own for each figure, from first on, in the order that
// metricNames lists them.
func numberedFigures(first int) Figures {
	n := int64(first) - 1
	count := func() int64 { n++; return n }
	centre := func() float64 { return float64(count()) }
	counts := func(keys []string) map[string]int64 {
		m := map[string]int64{}
		for _, key := range keys {
			m[key] = count()
		}
		return m
	}
	percentiles := func() Percentiles {
		return Percentiles{P50: centre(), P90: centre(), P99: centre(), P999: centre(), Max: centre()}
	}
	return Figures{
		Attempts: count(), Served: count(), Lost: count(), Dropped: count(),
		LostByCause: counts(cause.Names()),
		LostByPhase: counts([]string{"connect", "send", "wait", "body"}),
		Residual:    count(), LostSentAfterClose: count(),
		GapNS: centre(), OutageNS: centre(), StallNS: centre(), TakeoverNS: centre(), TailNS: centre(),
		Response: percentiles(), Service: percentiles(),
		DroppedPerRestart: centre(), DroppedPerAttempt: centre(),
		LostPerRestart: centre(), LostPerAttempt: centre(),
		Masked: count(), Repeated: count(), TriesPerAttempt: centre(),
		Jain: centre(), MaxOverMean: centre(), Chi2P: centre(),
		ContextSwitches: centre(), ServersCPUNS: centre(),
	}
}

// Every metric can be named, and is the figure it says.
func TestEveryMetric(t *testing.T) {
	want := strings.Fields("attempts served lost dropped")
	for _, name := range cause.Names() {
		want = append(want, "lost_by_cause."+name)
	}
	want = append(want, strings.Fields(`lost_by_phase.connect lost_by_phase.send lost_by_phase.wait lost_by_phase.body
		residual lost_sent_after_close gap_ns outage_ns stall_ns takeover_ns tail_ns
		response.p50 response.p90 response.p99 response.p999 response.max
		service.p50 service.p90 service.p99 service.p999 service.max dropped_per_restart dropped_per_attempt lost_per_restart lost_per_attempt
		masked repeated tries_per_attempt jain max_over_mean chi2_p context_switches_per_connection servers_cpu_per_attempt_ns`)...)
	for _, name := range slices.Clone(want) {
		want = append(want, "baseline."+name)
	}
	if diff := cmp.Diff(metricNames(), want); diff != "" {
		t.Fatalf("metric names (-got +want):\n%s", diff)
	}
	m := Metrics{Figures: numberedFigures(1), Baseline: numberedFigures(1 + len(want)/2)}
	for i, name := range want {
		if met, err := eval(fmt.Sprintf("%s == %d", name, i+1), m); err != nil || !met {
			t.Errorf("%s == %d: %t, %v; want true", name, i+1, met, err)
		}
	}
}

func eval(expect string, m Metrics) (bool, error) {
	e, err := Gate{Expect: expect}.Compile()
	if err != nil {
		return false, err
	}
	return e.Eval(m)
}

func TestGateEval(t *testing.T) {
	m := Metrics{
		Figures: Figures{
			Attempts: 1000, Lost: 3, LostByCause: map[string]int64{"timeout": 3},
			GapNS: 4_999_999, TailNS: math.NaN(), Response: Percentiles{P99: 1.5e6},
		},
		Baseline: Figures{Attempts: 1000, Lost: 6, GapNS: math.NaN(), Response: Percentiles{P99: 1e6}},
	}
	tests := []struct {
		expect string
		want   string
	}{
		{"lost == 3", "true"},
		{"lost == 0", "false"},
		{"lost_by_cause.reset_at_close == 0", "true"}, // did not occur, so it is not in the map
		{"lost_by_cause.timeout > 2 && lost <= 0.003 * attempts", "true"},
		{"gap_ns < 5ms", "true"},
		{"gap_ns < 4999us", "false"},
		{"gap_ns < 4.999999ms", "false"},
		{"gap_ns <= 4ms999us999ns", "true"},
		{"response.p99 - baseline.response.p99 == 500µs", "true"},
		{"response.p99 < 1.1 * baseline.response.p99", "false"},
		{"lost < baseline.lost and not (lost > 3)", "true"},
		{"max(lost, baseline.lost) == 6", "true"},
		{"1 < lost < 4", "true"},
		{"1 < lost < 3", "false"},
		{"not (lost == 3)", "false"},
		{"lost == 0 or not (gap_ns > 5ms) and lost > 2", "true"},
		{"(lost - baseline.lost) * 2 == -6", "true"},
		{"abs(lost - baseline.lost) / 2 == 1.5", "true"},
		{`lost_by_cause["timeout"] == 3`, "true"},
		{"gap_ns > .0049s", "true"},
		{"gap_ns < .001s", "false"},
		{"gap_ns < 5000\u03bcs", "true"},
		{"response.p99 == 1_500_000", "true"},
		{"response.p99 == 1.5e6", "true"},
		{"lost * 9223372036854775807 > 0", "true"}, // in integers it is less than 0
		{"tail_ns < 1s", `gate "tail_ns < 1s": tail_ns was not measured`},
		{"lost == 3 || baseline.gap_ns > 0", `gate "lost == 3 || baseline.gap_ns > 0": baseline.gap_ns was not measured`},
		{"lots == 3", `gate "lots == 3": unknown metric "lots"`},
		{"lost / served < 1", `gate "lost / served < 1": division by zero`},
		{"lost_by_cause.client / lost_by_cause.unknown < 1", `gate "lost_by_cause.client / lost_by_cause.unknown < 1": division by zero`},
		{"gap_ns / tail_ns < 1", `gate "gap_ns / tail_ns < 1": tail_ns was not measured`},
	}
	for _, test := range tests {
		met, err := eval(test.expect, m)
		got := fmt.Sprint(met)
		if err != nil {
			got = err.Error()
		}
		if diff := cmp.Diff(got, test.want); diff != "" {
			t.Errorf("%s (-got +want):\n%s", test.expect, diff)
		}
	}
}

// Every cause can be a gate, which passes where it did not occur and fails where it did.
func TestEveryCause(t *testing.T) {
	for _, c := range cause.All() {
		expect := "lost_by_cause." + c.Name + " == 0"
		for n, want := range []bool{0: true, 1: false} {
			m := Metrics{Figures: Figures{LostByCause: map[string]int64{c.Name: int64(n)}}}
			if met, err := eval(expect, m); err != nil || met != want {
				t.Errorf("%s, of %d: %t, %v; want %t", expect, n, met, err, want)
			}
		}
	}
}

// What the library's language has beyond the grammar is refused: it would pass for something else.
func TestGrammar(t *testing.T) {
	const (
		several = `a ";" is not allowed: an expectation is one expression`
		comment = "a comment is not allowed inside an expectation"
	)
	tests := []struct{ expect, want string }{
		{"lost == 1; lost == 0", several},
		{"lost == 0;", several},
		{"(lost == 1; lost == 0)", several},
		{"let x = lost; x == 0", several},
		{"lost == 0 // and residual == 0", comment},
		{"lost == 0 /* or 1 */", comment},
		{"lost == 0 # and residual == 0", comment},
		{"lost | max(3) == 3", "| is not allowed in an expectation"},
		{"lost == 0 ||| residual == 0", "| is not allowed in an expectation"},
		{"lost == 0 residual == 0", `not an expression: unexpected token Identifier("residual")`},
		{"lost == 0\nresidual == 0", `not an expression: unexpected token Identifier("residual")`},
		{"lost = 0", `not an expression: unexpected token Operator("=")`},
		{"lost == 0 AND residual == 0", `not an expression: unexpected token Identifier("AND")`},
		{"lost == nil", "nil is not allowed here"},
		{"lost == true", "true is not allowed here"},
		{"lost == 0 or true", "true is not allowed here"},
		{"true", "true is not allowed here"},
		{"lost == 0 or 1 == 1", "1 == 1 names no metric"},
		{"1 == 1", "1 == 1 names no metric"},
		{"(lost ?? 1) == 0", "lost ?? 1 is not allowed here"},
		{"lost > 0 ? gap_ns > 0 : true", "lost > 0 ? gap_ns > 0 : true is not allowed here"},
		{"if lost > 0 { gap_ns > 0 } else { lost == 0 }", "if lost > 0 { gap_ns > 0 } else { lost == 0 } is not allowed here"},
		{"not lost == 0", "not lost: not binds more tightly than a comparison"},
		{"!lost == 0", "!lost: ! binds more tightly than a comparison"},
		{"lost == 0 == 1", "lost == 0 is not allowed here"},
		{"1 < lost == 1", "1 < lost is not allowed here"},
		{"(lost == 0) == (residual == 0)", "lost == 0 is not allowed here"},
		{"lost", "lost is a number, where a comparison must stand"},
		{"lost and residual == 0", "lost is a number, where a comparison must stand"},
		{"lost in [0, 1]", "lost in [0, 1] is not allowed here"},
		{"lost not in [0, 1]", "lost in [0, 1] is not allowed here"},
		{"lost in 0..3", "lost in 0..3 is not allowed here"},
		{"lost == [0][0]", "[0][0] is not allowed here"},
		{"lost == {a: 0}.a", "{a: 0}.a is not allowed here"},
		{"all([1], # > 0)", comment},
		{"any([lost], {true})", "any([lost], true) is not allowed here"},
		{"count([lost]) == 1", "count([lost]) is not allowed here"},
		{"map([lost], {1}) == [1]", "map([lost], 1) is not allowed here"},
		{"max([lost, 3]) == 3", "[lost, 3] is not allowed here"},
		{"len(lost_by_cause) == 0", "len(lost_by_cause) is not allowed here"},
		{"divisor(lost) == 0", "divisor(lost) is not allowed here"},
		{"abs() == lost", "invalid number of arguments (expected 1, got 0)"},
		{"max() == lost", "not enough arguments to call max"},
		{`lost == "0"`, `"0" is not allowed here`},
		{`"lost" == "lost"`, `"lost" is not allowed here`},
		{`lost matches "0"`, `lost matches "0" is not allowed here`},
		{`lost contains 0`, `lost contains 0 is not allowed here`},
		{"lost % 2 == 0", "lost % 2 is not allowed here"},
		{"lost ** 2 == 0", "lost ** 2 is not allowed here"},
		{"lost ^ 2 == 0", "lost ^ 2 is not allowed here"},
		{`lost_by_cause["reset_on_close"] == 0`, `unknown metric "lost_by_cause.reset_on_close"`},
		{`lost_by_cause["reset" + "_at_close"] == 0`, `lost_by_cause["reset" + "_at_close"] is not allowed here`},
		{"lost_by_cause?.timeout == 0", "lost_by_cause?.timeout is not allowed here"},
		{"lost_by_cause[lost] == 0", "lost_by_cause[lost] is not allowed here"},
		{"lost_by_cause == 0", `"lost_by_cause" is not a single metric`},
		{"$env.lost == 0", `unknown metric "$env.lost"`},
		{"baseline.lost.x == 0", `unknown metric "baseline.lost.x"`},
		{"attempts < 99999999999999999999", "not an expression: invalid integer literal: strconv.ParseInt: parsing \"99999999999999999999\": value out of range"},
		{"gap_ns < 5 ms", `not an expression: unexpected token Identifier("ms")`},
		{"gap_ns < 5MS", `not an expression: bad number syntax: "5M"`},
		{"gap_ns < 1h30", `not an expression: bad number syntax: "1h"`},
		{"gap_ns < 1_000ms", "1_000ms is not a duration"},
		{"gap_ns < 1e3ms", "1e3ms is not a duration"},
		{"gap_ns < 1e-3ms", "1e-3ms is not a duration"},
		{"gap_ns < 1.5.5ms", "1.5.5ms is not a duration"},
		{"gap_ns < 0.5ns", "0.5ns is less than a nanosecond"},
		{"response.5ms == 0", `not an expression: bad number syntax: ".5m"`},
	}
	for _, test := range tests {
		_, err := Gate{Expect: test.expect}.Compile()
		got := "accepted"
		if err != nil {
			got = strings.TrimPrefix(err.Error(), fmt.Sprintf("gate %q: ", test.expect))
		}
		if diff := cmp.Diff(got, test.want); diff != "" {
			t.Errorf("%s (-got +want):\n%s", test.expect, diff)
		}
	}
}

// A gate on a metric is accepted where a step of the timeline is measured by it, and refused where none is.
func TestGateOnEveryStep(t *testing.T) {
	const (
		ends     = "replace roll remove kill crash delete-pod rolling-update scale move-pod drain-node"
		starts   = "replace roll add cold-start crash rolling-update scale move-pod drain-node"
		restarts = "replace roll crash rolling-update"
	)
	only := map[string]string{ // every other metric is of any step
		"lost_sent_after_close": ends, "tail_ns": ends, "takeover_ns": starts, "lost_per_restart": restarts, "dropped_per_restart": restarts,
	}
	settings := map[string]string{
		"stall": "for: 20ms", "crash": "for: 20ms", "cold-start": "for: 20ms", "scale": "replicas: 3",
		"drain-node": "target: 0", "node-down": "target: 0",
	}
	for _, kind := range vocabulary.StepKinds() {
		lines := "name: x\nload: {rate: 100/s, duration: 1s}\nstop: close\n"
		if kind.Name == vocabulary.StepColdStart {
			lines += "server: {cold: 5ms}\n"
		}
		if kind.Pods {
			lines += "network: cluster\npath: service\n"
		}
		lines += "timeline: [{at: 100ms, do: " + string(kind.Name)
		if more := settings[string(kind.Name)]; more != "" {
			lines += ", " + more
		}
		lines += "}]\ngates:\n"
		var want []string
		for m := range (Metrics{}).all() {
			if strings.HasPrefix(m.name, BaselinePrefix) {
				continue
			}
			lines += "  - expect: " + m.name + " < 1\n"
			if of, limited := only[m.name]; limited &&
				!slices.Contains(strings.Fields(of), string(kind.Name)) {
				want = append(want, m.name+" is never measured")
			}
		}
		var got []string
		var problems *Problems
		if _, err := Parse("f", []byte(lines)); errors.As(err, &problems) {
			for _, p := range problems.Problems {
				if !strings.HasPrefix(p.What, "gates: the gates judge ") { // that they are many
					_, what, _ := strings.Cut(p.What, ": ")
					got = append(got, what)
				}
			}
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("a timeline of %s (-got +want):\n%s", kind.Name, diff)
		}
	}
}
