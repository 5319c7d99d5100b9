package summary

import (
	"maps"
	"slices"
	"time"

	"reuseport-bench/results"
	"reuseport-bench/results/metrics"
	"reuseport-bench/results/stats"
)

// A Slope is a line fitted to the trials of variants that differ only in one lag: metric over lag.
type Slope struct {
	Key        string // the label that names the lag
	Rest       string // the other labels, the same for all variants, or ""
	stats.Line        // x is in nanoseconds
}

// Slopes fits lines of the metric over the lags in the labels with these keys. A line needs at
// least three variants that have different lags but are otherwise labelled the same. Variants with
// a random lag have no single value of it, and are left out.
func Slopes(s *results.Scenario, metric string, keys ...string) []Slope {
	m, _ := metrics.Find(metric)
	type group struct{ key, rest string }
	type points struct{ x, y []float64 }
	groups := map[group]*points{}
	var order []group
	for _, v := range s.Variants {
		for _, key := range keys {
			lag, err := time.ParseDuration(v.Labels[key])
			if err != nil || v.IsAA() {
				continue
			}
			rest := maps.Clone(v.Labels)
			delete(rest, key)
			g := group{key, ""}
			if len(rest) > 0 {
				g.rest = results.LabelString(rest)
			}
			if groups[g] == nil {
				groups[g] = &points{}
				order = append(order, g)
			}
			p := groups[g]
			for _, t := range v.ValidTrials() {
				if y, ok := m.Of(t); ok {
					p.x, p.y = append(p.x, float64(lag)), append(p.y, y)
				}
			}
		}
	}
	var all []Slope
	for _, g := range order {
		p := groups[g]
		if lags := slices.Compact(slices.Sorted(slices.Values(p.x))); len(lags) < 3 ||
			len(p.x) < 6 {
			continue
		}
		all = append(all, Slope{Key: g.key, Rest: g.rest, Line: stats.LeastSquares(p.x, p.y)})
	}
	return all
}
