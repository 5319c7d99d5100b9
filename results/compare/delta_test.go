package compare

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"reuseport-bench/results"
	"reuseport-bench/results/metrics"
	"reuseport-bench/results/resultstest"
	"reuseport-bench/results/stats"
	"reuseport-bench/scenarios/vocabulary"
)

// blocks returns a variant with one trial per block, numbered from 0. The trials have these p99.
func blocks(p99 ...int64) *results.Variant {
	v := &results.Variant{}
	for block, ns := range p99 {
		v.Trials = append(v.Trials, &results.Trial{
			Valid: true, Block: block, ResponseNS: &results.Percentiles{P99: ns},
		})
	}
	return v
}

// Each block is twice as slow as the previous one, but the quotient of every pair is 1.5. Blocks
// with only one variant, invalid trials and values of 0 are left out.
func TestCompareIsByBlock(t *testing.T) {
	head := blocks(3, 6, 12, 24, 48, 96, 192, 1000, 1000, 1000)
	base := blocks(2, 4, 8, 16, 32, 64, 128, 1, 0)
	base.Trials[7].Valid = false
	got, ok := Variants(head, base, "response_p99_ns", stats.Confidence)
	want := results.Summary{Center: 1.5, Lo: new(1.5), Hi: new(1.5), Confidence: 1 - 2*3./128, N: 7,
		Method:   results.MethodSignedRank,
		Warnings: []string{"only 7 of 10 blocks have both"}}
	if diff := cmp.Diff(want, got.Change, near); !ok || diff != "" {
		t.Errorf("%v (-want +got):\n%s", ok, diff)
	}
	if want := 2. / 128; got.P != want || got.PAdjusted != want || !got.Paired ||
		got.Outcome != results.DeltaWorse {
		t.Errorf("p %v, adjusted %v, want %v; paired %v, %s", got.P, got.PAdjusted, want,
			got.Paired, got.Outcome)
	}
}

func TestCompareNeedsBoth(t *testing.T) {
	shifted := blocks(1, 2)
	for _, trial := range shifted.Trials {
		trial.Block += 2
	}
	lossless := func(v *results.Variant) *results.Variant {
		for _, trial := range v.Trials {
			trial.Attempts = 100
		}
		return v
	}
	tests := []struct {
		name, metric string
		head, base   *results.Variant
	}{
		{"no base", "response_p99_ns", blocks(1), &results.Variant{}},
		{"no head", "response_p99_ns", &results.Variant{}, blocks(1)},
		{"base is 0", "response_p99_ns", blocks(1), blocks(0)},
		{"no block in common", "response_p99_ns", blocks(1, 2), shifted},
		{
			"no block in common, counted", metrics.LostPerAttempt, lossless(blocks(1, 2)),
			lossless(shifted),
		},
		{"no restarts", metrics.LostPerRestart, blocks(1), blocks(1)},
		{"only describes", metrics.Offered, blocks(1), blocks(1)},
		{"unknown", "speed", blocks(1), blocks(1)},
	}
	for _, test := range tests {
		if d, ok := Variants(test.head, test.base, test.metric, stats.Confidence); ok {
			t.Errorf("%s: got %+v", test.name, d)
		}
	}
}

// Swapping base and head changes only the sign of a difference, or of the logarithm of a ratio.
func TestCompareIsSymmetric(t *testing.T) {
	a := blocks(103, 120, 95, 230, 111, 87, 140, 99)
	b := blocks(100, 100, 105, 200, 121, 80, 133, 110)
	for i, trials := range [][]*results.Trial{a.Trials, b.Trials} {
		for j, trial := range trials {
			trial.Attempts, trial.Lost = 1000, int64((i+1)*j)
			trial.Steps = []results.Step{
				{Do: "replace", Lost: trial.Lost, GapNS: &trial.ResponseNS.P99},
			}
		}
	}
	for _, metric := range []string{
		"response_p99_ns", metrics.Gap, metrics.LostPerRestart, metrics.LostPerAttempt,
	} {
		there, _ := Variants(a, b, metric, stats.Confidence)
		back, _ := Variants(b, a, metric, stats.Confidence)
		inverse := func(x float64) float64 { return -x }
		if there.Scale == results.ScaleRatio {
			inverse = func(x float64) float64 { return 1 / x }
		}
		got := []float64{back.Change.Center, *back.Change.Lo, *back.Change.Hi, back.P}
		want := []float64{
			inverse(there.Change.Center), inverse(*there.Change.Hi), inverse(*there.Change.Lo),
			there.P,
		}
		if diff := cmp.Diff(want, got, near); diff != "" {
			t.Errorf("%s: center, lo, hi, p (-want +got):\n%s", metric, diff)
		}
		if there.P == 1 || !cmp.Equal(there.Base, back.Head) {
			t.Errorf("%s: p %v; base %+v, as head %+v", metric, there.P, there.Base, back.Head)
		}
	}
}

// The base loses nothing. The head loses one attempt in every second restart, 20 in 40 restarts, so
// its losses count as Poisson; see TestSummarizeRestarts.
func TestCompareCounts(t *testing.T) {
	head, base := &results.Variant{}, &results.Variant{}
	for block := range 10 {
		head.Trials = append(head.Trials, resultstest.RestartTrial(1, 0, 1, 0))
		base.Trials = append(base.Trials, resultstest.RestartTrial(0, 0, 0, 0))
		head.Trials[block].Block, base.Trials[block].Block = block, block
	}
	got, ok := Variants(head, base, metrics.LostPerRestart, stats.Confidence)
	if !ok || got.Scale != results.ScaleDifference || got.Outcome != results.DeltaWorse ||
		math.Abs(got.P-math.Exp2(-19)) > 1e-12 {
		t.Errorf("got %v, %+v; want worse, p 2⁻¹⁹", ok, got)
	}
	// 3.688879/40 is the two-sided bound for no events; 12.21652 and 30.88838 are Garwood's limits
	// for 20.
	lo := 0.5 - math.Hypot(0.5-12.21652/40, 3/40.*math.Log(0.025)/math.Log(0.05))
	want := results.Summary{
		Center: 0.5, Lo: &lo, Hi: new(30.88838 / 40),
		Confidence: 0.95, N: 10, Method: results.MethodDifference,
	}
	if diff := cmp.Diff(want, got.Change, near); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// If losses come in clusters, the rates of the trials are compared by rank. The figures of base and
// head are still pooled over the trials.
func TestCompareClusters(t *testing.T) {
	var base, head []metrics.Tally
	for range 10 {
		base, head = append(base, ofRestarts(0, 0, 0, 0)), append(head, ofRestarts(1, 0, 1, 0))
	}
	head[0].Counts[0] = 30
	byAttempt := countedPairs(single(0, 0, 0, 0, 0, 0), single(1, 2, 4, 8, 16, 32))
	for i, t := range byAttempt.head {
		t.Attempts = []int64{1000, 500, 250, 2000, 1000, 4000}[i]
	}
	tests := []struct {
		name, metric string
		sides        sides
		base, head   float64
		change       results.Summary
		p            float64
		outcome      string
	}{
		{
			// Nine differences are ½ and one is 7¾. Of the 55 Walsh averages, the last ten are nine
			// of 4⅛ and one of 7¾. T is 8, and 25 subsets of the ranks have a sum of at most 8.
			"one cluster in blocks", metrics.LostPerRestart, countedPairs(base, head), 0, 49. / 40,
			results.Summary{
				Center: 0.5, Lo: new(0.5), Hi: new(4.125), Confidence: 1 - 2*25./1024, N: 10,
				Method: results.MethodSignedRank,
			},
			2. / 1024, results.DeltaWorse,
		},
		{
			"one cluster in the base", metrics.LostPerRestart, countedPairs(head, base), 49. / 40,
			0,
			results.Summary{
				Center: -0.5, Lo: new(-4.125), Hi: new(-0.5), Confidence: 1 - 2*25./1024, N: 10,
				Method: results.MethodSignedRank,
			},
			2. / 1024, results.DeltaBetter,
		},
		{
			// The differences are 10, 20, 30, 40 and 50, five times each. The ends are the third
			// from below and from above; see TestRankSumInterval.
			"no pairs", metrics.LostPerRestart,
			counted(single(0, 0, 0, 0, 0), single(10, 20, 30, 40, 50)), 0, 30,
			results.Summary{
				Center: 30, Lo: new(10.), Hi: new(50.), Confidence: 1 - 2*4./252, N: 5,
				Method: results.MethodRankSum,
			},
			2. / 252, results.DeltaWorse,
		},
		{
			// 63 of 8750 attempts were lost. Per thousand, the trials lost 1, 4, 16, 4, 16 and 8.
			// The 11th of the 21 Walsh averages is 8½, after 1, 2½, 2½, 4, 4, 4, 4½, 6, 6 and 8.
			"per attempt", metrics.LostPerAttempt, byAttempt, 0, 63. / 8750,
			results.Summary{
				Center: 0.0085, Lo: new(0.001), Hi: new(0.016), Confidence: 1 - 2./64, N: 6,
				Method: results.MethodSignedRank,
			},
			2. / 64, results.DeltaWorse,
		},
	}
	for _, test := range tests {
		got, ok := test.sides.compare(test.metric, stats.Confidence)
		test.change.Warnings = []string{clusteredWarning}
		if diff := cmp.Diff(test.change, got.Change, near); !ok || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", test.name, ok, diff)
		}
		if math.Abs(got.P-test.p) > 1e-9 || got.Scale != results.ScaleDifference ||
			got.Outcome != test.outcome {
			t.Errorf("%s: p %v, %s, %s; want %v of a difference, %s", test.name, got.P, got.Scale,
				got.Outcome, test.p, test.outcome)
		}
		want := []float64{test.base, test.head}
		centers := []float64{got.Base.Center, got.Head.Center}
		if diff := cmp.Diff(want, centers, near); diff != "" {
			t.Errorf("%s: base and head (-want +got):\n%s", test.name, diff)
		}
	}
}

func TestDispersed(t *testing.T) {
	tests := []struct {
		name   string
		trials []metrics.Tally
		want   bool
	}{
		{"nothing lost", single(0, 0, 0), false},
		{"one count", single(9), false},
		{"1.25", single(0, 0, 0, 0, 0, 2, 2, 2, 2), false}, // the dispersion is 2 × zeros ÷ (n−1)
		{"1.56", single(0, 0, 0, 0, 0, 0, 0, 2, 2, 2), true},
		{"one trial of clusters", []metrics.Tally{ofRestarts(0, 0, 0, 4)}, true},
		// Every trial lost four. The dispersion between trials is 0, within trials 48/15.
		{
			"within trials",
			[]metrics.Tally{
				ofRestarts(0, 0, 0, 4), ofRestarts(0, 0, 0, 4), ofRestarts(0, 0, 0, 4),
				ofRestarts(0, 0, 0, 4),
			},
			true,
		},
		// The trials lost 0, 0, 8 and 8. The dispersion over trials is 16/3, over restarts 16/15.
		{
			"between trials",
			[]metrics.Tally{
				ofRestarts(0, 0, 0, 0), ofRestarts(0, 0, 0, 0), ofRestarts(2, 2, 2, 2),
				ofRestarts(2, 2, 2, 2),
			},
			true,
		},
	}
	for _, test := range tests {
		if got := dispersed(test.trials); got != test.want {
			t.Errorf("%s: got %t", test.name, got)
		}
	}
}

// single returns one trial per count, with one restart each.
func single(counts ...int64) []metrics.Tally {
	var trials []metrics.Tally
	for _, c := range counts {
		trials = append(trials, ofRestarts(c))
	}
	return trials
}

// ofRestarts returns a trial whose restarts lost these numbers of attempts.
func ofRestarts(counts ...int64) metrics.Tally {
	return metrics.Tally{Counts: counts, Exposure: slices.Repeat([]float64{1}, len(counts))}
}

// The example is from en.wikipedia.org/wiki/Holm–Bonferroni_method: of 0.01, 0.04, 0.03 and 0.005,
// the first and the last are rejected.
func TestDecideAdjusts(t *testing.T) {
	var family []*results.Delta
	for _, p := range []float64{0.01, 0.04, 0.03, 0.005} {
		family = append(family, &results.Delta{
			Metric: metrics.Gap, Scale: results.ScaleDifference, P: p,
			Change: results.Summary{Center: 1},
		})
	}
	Decide(family)
	var got []float64
	var outcomes []string
	for _, d := range family {
		got, outcomes = append(got, d.PAdjusted), append(outcomes, d.Outcome)
	}
	if diff := cmp.Diff([]float64{0.03, 0.06, 0.06, 0.02}, got, near); diff != "" {
		t.Errorf("adjusted p (-want +got):\n%s", diff)
	}
	want := []string{results.DeltaWorse, results.DeltaNone, results.DeltaNone, results.DeltaWorse}
	if diff := cmp.Diff(want, outcomes); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	large := []*results.Delta{{P: 0.6}, {P: 0.7}}
	Decide(large)
	if large[0].PAdjusted != 1 || large[1].PAdjusted != 1 {
		t.Errorf("adjusted p %v and %v, want 1", large[0].PAdjusted, large[1].PAdjusted)
	}
}

// TestVerdict checks the numbers of further pairs, which were computed by hand. If the interval of
// 10 pairs is twice as wide as allowed, 40 pairs are enough. A p of 0.1 is 1.645 standard
// deviations and 0.032 is 2.144, so (2.144 ÷ 1.645)² = 1.70 times as many pairs are enough. With
// two comparisons the limit is 0.016, which is 2.409, so 2.14 times as many are.
func TestVerdict(t *testing.T) {
	delta := func(scale string, p, threshold, center, lo, hi float64, n int) *results.Delta {
		d := &results.Delta{
			Metric: metrics.Gap, Scale: scale, P: p, Threshold: threshold,
			Change: results.Summary{Center: center, N: n},
		}
		d.Change.Bound(lo, hi, stats.Confidence, results.MethodSignedRank)
		return d
	}
	bare := &results.Delta{
		Metric: metrics.Gap, Scale: results.ScaleDifference, P: 0.5, Threshold: 1,
		Change: results.Summary{Center: 0.1, N: 3},
	}
	none := delta(results.ScaleDifference, 1, 0.05, 0, -0.1, 0.1, 30)
	none.Base.Method, none.Head.Method = results.MethodRuleOfThree, results.MethodRuleOfThree
	clusters := delta(results.ScaleDifference, 1, 0.05, 0, 0, 0, 22)
	clusters.Change.Warn(clusteredWarning)
	far := delta(results.ScaleRatio, 0.1, 0.1, math.Exp(0.2), math.Exp(-0.1), math.Exp(0.5), 10)
	for _, test := range []struct {
		name   string
		family []*results.Delta // the test checks the first delta
		want   string
		more   *int
	}{
		{
			"within", []*results.Delta{delta(results.ScaleDifference, 0.3, 1, 0.1, -0.9, 0.9, 10)},
			results.VerdictSame, nil,
		},
		{
			"at the threshold",
			[]*results.Delta{delta(results.ScaleDifference, 0.3, 1, 0, -1, 0.9, 10)},
			results.VerdictUnknown, new(1),
		},
		{
			"no change, threshold 0",
			[]*results.Delta{delta(results.ScaleDifference, 1, 0, 0, 0, 0, 10)},
			results.VerdictSame, nil,
		},
		{
			"a difference that does not matter",
			[]*results.Delta{delta(results.ScaleRatio, 0.001, 0.1, 1.03, 1.01, 1.05, 10)},
			results.VerdictSame, nil,
		},
		{
			"a ratio and its inverse",
			[]*results.Delta{delta(results.ScaleRatio, 1, 0.1, 1, 1/1.21, 1.21, 10)},
			results.VerdictUnknown, new(30),
		},
		{
			"two digits", []*results.Delta{delta(results.ScaleDifference, 1, 1, 0, -3.5, 3.5, 20)},
			results.VerdictUnknown, new(230),
		},
		{
			"off the middle",
			[]*results.Delta{delta(results.ScaleDifference, 0.5, 1, 0.5, -0.4, 1.5, 10)},
			results.VerdictUnknown, new(30),
		},
		{"beyond", []*results.Delta{far}, results.VerdictUnknown, new(7)},
		{
			"beyond, one of two",
			[]*results.Delta{
				delta(results.ScaleRatio, 0.1, 0.1, math.Exp(0.2), math.Exp(-0.1),
					math.Exp(0.5), 10),
				{P: 0.9},
			},
			results.VerdictUnknown, new(12),
		},
		{"none seen on either side", []*results.Delta{none}, results.VerdictUnknown, new(30)},
		{
			"the typical trial loses as much", []*results.Delta{clusters}, results.VerdictUnknown,
			nil,
		},
		{"no interval", []*results.Delta{bare}, results.VerdictUnknown, nil},
		{
			"more than MaxMore",
			[]*results.Delta{delta(results.ScaleDifference, 1, 1, 0, -40, 40, 10)},
			results.VerdictUnknown, nil,
		},
		{
			"worse", []*results.Delta{delta(results.ScaleDifference, 0.001, 1, 2, 1.5, 2.5, 10)},
			results.DeltaWorse, nil,
		},
	} {
		Decide(test.family)
		d := test.family[0]
		if d.Verdict != test.want || cmp.Diff(test.more, d.MoreTrials) != "" {
			t.Errorf("%s: got %s, want %s; more trials (-want +got):\n%s", test.name, d.Verdict,
				test.want, cmp.Diff(test.more, d.MoreTrials))
		}
		if differs := d.Outcome != results.DeltaNone; differs != (d.Verdict == d.Outcome) {
			t.Errorf("%s: outcome %s, verdict %s", test.name, d.Outcome, d.Verdict)
		}
	}
}

// Two sides are not comparable if their offered rates differ by more than 5 %, unless a search
// found the rates, or if their steps started workers in different ways. In older runs all workers
// started cold.
func TestUnlike(t *testing.T) {
	variant := func(rate float64, search *results.Search) *results.Variant {
		trial := resultstest.RestartTrial(0)
		trial.OfferedPerSecond, trial.Search = &rate, search
		return &results.Variant{Trials: []*results.Trial{trial}}
	}
	started := func(starts *results.Starts) *results.Variant {
		trial := resultstest.RestartTrial(0, 1)
		trial.Starts = starts
		return &results.Variant{Trials: []*results.Trial{trial}}
	}
	closed := func(clients int) *results.Variant {
		v := variant(0, nil)
		v.Trials[0].OfferedPerSecond, v.Trials[0].Concurrency = nil, clients
		return v
	}
	stepless := &results.Variant{Trials: []*results.Trial{resultstest.RestartTrial()}}
	parked := started(&results.Starts{Start: vocabulary.StartParked, Parked: 2})
	cold := started(&results.Starts{Start: vocabulary.StartCold, Cold: 2})
	for _, test := range []struct {
		head, base *results.Variant
		want       string
	}{
		{variant(1000, nil), variant(1050, nil), ""},
		{variant(264, nil), variant(529, nil), "it was offered 264/s, its counterpart 529/s;"},
		{variant(529, nil), variant(264, nil), "it was offered 529/s, its counterpart 264/s;"},
		{variant(0, nil), variant(264, nil), ""},
		{
			variant(529, &results.Search{PerSecond: 529}),
			variant(264, &results.Search{PerSecond: 264}), "",
		},
		{closed(67), closed(67), ""},
		{closed(67), closed(33), "its load was a closed loop of 67 clients, its counterpart's a " +
			"closed loop of 33 clients;"},
		{closed(1), variant(264, nil), "its load was a closed loop of 1 client, its " +
			"counterpart's an open loop;"},
		{parked, parked, ""},
		{started(nil), cold, ""},
		{parked, started(nil), "its steps started workers parked, its counterpart's cold;"},
		{cold, parked, "its steps started workers cold, its counterpart's parked;"},
		{parked, stepless, ""},
	} {
		d, ok := Variants(test.head, test.base, "response_p99_ns", stats.Confidence)
		if !ok || (d.Unlike == "") != (test.want == "") || !strings.Contains(d.Unlike, test.want) {
			t.Errorf("got %t, %q, want %q", ok, d.Unlike, test.want)
		}
	}
}

func TestDecideOutcome(t *testing.T) {
	tests := []struct {
		metric, scale     string
		p, center, matter float64
		want              string
	}{
		{"response_p50_ns", results.ScaleRatio, 0.01, 1.06, 0.05, results.DeltaWorse},
		{"response_p50_ns", results.ScaleRatio, 0.01, 1.04, 0.05, results.DeltaNone},
		{"response_p50_ns", results.ScaleRatio, 0.06, 2, 0.05, results.DeltaNone},
		{"response_p50_ns", results.ScaleRatio, 0.01, 1 / 1.06, 0.05, results.DeltaBetter},
		{"response_p50_ns", results.ScaleRatio, 0.01, 0.955, 0.05, results.DeltaNone}, // 1/1.047
		{metrics.HighestRate, results.ScaleRatio, 0.01, 1.06, 0.05, results.DeltaBetter},
		{metrics.HighestRate, results.ScaleRatio, 0.01, 1 / 1.06, 0.05, results.DeltaWorse},
		{metrics.Gap, results.ScaleDifference, 0.01, 1e6, 1e6, results.DeltaWorse},
		{metrics.Gap, results.ScaleDifference, 0.01, 0.9e6, 1e6, results.DeltaNone},
		{metrics.Gap, results.ScaleDifference, 0.01, -2e6, 1e6, results.DeltaBetter},
		{metrics.Jain, results.ScaleDifference, 0.01, 0.03, 0.02, results.DeltaBetter},
		{metrics.Jain, results.ScaleDifference, 0.01, -0.03, 0.02, results.DeltaWorse},
		// Neither direction is better.
		{metrics.Offered, results.ScaleRatio, 0.01, 2, 0.05, results.DeltaDiffers},
	}
	for _, test := range tests {
		d := results.Delta{
			Metric: test.metric, Scale: test.scale, P: test.p, Threshold: test.matter,
			Change: results.Summary{Center: test.center},
		}
		Decide([]*results.Delta{&d})
		if d.Outcome != test.want {
			t.Errorf("%s %s %v, p %v: got %s, want %s", test.metric, test.scale, test.center,
				test.p, d.Outcome, test.want)
		}
	}
}

// If trials lost nearly everything, the intervals of the shares end at 1.
func TestCompareLostShareIsAtMostAll(t *testing.T) {
	v := &results.Variant{}
	for i := range int64(8) {
		v.Trials = append(v.Trials, &results.Trial{Valid: true, Attempts: 100, Lost: 100 - i%2*80})
	}
	d, ok := Variants(v, v, metrics.LostPerAttempt, stats.Confidence)
	if !ok || *d.Base.Hi != 1 || *d.Head.Hi != 1 {
		t.Errorf("%+v", d)
	}
}

// near compares floats to six significant digits.
var near = cmpopts.EquateApprox(1e-6, 1e-6)
