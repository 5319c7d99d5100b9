package results

// Ratio compares a metric of a variant with that of another, by default the scenario's baseline: the quotient of the two
// trials of each block, which ran close together in time, and over blocks the median with its order-statistic interval (see
// Median). The quotient of two medians would carry the drift of the machine between blocks. It is false without a
// block in which both trials count and have the metric, and the baseline's is not 0.
func Ratio(v, baseline *Variant, metric string) (Summary, bool) {
	of := map[int]float64{}
	for _, t := range baseline.ValidTrials() {
		if x, ok := t.Figures()[metric]; ok && x != 0 {
			of[t.Block] = x
		}
	}
	var ratios []float64
	for _, t := range v.ValidTrials() {
		base, ok := of[t.Block]
		if x, has := t.Figures()[metric]; ok && has {
			ratios = append(ratios, x/base)
		}
	}
	if len(ratios) == 0 {
		return Summary{}, false
	}
	return Median(ratios), true
}

// BaselineVariant is the variant that the scenario's comparisons start from, or nil if it is not there.
func (s *Scenario) BaselineVariant() *Variant {
	for _, v := range s.Variants {
		if LabelString(v.Labels) == LabelString(s.Baseline) {
			return v
		}
	}
	return nil
}
