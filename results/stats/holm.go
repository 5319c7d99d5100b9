package stats

import (
	"cmp"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// An Adjusted is a p value adjusted for its family.
type Adjusted struct {
	P      float64 // at most 1
	Factor float64 // the factor by which p was multiplied; the product may exceed 1
}

// Holm adjusts the p values of a family of comparisons by Holm's method (Scand. J. Statist. 6
// (1979) 65). It returns the results in the order of ps.
func Holm(ps []float64) []Adjusted {
	order := make([]int, len(ps))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(ps[a], ps[b]) })
	adjusted := make([]Adjusted, len(ps))
	largest := 0.0
	for rank, i := range order {
		largest = max(largest, ps[i]*float64(len(ps)-rank))
		adjusted[i] = Adjusted{P: min(1, largest), Factor: largest / ps[i]}
	}
	return adjusted
}

// NormalQuantile returns the p-quantile of the standard normal distribution.
func NormalQuantile(p float64) float64 { return distuv.UnitNormal.Quantile(p) }
