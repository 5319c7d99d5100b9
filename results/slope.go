package results

import (
	"maps"
	"math"
	"slices"
	"time"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// A Slope is how a metric in nanoseconds follows a lag that variants differ in: least squares over their trials, with Student's interval.
type Slope struct {
	Key    string // the label that has the lag
	Rest   string // what else the variants are labelled, or ""
	Metric string
	N      int     // trials
	Center float64 // ns for each ns of lag
	Half   float64 // of the 95 % interval, which is Center ± Half
	AtNone float64 // ns where there is no lag
}

// lagKeys are the labels whose values may be lags that something should follow.
var lagKeys = []string{"kube.endpoint_lag", "kube.node_lag"}

// Slopes are those of the metric over every lag that at least three variants, alike in all else, have different values of. Lags that are drawn have
// no value.
func (s *Scenario) Slopes(metric string) []Slope {
	type group struct{ key, rest string }
	type points struct{ x, y []float64 }
	groups := map[group]*points{}
	var order []group
	for _, v := range s.Variants {
		for _, key := range lagKeys {
			lag, err := time.ParseDuration(v.Labels[key])
			if err != nil || v.IsAgain() {
				continue
			}
			rest := maps.Clone(v.Labels)
			delete(rest, key)
			g := group{key, ""}
			if len(rest) > 0 {
				g.rest = LabelString(rest)
			}
			if groups[g] == nil {
				groups[g] = &points{}
				order = append(order, g)
			}
			p := groups[g]
			for _, t := range v.ValidTrials() {
				if y, ok := t.Figures()[metric]; ok {
					p.x, p.y = append(p.x, float64(lag)), append(p.y, y)
				}
			}
		}
	}
	var all []Slope
	for _, g := range order {
		p := groups[g]
		if lags := slices.Compact(slices.Sorted(slices.Values(p.x))); len(lags) < 3 || len(p.x) < 6 {
			continue
		}
		slope := leastSquares(p.x, p.y)
		slope.Key, slope.Rest, slope.Metric = g.key, g.rest, metric
		all = append(all, slope)
	}
	return all
}

// leastSquares fits a line; the standard error of its slope is that of the residuals over the spread of x (Montgomery, Peck and Vining,
// "Introduction to Linear Regression Analysis", 2.3).
func leastSquares(x, y []float64) Slope {
	atNone, slope := stat.LinearRegression(x, y, nil, false)
	var residual, spread float64
	mean := stat.Mean(x, nil)
	for i := range x {
		residual += math.Pow(y[i]-atNone-slope*x[i], 2)
		spread += math.Pow(x[i]-mean, 2)
	}
	freedom := float64(len(x) - 2)
	t := distuv.StudentsT{Sigma: 1, Nu: freedom}.Quantile(1 - (1-Confidence)/2)
	return Slope{N: len(x), Center: slope, Half: t * math.Sqrt(residual/freedom/spread), AtNone: atNone}
}
