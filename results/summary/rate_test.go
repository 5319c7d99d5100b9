package summary

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"reuseport-bench/results"
	"reuseport-bench/results/metrics"
	"reuseport-bench/results/stats"
)

// With six or more trials, a rate has trials as clusters, otherwise restarts. N counts restarts in
// either case.
func TestClusteredRate(t *testing.T) {
	none, all := ofRestarts(0, 0, 0, 0), ofRestarts(2, 2, 2, 2)
	of := func(n int, rest ...metrics.Tally) []metrics.Tally {
		return append(slices.Repeat([]metrics.Tally{none}, n), rest...)
	}
	counts, ones := append(make([]int64, 16), 2, 2, 2, 2), slices.Repeat([]float64{1}, 20)
	overRestarts := stats.Rate(counts, ones, 0.95)
	overRestarts.Warnings = []string{"only 5 trials: the interval assumes independent restarts"}
	const lo, hi = 15.3772529, 35.7100976 // Garwood's limits for 24
	tests := []struct {
		name   string
		trials []metrics.Tally
		want   results.Summary
	}{
		{
			// φ is 8, so the events count as one; see TestRate. Student's t with 5 degrees of
			// freedom is 2.570582 at 97.5 %; the normal tail beyond it is 5.0765·10⁻³.
			"six", of(5, all),
			results.Summary{
				Center: 1. / 3, Lo: new(0.00508932 * 8 / 24), Hi: new(7.412924 * 8 / 24),
				Confidence: 0.95, N: 24, Method: results.MethodQuasiPoisson,
			},
		},
		{"five", of(4, all), overRestarts},
		// The restarts lost 0 and 2 in turn. The dispersion over restarts is 24/23, that over
		// trials is 0.
		{"six, alike", slices.Repeat([]metrics.Tally{ofRestarts(0, 2, 0, 2)}, 6),
			results.Summary{
				Center: 1, Lo: new(lo / 24), Hi: new(hi / 24), Confidence: 0.95, N: 24,
				Method: results.MethodPoisson,
			}},
		{
			"five, nothing lost", of(5),
			results.Summary{
				Lo: new(0.), Hi: new(3. / 20), Confidence: 0.95, N: 20,
				Method: results.MethodRuleOfThree,
			},
		},
		{
			"five, of one restart each", single(1, 0, 4, 0, 2),
			stats.Rate([]int64{1, 0, 4, 0, 2}, []float64{1, 1, 1, 1, 1}, 0.95),
		},
	}
	for _, test := range tests {
		if diff := cmp.Diff(test.want, clusteredRate(test.trials, 0.95), near); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

// near compares floats to six significant digits.
var near = cmpopts.EquateApprox(1e-6, 1e-6)

// single returns one trial per count, with one restart each.
func single(counts ...int64) []metrics.Tally {
	var trials []metrics.Tally
	for _, c := range counts {
		trials = append(trials, ofRestarts(c))
	}
	return trials
}

// ofRestarts returns a trial whose restarts lost these numbers of attempts.
func ofRestarts(counts ...int64) metrics.Tally {
	return metrics.Tally{Counts: counts, Exposure: slices.Repeat([]float64{1}, len(counts))}
}
