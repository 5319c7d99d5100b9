package stats

import (
	"math"
	"slices"
	"sort"

	"github.com/aclements/go-moremath/stats"
	"gonum.org/v1/gonum/stat/distuv"

	"reuseport-bench/results"
)

// UnpairedRatio is like UnpairedDifference, but with quotients instead of differences. All values
// must be positive.
func UnpairedRatio(base, head []float64, level float64) (results.Summary, float64) {
	return rankSum(base, head, func(h, b float64) float64 { return h / b }, level)
}

// UnpairedDifference compares two samples by all differences between a value of the head and one of
// the base. The center is the median of the differences (Hodges & Lehmann). The interval has the
// differences that the Mann-Whitney test does not reject, from the k-th smallest to the k-th
// largest (Conover, Practical Nonparametric Statistics, 1999, §5.4). p is the test's p value.
func UnpairedDifference(base, head []float64, level float64) (results.Summary, float64) {
	return rankSum(base, head, func(h, b float64) float64 { return h - b }, level)
}

func rankSum(
	base, head []float64, change func(h, b float64) float64, level float64,
) (results.Summary, float64) {
	apart := make([]float64, 0, len(base)*len(head))
	for _, h := range head {
		for _, b := range base {
			apart = append(apart, change(h, b))
		}
	}
	slices.Sort(apart)
	s := results.Summary{
		Center: middle(apart), N: min(len(base), len(head)), Method: results.MethodNone,
	}
	u := stats.UDist{N1: len(base), N2: len(head)}
	k, reached := 0, 0.0
	if len(base)+len(head) > 2*exactPairs {
		n1, n2 := float64(len(base)), float64(len(head))
		normal := distuv.Normal{Mu: n1 * n2 / 2, Sigma: math.Sqrt(n1 * n2 * (n1 + n2 + 1) / 12)}
		k = max(0, int(math.Floor(normal.Quantile((1-level)/2))))
		reached = 1 - 2*normal.CDF(float64(k)-0.5)
	} else {
		// Search by bisection: a call takes milliseconds, and for 60 and 60 values a linear search
		// needs 1400.
		covered := func(k int) float64 { return 1 - 2*u.CDF(float64(k-1)) }
		k = sort.Search(len(apart)/2, func(k int) bool { return covered(k+1) < level })
		if k > 0 {
			reached = covered(k)
		}
	}
	if k == 0 {
		s.Warn("too few trials for a %.4g %% interval: %d and %d", 100*level, len(base), len(head))
	} else {
		s.Bound(apart[k-1], apart[len(apart)-k], reached, results.MethodRankSum)
	}
	test, err := stats.MannWhitneyUTest(base, head, stats.LocationDiffers)
	if err != nil { // all values are equal
		return s, 1
	}
	return s, min(1, test.P)
}
