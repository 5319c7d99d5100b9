package compare

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"reuseport-bench/results"
	"reuseport-bench/results/metrics"
	"reuseport-bench/results/stats"
	"reuseport-bench/results/summary"
	"reuseport-bench/results/unit"
	"reuseport-bench/scenarios/vocabulary"
)

// Alpha bounds the probability that any comparison in a family reports a difference when nothing
// differs (Holm). With Alpha = 0.05, 2.4 % of the A/A comparisons of recorded trials reported a
// difference; the limit is 2 % (TestSelfBankFalseAlarms). Alpha cannot be much smaller than 0.032:
// if all eight blocks change in the same direction in four metrics, the adjusted p is 4·2/2⁸ =
// 0.03125.
const Alpha = 0.032

// beyond reports whether the center of the change is at or beyond the threshold.
func beyond(d *results.Delta) bool {
	if d.Scale == results.ScaleRatio {
		return math.Abs(math.Log(d.Change.Center)) >= math.Log1p(d.Threshold)
	}
	return math.Abs(d.Change.Center) >= d.Threshold
}

// decide sets the outcome from p_adjusted and the threshold, and the verdict from the outcome and
// the interval. holm is the factor by which p was adjusted for its family.
func decide(d *results.Delta, holm float64) {
	decideOutcome(d)
	judge(d, holm)
}

// judge sets the verdict and, if it is unknown, the number of further trials that would decide it.
func judge(d *results.Delta, holm float64) {
	d.Verdict, d.MoreTrials = d.Outcome, nil
	switch {
	case d.Outcome != results.DeltaNone:
	case within(d):
		d.Verdict = results.VerdictSame
	default:
		d.Verdict, d.MoreTrials = results.VerdictUnknown, moreTrials(d, holm)
	}
}

// GiveVerdict adds the verdict to a delta of an older run, which has none.
func GiveVerdict(d *results.Delta) {
	if d != nil && d.Verdict == "" {
		judge(d, d.PAdjusted/d.P)
	}
}

func decideOutcome(d *results.Delta) {
	d.Outcome = results.DeltaNone
	if d.PAdjusted > Alpha || !beyond(d) {
		return
	}
	kind, _ := metrics.FindCompared(d.Metric)
	more := d.Change.Center > 0
	if d.Scale == results.ScaleRatio {
		more = d.Change.Center > 1
	}
	switch {
	case kind.Better == "":
		d.Outcome = results.DeltaDiffers
	case more == (kind.Better == metrics.Higher):
		d.Outcome = results.DeltaBetter
	default:
		d.Outcome = results.DeltaWorse
	}
}

// distances returns the change, its interval and the threshold as distances from "no change". For
// ratios it returns logarithms, so that a ratio and its inverse have the same distance.
func distances(d *results.Delta) (center, lo, hi, threshold float64) {
	center, lo, hi, threshold = d.Change.Center, *d.Change.Lo, *d.Change.Hi, d.Threshold
	if d.Scale == results.ScaleRatio {
		center, lo, hi = math.Log(center), math.Log(lo), math.Log(hi)
		threshold = math.Log1p(threshold)
	}
	return center, lo, hi, threshold
}

// within reports whether the whole interval lies inside the threshold, in both directions.
func within(d *results.Delta) bool {
	if d.Change.Lo == nil || d.Change.Hi == nil || Clustered(d) {
		return false
	}
	_, lo, hi, threshold := distances(d)
	return lo == 0 && hi == 0 || -threshold < lo && hi < threshold
}

// Clustered reports whether the change compares typical trials, because losses come in clusters. If
// so, even a narrow interval does not show that both sides lose equally much.
func Clustered(d *results.Delta) bool {
	return slices.Contains(d.Change.Warnings, clusteredWarning)
}

// MaxMore is the largest number of further trials that messages suggest. Larger numbers are
// impractical.
const MaxMore = 10_000

// moreTrials estimates how many more trials would decide the verdict if the center did not move.
// The interval's width falls with the square root of the number of trials. The verdict is decided
// when the interval lies within the threshold or, if the center is beyond the threshold, when p is
// low enough. moreTrials returns nil if there is no estimate.
func moreTrials(d *results.Delta, holm float64) *int {
	if d.Change.Lo == nil || d.Change.Hi == nil || d.Change.N == 0 || Clustered(d) && !beyond(d) {
		return nil
	}
	center, lo, hi, threshold := distances(d)
	var shrink float64 // the width at which the verdict is decided ÷ the present width
	if beyond(d) {
		shrink = stats.NormalQuantile(1-d.P/2) / stats.NormalQuantile(1-Alpha/holm/2)
	} else {
		shrink = min((threshold-center)/(hi-center), (threshold+center)/(center-lo))
	}
	enough := 1 / (shrink * shrink) // trials needed ÷ present trials
	if d.Base.Method == results.MethodRuleOfThree && d.Head.Method == results.MethodRuleOfThree {
		enough = 1 / shrink // without events, the bounds are inversely proportional to the trials
	}
	more := float64(d.Change.N) * (enough - 1)
	if !(shrink > 0) || !(more <= MaxMore) {
		return nil
	}
	whole := max(1, int(math.Ceil(more)))
	// Round up to two digits, because it is an estimate.
	unit := int(math.Pow(10, max(0, math.Floor(math.Log10(float64(whole)))-1)))
	whole = (whole + unit - 1) / unit * unit
	return &whole
}

// Decide adjusts the p values of a family of deltas by Holm's method. It sets the outcome and the
// verdict of each.
func Decide(family []*results.Delta) {
	ps := make([]float64, len(family))
	for i, d := range family {
		ps[i] = d.P
	}
	for i, holm := range stats.Holm(ps) {
		family[i].PAdjusted = holm.P
		decide(family[i], holm.Factor)
	}
}

// Variants compares a metric of two variants over their valid trials, paired by block. The trials
// of a block ran close together in time, while the quotient of two medians would include the
// machine's drift between blocks. See stats.PairedRatio and, for losses, compareCounts. Variants
// returns false if the metric cannot be compared, or if no block has both variants. It does not
// adjust P for a family; Decide does that.
func Variants(head, base *results.Variant, metric string, level float64) (results.Delta, bool) {
	s := sides{base: base.ValidTrials(), head: head.ValidTrials()}
	s.pairs = pairsOf(s.base, s.head)
	return s.compare(metric, level)
}

// pairsOf returns the pairs of trials of the same block, base first. It is never nil.
func pairsOf(base, head []*results.Trial) [][2]*results.Trial {
	of := map[int]*results.Trial{}
	for _, t := range base {
		of[t.Block] = t
	}
	pairs := [][2]*results.Trial{}
	for _, t := range head {
		if b := of[t.Block]; b != nil {
			pairs = append(pairs, [2]*results.Trial{b, t})
		}
	}
	return pairs
}

// sides has the trials of the base and of the head of a comparison.
type sides struct {
	base, head []*results.Trial
	// pairs has trials that ran close together, base first. Nil means that the trials are not
	// paired.
	pairs [][2]*results.Trial
}

func (s sides) compare(metric string, level float64) (results.Delta, bool) {
	kind, ok := metrics.FindCompared(metric)
	if !ok || s.pairs != nil && len(s.pairs) == 0 {
		return results.Delta{}, false
	}
	d := results.Delta{
		Metric: metric, Scale: kind.Scale, Threshold: kind.Threshold, Paired: s.pairs != nil,
	}
	if kind.Tally != nil {
		ok = s.compareCounts(&d, kind, level)
	} else {
		ok = s.compareValues(&d, kind, level)
	}
	d.PAdjusted = d.P // a family of one
	decide(&d, 1)
	d.Unlike = s.unlike()
	return d, ok
}

// Sides are comparable if their offered rates differ by at most rateShare, as a share of the lower
// rate.
const rateShare = 0.05

// unlike returns the reason why the two sides are not comparable, or "" if none is known.
func (s sides) unlike() string {
	return cmp.Or(s.unlikeLoad(), s.unlikeStart())
}

// unlikeStart describes the ways in which the two sides' steps started workers, if the ways differ.
func (s sides) unlikeStart() string {
	base, head := startOf(s.base), startOf(s.head)
	if base == "" || head == "" || base == head {
		return ""
	}
	return fmt.Sprintf("not like for like: its steps started workers %s, its counterpart's %s; a "+
		"cold start uses the servers' CPU just before the stop", head, base)
}

// startOf returns the way in which the steps of trials started workers, or "" if they started none.
func startOf(trials []*results.Trial) vocabulary.Start {
	for _, t := range trials {
		if start := t.Start(); start != "" {
			return start
		}
	}
	return ""
}

// unlikeLoad describes the loads that were offered to the two sides, if the loads differ. Rates
// that a search found may differ, because they are results.
func (s sides) unlikeLoad() string {
	if base, head := loopOf(s.base), loopOf(s.head); base != head {
		return fmt.Sprintf("not like for like: its load was %s, its counterpart's %s; in a closed "+
			"loop the number of clients decides how long they wait", head, base)
	}
	offered := func(trials []*results.Trial) (rates []float64) {
		for _, t := range trials {
			if t.OfferedPerSecond != nil && *t.OfferedPerSecond > 0 && t.Search == nil {
				rates = append(rates, *t.OfferedPerSecond)
			}
		}
		return rates
	}
	base, head := offered(s.base), offered(s.head)
	if len(base) == 0 || len(head) == 0 {
		return ""
	}
	b, h := stats.Median(base, stats.Confidence).Center, stats.Median(head, stats.Confidence).Center
	if max(b, h) <= (1+rateShare)*min(b, h) {
		return ""
	}
	return fmt.Sprintf("not like for like: it was offered %s/s, its counterpart %s/s; more load "+
		"alone causes waits and losses", unit.Number(h), unit.Number(b))
}

// loopOf describes the kind of load of the trials.
func loopOf(trials []*results.Trial) string {
	for _, t := range trials {
		if t.Concurrency > 0 {
			return "a closed loop of " + unit.Plural(t.Concurrency, "client")
		}
	}
	return "an open loop"
}

// compareValues compares a metric with one value per trial.
func (s sides) compareValues(d *results.Delta, m metrics.Metric, level float64) bool {
	value := func(t *results.Trial) (float64, bool) {
		x, ok := m.Of(t)
		return x, ok && (d.Scale != results.ScaleRatio || x > 0)
	}
	values := func(trials []*results.Trial) (xs []float64) {
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
	d.Base, d.Head = stats.Median(base, level), stats.Median(head, level)
	if s.pairs == nil {
		if d.Scale == results.ScaleRatio {
			d.Change, d.P = stats.UnpairedRatio(base, head, level)
		} else {
			d.Change, d.P = stats.UnpairedDifference(base, head, level)
		}
		return true
	}
	var changes []float64
	for _, pair := range s.pairs {
		b, okBase := value(pair[0])
		h, okHead := value(pair[1])
		switch {
		case !okBase || !okHead:
		case d.Scale == results.ScaleRatio:
			changes = append(changes, h/b)
		default:
			changes = append(changes, h-b)
		}
	}
	if len(changes) == 0 {
		return false
	}
	if d.Scale == results.ScaleRatio {
		d.Change, d.P = stats.PairedRatio(changes, level)
	} else {
		d.Change, d.P = stats.PairedDifference(changes, level)
	}
	if n := max(len(s.base), len(s.head)); len(changes) < n {
		d.Change.Warn("only %d of %s have both", len(changes), unit.Plural(n, "block"))
	}
	return true
}

// compareCounts compares events per exposure. If single events are independent on both sides, the
// change is the difference of the rates. Its interval combines each side's interval (MOVER: Zou &
// Donner, Statist. Med. 27 (2008) 1693). p is exact, given the total count (Przyborowski &
// Wilenski, Biometrika 31 (1940) 313). If events come in clusters, a single cluster can outweigh
// all other trials, so the rates of the trials are compared by rank, like other metrics. A
// permutation test of the sums would need three times as many trials to find one more lost attempt
// per restart (TestSelfBankPower).
func (s sides) compareCounts(d *results.Delta, m metrics.Metric, level float64) bool {
	base, head := m.Tallies(s.base), m.Tallies(s.head)
	if len(base) == 0 || len(head) == 0 || s.pairs != nil && len(s.pairs) == 0 {
		return false
	}
	if dispersed(base) || dispersed(head) {
		ok := s.compareValues(d, m, level)
		d.Change.Warn(clusteredWarning)
		d.Base, d.Head = summary.Counted(m, base, level), summary.Counted(m, head, level)
		return ok
	}
	d.Base, d.Head = summary.Counted(m, base, level), summary.Counted(m, head, level)
	d.Change = stats.Difference(d.Head, d.Base, level)
	d.Change.N = min(len(base), len(head))
	d.P = stats.PoissonP(exposed(base), exposed(head))
	return true
}

const clusteredWarning = "losses come in clusters: the change is that of a typical trial, and " +
	"does not show a rare trial that loses many"

// poissonDispersion is the largest index of dispersion at which counts are tested as Poisson.
const poissonDispersion = 1.3

// dispersed reports whether events come in clusters, within trials or between trials.
func dispersed(trials []metrics.Tally) bool {
	over := func(t metrics.Tally) bool {
		return t.Count() > 0 && len(t.Counts) > 1 &&
			stats.Dispersion(t.Counts, t.Exposure) > poissonDispersion
	}
	return over(summary.Clusters(trials)) || over(summary.ByTrial(trials))
}

// exposed returns the number of events that the trials counted, and their exposure.
func exposed(trials []metrics.Tally) stats.Exposed {
	all := summary.ByTrial(trials)
	return stats.Exposed{Count: float64(all.Count()), Units: all.Units()}
}
