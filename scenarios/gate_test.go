package scenarios

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// numberedFigures has a value of its own for each figure, from first on, in the order that
// metricNames lists them.
func numberedFigures(first int) Figures {
	n := int64(first) - 1
	count := func() int64 { n++; return n }
	centre := func() float64 { return float64(count()) }
	counts := func(keys []string) map[string]int64 {
		m := map[string]int64{}
		for _, key := range keys {
			m[key] = count()
		}
		return m
	}
	percentiles := func() Percentiles {
		return Percentiles{P50: centre(), P90: centre(), P99: centre(), P999: centre(), Max: centre()}
	}
	return Figures{
		Attempts: count(), Served: count(), Lost: count(), Dropped: count(),
		LostByCause: counts([]string{"reset_at_close", "reset_half_open", "accept_overflow", "syn_timeout", "refused", "closed_by_worker",
			"worker_crash", "no_route", "no_endpoint", "untranslated", "stale_endpoint", "early_endpoint", "stale_conntrack", "stale_connection", "timeout", "client", "unknown"}),
		LostByPhase: counts([]string{"connect", "send", "wait", "body"}),
		Residual:    count(), LostSentAfterClose: count(),
		GapNS: centre(), OutageNS: centre(), StallNS: centre(), TakeoverNS: centre(), TailNS: centre(),
		Response: percentiles(), Service: percentiles(),
		LostPerRestart: centre(), LostPerAttempt: centre(),
		Masked: count(), Repeated: count(), TriesPerAttempt: centre(),
		Jain: centre(), MaxOverMean: centre(), Chi2P: centre(),
		ContextSwitches: centre(), ServersCPUNS: centre(),
	}
}

// Every metric can be named, and is the figure it says.
func TestEveryMetric(t *testing.T) {
	want := strings.Fields(`attempts served lost dropped
		lost_by_cause.reset_at_close lost_by_cause.reset_half_open lost_by_cause.accept_overflow lost_by_cause.syn_timeout
		lost_by_cause.refused lost_by_cause.closed_by_worker lost_by_cause.worker_crash lost_by_cause.no_route
		lost_by_cause.no_endpoint lost_by_cause.untranslated lost_by_cause.stale_endpoint lost_by_cause.early_endpoint lost_by_cause.stale_conntrack lost_by_cause.stale_connection lost_by_cause.timeout lost_by_cause.client lost_by_cause.unknown
		lost_by_phase.connect lost_by_phase.send lost_by_phase.wait lost_by_phase.body
		residual lost_sent_after_close gap_ns outage_ns stall_ns takeover_ns tail_ns
		response.p50 response.p90 response.p99 response.p999 response.max
		service.p50 service.p90 service.p99 service.p999 service.max lost_per_restart lost_per_attempt
		masked repeated tries_per_attempt jain max_over_mean chi2_p context_switches_per_connection servers_cpu_per_attempt_ns`)
	for _, name := range slices.Clone(want) {
		want = append(want, "baseline."+name)
	}
	if diff := cmp.Diff(metricNames(), want); diff != "" {
		t.Fatalf("metric names (-got +want):\n%s", diff)
	}
	m := Metrics{Figures: numberedFigures(1), Baseline: numberedFigures(1 + len(want)/2)}
	for i, name := range want {
		if met, err := eval(fmt.Sprintf("%s == %d", name, i+1), m); err != nil || !met {
			t.Errorf("%s == %d: %t, %v; want true", name, i+1, met, err)
		}
	}
}

func eval(expect string, m Metrics) (bool, error) {
	e, err := Gate{Expect: expect}.Compile()
	if err != nil {
		return false, err
	}
	return e.Eval(m)
}

func TestGateEval(t *testing.T) {
	m := Metrics{
		Figures: Figures{
			Attempts: 1000, Lost: 3, LostByCause: map[string]int64{"timeout": 3},
			GapNS: 4_999_999, TailNS: math.NaN(), Response: Percentiles{P99: 1.5e6},
		},
		Baseline: Figures{Attempts: 1000, Lost: 6, GapNS: math.NaN(), Response: Percentiles{P99: 1e6}},
	}
	tests := []struct {
		expect string
		want   string
	}{
		{"lost == 3", "true"},
		{"lost == 0", "false"},
		{"lost_by_cause.reset_at_close == 0", "true"}, // did not occur, so it is not in the map
		{"lost_by_cause.timeout > 2 && lost <= 0.003 * attempts", "true"},
		{"gap_ns < 5ms", "true"},
		{"gap_ns < 4999us", "false"},
		{"gap_ns < 4.999999ms", "false"},
		{"gap_ns <= 4ms999us999ns", "true"},
		{"response.p99 - baseline.response.p99 == 500µs", "true"},
		{"response.p99 < 1.1 * baseline.response.p99", "false"},
		{"lost < baseline.lost and not (lost > 3)", "true"},
		{"max(lost, baseline.lost) == 6", "true"},
		{"lost > 0 ? gap_ns > 0 : true", "true"},
		{"tail_ns < 1s", `gate "tail_ns < 1s": tail_ns was not measured`},
		{"lost == 3 || baseline.gap_ns > 0", `gate "lost == 3 || baseline.gap_ns > 0": baseline.gap_ns was not measured`},
		{"lots == 3", `gate "lots == 3": unknown metric "lots"`},
		{"lost % served == 0", `gate "lost % served == 0": runtime error: integer divide by zero`},
	}
	for _, test := range tests {
		met, err := eval(test.expect, m)
		got := fmt.Sprint(met)
		if err != nil {
			got = err.Error()
		}
		if diff := cmp.Diff(got, test.want); diff != "" {
			t.Errorf("%s (-got +want):\n%s", test.expect, diff)
		}
	}
}
