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

// No figure includes invalid trials, or trials that are marked valid but have a residual.
func TestSummarizeLeavesOutInvalidTrials(t *testing.T) {
	clean := &results.Variant{}
	for range 8 {
		clean.Trials = append(clean.Trials, resultstest.RestartTrial(1, 0, 0))
	}
	invalid := resultstest.RestartTrial(900, 90, 9)
	unbalanced := resultstest.RestartTrial(900, 90, 9)
	for _, bad := range []*results.Trial{invalid, unbalanced} {
		bad.ResponseNS = &results.Percentiles{P50: 1e9, P90: 1e9, P99: 1e9, P999: 1e9, Max: 1e9}
		bad.OfferedPerSecond = new(7.)
		bad.LostSentAfterClose = new(int64(55))
		bad.ServiceNS = bad.ResponseNS
	}
	invalid.Valid, unbalanced.Residual = false, 3
	dirty := &results.Variant{
		Trials: append([]*results.Trial{invalid, unbalanced}, clean.Trials...),
	}
	Fill(clean)
	Fill(dirty)
	if diff := cmp.Diff(clean.Summary, dirty.Summary); diff != "" {
		t.Errorf("invalid trials entered the figures (-without +with):\n%s", diff)
	}
	if _, ok := dirty.Summary["service_p50_ns"]; ok {
		t.Error("the summary has a metric that only an invalid trial has")
	}
}

func TestSummarizeRestarts(t *testing.T) {
	v := &results.Variant{}
	for range 10 {
		// 20 losses in 40 restarts, never two in one restart: the dispersion is 0.51.
		v.Trials = append(v.Trials, resultstest.RestartTrial(1, 0, 1, 0))
	}
	v.Trials[0].LostSentAfterClose = new(int64(2))
	Fill(v)
	// poisson returns the summary of 20 events in n restarts, with the centre and both bounds
	// multiplied by unit.
	poisson := func(n int, unit float64) results.Summary {
		const lo, hi = 12.21652, 30.88838 // Garwood's limits for 20
		return results.Summary{
			Center: 20 * unit, Lo: new(lo * unit), Hi: new(hi * unit), Confidence: 0.95, N: n,
			Method: results.MethodPoisson,
		}
	}
	median := func(x float64, warnings ...string) results.Summary {
		return results.Summary{
			Center: x, Lo: &x, Hi: &x, Confidence: 1 - 22/1024., N: 10,
			Method: results.MethodOrder, Warnings: warnings,
		}
	}
	want := map[string]results.Summary{
		metrics.LostPerRestart:  poisson(40, 1./40),
		metrics.LossWindow:      poisson(40, 1e9/40/2000),
		metrics.LostPerAttempt:  poisson(10, 1./10_000),
		metrics.ResetAtClosePer: poisson(40, 1./40),
		metrics.SentAfterClose:  {Center: 2, N: 40, Method: results.MethodNone},
		metrics.Gap:             median(400),
		"response_p99_ns": median(3, "includes schedule lag, p99 0.1 ms: the machine stood still, "+
			"or the generator was late"),
	}
	for metric, summary := range want {
		if diff := cmp.Diff(summary, v.Summary[metric], near); diff != "" {
			t.Errorf("%s (-want +got):\n%s", metric, diff)
		}
	}
	// Two losses in one trial of ten have a dispersion of 2, so they are clusters.
	after := v.Summary[metrics.SentAfterClosePer]
	if after.Center != 0.05 || after.N != 40 || after.Method != results.MethodQuasiPoisson {
		t.Errorf("%s: %+v", metrics.SentAfterClosePer, after)
	}
}

func TestSummarizeNoLoss(t *testing.T) {
	// restarted returns trials with these numbers of restarts, none of which lost any attempts.
	restarted := func(restarts ...int) (trials []*results.Trial) {
		for _, n := range restarts {
			trials = append(trials, resultstest.RestartTrial(make([]int64, n)...))
		}
		return trials
	}
	for _, test := range []struct {
		trials  []*results.Trial
		n       int
		few     bool
		warning string
	}{
		{restarted(3, 3), 6, true, "fewer than 10 restarts are too few"},
		{restarted(5, 4), 9, true, "fewer than 10 restarts are too few"},
		{restarted(5, 5), 10, false, "at most 3/10 restarts with loss"},
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
			want := results.Summary{
				Lo: new(0.), Hi: &hi, Confidence: 0.95, N: test.n,
				Method: results.MethodRuleOfThree, TooFew: test.few, Warnings: s.Warnings,
			}
			if diff := cmp.Diff(want, s, near); diff != "" {
				t.Errorf("%s of %d (-want +got):\n%s", metric, test.n, diff)
			}
			if len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], test.warning) {
				t.Errorf("%s of %d: warnings %q", metric, test.n, s.Warnings)
			}
		}
	}
}

// If trials lost nearly everything, the interval of the share ends at 1.
func TestLostShareIsAtMostAll(t *testing.T) {
	v := &results.Variant{}
	for i := range int64(8) {
		v.Trials = append(v.Trials, &results.Trial{Valid: true, Attempts: 100, Lost: 100 - i%2*80})
	}
	Fill(v)
	s := v.Summary[metrics.LostPerAttempt]
	if s.Hi == nil || *s.Hi != 1 || s.Method != results.MethodQuasiPoisson {
		t.Errorf("got %+v, want a bound of 1", s)
	}
}

// The warning writes the lag with ordinary digits, not as 1.5e+02.
func TestLagWarning(t *testing.T) {
	v := &results.Variant{Trials: []*results.Trial{{
		Valid: true, ScheduleLagP99NS: new(int64(148_900_000)),
		ResponseNS: &results.Percentiles{P99: 200e6},
	}}}
	Fill(v)
	got := strings.Join(v.Summary["response_p99_ns"].Warnings, "\n")
	if !strings.Contains(got, "schedule lag, p99 149 ms:") {
		t.Errorf("got %q", got)
	}
}

// Fill warns if the workers' occupancy is known and differs from the offered rate divided by the
// capacity.
func TestOccupancyWarning(t *testing.T) {
	for _, test := range []struct {
		name                        string
		offered, capacity, occupied float64
		want                        string
	}{
		{
			"less", 529, 882, 0.436, "offered 0.6 of capacity, the workers were occupied 0.44 of " +
				"the time: when capacity was measured, 882/s before the trials, each request " +
				"cost the workers more time",
		},
		{
			"more", 500, 1000, 0.7, "offered 0.5 of capacity, the workers were occupied 0.7 of " +
				"the time: when capacity was measured, 1000/s before the trials, each request " +
				"cost the workers less time",
		},
		{"within 10 %", 600, 1000, 0.545, ""},
		{"more than capacity", 1200, 1000, 0.99, ""},
		{"kind http: unknown", 600, 1000, 0, ""},
		{"a rate, not a share", 600, 0, 0.3, ""},
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
	v := &results.Variant{Trials: []*results.Trial{
		resultstest.RestartTrial(1, 0), resultstest.RestartTrial(0, 1),
	}}
	v.Trials[0].Lost += 4 // outside any restart
	v.Trials[1].StepsLate = 2
	v.Trials[1].Steps[0].Censored = true
	v.Trials[1].ServiceNS = &results.Percentiles{P50: 1}
	Fill(v)
	for metric, want := range map[string]string{
		metrics.LostPerRestart: "skipped: 2 more steps, because earlier ones took until the load " +
			"had ended\nlost outside any restart: 4 more attempts",
		metrics.Gap:      "cut off by the trial's end in 1 of 4 steps",
		metrics.Outage:   "cut off by the trial's end in 1 of 4 steps",
		"service_p50_ns": "only 1 of 2 valid trials have this figure",
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
	steady := &results.Variant{Trials: []*results.Trial{{
		Valid: true, Attempts: 10, Served: 10,
		Steps: []results.Step{{Do: "stall", Lost: 3, GapNS: new(int64)}},
	}}}
	Fill(steady)
	for _, metric := range []string{
		metrics.LostPerRestart, metrics.LossWindow, metrics.SentAfterClose,
		metrics.SentAfterClosePer, metrics.ResetAtClosePer, metrics.Takeover, metrics.Stall,
		metrics.Jain, "response_p50_ns", metrics.LoadCPUPerAttempt,
	} {
		if s, ok := steady.Summary[metric]; ok {
			t.Errorf("without restarts: got %s: %+v", metric, s)
		}
	}
	if _, ok := steady.Summary[metrics.Gap]; !ok {
		t.Error("the gap of a stall is missing")
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
		WatchedNS: new(int64(1)), HarnessNS: new(int64(1)), WatchNS: new(int64(1)),
		StandInNS: new(int64(0)),
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
	v.Trials[0].Steps[0].ColdStart = &results.ColdStart{
		FirstServedNS: new(int64(1)), FairShareNS: new(int64(2)), NewcomerNS: p, OthersNS: p,
	}
	at := new(int64(1))
	v.Trials[0].Steps[0].ReadyNS = at
	v.Trials[0].Steps[0].Endpoints, v.Trials[0].Steps[0].DeadNS = 2, at
	v.Trials[0].Steps[0].Pods = []results.Pod{
		{
			Endpoints: 2, DeletedNS: at, TermNS: at, ClosedNS: at, EndpointsNS: at, RulesNS: at,
			ServedDeleted: new(int64(1)),
		},
		{Started: true, ListenNS: at, ReadyNS: at, RulesNS: at},
	}
	v.Trials[0].ConnectNS, v.Trials[0].FirstByteNS = p, p
	v.Trials[0].Steps[0].LostShare = new(0.5)
	// The metrics of shared ports need a trial in which no step changes the workers.
	v.Trials = append(v.Trials, &results.Trial{
		Valid: true, ControlPlane: "embedded",
		Workers: []results.Worker{{Accepted: 1}, {BindError: "EADDRINUSE"}},
	})
	for _, unit := range []string{"", "ns"} {
		for _, greatest := range []bool{false, true} {
			v.Trials = append(v.Trials, &results.Trial{Valid: true, Search: &results.Search{
				Setting: "server.backlog", Unit: unit, Greatest: greatest, Value: new(1.),
			}})
		}
	}
	v.Trials = append(v.Trials, &results.Trial{
		Valid: true, Concurrency: 5, ServedPerSecond: new(100.),
	})
	Fill(v)
	got := slices.Sorted(maps.Keys(v.Summary))
	var want []string
	for _, m := range metrics.All() {
		want = append(want, m.Name)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics of trials that have all of them (-registry +Summary):\n%s", diff)
	}
}

// The load's own failures count as lost, but not as dropped.
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
		metrics.DroppedPerRestart: 20. / 40,
		metrics.DropWindow:        20. / 40 / 2000 * 1e9,
		metrics.DroppedPerAttempt: 20. / 10_000,
		metrics.LostPerRestart:    50. / 40,
		metrics.LossWindow:        50. / 40 / 2000 * 1e9,
		metrics.LostPerAttempt:    70. / 10_000,
	} {
		if got := v.Summary[metric].Center; math.Abs(got-want) > 1e-9*want {
			t.Errorf("%s %v, want %v", metric, got, want)
		}
	}
	for metric, want := range map[string][]string{
		metrics.DroppedPerRestart: nil,
		metrics.LostPerRestart:    {"lost outside any restart: 20 more attempts"},
	} {
		if diff := cmp.Diff(want, v.Summary[metric].Warnings); diff != "" {
			t.Errorf("%s: warnings (-want +got):\n%s", metric, diff)
		}
	}
}

// Older runs did not store how many attempts a step dropped, or how many were never sent. Fill
// derives these numbers where it can.
func TestDroppedOfOldRuns(t *testing.T) {
	loss := func(step int, of string) results.Loss { return results.Loss{Step: &step, Cause: of} }
	unsent := results.LedgerRow{Client: "connect: unsent", Cause: cause.Client, Attempts: 2}
	for _, test := range []struct {
		name            string
		client          int64 // losses with cause client, of the 6 at the second step
		losses          []results.Loss
		omitted         int64
		ledger          []results.LedgerRow
		dropped, unsent int64 // -1: unknown
	}{
		{"none by the load", 0, nil, 4, nil, 6, 0},
		{
			"listed", 2,
			[]results.Loss{
				loss(1, cause.ResetAtClose), loss(1, cause.Client), {Cause: cause.Client},
			},
			0, []results.LedgerRow{unsent}, 5, 2,
		},
		{
			"aborts", 2, []results.Loss{loss(1, cause.Client), loss(1, cause.Client)}, 0,
			[]results.LedgerRow{{Client: "wait: local", Cause: cause.Client, Attempts: 2}}, 4, 0,
		},
		{
			"not all listed", 2, []results.Loss{loss(1, cause.Client)}, 1,
			[]results.LedgerRow{unsent}, -1, 2,
		},
		{"without a ledger", 2, nil, 2, nil, -1, -1},
	} {
		trial := resultstest.RestartTrial(0, 6)
		trial.Dropped -= test.client
		trial.Losses, trial.LossesOmitted, trial.Ledger = test.losses, test.omitted, test.ledger
		known := test.dropped >= 0
		if got, ok := trial.StepDropped(1); ok != known || ok && got != test.dropped {
			t.Errorf("%s: step 1 dropped %d, %t; want %d", test.name, got, ok, test.dropped)
		}
		if got, ok := trial.Unsent(); ok != (test.unsent >= 0) || ok && got != test.unsent {
			t.Errorf("%s: %d never sent, %t; want %d", test.name, got, ok, test.unsent)
		}
		v := &results.Variant{Trials: []*results.Trial{trial}}
		Fill(v)
		s, ok := v.Summary[metrics.DroppedPerRestart]
		if ok != known || ok && s.Center != float64(test.dropped)/2 {
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
	s := v.Summary[metrics.DroppedPerRestart]
	const warning = "only 1 of 2 valid trials have this figure"
	if s.Center != 2 || !slices.Contains(s.Warnings, warning) {
		t.Errorf("%v, warnings %q; want 2, of the known trial, and %q", s.Center, s.Warnings,
			warning)
	}
}

func TestWarnLag(t *testing.T) {
	warned := func(lagNS, p99NS int64) bool {
		v := &results.Variant{Trials: []*results.Trial{{
			Valid: true, Attempts: 1, ScheduleLagP99NS: &lagNS,
			ResponseNS: &results.Percentiles{P99: p99NS},
		}}}
		Fill(v)
		warnings := strings.Join(v.Summary["response_p99_ns"].Warnings, " ")
		return strings.Contains(warnings, "schedule lag")
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
