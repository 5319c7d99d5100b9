package stats

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The example of en.wikipedia.org/wiki/Holm–Bonferroni_method, and a p whose product with its
// factor exceeds 1.
func TestHolm(t *testing.T) {
	got := Holm([]float64{0.01, 0.04, 0.03, 0.005})
	want := []Adjusted{{0.03, 3}, {0.06, 1.5}, {0.06, 2}, {0.02, 4}}
	if diff := cmp.Diff(want, got, near); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]Adjusted{{1, 2}, {1, 1.5}}, Holm([]float64{0.6, 0.8}), near); diff != "" {
		t.Errorf("large (-want +got):\n%s", diff)
	}
}
