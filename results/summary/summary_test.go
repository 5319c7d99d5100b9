package summary

import (
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/results"
	"reuseport-bench/results/cause"
	"reuseport-bench/results/metrics"
	"reuseport-bench/results/resultstest"
)

// Invalid trials, and trials that claim to be valid with a residual, must not move any figure.
func TestSummarizeLeavesOutInvalidTrials(t *testing.T) {
	clean := &results.Variant{}
	for range 8 {
		clean.Trials = append(clean.Trials, resultstest.RestartTrial(1, 0, 0))
	}
	invalid, unbalanced := resultstest.RestartTrial(900, 90, 9), resultstest.RestartTrial(900, 90, 9)
	for _, bad := range []*results.Trial{invalid, unbalanced} {
		bad.ResponseNS = &results.Percentiles{P50: 1e9, P90: 1e9, P99: 1e9, P999: 1e9, Max: 1e9}
		bad.OfferedPerSecond = new(7.)
		bad.LostSentAfterClose = new(int64(55))
		bad.ServiceNS = bad.ResponseNS
	}
	invalid.Valid, unbalanced.Residual = false, 3
	dirty := &results.Variant{Trials: append([]*results.Trial{invalid, unbalanced}, clean.Trials...)}
	Fill(clean)
	Fill(dirty)
	if diff := cmp.Diff(clean.Summary, dirty.Summary); diff != "" {
		t.Errorf("invalid trials entered the figures (-without +with):\n%s", diff)
	}
	if _, ok := dirty.Summary["service_p50_ns"]; ok {
		t.Error("a metric that only an invalid trial has is there")
	}
}

func TestSummarizeRestarts(t *testing.T) {
	v := &results.Variant{}
	for range 10 {
		v.Trials = append(v.Trials, resultstest.RestartTrial(1, 0, 1, 0)) // 20 in 40, one cluster each: dispersion 0.51
	}
	v.Trials[0].LostSentAfterClose = new(int64(2))
	Fill(v)
	// Garwood for 20: 12.2165 to 30.8884.
	want := map[string]results.Summary{
		metrics.LostPerRestart:  {Center: 0.5, Lo: new(12.21652 / 40), Hi: new(30.88838 / 40), Confidence: 0.95, N: 40, Method: results.MethodPoisson},
		metrics.LossWindow:      {Center: 250_000, Lo: new(12.21652 / 40 / 2000 * 1e9), Hi: new(30.88838 / 40 / 2000 * 1e9), Confidence: 0.95, N: 40, Method: results.MethodPoisson},
		metrics.LostPerAttempt:  {Center: 0.002, Lo: new(12.21652 / 10_000), Hi: new(30.88838 / 10_000), Confidence: 0.95, N: 10, Method: results.MethodPoisson},
		metrics.ResetAtClosePer: {Center: 0.5, Lo: new(12.21652 / 40), Hi: new(30.88838 / 40), Confidence: 0.95, N: 40, Method: results.MethodPoisson},
		metrics.SentAfterClose:  {Center: 2, N: 40, Method: results.MethodNone},
		metrics.Gap:             {Center: 400, Lo: new(400.), Hi: new(400.), Confidence: 1 - 22/1024., N: 10, Method: results.MethodOrder},
		"response_p99_ns": {Center: 3, Lo: new(3.), Hi: new(3.), Confidence: 1 - 22/1024., N: 10, Method: results.MethodOrder,
			Warnings: []string{"includes schedule lag, p99 0.1 ms: the machine stood still, or the generator was late"}},
	}
	for metric, summary := range want {
		if diff := cmp.Diff(summary, v.Summary[metric], near); diff != "" {
			t.Errorf("%s (-want +got):\n%s", metric, diff)
		}
	}
	// Two losses in one trial of ten: dispersion 2, so clusters.
	after := v.Summary[metrics.SentAfterClosePer]
	if after.Center != 0.05 || after.N != 40 || after.Method != results.MethodQuasiPoisson {
		t.Errorf("%s: %+v", metrics.SentAfterClosePer, after)
	}
}

func TestSummarizeNoLoss(t *testing.T) {
	for _, test := range []struct {
		trials  []*results.Trial
		n       int
		few     bool
		warning string
	}{
		{[]*results.Trial{resultstest.RestartTrial(0, 0, 0), resultstest.RestartTrial(0, 0, 0)}, 6, true, "fewer than 10 restarts show too little"},
		{[]*results.Trial{resultstest.RestartTrial(0, 0, 0, 0, 0), resultstest.RestartTrial(0, 0, 0, 0)}, 9, true, "fewer than 10 restarts show too little"},
		{[]*results.Trial{resultstest.RestartTrial(0, 0, 0, 0, 0), resultstest.RestartTrial(0, 0, 0, 0, 0)}, 10, false, "at most 3/10 restarts with loss"},
	} {
		v := &results.Variant{Trials: test.trials}
		Fill(v)
		bound := 3 / float64(test.n)
		for metric, hi := range map[string]float64{
			metrics.LostPerRestart:    bound,
			metrics.LossWindow:        bound / 2000 * 1e9,
			metrics.ResetAtClosePer:   bound,
			metrics.SentAfterClosePer: bound,
		} {
			s := v.Summary[metric]
			want := results.Summary{Lo: new(0.), Hi: &hi, Confidence: 0.95, N: test.n, Method: results.MethodRuleOfThree, TooFew: test.few, Warnings: s.Warnings}
			if diff := cmp.Diff(want, s, near); diff != "" {
				t.Errorf("%s of %d (-want +got):\n%s", metric, test.n, diff)
			}
			if len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], test.warning) {
				t.Errorf("%s of %d: warnings %q", metric, test.n, s.Warnings)
			}
		}
	}
}

// Of trials that lost nearly everything, some more and some less, the interval would go past all of
// it.
func TestLostShareIsAtMostAll(t *testing.T) {
	v := &results.Variant{}
	for i := range int64(8) {
		v.Trials = append(v.Trials, &results.Trial{Valid: true, Attempts: 100, Lost: 100 - i%2*80})
	}
	Fill(v)
	if s := v.Summary[metrics.LostPerAttempt]; s.Hi == nil || *s.Hi != 1 || s.Method != results.MethodQuasiPoisson {
		t.Errorf("got %+v, want a bound of 1", s)
	}
}

// The lag is said in figures as a reader writes them.
func TestLagWarning(t *testing.T) {
	v := &results.Variant{Trials: []*results.Trial{{Valid: true, ScheduleLagP99NS: new(int64(148_900_000)), ResponseNS: &results.Percentiles{P99: 200e6}}}}
	Fill(v)
	if got := strings.Join(v.Summary["response_p99_ns"].Warnings, "\n"); !strings.Contains(got, "schedule lag, p99 149 ms:") {
		t.Errorf("got %q", got)
	}
}

// The share is the offered rate over the capacity. Occupied for another share is said, where that
// is known.
func TestOccupancyWarning(t *testing.T) {
	for _, test := range []struct {
		name                        string
		offered, capacity, occupied float64
		want                        string
	}{
		{"less", 529, 882, 0.436, "offered 0.6 of capacity, the workers were occupied 0.44 of the time: " +
			"when capacity was measured, 882/s before the trials, each request cost the workers more time"},
		{"more", 500, 1000, 0.7, "offered 0.5 of capacity, the workers were occupied 0.7 of the time: " +
			"when capacity was measured, 1000/s before the trials, each request cost the workers less time"},
		{"within a tenth", 600, 1000, 0.545, ""},
		{"more than all", 1200, 1000, 0.99, ""},
		{"kind http: not known", 600, 1000, 0, ""},
		{"a rate that is no share", 600, 0, 0.3, ""},
	} {
		trial := &results.Trial{Valid: true, Attempts: 1, OfferedPerSecond: &test.offered}
		if test.capacity > 0 {
			trial.CapacityPerSecond = &test.capacity
		}
		if test.occupied > 0 {
			trial.Occupancy = &results.Occupancy{Load: test.occupied}
		}
		v := &results.Variant{Trials: slices.Repeat([]*results.Trial{trial}, 6)}
		Fill(v)
		for _, metric := range []string{metrics.Offered, metrics.Load} {
			if got := strings.Join(v.Summary[metric].Warnings, "\n"); got != test.want {
				t.Errorf("%s, %s: got %q, want %q", test.name, metric, got, test.want)
			}
		}
	}
}

func TestSummarizeWarns(t *testing.T) {
	v := &results.Variant{Trials: []*results.Trial{resultstest.RestartTrial(1, 0), resultstest.RestartTrial(0, 1)}}
	v.Trials[0].Lost += 4 // outside any restart
	v.Trials[1].StepsLate = 2
	v.Trials[1].Steps[0].Censored = true
	v.Trials[1].ServiceNS = &results.Percentiles{P50: 1}
	Fill(v)
	for metric, want := range map[string]string{
		metrics.LostPerRestart: "not carried out: 2 more steps, because the ones before took until the load had ended\nlost outside any restart: 4 more attempts",
		metrics.Gap:            "cut off by the trial's end in 1 of 4 steps",
		metrics.Outage:         "cut off by the trial's end in 1 of 4 steps",
		"service_p50_ns":       "this figure is of 1 of 2 valid trials only",
	} {
		if got := strings.Join(v.Summary[metric].Warnings, "\n"); !strings.Contains(got, want) {
			t.Errorf("%s: warnings %q, want %q among them", metric, got, want)
		}
	}
}

func TestSummarizeAbsentMetrics(t *testing.T) {
	nothing := &results.Variant{Trials: []*results.Trial{{Valid: false}}}
	Fill(nothing)
	if len(nothing.Summary) != 0 || nothing.Summary == nil {
		t.Errorf("without a valid trial: %v", nothing.Summary)
	}
	steady := &results.Variant{Trials: []*results.Trial{{Valid: true, Attempts: 10, Served: 10, Steps: []results.Step{{Do: "stall", Lost: 3, GapNS: new(int64)}}}}}
	Fill(steady)
	for _, metric := range []string{metrics.LostPerRestart, metrics.LossWindow, metrics.SentAfterClose, metrics.SentAfterClosePer,
		metrics.ResetAtClosePer, metrics.Takeover, metrics.Stall, metrics.Jain, "response_p50_ns", metrics.LoadCPUPerAttempt} {
		if s, ok := steady.Summary[metric]; ok {
			t.Errorf("without restarts: %s is there: %+v", metric, s)
		}
	}
	if _, ok := steady.Summary[metrics.Gap]; !ok {
		t.Error("a stall has a gap; it is not there")
	}
}

func TestSummarizeNamesOnlyKnownMetrics(t *testing.T) {
	v := &results.Variant{Trials: []*results.Trial{resultstest.RestartTrial(1, 0)}}
	v.Trials[0].ServiceNS = v.Trials[0].ResponseNS
	v.Trials[0].ResponseNS.Mean, v.Trials[0].ResponseNS.SD = 2, 1
	v.Trials[0].Fairness = &results.Fairness{
		TopShare: 1, Requests: &results.Spread{}, BusyTime: &results.Spread{},
	}
	v.Trials[0].CPU = results.CPU{
		LoadNS: new(int64(1)), ServersNS: new(int64(1)),
		WatchedNS: new(int64(1)), HarnessNS: new(int64(1)), WatchNS: new(int64(1)), StandInNS: new(int64(0)),
	}
	v.Trials[0].Steps[0].LateNS = new(int64(1))
	v.Trials[0].Workers = []results.Worker{{Accepted: 1, ContextSwitches: new(int64(1))}}
	v.Trials[0].Queues = &results.Queues{Samples: 1, Listeners: []results.ListenerQueue{{Max: 1}}}
	v.Trials[0].Selector = &results.Selector{Runs: 1}
	v.Trials[0].Search = &results.Search{PerSecond: 1}
	v.Trials[0].Occupancy = &results.Occupancy{PredictedWaitNS: new(int64(1))}
	v.Trials[0].CapacityPerSecond = new(1000.)
	p := &results.Percentiles{}
	v.Trials[0].Retries = &results.Retries{MaskedNS: p, RepeatedUnhandled: new(int64(0))}
	v.Trials[0].RoundTrip = &results.RoundTrip{
		Relay: &results.Relay{ExcessNS: p, WaitNS: new(int64(1)), CPUNS: new(int64(1))},
	}
	v.Trials[0].Steps[0].HalfOpen = &results.HalfOpen{Held: 1}
	v.Trials[0].Steps[0].ColdStart = &results.ColdStart{FirstServedNS: new(int64(1)), FairShareNS: new(int64(2)), NewcomerNS: p, OthersNS: p}
	at := new(int64(1))
	v.Trials[0].Steps[0].ReadyNS = at
	v.Trials[0].Steps[0].Endpoints, v.Trials[0].Steps[0].DeadNS = 2, at
	v.Trials[0].Steps[0].Pods = []results.Pod{
		{Endpoints: 2, DeletedNS: at, TermNS: at, ClosedNS: at, EndpointsNS: at, RulesNS: at}, {Started: true, ListenNS: at, ReadyNS: at, RulesNS: at},
	}
	v.Trials[0].ConnectNS, v.Trials[0].FirstByteNS = p, p
	v.Trials[0].Steps[0].LostShare = new(0.5)
	// Who shares a port is told where no step changes who is there.
	v.Trials = append(v.Trials, &results.Trial{Valid: true, ControlPlane: "embedded", Workers: []results.Worker{{Accepted: 1}, {BindError: "EADDRINUSE"}}})
	v.Trials = append(v.Trials, &results.Trial{Valid: true, Concurrency: 5, ServedPerSecond: new(100.)})
	Fill(v)
	got := slices.Sorted(maps.Keys(v.Summary))
	var want []string
	for _, m := range metrics.All() {
		want = append(want, m.Name)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics of a trial that has everything (-registry +Summary):\n%s", diff)
	}
}

// What the load itself failed at is in the lost, not in the dropped.
func TestDroppedAndLost(t *testing.T) {
	v := &results.Variant{}
	for range 10 {
		trial := resultstest.RestartTrial(1, 0, 0, 1) // 2 reset at close
		trial.Lost, trial.LostByCause[cause.Client] = trial.Lost+5, 5
		trial.Steps[0].Lost += 3 // and 2 outside any restart
		for k := range trial.Steps {
			trial.Steps[k].Dropped = new(trial.Steps[k].Lost)
		}
		*trial.Steps[0].Dropped = 1
		v.Trials = append(v.Trials, trial)
	}
	Fill(v)
	for metric, want := range map[string]float64{
		metrics.DroppedPerRestart: 20. / 40, metrics.DropWindow: 20. / 40 / 2000 * 1e9, metrics.DroppedPerAttempt: 20. / 10_000,
		metrics.LostPerRestart: 50. / 40, metrics.LossWindow: 50. / 40 / 2000 * 1e9, metrics.LostPerAttempt: 70. / 10_000,
	} {
		if got := v.Summary[metric].Center; math.Abs(got-want) > 1e-9*want {
			t.Errorf("%s %v, want %v", metric, got, want)
		}
	}
	for metric, want := range map[string][]string{
		metrics.DroppedPerRestart: nil, metrics.LostPerRestart: {"lost outside any restart: 20 more attempts"},
	} {
		if diff := cmp.Diff(want, v.Summary[metric].Warnings); diff != "" {
			t.Errorf("%s: warnings (-want +got):\n%s", metric, diff)
		}
	}
}

// Runs that did not store what a step dropped, nor what was never sent, are summarized as far as it
// is known.
func TestDroppedOfOldRuns(t *testing.T) {
	loss := func(step int, of string) results.Loss { return results.Loss{Step: &step, Cause: of} }
	unsent := results.LedgerRow{Client: "connect: unsent", Cause: cause.Client, Attempts: 2}
	for _, test := range []struct {
		name          string
		client        int64 // of the 6 lost at the second step
		losses        []results.Loss
		omitted       int64
		ledger        []results.LedgerRow
		dropped, sent int64 // -1: not known
	}{
		{"none by the load", 0, nil, 4, nil, 6, 0},
		{"listed", 2, []results.Loss{loss(1, cause.ResetAtClose), loss(1, cause.Client), {Cause: cause.Client}}, 0, []results.LedgerRow{unsent}, 5, 2},
		{"aborts", 2, []results.Loss{loss(1, cause.Client), loss(1, cause.Client)}, 0, []results.LedgerRow{{Client: "wait: local", Cause: cause.Client, Attempts: 2}}, 4, 0},
		{"not all listed", 2, []results.Loss{loss(1, cause.Client)}, 1, []results.LedgerRow{unsent}, -1, 2},
		{"not even a ledger", 2, nil, 2, nil, -1, -1},
	} {
		trial := resultstest.RestartTrial(0, 6)
		trial.Dropped -= test.client
		trial.Losses, trial.LossesOmitted, trial.Ledger = test.losses, test.omitted, test.ledger
		if got, ok := trial.StepDropped(1); ok != (test.dropped >= 0) || ok && got != test.dropped {
			t.Errorf("%s: step 1 dropped %d, %t; want %d", test.name, got, ok, test.dropped)
		}
		if got, ok := trial.Unsent(); ok != (test.sent >= 0) || ok && got != test.sent {
			t.Errorf("%s: %d never sent, %t; want %d", test.name, got, ok, test.sent)
		}
		v := &results.Variant{Trials: []*results.Trial{trial}}
		Fill(v)
		if s, ok := v.Summary[metrics.DroppedPerRestart]; ok != (test.dropped >= 0) || ok && s.Center != float64(test.dropped)/2 {
			t.Errorf("%s: %v dropped per restart, %t", test.name, s.Center, ok)
		}
		if s := v.Summary[metrics.LostPerRestart]; s.Center != 3 {
			t.Errorf("%s: %v lost per restart, want 3", test.name, s.Center)
		}
	}
	known, unknown := resultstest.RestartTrial(2), resultstest.RestartTrial(4)
	unknown.Dropped, unknown.LossesOmitted = 1, 4
	v := &results.Variant{Trials: []*results.Trial{known, unknown}}
	Fill(v)
	if s := v.Summary[metrics.DroppedPerRestart]; s.Center != 2 || !slices.Contains(s.Warnings, "only 1 of 2 valid trials have this figure") {
		t.Errorf("%v, warnings %q; want 2 of the trial that is known, and a warning", s.Center, s.Warnings)
	}
}

func TestWarnLag(t *testing.T) {
	warned := func(lagNS, p99NS int64) bool {
		v := &results.Variant{Trials: []*results.Trial{{Valid: true, Attempts: 1, ScheduleLagP99NS: &lagNS, ResponseNS: &results.Percentiles{P99: p99NS}}}}
		Fill(v)
		return strings.Contains(strings.Join(v.Summary["response_p99_ns"].Warnings, " "), "schedule lag")
	}
	for _, tt := range []struct {
		lag, p99 int64
		want     bool
	}{{400e3, 500e3, true}, {600e3, 7e6, false}, {900e3, 7e6, true}} {
		if got := warned(tt.lag, tt.p99); got != tt.want {
			t.Errorf("lag %d ns of p99 %d ns: warned %v, want %v", tt.lag, tt.p99, got, tt.want)
		}
	}
}
