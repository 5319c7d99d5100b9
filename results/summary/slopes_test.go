package summary

import (
	"math"
	"testing"

	"reuseport-bench/results"
	"reuseport-bench/results/metrics"
)

// Variants that differ only in the lag make a line. A variant is left out if its lag is random or
// its other labels differ.
func TestSlopes(t *testing.T) {
	variant := func(labels map[string]string, outages ...int64) *results.Variant {
		v := &results.Variant{Labels: labels}
		for _, ms := range outages {
			steps := []results.Step{{OutageNS: new(ms * 1e6)}}
			v.Trials = append(v.Trials, &results.Trial{Valid: true, Steps: steps})
		}
		return v
	}
	lag := func(l, path string) map[string]string {
		return map[string]string{"kube.endpoint_lag": l, "path": path}
	}
	s := &results.Scenario{Variants: []*results.Variant{
		variant(map[string]string{"path": "direct"}, 0, 2),
		variant(lag("0s", "service"), 3, 5),
		variant(lag("100ms", "service"), 103, 105),
		variant(lag("1s", "service"), 1003, 1005),
		variant(lag("uniform(10ms..1s)", "service"), 500, 900),
		// Two lags make no line.
		variant(lag("0s", "dns"), 3, 5), variant(lag("1s", "dns"), 1003, 1005, 1004, 1004),
	}}
	got := Slopes(s, metrics.Outage, "kube.node_lag", "kube.endpoint_lag")
	if len(got) != 1 || got[0].Rest != "path=service" || got[0].N != 6 {
		t.Fatalf("%+v", got)
	}
	g := got[0]
	if math.Abs(g.Slope-1) > 1e-9 || math.Abs(g.AtNone-4e6) > 1 || g.Half <= 0 || g.Half > 0.01 {
		t.Errorf("%+v, want a slope of 1 and 4 ms without lag", g)
	}
}
