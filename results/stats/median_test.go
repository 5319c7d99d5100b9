package stats

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"reuseport-bench/results"
)

// near compares floats with a relative or absolute tolerance of 10⁻⁶.
var near = cmpopts.EquateApprox(1e-6, 1e-6)

// upTo returns n, … 2, 1. The values are not sorted, and each order statistic equals its rank.
func upTo(n int) []float64 {
	xs := make([]float64, n)
	for i := range xs {
		xs[i] = float64(n - i)
	}
	return xs
}

// The ranks and levels are from the usual tables for a 95 % interval of the median, for example
// Conover, Practical Nonparametric Statistics, table A3 (n, r, s).
func TestMedian(t *testing.T) {
	tests := []struct {
		n              int
		center, lo, hi float64
		level          float64
	}{
		{6, 3.5, 1, 6, 1 - 2./64},
		{7, 4, 1, 7, 1 - 2./128},
		{8, 4.5, 1, 8, 1 - 2./256}, // benchmath would return 1 and 7
		{9, 5, 2, 8, 1 - 2*(1+9)/512.},
		{10, 5.5, 2, 9, 1 - 2*(1+10)/1024.},
		{20, 10.5, 6, 15, 1 - 2*(1+20+190+1140+4845+15504)/1048576.},
		{30, 15.5, 10, 21, 0.957226},
		{100, 50.5, 40, 61, 0.964800},
	}
	for _, test := range tests {
		got := Median(upTo(test.n), Confidence)
		want := results.Summary{
			Center: test.center, Lo: &test.lo, Hi: &test.hi, Confidence: test.level, N: test.n,
			Method: results.MethodOrder,
		}
		if diff := cmp.Diff(want, got, near); diff != "" {
			t.Errorf("n = %d (-want +got):\n%s", test.n, diff)
		}
	}
}

func TestMedianOfTooFew(t *testing.T) {
	for n := 1; n <= 5; n++ {
		got := Median(upTo(n), Confidence)
		if got.Lo != nil || got.Hi != nil || got.Confidence != 0 ||
			got.Method != results.MethodNone {
			t.Errorf("n = %d: got %+v, want no interval", n, got)
		}
		const warning = "need ≥ 6 trials for a 95 % interval"
		if len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], warning) {
			t.Errorf("n = %d: warnings %q", n, got.Warnings)
		}
		if want := float64(n+1) / 2; got.Center != want {
			t.Errorf("n = %d: center %v, want %v", n, got.Center, want)
		}
	}
}

func TestMedianLeavesItsArgument(t *testing.T) {
	xs := []float64{3, 1, 2}
	Median(xs, Confidence)
	if !slices.Equal(xs, []float64{3, 1, 2}) {
		t.Errorf("sorted in place: %v", xs)
	}
}

func TestFairnessOf(t *testing.T) {
	fair := func(jain, maxOverMean, topShare, p float64) *results.Fairness {
		return &results.Fairness{
			Generation: 7, Jain: jain, MaxOverMean: maxOverMean, TopShare: topShare, Chi2P: p,
		}
	}
	tests := []struct {
		name   string
		counts []int64
		want   *results.Fairness
	}{
		{"equal", []int64{5, 5, 5, 5}, fair(1, 1, 0.25, 1)},
		// Jain, Chiu & Hawe: if k of n users are served equally, the index is k/n. χ² is 4·5²/5 =
		// 20, then (6² + 3·2²)/2 = 24, with 3 degrees of freedom: p is erfc(√(x/2)) +
		// √(2x/π)·exp(−x/2).
		{"two of four", []int64{10, 10, 0, 0}, fair(0.5, 2, 0.5, 0.000169742)},
		{"one of four", []int64{8, 0, 0, 0}, fair(0.25, 4, 1, 0.0000249800)},
		// A die thrown 60 times: χ² = 13.4 with 5 degrees of freedom, the worked example of
		// Wikipedia's "Pearson's chi-squared test". Jain: 60²/(6·734).
		{"die", []int64{5, 8, 9, 8, 10, 20}, fair(3600./4404, 2, 1./3, 0.0199052)},
		// χ² is 2·10²/50 = 4, two standard deviations of a normal.
		{"coin", []int64{60, 40}, fair(10000./10400, 1.2, 0.6, 0.0455003)},
		{"alone", []int64{9}, fair(1, 1, 1, 1)},
		{"nothing accepted", []int64{0, 0}, nil},
		{"no workers", nil, nil},
	}
	for _, test := range tests {
		got := Fairness(7, test.counts)
		if diff := cmp.Diff(test.want, got, cmpopts.EquateApprox(1e-4, 1e-6)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}
