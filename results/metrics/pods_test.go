package metrics

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/results"
)

// The predicted loss is rate × dead time, summed over the steps that removed a pod. Lags are
// medians.
func TestPodFigures(t *testing.T) {
	ms := func(n float64) *int64 { return new(int64(n * 1e6)) }
	trial := &results.Trial{Valid: true, OfferedPerSecond: new(500.), Steps: []results.Step{
		{Endpoints: 2, Lost: 47, DeadNS: ms(120), // 500 × 0.12
			OutageNS: new(int64(198e6)), LostShare: new(0.48), Pods: []results.Pod{
				{
					Endpoints: 2, DeletedNS: ms(990), TermNS: ms(991), ClosedNS: ms(1000),
					EndpointsNS: ms(1090), RulesNS: ms(1200), ServedDeleted: new(int64(7)),
				},
				{
					Started: true, ListenNS: ms(1000), ReadyNS: ms(1100), EndpointsNS: ms(1150),
					RulesNS: ms(1250),
				},
			}},
		{Endpoints: 4, Lost: 53, DeadNS: ms(100), OutageNS: new(int64(396e6)), LostShare: new(0.26),
			Pods: []results.Pod{
				{
					Endpoints: 4, DeletedNS: ms(2000), TermNS: ms(2600), ClosedNS: ms(2600),
					EndpointsNS: ms(2110), RulesNS: ms(2200),
				},
				{
					Endpoints: 4, DeletedNS: ms(2000), TermNS: ms(2000), ClosedNS: ms(2000),
					EndpointsNS: ms(2100), RulesNS: ms(2400),
				},
			}},
		// The rules had not followed when the trial ended.
		{
			Endpoints: 2, Lost: 20, DeadNS: ms(50),
			Pods: []results.Pod{
				{Endpoints: 2, DeletedNS: ms(3000), TermNS: ms(3001), ClosedNS: ms(3002)},
			},
		},
	}}
	got := Figures(trial)
	want := map[string]float64{
		LostPerStep: 40, LostShare: 0.26, PredictedLost: 45, StaleRules: 200e6,
		EndpointsLag: 100e6, RulesLag: 105e6, // the median of 90, 100, 110, 300
		ServedDeleted: 7, TermFirst: 0.75, PodReady: 100e6, PodRouted: 250e6,
	}
	for metric := range want {
		if diff := cmp.Diff(want[metric], got[metric]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", metric, diff)
		}
	}
	if after, ok := got[Unrouted]; ok {
		t.Errorf("%s is %v although the rules had not followed a deletion", Unrouted, after)
	}
	trial.Steps = trial.Steps[:2]
	if got := Figures(trial)[Unrouted]; got != 400e6 { // the longest of 210, 200, 400
		t.Errorf("%s is %v, want 400e6", Unrouted, got)
	}
	f := Figures(&results.Trial{Steps: []results.Step{{ClosedNS: new(int64(1))}}})
	if f[PredictedLost] != 0 || f[LostPerStep] != 0 {
		t.Errorf("without a Service: %v", f)
	}
}

// PredictedLost is what the run stored. An older run stored none; its prediction is rate × dead
// time, if clients timed out before they sent a second SYN.
func TestPredictedLost(t *testing.T) {
	dead, lost := new(int64(620e6)), new(7.0)
	tests := []struct {
		name    string
		timeout int64
		step    results.Step
		want    *float64
		unknown bool
	}{
		{
			"of the run", 3e9, results.Step{Endpoints: 1, DeadNS: dead, PredictedLost: lost}, lost,
			false,
		},
		{
			"a run that gives a reason", 1e9,
			results.Step{Endpoints: 1, DeadNS: dead, Unpredicted: "load.timeout"}, nil, true,
		},
		{"older, impatient", 900e6, results.Step{Endpoints: 1, DeadNS: dead}, new(310.0), false},
		{"older, patient", 1e9, results.Step{Endpoints: 1, DeadNS: dead}, nil, true},
		{"older, not known", 3e9, results.Step{Endpoints: 1}, nil, false},
		{"no pod was removed", 3e9, results.Step{Unpredicted: "load.timeout"}, nil, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			trial := &results.Trial{
				Valid: true, OfferedPerSecond: new(500.), TimeoutNS: test.timeout,
				Steps: []results.Step{test.step},
			}
			var got *float64
			if f, ok := Figures(trial)[PredictedLost]; ok {
				got = &f
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			v := &results.Variant{Trials: []*results.Trial{trial}}
			if why := v.Unpredicted(); (why != "") != test.unknown {
				t.Errorf("not predicted: %q", why)
			}
		})
	}
}
