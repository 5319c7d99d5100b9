package results

import (
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"reuseport-bench/results/cause"
	"reuseport-bench/scenarios/vocabulary"
)

// restartTrial is a valid trial of 1000 attempts at 2000/s whose restarts lost these many.
func restartTrial(lost ...int64) *Trial {
	t := &Trial{
		Valid: true, Attempts: 1000, OfferedPerSecond: 2000, ScheduleLagP99NS: 100_000,
		LostByCause:        map[string]int64{},
		LostSentAfterClose: ptr[int64](0),
		ResponseNS:         &Percentiles{P50: 1, P90: 2, P99: 3, P999: 4, Max: 5},
	}
	for i, n := range lost {
		t.Lost, t.Dropped = t.Lost+n, t.Dropped+n
		t.LostByCause[cause.ResetAtClose] += n
		t.Steps = append(t.Steps, Step{
			Do: vocabulary.StepReplace, Lost: n, GapNS: int64(i+1) * 100,
			OutageNS: int64(i+1) * 1000, ResolutionNS: 500,
			StallNS: ptr(int64(i+1) * 10), TakeoverNS: ptr(int64(i+1) * 7), TailNS: ptr(int64(i + 1)),
		})
	}
	t.Served = t.Attempts - t.Lost
	return t
}

func TestFiguresPoolsSteps(t *testing.T) {
	trial := restartTrial(0, 1, 0, 0)
	trial.Steps[3].StallNS = nil
	trial.Steps[3].TakeoverNS = nil
	trial.Steps[0], trial.Steps[1], trial.Steps[3] = trial.Steps[3], trial.Steps[0], trial.Steps[1] // in no order of size
	got := trial.Figures()
	want := map[string]float64{
		MetricGap: 400, MetricOutage: 4000, MetricResolution: 500,
		MetricStall:    30,  // the largest of 10, 20, 30
		MetricTakeover: 14,  // the median of 7, 14, 21
		MetricTail:     2.5, // the median of 1, 2, 3, 4
		MetricOffered:  2000, MetricScheduleLag: 100_000,
		"response_p50_ns": 1, "response_p90_ns": 2, "response_p99_ns": 3, "response_p999_ns": 4, "response_max_ns": 5,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFiguresOfWorkers(t *testing.T) {
	trial := restartTrial()
	trial.Workers = []Worker{{Accepted: 30, ContextSwitches: ptr[int64](50)}, {Accepted: 10, ContextSwitches: ptr[int64](20)}, {Acceptor: true, ContextSwitches: ptr[int64](10)}}
	trial.Queues = &Queues{Samples: 9, Listeners: []ListenerQueue{{Max: 3}, {Max: 7}}}
	got := trial.Figures()
	if got[MetricSwitches] != 2 || got[MetricQueueMax] != 7 {
		t.Errorf("%v switches per connection, longest queue %v; want 2 (an acceptor's too) and 7", got[MetricSwitches], got[MetricQueueMax])
	}
	trial.Workers[1].ContextSwitches = nil // killed: what it did is not known
	if x, ok := trial.Figures()[MetricSwitches]; ok {
		t.Errorf("%v switches per connection, though one worker's are not known", x)
	}
}

func TestFairnessWindows(t *testing.T) {
	f := FairnessOf(0, []int64{4, 8})
	f.AddWindows([][]int64{{2, 0, 2}, {2, 0, 4, 2}})
	want := []FairnessWindow{
		{FromNS: 0, Connections: 4, Jain: 1, MaxOverMean: 1},
		{FromNS: 2 * FairnessWindowNS, Connections: 6, Jain: 0.9, MaxOverMean: 4. / 3},
		{FromNS: 3 * FairnessWindowNS, Connections: 2, Jain: 0.5, MaxOverMean: 2},
	}
	if diff := cmp.Diff(want, f.Windows, cmpopts.EquateApprox(1e-9, 0)); diff != "" {
		t.Errorf("windows (-want +got):\n%s", diff)
	}
}

func TestFiguresOfCPU(t *testing.T) {
	trial := restartTrial()
	trial.CPU = CPU{LoadNS: ptr[int64](150_000_000), ServersNS: ptr[int64](50_000_000)}
	trial.Fairness = &Fairness{Jain: 0.9, MaxOverMean: 1.2, Chi2P: 0.3}
	got := trial.Figures()
	for metric, want := range map[string]float64{
		MetricLoadCPUPerAttempt: 150_000, MetricServersCPUPerAttempt: 50_000,
		MetricJain: 0.9, MetricMaxOverMean: 1.2, MetricChi2P: 0.3,
	} {
		if got[metric] != want {
			t.Errorf("%s: got %v, want %v", metric, got[metric], want)
		}
	}
	trial.Attempts = 0
	if got := trial.Figures(); slices.Contains(slices.Collect(maps.Keys(got)), MetricLoadCPUPerAttempt) {
		t.Error("CPU per attempt without attempts")
	}
}

// Invalid trials, and trials that claim to be valid with a residual, must not move any figure.
func TestSummarizeLeavesOutInvalidTrials(t *testing.T) {
	clean := &Variant{}
	for range 8 {
		clean.Trials = append(clean.Trials, restartTrial(1, 0, 0))
	}
	invalid, unbalanced := restartTrial(900, 90, 9), restartTrial(900, 90, 9)
	for _, bad := range []*Trial{invalid, unbalanced} {
		bad.ResponseNS = &Percentiles{P50: 1e9, P90: 1e9, P99: 1e9, P999: 1e9, Max: 1e9}
		bad.OfferedPerSecond = 7
		bad.LostSentAfterClose = ptr[int64](55)
		bad.ServiceNS = bad.ResponseNS
	}
	invalid.Valid, unbalanced.Residual = false, 3
	dirty := &Variant{Trials: append([]*Trial{invalid, unbalanced}, clean.Trials...)}
	clean.Summarize()
	dirty.Summarize()
	if diff := cmp.Diff(clean.Summary, dirty.Summary); diff != "" {
		t.Errorf("invalid trials entered the figures (-without +with):\n%s", diff)
	}
	if _, ok := dirty.Summary["service_p50_ns"]; ok {
		t.Error("a metric that only an invalid trial has is there")
	}
}

func TestSummarizeRestarts(t *testing.T) {
	v := &Variant{}
	for range 10 {
		v.Trials = append(v.Trials, restartTrial(1, 0, 1, 0)) // 20 in 40, one cluster each: dispersion 0.51
	}
	v.Trials[0].LostSentAfterClose = ptr[int64](2)
	v.Summarize()
	// Garwood for 20: 12.2165 to 30.8884.
	want := map[string]Summary{
		MetricLostPerRestart:  {Center: 0.5, Lo: ptr(12.21652 / 40), Hi: ptr(30.88838 / 40), Confidence: 0.95, N: 40, Method: MethodPoisson},
		MetricLossWindow:      {Center: 250_000, Lo: ptr(12.21652 / 40 / 2000 * 1e9), Hi: ptr(30.88838 / 40 / 2000 * 1e9), Confidence: 0.95, N: 40, Method: MethodPoisson},
		MetricLostPerAttempt:  {Center: 0.002, Lo: ptr(12.21652 / 10_000), Hi: ptr(30.88838 / 10_000), Confidence: 0.95, N: 10, Method: MethodPoisson},
		MetricResetAtClosePer: {Center: 0.5, Lo: ptr(12.21652 / 40), Hi: ptr(30.88838 / 40), Confidence: 0.95, N: 40, Method: MethodPoisson},
		MetricSentAfterClose:  {Center: 2, N: 40, Method: MethodNone},
		MetricGap:             {Center: 400, Lo: ptr(400.), Hi: ptr(400.), Confidence: 1 - 22/1024., N: 10, Method: MethodOrder},
		"response_p99_ns":     {Center: 3, Lo: ptr(3.), Hi: ptr(3.), Confidence: 1 - 22/1024., N: 10, Method: MethodOrder},
	}
	for metric, summary := range want {
		if diff := cmp.Diff(summary, v.Summary[metric], near); diff != "" {
			t.Errorf("%s (-want +got):\n%s", metric, diff)
		}
	}
	// Two losses in one trial of ten: dispersion 2, so clusters.
	after := v.Summary[MetricSentAfterClosePer]
	if after.Center != 0.05 || after.N != 40 || after.Method != MethodQuasiPoisson {
		t.Errorf("%s: %+v", MetricSentAfterClosePer, after)
	}
}

func TestSummarizeNoLoss(t *testing.T) {
	for _, test := range []struct {
		trials  []*Trial
		n       int
		few     bool
		warning string
	}{
		{[]*Trial{restartTrial(0, 0, 0), restartTrial(0, 0, 0)}, 6, true, "fewer than 10 restarts show too little"},
		{[]*Trial{restartTrial(0, 0, 0, 0, 0), restartTrial(0, 0, 0, 0)}, 9, true, "fewer than 10 restarts show too little"},
		{[]*Trial{restartTrial(0, 0, 0, 0, 0), restartTrial(0, 0, 0, 0, 0)}, 10, false, "at most 3/10 restarts with loss"},
	} {
		v := &Variant{Trials: test.trials}
		v.Summarize()
		bound := 3 / float64(test.n)
		for metric, hi := range map[string]float64{
			MetricLostPerRestart:    bound,
			MetricLossWindow:        bound / 2000 * 1e9,
			MetricResetAtClosePer:   bound,
			MetricSentAfterClosePer: bound,
		} {
			s := v.Summary[metric]
			want := Summary{Lo: ptr(0.), Hi: &hi, Confidence: 0.95, N: test.n, Method: MethodRuleOfThree, TooFew: test.few, Warnings: s.Warnings}
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
	v := &Variant{}
	for i := range int64(8) {
		v.Trials = append(v.Trials, &Trial{Valid: true, Attempts: 100, Lost: 100 - i%2*80})
	}
	v.Summarize()
	if s := v.Summary[MetricLostPerAttempt]; s.Hi == nil || *s.Hi != 1 || s.Method != MethodQuasiPoisson {
		t.Errorf("got %+v, want a bound of 1", s)
	}
	d, ok := Compare(v, v, MetricLostPerAttempt, Confidence)
	if !ok || *d.Base.Hi != 1 || *d.Head.Hi != 1 {
		t.Errorf("compared: %+v", d)
	}
}

// The lag is said in figures as a reader writes them.
func TestLagWarning(t *testing.T) {
	v := &Variant{Trials: []*Trial{{Valid: true, ScheduleLagP99NS: 148_900_000, ResponseNS: &Percentiles{P99: 200e6}}}}
	v.Summarize()
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
		trial := &Trial{Valid: true, Attempts: 1, OfferedPerSecond: test.offered}
		if test.capacity > 0 {
			trial.CapacityPerSecond = &test.capacity
		}
		if test.occupied > 0 {
			trial.Occupancy = &Occupancy{Load: test.occupied}
		}
		v := &Variant{Trials: slices.Repeat([]*Trial{trial}, 6)}
		v.Summarize()
		for _, metric := range []string{MetricOffered, MetricLoad} {
			if got := strings.Join(v.Summary[metric].Warnings, "\n"); got != test.want {
				t.Errorf("%s, %s: got %q, want %q", test.name, metric, got, test.want)
			}
		}
	}
}

func TestSummarizeWarns(t *testing.T) {
	v := &Variant{Trials: []*Trial{restartTrial(1, 0), restartTrial(0, 1)}}
	v.Trials[0].Lost += 4 // outside any restart
	v.Trials[1].StepsLate = 2
	v.Trials[1].Steps[0].Censored = true
	v.Trials[1].ServiceNS = &Percentiles{P50: 1}
	v.Summarize()
	for metric, want := range map[string]string{
		MetricLostPerRestart: "not carried out: 2 more steps, because the ones before took until the load had ended\nlost outside any restart: 4 more attempts",
		MetricGap:            "cut off by the trial's end in 1 of 4 steps",
		MetricOutage:         "cut off by the trial's end in 1 of 4 steps",
		"service_p50_ns":     "this figure is of 1 of 2 valid trials only",
	} {
		if got := strings.Join(v.Summary[metric].Warnings, "\n"); !strings.Contains(got, want) {
			t.Errorf("%s: warnings %q, want %q among them", metric, got, want)
		}
	}
}

func TestSummarizeAbsentMetrics(t *testing.T) {
	nothing := &Variant{Trials: []*Trial{{Valid: false}}}
	nothing.Summarize()
	if len(nothing.Summary) != 0 || nothing.Summary == nil {
		t.Errorf("without a valid trial: %v", nothing.Summary)
	}
	steady := &Variant{Trials: []*Trial{{Valid: true, Attempts: 10, Served: 10, Steps: []Step{{Do: "stall", Lost: 3}}}}}
	steady.Summarize()
	for _, metric := range []string{MetricLostPerRestart, MetricLossWindow, MetricSentAfterClose, MetricSentAfterClosePer,
		MetricResetAtClosePer, MetricTakeover, MetricStall, MetricJain, "response_p50_ns", MetricLoadCPUPerAttempt} {
		if s, ok := steady.Summary[metric]; ok {
			t.Errorf("without restarts: %s is there: %+v", metric, s)
		}
	}
	if _, ok := steady.Summary[MetricGap]; !ok {
		t.Error("a stall has a gap; it is not there")
	}
}

func TestSummarizeNamesOnlyKnownMetrics(t *testing.T) {
	v := &Variant{Trials: []*Trial{restartTrial(1, 0)}}
	v.Trials[0].ServiceNS = v.Trials[0].ResponseNS
	v.Trials[0].ResponseNS.Mean, v.Trials[0].ResponseNS.SD = 2, 1
	v.Trials[0].Fairness = &Fairness{}
	v.Trials[0].CPU = CPU{LoadNS: ptr[int64](1), ServersNS: ptr[int64](1)}
	v.Trials[0].Workers = []Worker{{Accepted: 1, ContextSwitches: ptr[int64](1)}}
	v.Trials[0].Queues = &Queues{Samples: 1, Listeners: []ListenerQueue{{Max: 1}}}
	v.Trials[0].Selector = &Selector{Runs: 1}
	v.Trials[0].Search = &Search{PerSecond: 1}
	v.Trials[0].Occupancy = &Occupancy{PredictedWaitNS: ptr[int64](1)}
	v.Trials[0].CapacityPerSecond = ptr(1000.)
	p := &Percentiles{}
	v.Trials[0].Retries = &Retries{MaskedNS: p}
	v.Trials[0].Steps[0].HalfOpen = &HalfOpen{Held: 1}
	v.Trials[0].Steps[0].ColdStart = &ColdStart{FirstServedNS: ptr[int64](1), FairShareNS: ptr[int64](2), NewcomerNS: p, OthersNS: p}
	at := ptr[int64](1)
	v.Trials[0].Steps[0].Endpoints, v.Trials[0].Steps[0].DeadNS = 2, at
	v.Trials[0].Steps[0].Pods = []Pod{
		{Endpoints: 2, DeletedNS: at, TermNS: at, ClosedNS: at, EndpointsNS: at, RulesNS: at}, {Started: true, ListenNS: at, ReadyNS: at, RulesNS: at},
	}
	// Who shares a port is told where no step changes who is there.
	v.Trials = append(v.Trials, &Trial{Valid: true, ControlPlane: "embedded", Workers: []Worker{{Accepted: 1}, {BindError: "EADDRINUSE"}}})
	v.Summarize()
	got := slices.Sorted(maps.Keys(v.Summary))
	want := slices.Sorted(slices.Values(Metrics()))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics of a trial that has everything (-Metrics +Summary):\n%s", diff)
	}
}

func TestInvalidTrials(t *testing.T) {
	v := &Variant{Trials: []*Trial{
		{Valid: true},
		{InvalidReasons: []string{"stalled"}},
		{InvalidReasons: []string{"lag 1.2s > 3ms", "stalled", "lag 7s > 3ms"}},
		{InvalidReasons: []string{"lag 130µs > 3ms"}},
		{InvalidReasons: []string{"lag 4ms > 3ms"}},
		{Valid: true, Residual: 2},
		{},
	}}
	n, reasons := v.InvalidTrials()
	want := []Invalid{{"lag 1.2s > 3ms", true, 3}, {"stalled", false, 2}, {"residual 2", false, 1}, {"no reason recorded", false, 1}}
	if diff := cmp.Diff(want, reasons); n != 6 || diff != "" {
		t.Errorf("%d trials; reasons (-want +got):\n%s", n, diff)
	}
}

func TestLabelString(t *testing.T) {
	for want, labels := range map[string]map[string]string{
		"(no labels)": nil,
		"sockets=reuseport stop=close load.rate=500/s workers=4": {"workers": "4", "stop": "close", "load.rate": "500/s", "sockets": "reuseport"},
	} {
		if got := LabelString(labels); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// Of 200 attempts, 10 were tried again, three of them twice.
func TestRetryFigures(t *testing.T) {
	trial := &Trial{Attempts: 200, Retries: &Retries{Tries: 213, TriedAgain: 10, Masked: 8, Repeated: 5, Exhausted: 2, MaskedNS: &Percentiles{P50: 30, P99: 70}}}
	f := trial.Figures()
	for metric, want := range map[string]float64{MetricTries: 1.065, MetricMasked: 0.04, MetricRepeated: 0.025, MetricMaskedP50: 30, MetricMaskedP99: 70} {
		if got := f[metric]; got != want {
			t.Errorf("%s %v, want %v", metric, got, want)
		}
	}
	trial.Retries.MaskedNS = nil
	if _, ok := trial.Figures()[MetricMaskedP50]; ok {
		t.Error("nothing was masked, and yet it took a time")
	}
	if _, ok := (&Trial{Attempts: 1}).Figures()[MetricTries]; ok {
		t.Error("without retries there are tries")
	}
}

// What the load itself failed at is in the lost, not in the dropped.
func TestDroppedAndLost(t *testing.T) {
	v := &Variant{}
	for range 10 {
		trial := restartTrial(1, 0, 0, 1) // 2 reset at close
		trial.Lost, trial.LostByCause[cause.Client] = trial.Lost+5, 5
		trial.Steps[0].Lost += 3 // and 2 outside any restart
		for k := range trial.Steps {
			trial.Steps[k].Dropped = ptr(trial.Steps[k].Lost)
		}
		*trial.Steps[0].Dropped = 1
		v.Trials = append(v.Trials, trial)
	}
	v.Summarize()
	for metric, want := range map[string]float64{
		MetricDroppedPerRestart: 20. / 40, MetricDropWindow: 20. / 40 / 2000 * 1e9, MetricDroppedPerAttempt: 20. / 10_000,
		MetricLostPerRestart: 50. / 40, MetricLossWindow: 50. / 40 / 2000 * 1e9, MetricLostPerAttempt: 70. / 10_000,
	} {
		if got := v.Summary[metric].Center; math.Abs(got-want) > 1e-9*want {
			t.Errorf("%s %v, want %v", metric, got, want)
		}
	}
	for metric, want := range map[string][]string{
		MetricDroppedPerRestart: nil, MetricLostPerRestart: {"lost outside any restart: 20 more attempts"},
	} {
		if diff := cmp.Diff(want, v.Summary[metric].Warnings); diff != "" {
			t.Errorf("%s: warnings (-want +got):\n%s", metric, diff)
		}
	}
}

// Runs that did not store what a step dropped, nor what was never sent, are summarized as far as it is known.
func TestDroppedOfOldRuns(t *testing.T) {
	loss := func(step int, of string) Loss { return Loss{Step: &step, Cause: of} }
	unsent := LedgerRow{Client: "connect: unsent", Cause: cause.Client, Attempts: 2}
	for _, test := range []struct {
		name          string
		client        int64 // of the 6 lost at the second step
		losses        []Loss
		omitted       int64
		ledger        []LedgerRow
		dropped, sent int64 // -1: not known
	}{
		{"none by the load", 0, nil, 4, nil, 6, 0},
		{"listed", 2, []Loss{loss(1, cause.ResetAtClose), loss(1, cause.Client), {Cause: cause.Client}}, 0, []LedgerRow{unsent}, 5, 2},
		{"aborts", 2, []Loss{loss(1, cause.Client), loss(1, cause.Client)}, 0, []LedgerRow{{Client: "wait: local", Cause: cause.Client, Attempts: 2}}, 4, 0},
		{"not all listed", 2, []Loss{loss(1, cause.Client)}, 1, []LedgerRow{unsent}, -1, 2},
		{"not even a ledger", 2, nil, 2, nil, -1, -1},
	} {
		trial := restartTrial(0, 6)
		trial.Dropped -= test.client
		trial.Losses, trial.LossesOmitted, trial.Ledger = test.losses, test.omitted, test.ledger
		if got, ok := trial.StepDropped(1); ok != (test.dropped >= 0) || ok && got != test.dropped {
			t.Errorf("%s: step 1 dropped %d, %t; want %d", test.name, got, ok, test.dropped)
		}
		if got, ok := trial.Unsent(); ok != (test.sent >= 0) || ok && got != test.sent {
			t.Errorf("%s: %d never sent, %t; want %d", test.name, got, ok, test.sent)
		}
		v := &Variant{Trials: []*Trial{trial}}
		v.Summarize()
		if s, ok := v.Summary[MetricDroppedPerRestart]; ok != (test.dropped >= 0) || ok && s.Center != float64(test.dropped)/2 {
			t.Errorf("%s: %v dropped per restart, %t", test.name, s.Center, ok)
		}
		if s := v.Summary[MetricLostPerRestart]; s.Center != 3 {
			t.Errorf("%s: %v lost per restart, want 3", test.name, s.Center)
		}
	}
	known, unknown := restartTrial(2), restartTrial(4)
	unknown.Dropped, unknown.LossesOmitted = 1, 4
	v := &Variant{Trials: []*Trial{known, unknown}}
	v.Summarize()
	if s := v.Summary[MetricDroppedPerRestart]; s.Center != 2 || !slices.Contains(s.Warnings, "only 1 of 2 valid trials have this figure") {
		t.Errorf("%v, warnings %q; want 2 of the trial that is known, and a warning", s.Center, s.Warnings)
	}
}

// A stored run of before is read with the metrics that it does not know, and keeps what it has.
func TestNewMetricsOfStoredRuns(t *testing.T) {
	run, err := Load("baseline/ci")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, s := range run.Scenarios {
		for _, v := range s.Variants {
			for dropped, lost := range map[string]string{
				MetricDroppedPerAttempt: MetricLostPerAttempt, MetricDroppedPerRestart: MetricLostPerRestart,
			} {
				l, known := v.Summary[lost]
				if d, ok := v.Summary[dropped]; ok != known || d.Center != l.Center || d.N != l.N {
					t.Errorf("%s %s: %s %v of %d, %s %v of %d", s.Name, LabelString(v.Labels), dropped, d.Center, d.N, lost, l.Center, l.N)
				}
				seen++
			}
		}
	}
	if seen == 0 {
		t.Error("the run has no variants")
	}
	v := &Variant{
		Trials:  []*Trial{restartTrial(3)},
		Summary: map[string]Summary{MetricLostPerRestart: {Center: 77}},
	}
	(&Run{Scenarios: []*Scenario{{Variants: []*Variant{v}}}}).refresh()
	if got := v.Summary[MetricLostPerRestart].Center; got != 77 || v.Summary[MetricDroppedPerRestart].Center != 3 {
		t.Errorf("lost %v and dropped %v per restart; want the stored 77, and 3", got, v.Summary[MetricDroppedPerRestart].Center)
	}
}
