package results

import (
	"fmt"
	"math"
	"math/rand/v2"
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
	// MethodBootstrap: percentile bootstrap of a rate; events come in clusters.
	MethodBootstrap = "bootstrap"
	// MethodRuleOfThree: nothing was seen; hi is a one-sided 95 % bound, 3/exposure.
	MethodRuleOfThree = "rule_of_three"
)

const (
	confidence = 0.95
	// poissonDispersion is the largest index of dispersion at which counts pass for Poisson.
	poissonDispersion = 1.3
	// bootstrapRounds makes the 2.5 % points steady to about 1 % of the interval's width.
	bootstrapRounds = 10_000
	// bootstrapFew is the number of clusters below which a percentile bootstrap is known to be too
	// narrow (Davison & Hinkley, Bootstrap Methods and their Application, 1997, §2.6).
	bootstrapFew = 10
)

// Median summarizes one value per trial: the median, and the shortest symmetric pair of order
// statistics that covers the population's median with at least 95 %. It needs six values; with fewer,
// lo and hi are null and a warning says so. It panics on no values.
//
// Order statistics x(l) and x(n+1-l) cover the median with probability 1 − 2·P(B < l),
// B binomial(n, ½) (David & Nagaraja, Order Statistics, 2003, §7.1). benchmath.AssumeNothing
// rests on the same sum but, where one end may be trimmed, always trims the upper: at n = 8 it returns x(1), x(7).
// For response times that is the optimistic end, so the symmetric pair is taken here.
func Median(values []float64) Summary {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	s := Summary{Center: middle(sorted), N: n, Method: MethodNone}
	rank, level := medianRank(n)
	if rank == 0 {
		s.Warnings = []string{fmt.Sprintf("need ≥ 6 trials for a 95 %% interval, have %d", n)}
		return s
	}
	s.interval(sorted[rank-1], sorted[n-rank], level, MethodOrder)
	return s
}

// medianRank is the largest l, 1-based, for which x(l) to x(n+1-l) reaches the confidence, and
// the level it reaches; 0, 0 when even the extremes do not.
func medianRank(n int) (rank int, level float64) {
	binomial := distuv.Binomial{N: float64(n), P: 0.5}
	for l := 1; l <= n/2; l++ {
		covered := 1 - 2*binomial.CDF(float64(l-1))
		if covered < confidence {
			break
		}
		rank, level = l, covered
	}
	return rank, level
}

// middle is the median of sorted values.
func middle(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// Rate summarizes counts of events that come in clusters, as events per unit of exposure: losses
// per restart (one count per restart, each of exposure 1), or losses per attempt (one count per
// trial, its exposure the attempts). The center is the pooled ratio Σcounts ÷ Σexposure. N is the
// number of clusters. It panics when the slices differ in length or the exposure is not positive.
//
// The interval is Garwood's while the index of dispersion is ≤ 1.3, else a percentile bootstrap
// over the clusters with a fixed seed, so that the same counts always give the same interval. With
// no event at all it is the rule of three, 0 to 3/exposure.
func Rate(counts []int64, exposure []float64) Summary {
	if len(counts) != len(exposure) {
		panic(fmt.Sprintf("results.Rate: %d counts, %d exposures", len(counts), len(exposure)))
	}
	var total, units float64
	for i, c := range counts {
		total += float64(c)
		units += exposure[i]
	}
	if units <= 0 {
		panic("results.Rate: no exposure")
	}
	s := Summary{Center: total / units, N: len(counts), Method: MethodNone}
	switch {
	case total == 0:
		// −ln 0.05 = 2.996: Hanley & Lippman-Hand, JAMA 249 (1983) 1743.
		s.interval(0, 3/units, confidence, MethodRuleOfThree)
	case len(counts) < 2:
		s.Warnings = append(s.Warnings, "one count only: whether events come in clusters cannot be told, so no interval")
	case Dispersion(counts, exposure) <= poissonDispersion:
		lo, hi := garwood(total)
		s.interval(lo/units, hi/units, confidence, MethodPoisson)
	default:
		lo, hi := bootstrapRate(counts, exposure)
		s.interval(lo, hi, confidence, MethodBootstrap)
		if len(counts) < bootstrapFew {
			s.Warnings = append(s.Warnings, fmt.Sprintf("bootstrap over only %d counts: the interval is too narrow", len(counts)))
		}
	}
	return s
}

// Dispersion is Pearson's index of dispersion of counts around their pooled rate, Σ(x−λe)²/(λe) ÷
// (n−1): for equal exposures the variance over the mean. It is 1 for Poisson counts, larger when
// events come in clusters, and NaN with fewer than two counts or no event.
func Dispersion(counts []int64, exposure []float64) float64 {
	var total, units float64
	for i, c := range counts {
		total += float64(c)
		units += exposure[i]
	}
	var pearson float64
	for i, c := range counts {
		expected := total / units * exposure[i]
		pearson += (float64(c) - expected) * (float64(c) - expected) / expected
	}
	return pearson / float64(len(counts)-1)
}

// garwood is the exact two-sided 95 % interval of a Poisson mean of which k > 0 events were seen
// (F. Garwood, Biometrika 28 (1936) 437).
func garwood(k float64) (lo, hi float64) {
	tail := (1 - confidence) / 2
	lo = distuv.ChiSquared{K: 2 * k}.Quantile(tail) / 2
	hi = distuv.ChiSquared{K: 2*k + 2}.Quantile(1-tail) / 2
	return lo, hi
}

// bootstrapRate resamples the clusters.
func bootstrapRate(counts []int64, exposure []float64) (lo, hi float64) {
	random := rand.New(rand.NewPCG(0x7265757365, 0x706f7274)) // fixed: a report must not change when reprinted
	rates := make([]float64, bootstrapRounds)
	for round := range rates {
		var total, units float64
		for range counts {
			i := random.IntN(len(counts))
			total += float64(counts[i])
			units += exposure[i]
		}
		rates[round] = total / units
	}
	slices.Sort(rates)
	tail := int(math.Floor((1 - confidence) / 2 * bootstrapRounds))
	return rates[tail], rates[bootstrapRounds-1-tail]
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
