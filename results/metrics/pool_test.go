package metrics

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/results"
	"reuseport-bench/results/resultstest"
)

func TestFiguresPoolsSteps(t *testing.T) {
	trial := resultstest.RestartTrial(0, 1, 0, 0)
	trial.Steps[3].StallNS = nil
	trial.Steps[3].TakeoverNS = nil
	// The values are not sorted.
	s := trial.Steps
	s[0], s[1], s[3] = s[3], s[0], s[1]
	got := Figures(trial)
	want := map[string]float64{
		Gap: 400, Outage: 4000, Resolution: 500,
		Stall:    30,  // the largest of 10, 20, 30
		Takeover: 14,  // the median of 7, 14, 21
		Tail:     2.5, // the median of 1, 2, 3, 4
		Offered:  2000, ScheduleLag: 100_000,
		"response_p50_ns": 1, "response_p90_ns": 2, "response_p99_ns": 3, "response_p999_ns": 4,
		"response_max_ns": 5,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFiguresOfWorkers(t *testing.T) {
	trial := resultstest.RestartTrial()
	trial.Workers = []results.Worker{
		{Accepted: 30, ContextSwitches: new(int64(50))},
		{Accepted: 10, ContextSwitches: new(int64(20))},
		{Acceptor: true, ContextSwitches: new(int64(10))},
	}
	trial.Queues = &results.Queues{
		Samples: 9, Listeners: []results.ListenerQueue{{Max: 3}, {Max: 7}},
	}
	got := Figures(trial)
	if got[Switches] != 2 || got[QueueMax] != 7 {
		t.Errorf("%v switches per connection, longest queue %v; want 2, with the acceptor's, and 7",
			got[Switches], got[QueueMax])
	}
	trial.Workers[1].ContextSwitches = nil // killed, so unknown
	if x, ok := Figures(trial)[Switches]; ok {
		t.Errorf("%v switches per connection, although one worker's are unknown", x)
	}
}

func TestFiguresOfCPU(t *testing.T) {
	trial := resultstest.RestartTrial()
	trial.CPU = results.CPU{LoadNS: new(int64(150_000_000)), ServersNS: new(int64(50_000_000))}
	trial.Fairness = &results.Fairness{
		Jain: 0.9, MaxOverMean: 1.2, TopShare: 0.4, Chi2P: 0.3,
		Requests: &results.Spread{Jain: 0.5, MaxOverMean: 2, TopShare: 0.6},
		BusyTime: &results.Spread{Jain: 0.7, MaxOverMean: 1.5, TopShare: 0.8},
	}
	got := Figures(trial)
	for metric, want := range map[string]float64{
		LoadCPUPerAttempt: 150_000, ServersCPUPerAttempt: 50_000,
		Jain: 0.9, MaxOverMean: 1.2, TopShare: 0.4, Chi2P: 0.3,
		RequestsJain: 0.5, RequestsMaxOverMean: 2, RequestsTopShare: 0.6,
		BusyJain: 0.7, BusyMaxOverMean: 1.5,
	} {
		if got[metric] != want {
			t.Errorf("%s: got %v, want %v", metric, got[metric], want)
		}
	}
	// An older run has only the spread of connections, without the largest share.
	trial.Fairness = &results.Fairness{Jain: 0.9, MaxOverMean: 1.2, Chi2P: 0.3}
	got = Figures(trial)
	for _, metric := range []string{
		TopShare, RequestsJain, RequestsMaxOverMean, RequestsTopShare, BusyJain, BusyMaxOverMean,
	} {
		if x, ok := got[metric]; ok {
			t.Errorf("%s is %v in a run that lacks it", metric, x)
		}
	}
	trial.Attempts = 0
	if got := Figures(trial); slices.Contains(slices.Collect(maps.Keys(got)), LoadCPUPerAttempt) {
		t.Error("CPU per attempt without attempts")
	}
}

// Of 200 attempts, 10 were retried, three of these twice.
func TestRetryFigures(t *testing.T) {
	trial := &results.Trial{Attempts: 200, Retries: &results.Retries{
		Tries: 213, TriedAgain: 10, Masked: 8, Repeated: 5, RepeatedUnhandled: new(int64(3)),
		Exhausted: 2, MaskedNS: &results.Percentiles{P50: 30, P99: 70},
	}}
	f := Figures(trial)
	for metric, want := range map[string]float64{
		Tries: 1.065, Masked: 0.04, Repeated: 0.025, HandledTwice: 0.01, MaskedP50: 30,
		MaskedP99: 70,
	} {
		if got := f[metric]; got != want {
			t.Errorf("%s %v, want %v", metric, got, want)
		}
	}
	trial.Retries.RepeatedUnhandled = nil // as in an older run
	if got, ok := Figures(trial)[HandledTwice]; ok {
		t.Errorf("got %v handled twice, in a run that lacks it", got)
	}
	trial.Retries.MaskedNS = nil
	if _, ok := Figures(trial)[MaskedP50]; ok {
		t.Error("got a masked response time, although nothing was masked")
	}
	if _, ok := Figures(&results.Trial{Attempts: 1})[Tries]; ok {
		t.Error("got tries per attempt, although clients do not retry")
	}
}
