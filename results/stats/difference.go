package stats

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"

	"reuseport-bench/results"
)

// Difference returns head − base for two rates. If both rates have an interval, so has the
// difference (MOVER: Zou & Donner, Statist. Med. 27 (2008) 1693).
func Difference(head, base results.Summary, level float64) results.Summary {
	d := results.Summary{Center: head.Center - base.Center, N: head.N, Method: results.MethodNone}
	lo1, hi1, ok1 := bounds(base, level)
	lo2, hi2, ok2 := bounds(head, level)
	if !ok1 || !ok2 {
		d.Warn("one side has a single trial, so no interval")
		return d
	}
	lo := d.Center - math.Hypot(head.Center-lo2, hi1-base.Center)
	hi := d.Center + math.Hypot(hi2-head.Center, base.Center-lo1)
	d.Bound(lo, hi, level, results.MethodDifference)
	return d
}

// bounds returns the ends of a rate's interval. ok is false if the rate has no interval. If no
// event was seen, bounds converts the one-sided bound to a two-sided one.
func bounds(s results.Summary, level float64) (lo, hi float64, ok bool) {
	switch {
	case s.Lo == nil || s.Hi == nil:
		return 0, 0, false
	case s.Method == results.MethodRuleOfThree:
		return 0, *s.Hi * math.Log((1-level)/2) / math.Log(1-level), true
	}
	return *s.Lo, *s.Hi, true
}

// An Exposed is a number of events and the exposure in which they were counted.
type Exposed struct{ Count, Units float64 }

// PoissonP returns the exact two-sided p for the equality of two rates of single events. It is
// conditional on the total number of events: if the rates are equal, an event belongs to the head
// with a probability equal to the head's share of the exposure (Przyborowski & Wilenski, Biometrika
// 31 (1940) 313).
func PoissonP(base, head Exposed) float64 {
	all := base.Count + head.Count
	if all == 0 {
		return 1
	}
	units := base.Units + head.Units
	few := distuv.Binomial{N: all, P: head.Units / units}.CDF(head.Count)
	// Do not use 1 − CDF(k−1), which is rounded to 0 below 1e-16.
	many := distuv.Binomial{N: all, P: base.Units / units}.CDF(base.Count)
	return min(1, 2*min(few, many))
}
