package stats

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"

	"reuseport-bench/results"
)

// Difference is head − base of two rates, with an interval where both have one, made of each side's
// (MOVER: Zou & Donner, Statist. Med. 27 (2008) 1693).
func Difference(head, base results.Summary, level float64) results.Summary {
	d := results.Summary{Center: head.Center - base.Center, N: head.N, Method: results.MethodNone}
	lo1, hi1, ok1 := bounds(base, level)
	lo2, hi2, ok2 := bounds(head, level)
	if !ok1 || !ok2 {
		d.Warn("one side has a single trial, so no interval")
		return d
	}
	d.Bound(d.Center-math.Hypot(head.Center-lo2, hi1-base.Center), d.Center+math.Hypot(hi2-head.Center, base.Center-lo1), level, results.MethodDifference)
	return d
}

// bounds are both ends of a rate's interval, of two sides also where nothing was seen.
func bounds(s results.Summary, level float64) (lo, hi float64, ok bool) {
	switch {
	case s.Lo == nil || s.Hi == nil:
		return 0, 0, false
	case s.Method == results.MethodRuleOfThree:
		return 0, *s.Hi * math.Log((1-level)/2) / math.Log(1-level), true
	}
	return *s.Lo, *s.Hi, true
}

// An Exposed is how many events there were in so much exposure.
type Exposed struct{ Count, Units float64 }

// PoissonP is the two-sided p that two rates of single events are the same, exact, given how many
// events there were in all, each of which is the head's with the probability of its share of the
// exposure (Przyborowski & Wilenski, Biometrika 31 (1940) 313).
func PoissonP(base, head Exposed) float64 {
	all := base.Count + head.Count
	if all == 0 {
		return 1
	}
	units := base.Units + head.Units
	few := distuv.Binomial{N: all, P: head.Units / units}.CDF(head.Count)
	many := distuv.Binomial{N: all, P: base.Units / units}.CDF(base.Count) // not 1 − CDF(k−1), of which nothing is left below 1e-16
	return min(1, 2*min(few, many))
}
