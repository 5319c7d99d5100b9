package stats

import (
	"gonum.org/v1/gonum/stat/distuv"

	"reuseport-bench/results"
)

// FairnessWindows is the fairness of what the workers of one generation accepted over time. counts
// has a list for each worker: its connections, by window. Windows in which nothing was accepted are
// left out.
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
				FromNS: int64(window) * results.FairnessWindowNS, Connections: sum(each), Jain: one.Jain, MaxOverMean: one.MaxOverMean,
			})
		}
	}
	return all
}

// Fairness compares the connections that the workers of one generation accepted with equal
// shares. It is nil when nothing was accepted: there was nothing to share.
//
// Jain's index is (Σx)²/(n·Σx²) (Jain, Chiu & Hawe, DEC-TR-301, 1984). Chi2P is the upper tail of
// Pearson's χ² with n−1 degrees of freedom: small means more uneven than a fair coin; a hash gives
// a uniform p, not p = 1. One worker alone has p = 1. The approximation wants five or more
// connections per worker.
func Fairness(generation int, counts []int64) *results.Fairness {
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
	f := &results.Fairness{Generation: generation, Jain: sum * sum / (n * squares), MaxOverMean: largest / mean, Chi2P: 1}
	if len(counts) > 1 {
		var chi2 float64
		for _, c := range counts {
			chi2 += (float64(c) - mean) * (float64(c) - mean) / mean
		}
		f.Chi2P = distuv.ChiSquared{K: n - 1}.Survival(chi2)
	}
	return f
}
