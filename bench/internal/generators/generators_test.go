package generators

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestKeepQuietest checks that a round is kept or dropped as a whole, so that the generators are
// compared under the same conditions.
func TestKeepQuietest(t *testing.T) {
	runs := func(stolen ...float64) (all []Run) {
		for i, s := range stolen {
			all = append(all, Run{Flat: &Flat{PerSecond: float64(i)}, Stolen: s})
		}
		return all
	}
	all := []*Generator{
		{Name: "a", Runs: runs(0, 0.01, 0.03, 0.02)},
		{Name: "b", Runs: runs(0.5, 0, 0.01, 0)},
		{Name: "failed in the second round", Runs: runs(0)},
	}
	keepQuietest(all, 2, 4)
	want := [][]float64{{1, 3}, {1, 3}, nil}
	for i, g := range all {
		var rounds []float64
		for _, r := range g.Runs {
			rounds = append(rounds, r.Flat.PerSecond)
		}
		if diff := cmp.Diff(want[i], rounds); diff != "" {
			t.Errorf("%s: rounds kept (-want +got):\n%s", g.Name, diff)
		}
	}
}
