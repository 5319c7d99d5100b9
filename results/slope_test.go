package results

import (
	"math"
	"testing"
)

// A line that is in every textbook: Anscombe's first data set (The American Statistician 27, 1973): y = 3.0001 + 0.5001 x,
// standard error of the slope 0.1179, 9 degrees of freedom.
func TestLeastSquares(t *testing.T) {
	x := []float64{10, 8, 13, 9, 11, 14, 6, 4, 12, 7, 5}
	y := []float64{8.04, 6.95, 7.58, 8.81, 8.33, 9.96, 7.24, 4.26, 10.84, 4.82, 5.68}
	got := leastSquares(x, y)
	near := func(a, b float64) bool { return math.Abs(a-b) < 1e-4*math.Max(1, b) }
	if !near(got.Center, 0.5001) || !near(got.AtNone, 3.0001) || got.N != 11 {
		t.Errorf("%+v", got)
	}
	if want := 2.2622 * 0.1179; math.Abs(got.Half-want) > 2e-4 {
		t.Errorf("half of the interval %.5f, want %.5f", got.Half, want)
	}
}

// Variants that differ in the lag alone make a line; one whose lag is drawn, and one that is another's, do not.
func TestSlopes(t *testing.T) {
	variant := func(labels map[string]string, outages ...int64) *Variant {
		v := &Variant{Labels: labels}
		for _, ms := range outages {
			v.Trials = append(v.Trials, &Trial{Valid: true, Steps: []Step{{OutageNS: ms * 1e6}}})
		}
		return v
	}
	lag := func(l, path string) map[string]string {
		return map[string]string{"kube.endpoint_lag": l, "path": path}
	}
	s := &Scenario{Variants: []*Variant{
		variant(map[string]string{"path": "direct"}, 0, 2),
		variant(lag("0s", "service"), 3, 5), variant(lag("100ms", "service"), 103, 105), variant(lag("1s", "service"), 1003, 1005),
		variant(lag("uniform(10ms..1s)", "service"), 500, 900),
		variant(lag("0s", "dns"), 3, 5), variant(lag("1s", "dns"), 1003, 1005, 1004, 1004), // two are no line
	}}
	got := s.Slopes(MetricOutage)
	if len(got) != 1 || got[0].Rest != "path=service" || got[0].N != 6 {
		t.Fatalf("%+v", got)
	}
	if g := got[0]; math.Abs(g.Center-1) > 1e-9 || math.Abs(g.AtNone-4e6) > 1 || g.Half <= 0 || g.Half > 0.01 {
		t.Errorf("%+v", g)
	}
}
