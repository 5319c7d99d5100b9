package scenarios

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/results/cause"
	"reuseport-bench/results/metrics"
	"reuseport-bench/scenarios/vocabulary"
)

// values maps names of figures to their values. The value of a missing figure is 0.
type values map[string]float64

func (v values) of(name string) (float64, bool) { return v[name], true }

func eval(expect string, v values) (bool, error) {
	e, err := Gate{Expect: expect}.Compile()
	if err != nil {
		return false, err
	}
	return e.Eval(v.of)
}

// An expectation can name every count and every metric by its name in run.json, and a percentile
// also by its older name. Each name evaluates to the value of its figure.
func TestEveryFigure(t *testing.T) {
	spelled := map[string]string{}
	for _, c := range metrics.Counts() {
		spelled[c.Name] = c.Name
	}
	for _, m := range metrics.All() {
		spelled[m.Name] = m.Name
	}
	for _, p := range []string{"p50", "p90", "p99", "p999", "max"} {
		spelled["response."+p], spelled["service."+p] = "response_"+p+"_ns", "service_"+p+"_ns"
	}
	v := values{}
	for _, name := range slices.Sorted(maps.Values(spelled)) {
		if _, ok := v[name]; ok {
			continue
		}
		for _, prefix := range []string{"", BaselinePrefix} {
			x := float64(len(v) + 1)
			if _, exact := metrics.FindCount(name); !exact {
				x /= 1000 // because some figures are shares
			}
			v[prefix+name] = x
		}
	}
	for spelling, name := range spelled {
		for _, prefix := range []string{"", BaselinePrefix} {
			expect := fmt.Sprintf("%s%s == %v", prefix, spelling, v[prefix+name])
			e, err := Gate{Expect: expect}.Compile()
			if err != nil {
				t.Errorf("%s: %v", expect, err)
				continue
			}
			if met, err := e.Eval(v.of); err != nil || !met {
				t.Errorf("%s: %t, %v; want true", expect, met, err)
			}
			if _, exact := metrics.FindCount(name); (len(e.Figures()) == 0) != exact {
				t.Errorf("%s: figures with an interval %q; a count: %t", spelling, e.Figures(),
					exact)
			}
		}
	}
}

func TestGateEval(t *testing.T) {
	m := values{
		"attempts": 1000, "lost": 3, "lost_by_cause.timeout": 3,
		"gap_ns": 4_999_999, "tail_ns": math.NaN(), "response_p99_ns": 1.5e6,
		"baseline.attempts": 1000, "baseline.lost": 6, "baseline.gap_ns": math.NaN(),
		"baseline.response_p99_ns": 1e6,
	}
	tests := []struct {
		expect string
		want   string
	}{
		{"lost == 3", "true"},
		{"lost == 0", "false"},
		{"lost_by_cause.reset_at_close == 0", "true"}, // 0, because this cause did not occur
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
		{"response_p99_ns == 1500us and response_p99_ns == response.p99", "true"},
		{"response.p99 == 1.5e6", "true"},
		{"lost * 9223372036854775807 > 0", "true"}, // would overflow with integers
		{"tail_ns < 1s", `gate "tail_ns < 1s": tail_ns was not measured`},
		{"lost == 3 || baseline.gap_ns > 0", `gate "lost == 3 || baseline.gap_ns > 0": baseline.gap_ns was not measured`},
		{"lots == 3", `gate "lots == 3": unknown metric "lots"`},
		{"lost / served < 1", `gate "lost / served < 1": division by zero: lost / served`},
		{"lost_by_cause.client / lost_by_cause.unknown < 1",
			`gate "lost_by_cause.client / lost_by_cause.unknown < 1": ` +
				"division by zero: lost_by_cause.client / lost_by_cause.unknown"},
		{"served == 0 or lost / served < 1", "true"}, // the second operand is not evaluated
		{"served > 0 and lost / served < 1", "false"},
		{"lost * 1e308 > 1", `gate "lost * 1e308 > 1": lost * 1e+308 is too large a number`},
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

// Every cause can have a gate, which passes if no attempt was lost for the cause and fails if one
// was.
func TestEveryCause(t *testing.T) {
	for _, c := range cause.All() {
		expect := "lost_by_cause." + c.Name + " == 0"
		for n, want := range []bool{0: true, 1: false} {
			met, err := eval(expect, values{"lost_by_cause." + c.Name: float64(n)})
			if err != nil || met != want {
				t.Errorf("%s, with %d: %t, %v; want %t", expect, n, met, err, want)
			}
		}
	}
}

// Constructs of the language of expr-lang/expr that are not in the grammar of expectations are
// refused, because users might misunderstand them.
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
		{"lost == 0 residual == 0", `not an expression: unexpected residual`},
		{"lost == 0\nresidual == 0", `not an expression: unexpected residual`},
		{"lost = 0", "not an expression: unexpected ="},
		{"lost == 0 AND residual == 0", `not an expression: unexpected AND`},
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
		{"abs() == lost", "abs() has 0 arguments"},
		{"max() == lost", "max() has 0 arguments"},
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
		{"attempts < 99999999999999999999", "not an expression: a number is too large"},
		{"gap_ns < 5 ms", `not an expression: unexpected ms`},
		{"gap_ns < 5MS", `not an expression: bad number syntax: "5M"`},
		{"gap_ns < 1h30", `not an expression: bad number syntax: "1h"`},
		{"gap_ns < 1_000ms", "1_000ms is not a duration"},
		{"gap_ns < 1e3ms", "1e3ms is not a duration"},
		{"gap_ns < 1e-3ms", "1e-3ms is not a duration"},
		{"gap_ns < 1.5.5ms", "1.5.5ms is not a duration"},
		{"gap_ns < 0.5ns", "0.5ns is less than a nanosecond"},
		{"abs(lost, lost) == 0", "abs(lost, lost) has 2 arguments"},
		{"lost <", "not an expression: it ends too early"},
		{"lost == 0 @", "not an expression: unrecognized character: U+0040 '@'"},
		{"lost == " + strings.Repeat("0", 1000), "1008 bytes"},
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

// A gate on a metric is accepted if a step of the timeline has that metric, and refused otherwise.
func TestGateOnEveryStep(t *testing.T) {
	const (
		ends = "replace roll remove kill crash delete-pod rolling-update scale move-pod " +
			"drain-node restart"
		starts = "replace roll add cold-start crash rolling-update scale move-pod drain-node " +
			"restart"
		restarts = "replace roll crash rolling-update restart"
	)
	only := map[string]string{ // all steps have the metrics that are not listed here
		"lost_sent_after_close": ends, "tail_ns": ends, "half_open_lost": ends,
		"takeover_ns":    starts,
		"ready_after_ns": starts,
	}
	for _, name := range strings.Fields(`lost_per_restart dropped_per_restart loss_window_ns
		drop_window_ns reset_at_close_per_restart lost_sent_after_close_per_restart`) {
		only[name] = restarts
	}
	for _, name := range strings.Fields(`first_served_ns fair_share_ns newcomer_share
		newcomer_p50_ns newcomer_p99_ns others_p99_ns`) {
		only[name] = "cold-start"
	}
	settings := map[string]string{
		"stall": "for: 20ms", "crash": "for: 20ms", "cold-start": "for: 20ms",
		"scale":      "replicas: 3",
		"drain-node": "target: 0", "node-down": "target: 0",
	}
	for _, kind := range vocabulary.StepKinds() {
		stop := vocabulary.StopClose
		if kind.Targets == vocabulary.TargetSocket {
			stop = vocabulary.StopInherit
		}
		lines := "name: x\nload: {rate: 100/s, duration: 1s}\n"
		if kind.Plain || kind.Pods {
			lines += "stop: " + string(stop) + "\n"
		} else {
			lines += "server: {kind: command, start: x, restarts: {hup: [{signal: HUP}]}}\n"
		}
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
		for _, m := range figures() {
			if m.loop == metrics.ClosedLoop {
				continue // this scenario has an open loop
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
				// Ignore the problem that there are too many gates.
				if !strings.HasPrefix(p.What, "gates: the gates judge ") {
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
