package compare

import (
	"fmt"

	"reuseport-bench/results"
	"reuseport-bench/results/stats"
)

// AA compares the scenario's A/A arm with its baseline in these metrics, a family of their own. Nil
// without such an arm, or where neither can be compared.
func AA(s *results.Scenario, names []string) []*results.Delta {
	control, baseline := s.ControlArm(), s.BaselineVariant()
	if control == nil || baseline == nil {
		return nil
	}
	var deltas []*results.Delta
	for _, metric := range names {
		if d, ok := Variants(control, baseline, metric, stats.Confidence); ok {
			deltas = append(deltas, &d)
		}
	}
	Decide(deltas)
	return deltas
}

// Void is why the deltas of an A/A arm void what was measured beside it; empty when they do not.
func Void(aa []*results.Delta) string {
	for _, d := range aa {
		if d.Outcome != results.DeltaNone {
			return fmt.Sprintf("the baseline, measured twice, differs from itself: %s", d)
		}
	}
	return ""
}
