package results

import (
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// How the interval of a Summary was computed.
const (
	// MethodNone: there is no interval; lo and hi are null.
	MethodNone = "none"
	// MethodOrder: two order statistics around the median; no assumption about the distribution.
	MethodOrder = "order_statistics"
	// MethodPoisson: Garwood's exact interval of a Poisson rate.
	MethodPoisson = "poisson"
	// MethodQuasiPoisson: Garwood's interval for as many events as the clusters are worth. Runs recorded before it have
	// "bootstrap".
	MethodQuasiPoisson = "quasi_poisson"
	// MethodSignedRank: the ratios or differences of pairs that Wilcoxon's signed-rank test does not reject.
	MethodSignedRank = "signed_rank"
	// MethodRankSum: the ratios or differences of two samples that the Mann-Whitney test does not reject.
	MethodRankSum = "rank_sum"
	// MethodDifference: of two rates, from the interval of each.
	MethodDifference = "mover"
	// MethodRuleOfThree: nothing was seen; hi is a one-sided 95 % bound, 3/exposure.
	MethodRuleOfThree = "rule_of_three"
)

// Confidence is the level of every interval that says no other.
const Confidence = 0.95

// Median summarizes one value per trial: the median, and the shortest symmetric pair of order
// statistics that covers the population's median with at least that level, 0.95 say. For 95 % it needs six values; with
// fewer, lo and hi are null and a warning says so. It panics on no values.
//
// Order statistics x(l) and x(n+1-l) cover the median with probability 1 − 2·P(B < l),
// B binomial(n, ½) (David & Nagaraja, Order Statistics, 2003, §7.1). benchmath.AssumeNothing
// rests on the same sum but, where one end may be trimmed, always trims the upper: at n = 8 it returns x(1), x(7).
// For response times that is the optimistic end, so the symmetric pair is taken here.
func Median(values []float64, level float64) Summary {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	s := Summary{Center: middle(sorted), N: n, Method: MethodNone}
	rank, reached := medianRank(n, level)
	if rank == 0 {
		s.warn("need ≥ %d trials for a %.4g %% interval, have %d", pairsFor(level), 100*level, n)
		return s
	}
	s.interval(sorted[rank-1], sorted[n-rank], reached, MethodOrder)
	return s
}

// medianRank is the largest l, 1-based, for which x(l) to x(n+1-l) reaches the level, and
// the level it reaches; 0, 0 when even the extremes do not.
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

// middle is the median of sorted values.
func middle(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// interval sets the bounds.
func (s *Summary) interval(lo, hi, level float64, method string) {
	s.Lo, s.Hi, s.Confidence, s.Method = &lo, &hi, level, method
}

// scaled is s in another unit, factor times as large.
func (s Summary) scaled(factor float64) Summary {
	out := s
	out.Center *= factor
	if s.Lo != nil {
		out.interval(*s.Lo*factor, *s.Hi*factor, s.Confidence, s.Method)
	}
	out.Warnings = slices.Clone(s.Warnings)
	return out
}

// AddWindows adds the fairness of each window. counts has a list for each worker: its connections, by window.
func (f *Fairness) AddWindows(counts [][]int64) {
	windows := 0
	for _, c := range counts {
		windows = max(windows, len(c))
	}
	for window := range windows {
		each := make([]int64, len(counts))
		for i, c := range counts {
			if window < len(c) {
				each[i] = c[window]
			}
		}
		if one := FairnessOf(f.Generation, each); one != nil {
			f.Windows = append(f.Windows, FairnessWindow{
				FromNS: int64(window) * FairnessWindowNS, Connections: sum(each), Jain: one.Jain, MaxOverMean: one.MaxOverMean,
			})
		}
	}
}

// FairnessOf compares the connections that the workers of one generation accepted with equal
// shares. It is nil when nothing was accepted: there was nothing to share.
//
// Jain's index is (Σx)²/(n·Σx²) (Jain, Chiu & Hawe, DEC-TR-301, 1984). Chi2P is the upper tail of
// Pearson's χ² with n−1 degrees of freedom: small means more uneven than a fair
// coin; a hash gives a uniform p, not p = 1. One worker alone has p = 1. The approximation wants five
// or more connections per worker.
func FairnessOf(generation int, counts []int64) *Fairness {
	var sum, squares, largest float64
	for _, c := range counts {
		x := float64(c)
		sum += x
		squares += x * x
		largest = max(largest, x)
	}
	if sum == 0 {
		return nil
	}
	n := float64(len(counts))
	mean := sum / n
	f := &Fairness{Generation: generation, Jain: sum * sum / (n * squares), MaxOverMean: largest / mean, Chi2P: 1}
	if len(counts) > 1 {
		var chi2 float64
		for _, c := range counts {
			chi2 += (float64(c) - mean) * (float64(c) - mean) / mean
		}
		f.Chi2P = distuv.ChiSquared{K: n - 1}.Survival(chi2)
	}
	return f
}
