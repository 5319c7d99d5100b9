package stats

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/mathext"
	"gonum.org/v1/gonum/stat/distuv"

	"reuseport-bench/results"
	"reuseport-bench/results/unit"
)

// Rate summarizes counts of events that may come in clusters, as events per unit of exposure. For
// losses per restart there is one count per restart, with exposure 1. For losses per attempt there
// is one count per trial, with its attempts as exposure. The center is the pooled ratio Σcounts ÷
// Σexposure. N is the number of counts. Rate panics if the slices differ in length or the exposure
// is not positive.
//
// The interval is Garwood's if the index of dispersion φ is at most 1. Above 1, it is Garwood's
// interval for Σcounts/φ events, multiplied by φ. Its tails are then those of Student's t with n−1
// degrees of freedom, because φ is estimated from n counts (quasi-Poisson: McCullagh & Nelder,
// Generalized Linear Models, 1989, §6.2.3). A percentile bootstrap covers the true value less
// often: for 8 clusters with φ = 3 in 86 % of cases, this interval in 94 % (TestIntervalCoverage).
// Without events the interval is the rule of three, 0 to 3/exposure at 95 %.
func Rate(counts []int64, exposure []float64, level float64) results.Summary {
	if len(counts) != len(exposure) {
		panic(fmt.Sprintf("stats.Rate: %d counts, %d exposures", len(counts), len(exposure)))
	}
	total, units := float64(sum(counts)), sum(exposure)
	if units <= 0 {
		panic("stats.Rate: no exposure")
	}
	s := results.Summary{Center: total / units, N: len(counts), Method: results.MethodNone}
	switch {
	case total == 0:
		// −ln 0.05 = 2.996: Hanley & Lippman-Hand, JAMA 249 (1983) 1743.
		bound := -math.Log(1 - level)
		if level == Confidence {
			bound = 3
		}
		s.Bound(0, bound/units, level, results.MethodRuleOfThree)
	case len(counts) < 2:
		s.Warn("only one count: it does not show whether events come in clusters, so no interval")
	default:
		φ := Dispersion(counts, exposure)
		if φ <= 1+1e-9 { // for a single event among equal exposures φ is 1, except for rounding
			lo, hi := garwood(total, (1-level)/2)
			s.Bound(lo/units, hi/units, level, results.MethodPoisson)
			break
		}
		t := distuv.StudentsT{Sigma: 1, Nu: float64(len(counts) - 1)}.Quantile((1 + level) / 2)
		// Survival is computed as 1 − CDF, which is 0 above t = 8.3.
		tail := distuv.UnitNormal.CDF(-t)
		if tail < leastTail {
			s.Warn("only %s, which differ by more than chance: no interval at %.4g %%",
				unit.Plural(len(counts), "count"), 100*level)
			break
		}
		lo, hi := garwood(total/φ, tail)
		s.Bound(lo*φ/units, hi*φ/units, level, results.MethodQuasiPoisson)
	}
	return s
}

// Dispersion returns Pearson's index of dispersion of counts around their pooled rate,
// Σ(x−λe)²/(λe) ÷ (n−1). For equal exposures it is the variance over the mean. It is about 1 for
// Poisson counts, larger if events come in clusters, and NaN with fewer than two counts or without
// events.
func Dispersion(counts []int64, exposure []float64) float64 {
	rate := float64(sum(counts)) / sum(exposure)
	var pearson float64
	for i, c := range counts {
		expected := rate * exposure[i]
		pearson += (float64(c) - expected) * (float64(c) - expected) / expected
	}
	return pearson / float64(len(counts)-1)
}

// leastTail is the smallest tail for which garwood is reliable. Below it, the inverse of the
// incomplete gamma function panics or underflows. Rate needs a smaller tail for two clustered
// counts at 95 %, and for three at 99 %.
const leastTail = 1e-12

// garwood returns the exact two-sided interval for a Poisson mean after k > 0 events, with
// probability tail on each side (F. Garwood, Biometrika 28 (1936) 437).
func garwood(k, tail float64) (lo, hi float64) {
	lo = mathext.GammaIncRegInv(k, tail)
	hi = mathext.GammaIncRegCompInv(k+1, tail) // 1 − tail would lose precision
	return lo, hi
}

func sum[T int64 | float64](xs []T) T {
	var total T
	for _, x := range xs {
		total += x
	}
	return total
}
