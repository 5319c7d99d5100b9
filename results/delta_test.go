package results

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/scenarios/vocabulary"
)

// blocks are trials with that p99 each, in blocks 0, 1, ….
func blocks(p99 ...int64) *Variant {
	v := &Variant{}
	for block, ns := range p99 {
		v.Trials = append(v.Trials, &Trial{Valid: true, Block: block, ResponseNS: &Percentiles{P99: ns}})
	}
	return v
}

// Blocks twice as slow as each other: the pairs' quotients all are 1.5, whatever the blocks did. A block of one only, an
// invalid trial and a value of 0 are left out.
func TestCompareIsByBlock(t *testing.T) {
	head, base := blocks(3, 6, 12, 24, 48, 96, 192, 1000, 1000, 1000), blocks(2, 4, 8, 16, 32, 64, 128, 1, 0)
	base.Trials[7].Valid = false
	got, ok := Compare(head, base, "response_p99_ns", Confidence)
	want := Summary{Center: 1.5, Lo: ptr(1.5), Hi: ptr(1.5), Confidence: 1 - 2*3./128, N: 7, Method: MethodSignedRank,
		Warnings: []string{"both are there in 7 of 10 blocks only"}}
	if diff := cmp.Diff(want, got.Change, near); !ok || diff != "" {
		t.Errorf("%v (-want +got):\n%s", ok, diff)
	}
	if want := 2. / 128; got.P != want || got.PAdjusted != want || !got.Paired || got.Outcome != DeltaWorse {
		t.Errorf("p %v, adjusted %v, want %v; paired %v, %s", got.P, got.PAdjusted, want, got.Paired, got.Outcome)
	}
}

func TestCompareNeedsBoth(t *testing.T) {
	shifted := blocks(1, 2)
	for _, trial := range shifted.Trials {
		trial.Block += 2
	}
	lossless := func(v *Variant) *Variant {
		for _, trial := range v.Trials {
			trial.Attempts = 100
		}
		return v
	}
	tests := []struct {
		name, metric string
		head, base   *Variant
	}{
		{"no base", "response_p99_ns", blocks(1), &Variant{}},
		{"no head", "response_p99_ns", &Variant{}, blocks(1)},
		{"base is 0", "response_p99_ns", blocks(1), blocks(0)},
		{"no block in common", "response_p99_ns", blocks(1, 2), shifted},
		{"no block in common, counted", MetricLostPerAttempt, lossless(blocks(1, 2)), lossless(shifted)},
		{"no restarts", MetricLostPerRestart, blocks(1), blocks(1)},
		{"only describes", MetricOffered, blocks(1), blocks(1)},
		{"unknown", "speed", blocks(1), blocks(1)},
	}
	for _, test := range tests {
		if d, ok := Compare(test.head, test.base, test.metric, Confidence); ok {
			t.Errorf("%s: got %+v", test.name, d)
		}
	}
}

// Which of the two is the base must not matter but for the sign, of ratios that of their logarithm.
func TestCompareIsSymmetric(t *testing.T) {
	a, b := blocks(103, 120, 95, 230, 111, 87, 140, 99), blocks(100, 100, 105, 200, 121, 80, 133, 110)
	for i, trials := range [][]*Trial{a.Trials, b.Trials} {
		for j, trial := range trials {
			trial.Attempts, trial.Lost = 1000, int64((i+1)*j)
			trial.Steps = []Step{{Do: vocabulary.StepReplace, Lost: trial.Lost,
				GapNS: trial.ResponseNS.P99}}
		}
	}
	for _, metric := range []string{"response_p99_ns", MetricGap, MetricLostPerRestart, MetricLostPerAttempt} {
		there, _ := Compare(a, b, metric, Confidence)
		back, _ := Compare(b, a, metric, Confidence)
		inverse := func(x float64) float64 { return -x }
		if there.Scale == ScaleRatio {
			inverse = func(x float64) float64 { return 1 / x }
		}
		got := []float64{back.Change.Center, *back.Change.Lo, *back.Change.Hi, back.P}
		want := []float64{inverse(there.Change.Center), inverse(*there.Change.Hi), inverse(*there.Change.Lo), there.P}
		if diff := cmp.Diff(want, got, near); diff != "" {
			t.Errorf("%s: center, lo, hi, p (-want +got):\n%s", metric, diff)
		}
		if there.P == 1 || !cmp.Equal(there.Base, back.Head) {
			t.Errorf("%s: p %v; base %+v, head the other way %+v", metric, there.P, there.Base, back.Head)
		}
	}
}

// Nothing lost against one in two restarts: 20 of 40, Poisson, see TestSummarizeRestarts.
func TestCompareCounts(t *testing.T) {
	head, base := &Variant{}, &Variant{}
	for block := range 10 {
		head.Trials = append(head.Trials, restartTrial(1, 0, 1, 0))
		base.Trials = append(base.Trials, restartTrial(0, 0, 0, 0))
		head.Trials[block].Block, base.Trials[block].Block = block, block
	}
	got, ok := Compare(head, base, MetricLostPerRestart, Confidence)
	if !ok || got.Scale != ScaleDifference || got.Outcome != DeltaWorse || math.Abs(got.P-math.Exp2(-19)) > 1e-12 {
		t.Errorf("got %v, %+v; want worse, p 2⁻¹⁹", ok, got)
	}
	// 3.688879/40 is the bound of nothing seen, of two sides; 12.21652 and 30.88838 are Garwood's limits of 20.
	want := Summary{Center: 0.5, Lo: ptr(0.5 - math.Hypot(0.5-12.21652/40, 3/40.*math.Log(0.025)/math.Log(0.05))), Hi: ptr(30.88838 / 40),
		Confidence: 0.95, N: 10, Method: MethodDifference}
	if diff := cmp.Diff(want, got.Change, near); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Where losses come in clusters the trials' own rates are compared, by rank; base and head are pooled all the same.
func TestCompareClusters(t *testing.T) {
	var base, head []tally
	for range 10 {
		base, head = append(base, ofRestarts(0, 0, 0, 0)), append(head, ofRestarts(1, 0, 1, 0))
	}
	head[0].counts[0] = 30
	byAttempt := countedPairs(single(0, 0, 0, 0, 0, 0), single(1, 2, 4, 8, 16, 32))
	for i, t := range byAttempt.head {
		t.Attempts = []int64{1000, 500, 250, 2000, 1000, 4000}[i]
	}
	tests := []struct {
		name, metric string
		sides        sides
		base, head   float64
		change       Summary
		p            float64
		outcome      string
	}{
		{
			// Differences of ½, nine times, and 7¾: of 55 Walsh averages the last ten are 4⅛, nine times, and 7¾. T = 8, of 25 subsets.
			"one cluster in blocks", MetricLostPerRestart, countedPairs(base, head), 0, 49. / 40,
			Summary{Center: 0.5, Lo: ptr(0.5), Hi: ptr(4.125), Confidence: 1 - 2*25./1024, N: 10, Method: MethodSignedRank}, 2. / 1024, DeltaWorse,
		},
		{
			"one cluster of the base", MetricLostPerRestart, countedPairs(head, base), 49. / 40, 0,
			Summary{Center: -0.5, Lo: ptr(-4.125), Hi: ptr(-0.5), Confidence: 1 - 2*25./1024, N: 10, Method: MethodSignedRank}, 2. / 1024, DeltaBetter,
		},
		{
			// Differences of 10, 20, 30, 40 and 50, five times each, cut at the third; see TestRankSum.
			"no pairs", MetricLostPerRestart, counted(single(0, 0, 0, 0, 0), single(10, 20, 30, 40, 50)), 0, 30,
			Summary{Center: 30, Lo: ptr(10.), Hi: ptr(50.), Confidence: 1 - 2*4./252, N: 5, Method: MethodRankSum}, 2. / 252, DeltaWorse,
		},
		{
			// 63 of 8750 attempts; of each trial 1, 4, 16, 4, 16 and 8 per 1000. Of 21 Walsh averages the 11th is 8½: before
			// it are 1, 2½, 2½, 4, 4, 4, 4½, 6, 6 and 8.
			"per attempt", MetricLostPerAttempt, byAttempt, 0, 63. / 8750,
			Summary{Center: 0.0085, Lo: ptr(0.001), Hi: ptr(0.016), Confidence: 1 - 2./64, N: 6, Method: MethodSignedRank}, 2. / 64, DeltaWorse,
		},
	}
	for _, test := range tests {
		got, ok := test.sides.compare(test.metric, Confidence)
		test.change.Warnings = []string{clusteredWarning}
		if diff := cmp.Diff(test.change, got.Change, near); !ok || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", test.name, ok, diff)
		}
		if math.Abs(got.P-test.p) > 1e-9 || got.Scale != ScaleDifference || got.Outcome != test.outcome {
			t.Errorf("%s: p %v, %s, %s; want %v of a difference, %s", test.name, got.P, got.Scale, got.Outcome, test.p, test.outcome)
		}
		if diff := cmp.Diff([]float64{test.base, test.head}, []float64{got.Base.Center, got.Head.Center}, near); diff != "" {
			t.Errorf("%s: base and head (-want +got):\n%s", test.name, diff)
		}
	}
}

func TestDispersed(t *testing.T) {
	tests := []struct {
		name   string
		trials []tally
		want   bool
	}{
		{"nothing lost", single(0, 0, 0), false},
		{"one count", single(9), false},
		{"1.25", single(0, 0, 0, 0, 0, 2, 2, 2, 2), false}, // 2 × zeros ÷ (n−1)
		{"1.56", single(0, 0, 0, 0, 0, 0, 0, 2, 2, 2), true},
		{"one trial of clusters", []tally{ofRestarts(0, 0, 0, 4)}, true},
		// Four per trial: between trials 0, within 48/15.
		{"within trials", []tally{ofRestarts(0, 0, 0, 4), ofRestarts(0, 0, 0, 4), ofRestarts(0, 0, 0, 4), ofRestarts(0, 0, 0, 4)}, true},
		// 0, 0, 8 and 8 by trial: 16/3, of restarts 16/15.
		{"between trials", []tally{ofRestarts(0, 0, 0, 0), ofRestarts(0, 0, 0, 0), ofRestarts(2, 2, 2, 2), ofRestarts(2, 2, 2, 2)}, true},
	}
	for _, test := range tests {
		if got := dispersed(test.trials); got != test.want {
			t.Errorf("%s: got %t", test.name, got)
		}
	}
}

// Base i, head j: their differences are 1, 2 … n², so that the ends are ranks. U is the largest that is significant, as in the
// tables since Mann & Whitney (1947), for example Siegel, Nonparametric Statistics, 1956, table K, two-sided 5 %.
func TestRankSumInterval(t *testing.T) {
	for n, u := range map[int]int{4: 0, 5: 2, 6: 5, 7: 8, 8: 13, 9: 17, 10: 23, 15: 64, 20: 127} {
		var base, head []float64
		for i := range n {
			base, head = append(base, float64(-n*i)), append(head, float64(i+1))
		}
		got, _ := rankSum(base, head, ScaleDifference, 0.95)
		if got.Lo == nil || *got.Lo != float64(u+1) || *got.Hi != float64(n*n-u) || got.Confidence < 0.95 {
			t.Errorf("%d and %d: got %v, want %d to %d", n, n, got, u+1, n*n-u)
		}
	}
	if got, _ := rankSum([]float64{1, 2, 3}, []float64{4, 5, 6}, ScaleDifference, 0.95); got.Lo != nil || len(got.Warnings) != 1 {
		t.Errorf("3 and 3: got %+v", got)
	}
}

func TestRankSum(t *testing.T) {
	tests := []struct {
		name, scale string
		base, head  []float64
		want        Summary
		p           float64
	}{
		{
			// Of C(10,5) = 252 orders two are as extreme; P(U ≤ 2) is 4/252. Differences 6, 7, 7 … 13, 13, 14.
			"apart", ScaleDifference, []float64{1, 2, 3, 4, 5}, []float64{11, 12, 13, 14, 15},
			Summary{Center: 10, Lo: ptr(7.), Hi: ptr(13.), Confidence: 1 - 2*4./252, N: 5, Method: MethodRankSum}, 2. / 252,
		},
		{
			// Quotients 100·2^(i−j), of which there are 1, 2, 3, 4, 5, 4, 3, 2, 1.
			"apart by a factor", ScaleRatio, []float64{1, 2, 4, 8, 16}, []float64{100, 200, 400, 800, 1600},
			Summary{Center: 100, Lo: ptr(12.5), Hi: ptr(800.), Confidence: 1 - 2*4./252, N: 5, Method: MethodRankSum}, 2. / 252,
		},
		{
			"all the same", ScaleDifference, []float64{3, 3, 3, 3}, []float64{3, 3, 3, 3},
			Summary{Center: 0, Lo: ptr(0.), Hi: ptr(0.), Confidence: 1 - 2./70, N: 4, Method: MethodRankSum}, 1,
		},
	}
	for _, test := range tests {
		got, p := rankSum(test.base, test.head, test.scale, 0.95)
		if diff := cmp.Diff(test.want, got, near); diff != "" || math.Abs(p-test.p) > 1e-9 {
			t.Errorf("%s: p %v, want %v (-want +got):\n%s", test.name, p, test.p, diff)
		}
	}
}

// single are trials of one restart each.
func single(counts ...int64) []tally {
	var trials []tally
	for _, c := range counts {
		trials = append(trials, ofRestarts(c))
	}
	return trials
}

// ofRestarts is a trial whose restarts lost these many.
func ofRestarts(counts ...int64) tally {
	return tally{counts, slices.Repeat([]float64{1}, len(counts))}
}

func TestPoissonP(t *testing.T) {
	of := func(count int64, units float64) []tally { return []tally{{[]int64{count}, []float64{units}}} }
	tests := []struct {
		name       string
		base, head []tally
		want       float64
	}{
		{"none of six", of(6, 1), of(0, 1), 2. / 64},
		{"all of six", of(0, 1), of(6, 1), 2. / 64},
		{"one of six", of(5, 1), of(1, 1), 2 * 7. / 64},
		{"half", of(3, 1), of(3, 1), 1},
		{"none at all", of(0, 1), of(0, 1), 1},
		{"none of two in three quarters of the exposure", of(2, 1), of(0, 3), 2. / 16},
		{"all of two in three quarters of it", of(0, 1), of(2, 3), 1},
		{"all of a hundred", of(0, 1), of(100, 1), math.Exp2(-99)},
	}
	for _, test := range tests {
		if got := poissonP(test.base, test.head); math.Abs(got/test.want-1) > 1e-9 {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
}

func TestDifference(t *testing.T) {
	rate := func(center, lo, hi float64) Summary {
		return Summary{Center: center, Lo: &lo, Hi: &hi, Confidence: 0.95, N: 9, Method: MethodPoisson}
	}
	none := Rate([]int64{0, 0}, []float64{50, 50}, 0.95)
	tests := []struct {
		name       string
		head, base Summary
		lo, hi     float64
	}{
		{"by hand", rate(5, 3, 9), rate(2, 1, 4), 3 - math.Sqrt(2*2+2*2), 3 + math.Sqrt(4*4+1*1)},
		// Nothing seen has one side; of two, at 2.5 %, the bound is −ln 0.025 = 3.688879 (3.694 from the rule's 3 for 2.996).
		{"base without event", rate(0.1, 0.05, 0.2), none, 0.1 - math.Hypot(0.05, 0.0369413), 0.2},
		{"neither with event", none, none, -0.0369413, 0.0369413},
	}
	for _, test := range tests {
		got := difference(test.head, test.base, 0.95)
		want := Summary{Center: test.head.Center - test.base.Center, Lo: &test.lo, Hi: &test.hi, Confidence: 0.95, N: test.head.N, Method: MethodDifference}
		if diff := cmp.Diff(want, got, near); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
	alone := Rate([]int64{3}, []float64{1}, 0.95)
	if got := difference(alone, none, 0.95); got.Lo != nil || got.Center != 3 || len(got.Warnings) != 1 {
		t.Errorf("one side without interval: got %+v", got)
	}
}

// Over trials from six of them on, else over restarts. N is restarts either way.
func TestClusteredRate(t *testing.T) {
	none, all := ofRestarts(0, 0, 0, 0), ofRestarts(2, 2, 2, 2)
	of := func(n int, rest ...tally) []tally { return append(slices.Repeat([]tally{none}, n), rest...) }
	overRestarts := Rate(append(make([]int64, 16), 2, 2, 2, 2), slices.Repeat([]float64{1}, 20), 0.95)
	overRestarts.Warnings = []string{"5 trials only: the interval takes their restarts for independent"}
	lo, hi := garwood(24, 0.025)
	tests := []struct {
		name   string
		trials []tally
		want   Summary
	}{
		{
			// φ is 8, so they are one event, see TestRate. Student's t with 5 degrees of freedom is 2.570582 at 97.5 %, beyond which a
			// normal has 5.0765·10⁻³.
			"six", of(5, all),
			Summary{Center: 1. / 3, Lo: ptr(0.00508932 * 8 / 24), Hi: ptr(7.412924 * 8 / 24), Confidence: 0.95, N: 24, Method: MethodQuasiPoisson},
		},
		{"five", of(4, all), overRestarts},
		// Restarts of 0 and 2 have a dispersion of 24/23, trials one of 0.
		{"six, alike", slices.Repeat([]tally{ofRestarts(0, 2, 0, 2)}, 6),
			Summary{Center: 1, Lo: ptr(lo / 24), Hi: ptr(hi / 24), Confidence: 0.95, N: 24, Method: MethodPoisson}},
		{"five, nothing lost", of(5), Summary{Lo: ptr(0.), Hi: ptr(3. / 20), Confidence: 0.95, N: 20, Method: MethodRuleOfThree}},
		{"five, of one restart each", single(1, 0, 4, 0, 2), Rate([]int64{1, 0, 4, 0, 2}, []float64{1, 1, 1, 1, 1}, 0.95)},
	}
	for _, test := range tests {
		if diff := cmp.Diff(test.want, clusteredRate(test.trials, 0.95), near); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

// The example of en.wikipedia.org/wiki/Holm–Bonferroni_method: of 0.01, 0.04, 0.03 and 0.005 the first and the last are rejected.
func TestDecideAdjusts(t *testing.T) {
	var family []*Delta
	for _, p := range []float64{0.01, 0.04, 0.03, 0.005} {
		family = append(family, &Delta{Metric: MetricGap, Scale: ScaleDifference, P: p, Change: Summary{Center: 1}})
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
	if diff := cmp.Diff([]string{DeltaWorse, DeltaNone, DeltaNone, DeltaWorse}, outcomes); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	large := []*Delta{{P: 0.6}, {P: 0.7}}
	Decide(large)
	if large[0].PAdjusted != 1 || large[1].PAdjusted != 1 {
		t.Errorf("adjusted p %v and %v, want 1", large[0].PAdjusted, large[1].PAdjusted)
	}
}

// Of 10 pairs with an interval twice as wide as it may be, 40 would do. A p of 0.1 is 1.645
// standard deviations, and 0.032 2.144: (2.144 ÷ 1.645)² = 1.70 times as many; among two
// comparisons 0.016, which is 2.409: 2.14 times.
func TestVerdict(t *testing.T) {
	delta := func(scale string, p, threshold, center, lo, hi float64, n int) *Delta {
		d := &Delta{Metric: MetricGap, Scale: scale, P: p, Threshold: threshold, Change: Summary{Center: center, N: n}}
		d.Change.interval(lo, hi, Confidence, MethodSignedRank)
		return d
	}
	bare := &Delta{Metric: MetricGap, Scale: ScaleDifference, P: 0.5, Threshold: 1, Change: Summary{Center: 0.1, N: 3}}
	none := delta(ScaleDifference, 1, 0.05, 0, -0.1, 0.1, 30)
	none.Base.Method, none.Head.Method = MethodRuleOfThree, MethodRuleOfThree
	clusters := delta(ScaleDifference, 1, 0.05, 0, 0, 0, 22)
	clusters.Change.warn(clusteredWarning)
	far := delta(ScaleRatio, 0.1, 0.1, math.Exp(0.2), math.Exp(-0.1), math.Exp(0.5), 10)
	for _, test := range []struct {
		name   string
		family []*Delta // the first is looked at
		want   string
		more   *int
	}{
		{"within", []*Delta{delta(ScaleDifference, 0.3, 1, 0.1, -0.9, 0.9, 10)}, VerdictSame, nil},
		{"at the threshold", []*Delta{delta(ScaleDifference, 0.3, 1, 0, -1, 0.9, 10)}, VerdictUnknown, ptr(1)},
		{"no change at all, and any matters", []*Delta{delta(ScaleDifference, 1, 0, 0, 0, 0, 10)}, VerdictSame, nil},
		{"a difference that does not matter", []*Delta{delta(ScaleRatio, 0.001, 0.1, 1.03, 1.01, 1.05, 10)}, VerdictSame, nil},
		{"a ratio and its inverse", []*Delta{delta(ScaleRatio, 1, 0.1, 1, 1/1.21, 1.21, 10)}, VerdictUnknown, ptr(30)},
		{"two digits", []*Delta{delta(ScaleDifference, 1, 1, 0, -3.5, 3.5, 20)}, VerdictUnknown, ptr(230)},
		{"off the middle", []*Delta{delta(ScaleDifference, 0.5, 1, 0.5, -0.4, 1.5, 10)}, VerdictUnknown, ptr(30)},
		{"beyond", []*Delta{far}, VerdictUnknown, ptr(7)},
		{"beyond, one of two", []*Delta{delta(ScaleRatio, 0.1, 0.1, math.Exp(0.2), math.Exp(-0.1), math.Exp(0.5), 10), {P: 0.9}}, VerdictUnknown, ptr(12)},
		{"none seen on either side", []*Delta{none}, VerdictUnknown, ptr(30)},
		{"the typical trial loses as much", []*Delta{clusters}, VerdictUnknown, nil},
		{"no interval", []*Delta{bare}, VerdictUnknown, nil},
		{"more than anyone makes", []*Delta{delta(ScaleDifference, 1, 1, 0, -40, 40, 10)}, VerdictUnknown, nil},
		{"worse", []*Delta{delta(ScaleDifference, 0.001, 1, 2, 1.5, 2.5, 10)}, DeltaWorse, nil},
	} {
		Decide(test.family)
		d := test.family[0]
		if d.Verdict != test.want || cmp.Diff(test.more, d.MoreTrials) != "" {
			t.Errorf("%s: got %s, want %s; more trials (-want +got):\n%s", test.name, d.Verdict, test.want, cmp.Diff(test.more, d.MoreTrials))
		}
		if told := d.Outcome != DeltaNone; told != (d.Verdict == d.Outcome) {
			t.Errorf("%s: outcome %s, verdict %s", test.name, d.Outcome, d.Verdict)
		}
	}
}

// Sides that were offered rates more than 5 % apart are not like for like, unless the rate is what
// was found out.
func TestUnlike(t *testing.T) {
	variant := func(rate float64, search *Search) *Variant {
		trial := restartTrial(0)
		trial.OfferedPerSecond, trial.Search = rate, search
		return &Variant{Trials: []*Trial{trial}}
	}
	for _, test := range []struct {
		head, base *Variant
		want       string
	}{
		{variant(1000, nil), variant(1050, nil), ""},
		{variant(264, nil), variant(529, nil), "it was offered 264/s, and what it is compared with 529/s;"},
		{variant(529, nil), variant(264, nil), "it was offered 529/s, and what it is compared with 264/s;"},
		{variant(0, nil), variant(264, nil), ""},
		{variant(529, &Search{PerSecond: 529}), variant(264, &Search{PerSecond: 264}), ""},
	} {
		d, ok := Compare(test.head, test.base, "response_p99_ns", Confidence)
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
		{"response_p50_ns", ScaleRatio, 0.01, 1.06, 0.05, DeltaWorse},
		{"response_p50_ns", ScaleRatio, 0.01, 1.04, 0.05, DeltaNone},
		{"response_p50_ns", ScaleRatio, 0.06, 2, 0.05, DeltaNone},
		{"response_p50_ns", ScaleRatio, 0.01, 1 / 1.06, 0.05, DeltaBetter},
		{"response_p50_ns", ScaleRatio, 0.01, 0.955, 0.05, DeltaNone}, // 1/1.047
		{MetricHighestRate, ScaleRatio, 0.01, 1.06, 0.05, DeltaBetter},
		{MetricHighestRate, ScaleRatio, 0.01, 1 / 1.06, 0.05, DeltaWorse},
		{MetricGap, ScaleDifference, 0.01, 1e6, 1e6, DeltaWorse},
		{MetricGap, ScaleDifference, 0.01, 0.9e6, 1e6, DeltaNone},
		{MetricGap, ScaleDifference, 0.01, -2e6, 1e6, DeltaBetter},
		{MetricJain, ScaleDifference, 0.01, 0.03, 0.02, DeltaBetter},
		{MetricJain, ScaleDifference, 0.01, -0.03, 0.02, DeltaWorse},
		{MetricOffered, ScaleRatio, 0.01, 2, 0.05, DeltaDiffers}, // neither is better
	}
	for _, test := range tests {
		d := Delta{Metric: test.metric, Scale: test.scale, P: test.p, Threshold: test.matter, Change: Summary{Center: test.center}}
		Decide([]*Delta{&d})
		if d.Outcome != test.want {
			t.Errorf("%s %s %v, p %v: got %s, want %s", test.metric, test.scale, test.center, test.p, d.Outcome, test.want)
		}
	}
}
