package stats

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"reuseport-bench/results"
)

func TestFairnessWindows(t *testing.T) {
	f := Fairness(0, []int64{4, 8})
	f.Windows = FairnessWindows([][]int64{{2, 0, 2}, {2, 0, 4, 2}})
	want := []results.FairnessWindow{
		{FromNS: 0, Connections: 4, Jain: 1, MaxOverMean: 1},
		{FromNS: 2 * results.FairnessWindowNS, Connections: 6, Jain: 0.9, MaxOverMean: 4. / 3},
		{FromNS: 3 * results.FairnessWindowNS, Connections: 2, Jain: 0.5, MaxOverMean: 2},
	}
	if diff := cmp.Diff(want, f.Windows, cmpopts.EquateApprox(1e-9, 0)); diff != "" {
		t.Errorf("windows (-want +got):\n%s", diff)
	}
}
