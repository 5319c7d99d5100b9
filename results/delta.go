package results

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"

	"github.com/aclements/go-moremath/stats"
	"gonum.org/v1/gonum/stat/distuv"

	"reuseport-bench/results/cause"
)

// The outcomes of a Delta.
const (
	DeltaWorse   = "worse"
	DeltaBetter  = "better"
	DeltaDiffers = "differs" // of a metric that is neither
	// DeltaNone: no difference could be told, or none that matters.
	DeltaNone = "none"
)

// The verdicts of a Delta are its outcomes, with "none" told apart.
const (
	// VerdictSame: the whole interval lies within the threshold.
	VerdictSame = "same"
	// VerdictUnknown: the interval is too wide to tell, or there is none.
	VerdictUnknown = "unknown"
)

// Alpha is the probability with which a family of comparisons that do not differ may be said to, at most (Holm). Not 0.05: then 2.4 % of
// A/A comparisons of recorded trials alarmed, and one in fifty is what a gate is forgiven (TestSelfBankFalseAlarms). Nor less: four metrics
// of eight blocks that all agree have an adjusted p of 4·2/2⁸ = 0.03125.
const Alpha = 0.032

// A Delta is what a metric of one variant, the head, is against that of another, the base.
type Delta struct {
	Metric string  `json:"metric"`
	Scale  string  `json:"scale"`  // ratio | difference
	Base   Summary `json:"base"`   // each by itself
	Head   Summary `json:"head"`   //
	Change Summary `json:"change"` // head ÷ base, or head − base; n is blocks, or where the trials are no pairs those of the smaller side
	Paired bool    `json:"paired"` // by block
	// P is the probability of a change at least as large where nothing differs; PAdjusted is Holm's, over the comparisons of
	// the scenario.
	P         float64 `json:"p"`
	PAdjusted float64 `json:"p_adjusted"`
	// Threshold is the least change that matters: a share of the base, or for a difference the metric's unit.
	Threshold float64 `json:"threshold"`
	Outcome   string  `json:"outcome"`
	// Verdict is the outcome where that is not "none", else "same" or "unknown".
	Verdict string `json:"verdict"`
	// MoreTrials is about how many more blocks, or trials of the smaller side, would tell what is
	// unknown, if they vary as those seen; null: it is known, or nobody can tell.
	MoreTrials *int `json:"more_trials,omitempty"`
	// Unlike is why the two are not like for like, whatever the change; empty: nothing is known
	// against it.
	Unlike string `json:"unlike,omitempty"`
}

// Beyond reports whether the change, at its center, is one that matters.
func (d *Delta) Beyond() bool {
	if d.Scale == ScaleRatio {
		return math.Abs(math.Log(d.Change.Center)) >= math.Log1p(d.Threshold)
	}
	return math.Abs(d.Change.Center) >= d.Threshold
}

// decide sets the outcome from p_adjusted and the threshold, and the verdict from the outcome and
// the interval. holm is the factor by which the p was adjusted for its family.
func (d *Delta) decide(holm float64) {
	d.decideOutcome()
	d.judge(holm)
}

// judge sets the verdict.
func (d *Delta) judge(holm float64) {
	d.Verdict, d.MoreTrials = d.Outcome, nil
	switch {
	case d.Outcome != DeltaNone:
	case d.within():
		d.Verdict = VerdictSame
	default:
		d.Verdict, d.MoreTrials = VerdictUnknown, d.moreTrials(holm)
	}
}

// giveVerdict adds the verdict to a delta that was stored before there were any.
func (d *Delta) giveVerdict() {
	if d != nil && d.Verdict == "" {
		d.judge(d.PAdjusted / d.P)
	}
}

func (d *Delta) decideOutcome() {
	d.Outcome = DeltaNone
	if d.PAdjusted > Alpha || !d.Beyond() {
		return
	}
	kind, _ := KindOf(d.Metric)
	more := d.Change.Center > 0
	if d.Scale == ScaleRatio {
		more = d.Change.Center > 1
	}
	switch {
	case kind.Better == "":
		d.Outcome = DeltaDiffers
	case more == (kind.Better == Higher):
		d.Outcome = DeltaBetter
	default:
		d.Outcome = DeltaWorse
	}
}

// measured is the change with its interval as distances from no change, and the threshold, all in
// one scale: of ratios the logarithm, so that a ratio and its inverse are as far.
func (d *Delta) measured() (center, lo, hi, threshold float64) {
	center, lo, hi, threshold = d.Change.Center, *d.Change.Lo, *d.Change.Hi, d.Threshold
	if d.Scale == ScaleRatio {
		center, lo, hi, threshold = math.Log(center), math.Log(lo), math.Log(hi), math.Log1p(threshold)
	}
	return center, lo, hi, threshold
}

// within reports whether every change that the interval holds is smaller than one that matters.
func (d *Delta) within() bool {
	if d.Change.Lo == nil || d.Change.Hi == nil || d.clustered() {
		return false
	}
	_, lo, hi, threshold := d.measured()
	return lo == 0 && hi == 0 || -threshold < lo && hi < threshold
}

// clustered reports whether the change is that of a typical trial: however narrow, it does not show
// that as much is lost on either side.
func (d *Delta) clustered() bool { return slices.Contains(d.Change.Warnings, clusteredWarning) }

// maxMore is the largest number of further trials that is named: of more nobody would make them.
const maxMore = 10_000

// moreTrials is how many more would tell, if the center stays where it is: an interval shrinks with
// the root of their number, until it lies within the threshold, or its p is low enough for a change
// that matters.
func (d *Delta) moreTrials(holm float64) *int {
	if d.Change.Lo == nil || d.Change.Hi == nil || d.Change.N == 0 || d.clustered() && !d.Beyond() {
		return nil
	}
	center, lo, hi, threshold := d.measured()
	var shrink float64 // the part of its width at which the interval tells
	if d.Beyond() {
		shrink = distuv.UnitNormal.Quantile(1-d.P/2) / distuv.UnitNormal.Quantile(1-Alpha/holm/2)
	} else {
		shrink = min((threshold-center)/(hi-center), (threshold+center)/(center-lo))
	}
	enough := 1 / (shrink * shrink) // times as many
	if d.Base.Method == MethodRuleOfThree && d.Head.Method == MethodRuleOfThree {
		enough = 1 / shrink // while none is seen the bounds fall with the number itself
	}
	more := float64(d.Change.N) * (enough - 1)
	if !(shrink > 0) || !(more <= maxMore) {
		return nil
	}
	whole := max(1, int(math.Ceil(more)))
	// Two digits: "about" says no more.
	unit := int(math.Pow(10, max(0, math.Floor(math.Log10(float64(whole)))-1)))
	whole = (whole + unit - 1) / unit * unit
	return &whole
}

// Decide adjusts the p of deltas that are one family by Holm's method (Scand. J. Statist. 6 (1979) 65), and says how each came out.
func Decide(family []*Delta) {
	byP := slices.Clone(family)
	slices.SortStableFunc(byP, func(a, b *Delta) int { return cmp.Compare(a.P, b.P) })
	largest := 0.0
	for i, d := range byP {
		largest = max(largest, d.P*float64(len(byP)-i))
		d.PAdjusted = min(1, largest)
		d.decide(largest / d.P)
	}
}

// Compare compares a metric of a variant with that of another, by the trials that count: paired by block, which ran close together in
// time. See PairedRatio, and for losses compareCounts. The quotient of two medians would carry the drift of the machine between blocks.
// False: the metric cannot be compared, or no block has both. P is not yet adjusted, see Decide.
func Compare(head, base *Variant, metric string, level float64) (Delta, bool) {
	s := sides{base: base.ValidTrials(), head: head.ValidTrials()}
	s.pairs = pairsOf(s.base, s.head)
	return s.compare(metric, level)
}

// pairsOf are the trials of the same blocks, base first.
func pairsOf(base, head []*Trial) [][2]*Trial {
	of := map[int]*Trial{}
	for _, t := range base {
		of[t.Block] = t
	}
	pairs := [][2]*Trial{}
	for _, t := range head {
		if b := of[t.Block]; b != nil {
			pairs = append(pairs, [2]*Trial{b, t})
		}
	}
	return pairs
}

// sides are the trials that are compared.
type sides struct {
	base, head []*Trial
	pairs      [][2]*Trial // of trials that ran close together, base first; nil: there are no pairs
}

func (s sides) compare(metric string, level float64) (Delta, bool) {
	kind, ok := KindOf(metric)
	if !ok || s.pairs != nil && len(s.pairs) == 0 {
		return Delta{}, false
	}
	d := Delta{Metric: metric, Scale: kind.Scale, Threshold: kind.Threshold, Paired: s.pairs != nil}
	if kind.counts {
		ok = s.compareCounts(&d, level)
	} else {
		ok = s.compareValues(&d, level)
	}
	d.PAdjusted = d.P // alone it is a family of one
	d.decide(1)
	d.Unlike = s.unlike()
	return d, ok
}

// rateShare is by how much the offered rates of two sides may differ for a change not to be theirs.
const rateShare = 0.05

// unlike says where the two sides were not offered the same load. A searched rate is a result, and
// no reason.
func (s sides) unlike() string {
	offered := func(trials []*Trial) (rates []float64) {
		for _, t := range trials {
			if t.OfferedPerSecond > 0 && t.Search == nil {
				rates = append(rates, t.OfferedPerSecond)
			}
		}
		return rates
	}
	base, head := offered(s.base), offered(s.head)
	if len(base) == 0 || len(head) == 0 {
		return ""
	}
	b, h := Median(base, Confidence).Center, Median(head, Confidence).Center
	if max(b, h) <= (1+rateShare)*min(b, h) {
		return ""
	}
	return fmt.Sprintf("not like for like: it was offered %s/s, and what it is compared with %s/s; "+
		"more load by itself costs waiting and losses", Number(h), Number(b))
}

// Figure is the trial's one value of a metric; of one that counts, its own rate. False: it has none.
func (t *Trial) Figure(metric string) (float64, bool) {
	if kind, _ := KindOf(metric); kind.counts {
		one, ok := t.tally(metric)
		if !ok {
			return 0, false
		}
		return float64(one.count()) / one.units(), true
	}
	x, ok := t.Figures()[metric]
	return x, ok
}

// compareValues is for metrics of one value per trial.
func (s sides) compareValues(d *Delta, level float64) bool {
	value := func(t *Trial) (float64, bool) {
		x, ok := t.Figure(d.Metric)
		return x, ok && (d.Scale != ScaleRatio || x > 0)
	}
	values := func(trials []*Trial) (xs []float64) {
		for _, t := range trials {
			if x, ok := value(t); ok {
				xs = append(xs, x)
			}
		}
		return xs
	}
	base, head := values(s.base), values(s.head)
	if len(base) == 0 || len(head) == 0 {
		return false
	}
	d.Base, d.Head = Median(base, level), Median(head, level)
	if s.pairs == nil {
		d.Change, d.P = rankSum(base, head, d.Scale, level)
		return true
	}
	var changes []float64
	for _, pair := range s.pairs {
		b, okBase := value(pair[0])
		h, okHead := value(pair[1])
		switch {
		case !okBase || !okHead:
		case d.Scale == ScaleRatio:
			changes = append(changes, h/b)
		default:
			changes = append(changes, h-b)
		}
	}
	if len(changes) == 0 {
		return false
	}
	if d.Scale == ScaleRatio {
		d.Change, d.P = PairedRatio(changes, level)
	} else {
		d.Change, d.P = PairedDifference(changes, level)
	}
	if n := max(len(s.base), len(s.head)); len(changes) < n {
		d.Change.warn("both are there in %d of %s only", len(changes), Plural(n, "block"))
	}
	return true
}

// rankSum compares two samples that are not paired. The center is the median of all quotients, or differences, of one value of
// either (Hodges & Lehmann), the interval that of those which the Mann-Whitney test does not reject: the k-th from either end (Conover,
// Practical Nonparametric Statistics, 1999, §5.4). p is the test's.
func rankSum(base, head []float64, scale string, level float64) (Summary, float64) {
	apart := make([]float64, 0, len(base)*len(head))
	for _, h := range head {
		for _, b := range base {
			if scale == ScaleRatio {
				apart = append(apart, h/b)
			} else {
				apart = append(apart, h-b)
			}
		}
	}
	slices.Sort(apart)
	s := Summary{Center: middle(apart), N: min(len(base), len(head)), Method: MethodNone}
	u := stats.UDist{N1: len(base), N2: len(head)}
	k, reached := 0, 0.0
	if len(base)+len(head) > 2*exactPairs {
		n1, n2 := float64(len(base)), float64(len(head))
		normal := distuv.Normal{Mu: n1 * n2 / 2, Sigma: math.Sqrt(n1 * n2 * (n1 + n2 + 1) / 12)}
		k = max(0, int(math.Floor(normal.Quantile((1-level)/2))))
		reached = 1 - 2*normal.CDF(float64(k)-0.5)
	} else {
		covered := func(k int) float64 { return 1 - 2*u.CDF(float64(k-1)) } // each takes milliseconds: of 60 and 60 there would be 1400 one by one
		k = sort.Search(len(apart)/2, func(k int) bool { return covered(k+1) < level })
		if k > 0 {
			reached = covered(k)
		}
	}
	if k == 0 {
		s.warn("too few trials for a %.4g %% interval: %d and %d", 100*level, len(base), len(head))
	} else {
		s.interval(apart[k-1], apart[len(apart)-k], reached, MethodRankSum)
	}
	test, err := stats.MannWhitneyUTest(base, head, stats.LocationDiffers)
	if err != nil { // all values are the same
		return s, 1
	}
	return s, min(1, test.P)
}

// tally is what one trial counted of a metric: its clusters, and the exposure of each.
type tally struct {
	counts   []int64
	exposure []float64
}

// tally is false where the trial has no exposure, or its count is not known.
func (t *Trial) tally(metric string) (tally, bool) {
	switch metric {
	case MetricLostPerAttempt:
		return tally{[]int64{t.Lost}, []float64{float64(t.Attempts)}}, t.Attempts > 0
	case MetricDroppedPerAttempt:
		return tally{[]int64{t.Dropped}, []float64{float64(t.Attempts)}}, t.Attempts > 0
	case MetricResetAtClosePer:
		restarts := t.Restarts()
		return tally{[]int64{t.LostByCause[cause.ResetAtClose]}, []float64{float64(len(restarts))}}, len(restarts) > 0
	}
	var all tally
	for k := range t.Steps {
		if !t.Steps[k].restarts() {
			continue
		}
		n, ok := t.Steps[k].Lost, true
		if metric == MetricDroppedPerRestart {
			n, ok = t.StepDropped(k)
		}
		if !ok {
			return tally{}, false
		}
		all.counts, all.exposure = append(all.counts, n), append(all.exposure, 1)
	}
	return all, len(all.counts) > 0
}

// talliesOf are those of the trials that have one.
func talliesOf(trials []*Trial, metric string) (all []tally) {
	for _, t := range trials {
		if one, ok := t.tally(metric); ok {
			all = append(all, one)
		}
	}
	return all
}

func (t tally) count() int64   { return sum(t.counts) }
func (t tally) units() float64 { return sum(t.exposure) }

// fewTrials is below how many trials a rate per restart is over restarts: Student's t has tails of no use there.
const fewTrials = 6

// clusteredRate is Rate over trials, the unit of replication: restarts of one trial share that trial's luck. Of fewer than six it is over
// their restarts, and says so.
func clusteredRate(trials []tally, level float64) Summary {
	fine, coarse := clusters(trials), trialsOf(trials)
	if len(trials) >= fewTrials {
		s := Rate(coarse.counts, coarse.exposure, level)
		s.N = len(fine.counts)
		return s
	}
	s := Rate(fine.counts, fine.exposure, level)
	if len(fine.counts) > len(trials) && fine.count() > 0 {
		s.warn("%s only: the interval takes their restarts for independent", Plural(len(trials), "trial"))
	}
	return s
}

// countedRate is clusteredRate of a metric: what is per restart may be too few, what is per attempt
// is a share.
func countedRate(metric string, trials []tally, level float64) Summary {
	s := clusteredRate(trials, level)
	switch {
	case strings.HasSuffix(metric, "_per_restart"):
		s.markFew()
	case strings.HasSuffix(metric, "_per_attempt"):
		s.atMostOne()
	}
	return s
}

// clusters are the clusters of all trials, trialsOf each trial as one.
func clusters(trials []tally) (all tally) {
	for _, t := range trials {
		all.counts, all.exposure = append(all.counts, t.counts...), append(all.exposure, t.exposure...)
	}
	return all
}

func trialsOf(trials []tally) (all tally) {
	for _, t := range trials {
		all.counts, all.exposure = append(all.counts, t.count()), append(all.exposure, t.units())
	}
	return all
}

// compareCounts is for events per exposure. While they come alone on either side, the change is the difference of the rates, its interval
// made of each side's (MOVER: Zou & Donner, Statist. Med. 27 (2008) 1693), and p is exact, given how many there were in all
// (Przyborowski & Wilenski, Biometrika 31 (1940) 313). Where they come in clusters, one of which can outweigh all trials
// else, each trial has its own rate, and those are compared as other figures are, by rank: a permutation of the sums needed three times
// as many trials to find one more lost per restart (TestSelfBankPower).
func (s sides) compareCounts(d *Delta, level float64) bool {
	base, head := talliesOf(s.base, d.Metric), talliesOf(s.head, d.Metric)
	if len(base) == 0 || len(head) == 0 || s.pairs != nil && len(s.pairs) == 0 {
		return false
	}
	if dispersed(base) || dispersed(head) {
		ok := s.compareValues(d, level)
		d.Change.warn(clusteredWarning)
		d.Base, d.Head = countedRate(d.Metric, base, level), countedRate(d.Metric, head, level)
		return ok
	}
	d.Base, d.Head = countedRate(d.Metric, base, level), countedRate(d.Metric, head, level)
	d.Change = difference(d.Head, d.Base, level)
	d.Change.N = min(len(base), len(head))
	d.P = poissonP(base, head)
	return true
}

const clusteredWarning = "losses come in clusters: the change is that of a typical trial, and a rare trial that loses many is not seen in it"

// poissonDispersion is the largest index of dispersion at which counts are tested as Poisson.
const poissonDispersion = 1.3

// dispersed says that events come in clusters, within trials or by trial.
func dispersed(trials []tally) bool {
	over := func(t tally) bool {
		return t.count() > 0 && len(t.counts) > 1 && Dispersion(t.counts, t.exposure) > poissonDispersion
	}
	return over(clusters(trials)) || over(trialsOf(trials))
}

// difference is head − base, with an interval where both have one.
func difference(head, base Summary, level float64) Summary {
	d := Summary{Center: head.Center - base.Center, N: head.N, Method: MethodNone}
	lo1, hi1, ok1 := bounds(base, level)
	lo2, hi2, ok2 := bounds(head, level)
	if !ok1 || !ok2 {
		d.warn("one side has a single trial, so no interval")
		return d
	}
	d.interval(d.Center-math.Hypot(head.Center-lo2, hi1-base.Center), d.Center+math.Hypot(hi2-head.Center, base.Center-lo1), level, MethodDifference)
	return d
}

// bounds are both ends of a rate's interval, of two sides also where nothing was seen.
func bounds(s Summary, level float64) (lo, hi float64, ok bool) {
	switch {
	case s.Lo == nil || s.Hi == nil:
		return 0, 0, false
	case s.Method == MethodRuleOfThree:
		return 0, *s.Hi * math.Log((1-level)/2) / math.Log(1-level), true
	}
	return *s.Lo, *s.Hi, true
}

func total(trials []tally) (count, units float64) {
	for _, t := range trials {
		count += float64(t.count())
		units += t.units()
	}
	return count, units
}

// poissonP: of all events, each is the head's with the probability of its share of the exposure.
func poissonP(base, head []tally) float64 {
	k1, e1 := total(base)
	k2, e2 := total(head)
	if k1+k2 == 0 {
		return 1
	}
	few := distuv.Binomial{N: k1 + k2, P: e2 / (e1 + e2)}.CDF(k2)
	many := distuv.Binomial{N: k1 + k2, P: e1 / (e1 + e2)}.CDF(k1) // not 1 − CDF(k2−1), of which nothing is left below 1e-16
	return min(1, 2*min(few, many))
}

// BaselineVariant is the variant that the scenario's comparisons start from, or nil if it is not there.
func (s *Scenario) BaselineVariant() *Variant {
	i := slices.IndexFunc(s.Variants, func(v *Variant) bool { return LabelString(v.Labels) == LabelString(s.Baseline) })
	if i < 0 {
		return nil
	}
	return s.Variants[i]
}

// String is the change with its interval, for messages: "ratio 1.12 [1.05, 1.2], p 0.004".
func (d Delta) String() string {
	text := d.Metric + " " + d.Scale + " " + Digits(d.Change.Center, 3)
	if d.Change.Lo != nil {
		text += fmt.Sprintf(" [%s, %s]", Digits(*d.Change.Lo, 3), Digits(*d.Change.Hi, 3))
	}
	return text + ", p " + Probability(d.PAdjusted)
}
