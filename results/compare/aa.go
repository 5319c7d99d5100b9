package compare

import (
	"fmt"

	"reuseport-bench/results"
	"reuseport-bench/results/stats"
)

// AA compares the scenario's A/A arm with its baseline in these metrics. The deltas are a family of
// their own. AA returns nil if the arm or the baseline is missing, or if no metric can be compared.
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

// Void returns the reason why the deltas of an A/A arm make the scenario void, or "" if they do
// not.
func Void(aa []*results.Delta) string {
	for _, d := range aa {
		if d.Outcome != results.DeltaNone {
			return fmt.Sprintf("the baseline, measured twice, differs from itself: %s", d)
		}
	}
	return ""
}
