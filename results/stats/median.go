// Package stats turns samples and counts into figures with intervals: medians, rates, and paired
// and unpaired ratios and differences, with their p values. It does not depend on metrics or
// trials. Outside of tests no other package imports a statistics library.
package stats

import (
	"slices"

	"gonum.org/v1/gonum/stat/distuv"

	"reuseport-bench/results"
)

// Confidence is the level of intervals, unless a comment states another.
const Confidence = 0.95

// Median summarizes one value per trial. The center is the median. The interval is the shortest
// symmetric pair of order statistics that covers the population's median with at least the
// probability level, for example 0.95. At 0.95 it needs six values; with fewer, lo and hi are null
// and a warning says so. Median panics without values.
//
// The order statistics x(l) and x(n+1-l) cover the median with probability 1 − 2·P(B < l), where B
// is binomial(n, ½) (David & Nagaraja, Order Statistics, 2003, §7.1). benchmath.AssumeNothing uses
// the same sum, but where the level allows it to move one end inward, it moves the upper end: at n
// = 8 it returns x(1), x(7). For response times this is the optimistic choice, so Median returns
// the symmetric pair.
func Median(values []float64, level float64) results.Summary {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	s := results.Summary{Center: middle(sorted), N: n, Method: results.MethodNone}
	rank, reached := medianRank(n, level)
	if rank == 0 {
		s.Warn("need ≥ %d trials for a %.4g %% interval, have %d", PairsFor(level), 100*level, n)
		return s
	}
	s.Bound(sorted[rank-1], sorted[n-rank], reached, results.MethodOrder)
	return s
}

// medianRank returns the largest l, 1-based, for which the interval x(l) to x(n+1-l) reaches the
// level, and the level that it reaches. It returns 0, 0 if even the extremes do not reach the
// level.
func medianRank(n int, level float64) (rank int, reached float64) {
	binomial := distuv.Binomial{N: float64(n), P: 0.5}
	for l := 1; l <= n/2; l++ {
		covered := 1 - 2*binomial.CDF(float64(l-1))
		if covered < level {
			break
		}
		rank, reached = l, covered
	}
	return rank, reached
}

// middle returns the median of sorted values.
func middle(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
