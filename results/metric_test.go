package results

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What can be compared is summarized, too, once, and by the same kind of method.
func TestComparedMetricsAreMetrics(t *testing.T) {
	compared := ComparedMetrics()
	known := Metrics()
	for i, metric := range compared {
		kind, ok := KindOf(metric)
		if !ok || !slices.Contains(known, metric) || slices.Contains(compared[:i], metric) {
			t.Errorf("%s: unknown to KindOf or Metrics, or twice", metric)
		}
		if counts := !slices.Contains(medianMetrics, metric); kind.counts != counts {
			t.Errorf("%s: counts %v, want %v", metric, kind.counts, counts)
		}
		if kind.Threshold <= 0 || kind.counts && kind.Scale != ScaleDifference {
			t.Errorf("%s: %+v", metric, kind)
		}
	}
}

func TestGatingMetrics(t *testing.T) {
	search := &Trial{Valid: true, Search: &Search{PerSecond: 1}}
	tests := []struct {
		name   string
		trials []*Trial
		want   []string
	}{
		{"search", []*Trial{search}, []string{MetricHighestRate}},
		{"restarts", []*Trial{restartTrial(0)}, []string{MetricDroppedPerRestart, MetricGap, "response_p50_ns", "response_p99_ns"}},
		{"steady", []*Trial{restartTrial()}, []string{MetricDroppedPerAttempt, "response_p50_ns", "response_p99_ns", MetricServersCPUPerAttempt}},
	}
	for _, test := range tests {
		got := GatingMetrics(test.trials)
		if diff := cmp.Diff(test.want, got); diff != "" || len(got) > MaxGating {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}
