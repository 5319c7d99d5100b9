package stats

import (
	"time"

	"gonum.org/v1/gonum/stat/distuv"

	"reuseport-bench/results"
)

// FairnessWindows returns the fairness, in each window, of the connections that the workers of one
// generation accepted. counts has a list for each worker: its connections per window. Windows in
// which nothing was accepted are left out.
func FairnessWindows(counts [][]int64) (all []results.FairnessWindow) {
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
		if one := Fairness(0, each); one != nil {
			all = append(all, results.FairnessWindow{
				FromNS: int64(window) * results.FairnessWindowNS, Connections: sum(each),
				Jain: one.Jain, MaxOverMean: one.MaxOverMean,
			})
		}
	}
	return all
}

// Fairness compares the connections that the workers of one generation accepted with equal shares.
// It returns nil if nothing was accepted.
//
// Jain's index is (Σx)²/(n·Σx²) (Jain, Chiu & Hawe, DEC-TR-301, 1984). Chi2P is the upper tail of
// Pearson's χ² with n−1 degrees of freedom. A small p means that the spread is less even than a
// random one; a hash gives a uniformly distributed p, not p = 1. A single worker has p = 1. The
// approximation needs five or more connections per worker.
func Fairness(generation int, counts []int64) *results.Fairness {
	s := Spread(counts)
	if s == nil {
		return nil
	}
	f := &results.Fairness{
		Generation: generation, Jain: s.Jain, MaxOverMean: s.MaxOverMean, TopShare: s.TopShare,
		Chi2P: 1,
	}
	if n := float64(len(counts)); n > 1 {
		mean := float64(sum(counts)) / n
		var chi2 float64
		for _, c := range counts {
			chi2 += (float64(c) - mean) * (float64(c) - mean) / mean
		}
		f.Chi2P = distuv.ChiSquared{K: n - 1}.Survival(chi2)
	}
	return f
}

// Spread compares amounts, one per worker, with equal shares, as Fairness does. It returns nil if
// the amounts add up to 0.
func Spread[T int64 | time.Duration](amounts []T) *results.Spread {
	var sum, squares, largest float64
	for _, amount := range amounts {
		x := float64(amount)
		sum += x
		squares += x * x
		largest = max(largest, x)
	}
	if sum == 0 {
		return nil
	}
	n := float64(len(amounts))
	mean := sum / n
	return &results.Spread{
		Jain: sum * sum / (n * squares), MaxOverMean: largest / mean, TopShare: largest / sum,
	}
}
