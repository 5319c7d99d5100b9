package report

import (
	"bytes"
	"strings"
	"testing"

	"reuseport-bench/results"
	"reuseport-bench/results/report/document"
	"reuseport-bench/scenarios/vocabulary"
)

// started returns a variant with one trial. Each element of ready is the time, in milliseconds,
// until the workers of a step were ready.
func started(stop string, starts *results.Starts, ready ...int64) *results.Variant {
	t := &results.Trial{Valid: true, Starts: starts}
	for _, ms := range ready {
		t.Steps = append(t.Steps, results.Step{
			Do: vocabulary.StepReplace, AtNS: 5e6, ReadyNS: new(5e6 + ms*1e6),
			StopNS: new(5e6 + ms*1e6),
		})
	}
	return &results.Variant{
		Labels: map[string]string{"stop": stop}, Trials: []*results.Trial{t},
	}
}

func TestStartsBlock(t *testing.T) {
	parked := &results.Starts{Start: vocabulary.StartParked, Parked: 6}
	cold := &results.Starts{Start: vocabulary.StartCold, Cold: 6}
	some := &results.Starts{Start: vocabulary.StartParked, Parked: 6, ParkedLater: 3, Cold: 1}
	hundred := make([]int64, 100)
	for i := range hundred {
		hundred[i] = int64(100 - i)
	}
	for _, test := range []struct {
		name     string
		variants []*results.Variant
		want     string
	}{
		{"no step", []*results.Variant{started("close", nil)}, ""},
		{
			"an older run", []*results.Variant{started("close", nil, 9)},
			"Workers that steps started were cold: the step started their processes, too. " +
				"They were ready 9ms after the step began (median of 1 step, the longest 9ms).",
		},
		{
			"parked", []*results.Variant{started("close", parked, 1, 4),
				started("drain", parked, 2)},
			"Workers that steps started had been parked: their processes were started before the " +
				"load began, and waited. " +
				"They were ready 2ms after the step began (median of 3 steps, the longest 4ms).",
		},
		{
			"not all in time", []*results.Variant{started("close", some, 1)},
			"Workers that steps started had been parked: their processes were started before the " +
				"load began, and waited. " +
				"3 of 10 were started while the load ran, ahead of their step. " +
				"1 of 10 were started by their step: none was parked in time. " +
				"They were ready 1ms after the step began (median of 1 step, the longest 1ms).",
		},
		{
			"many steps", []*results.Variant{started("close", cold, hundred...)},
			"Workers that steps started were cold: the step started their processes, too. " +
				"They were ready 50ms after the step began (median of 100 steps, 99 % " +
				"within 99ms).",
		},
		{
			"both", []*results.Variant{
				started("a", parked, 1), started("b", parked, 1), started("c", parked, 1),
				started("d", parked, 1), started("tableflip", cold, 15),
			},
			"In 4 variants, workers that steps started had been parked: their processes were " +
				"started before the load began, and waited. " +
				"They were ready 1ms after the step began (median of 4 steps, the longest 1ms). " +
				"In 1 variant (tableflip), workers that steps started were cold: the step " +
				"started their processes, too. " +
				"They were ready 15ms after the step began (median of 1 step, the longest 15ms).",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := &document.Document{}
			startsBlock(d, &results.Scenario{Variants: test.variants}, test.variants)
			var b bytes.Buffer
			if err := d.Text(&b, document.Look{}); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(strings.Fields(b.String()), " "); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}
