package report

import (
	"testing"

	"reuseport-bench/results"
)

// Ratios below 0.1 are written as fractions, in sentences and in tables.
func TestSmallRatios(t *testing.T) {
	for x, want := range map[float64]string{
		0: "0", 0.0019: "1/526", 0.05: "1/20", 0.099: "1/10", 0.1: "0.1", 1: "1", 530: "530",
	} {
		if got := ratioNumber(x); got != want {
			t.Errorf("ratioNumber(%v): got %q, want %q", x, got, want)
		}
	}
	delta := &results.Delta{Outcome: results.DeltaBetter, Change: results.Summary{
		Center: 0.0019, Lo: new(0.0017), Hi: new(0.12),
	}}
	if got, want := ratioText(delta), "1/526 [1/588, 0.12]"; got != want {
		t.Errorf("ratioText: got %q, want %q", got, want)
	}
}
