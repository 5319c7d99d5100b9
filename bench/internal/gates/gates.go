// Package gates judges the gates of a scenario on the results of its trials. It is pure.
package gates

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"reuseport-bench/results"
	"reuseport-bench/results/cause"
	"reuseport-bench/results/compare"
	"reuseport-bench/results/metrics"
	"reuseport-bench/results/stats"
	"reuseport-bench/results/summary"
	"reuseport-bench/results/unit"
	"reuseport-bench/scenarios"
)

// Evaluate judges every gate of the scenario on every variant that it selects, except the A/A arm.
// It stores the outcomes and the comparison of the A/A arm in out.
//
// Counts are exact. For a figure with an interval, the gate is evaluated at the center and at both
// ends of the interval. A comparison with the baseline uses the interval of the paired ratio or
// difference (see compare.Variants). A gate is undecided if these evaluations disagree, or if there
// is no interval. All gates that are judged by intervals form one family with error probability
// alpha, by Holm's method: while m gates are undecided, the level of their intervals is 1 −
// alpha/m.
func Evaluate(s *scenarios.Scenario, out *results.Scenario, alpha float64) error {
	j := &gateJudge{out: out, summaries: map[summaryKey]map[string]results.Summary{}}
	if v := out.BaselineVariant(); v != nil && v.SkippedReason == nil {
		j.baseline = v
	}
	out.AA, out.Void = nil, ""
	if names := ControlMetrics(s); len(names) > 0 {
		out.AA = compare.AA(out, names)
		out.Void = compare.Void(out.AA)
	}
	var all, open []*judgedGate
	for _, g := range s.Gates {
		expectation, err := g.Compile()
		if err != nil {
			return fmt.Errorf("scenario %s, line %d: %w", s.Name, g.Line, err)
		}
		for _, v := range out.Variants {
			if !scenarios.Labels(v.Labels).Includes(g.When) || v.SkippedReason != nil || v.IsAA() {
				continue
			}
			p := &judgedGate{expect: expectation, variant: v, result: results.GateResult{
				Labels: v.Labels, Expect: g.Expect, Outcome: results.GateUndecided,
				Soft: g.Soft, File: s.File, Line: g.Line,
			}}
			p.count()
			all = append(all, p)
			if len(expectation.Figures()) > 0 {
				open = append(open, p)
			} else {
				j.judge(p, stats.Confidence)
			}
		}
	}
	isDecided := func(p *judgedGate) bool { return p.result.Outcome != results.GateUndecided }
	for decided := true; decided && len(open) > 0; {
		level := 1 - alpha/float64(len(open))
		for _, p := range open {
			j.judge(p, level)
		}
		left := slices.DeleteFunc(slices.Clone(open), isDecided)
		open, decided = left, len(left) < len(open)
	}
	out.Gates = nil
	for _, p := range all {
		if out.Void != "" && len(p.expect.Figures()) > 0 {
			p.result.Outcome, p.result.MoreTrials = results.GateUndecided, nil
			p.result.Note = "void; " + p.result.Note
		}
		out.Gates = append(out.Gates, p.result)
	}
	return nil
}

// ControlMetrics returns the metrics in which a scenario's baseline is compared with its A/A arm:
// those that its gates name. The list is empty if no gate names a figure that can vary by chance.
func ControlMetrics(s *scenarios.Scenario) (names []string) {
	for _, g := range s.Gates {
		expectation, err := g.Compile()
		if err != nil {
			continue // Load refuses such a gate
		}
		for _, name := range expectation.Names {
			metric := strings.TrimPrefix(name, scenarios.BaselinePrefix)
			if which := lossMetric(s, name); which != "" {
				metric = which
			}
			_, ok := metrics.FindCompared(metric)
			if ok && !slices.Contains(names, metric) && len(names) < metrics.MaxGating {
				names = append(names, metric)
			}
		}
	}
	return names
}

// lossMetric returns the loss metric for a count of losses in an expectation. If the count includes
// failures of the load itself, this is the metric of lost attempts. Otherwise it is the metric of
// dropped attempts. For other names lossMetric returns "".
func lossMetric(s *scenarios.Scenario, name string) string {
	name = strings.TrimPrefix(name, scenarios.BaselinePrefix)
	byLoad := name == "lost" || name == "lost_by_cause."+cause.Client ||
		strings.HasPrefix(name, "lost_per_") || strings.HasPrefix(name, "lost_by_phase.")
	perRestart, perAttempt := metrics.DroppedPerRestart, metrics.DroppedPerAttempt
	switch {
	case byLoad:
		perRestart, perAttempt = metrics.LostPerRestart, metrics.LostPerAttempt
	case !strings.HasPrefix(name, "dropped") && !strings.HasPrefix(name, "lost_"):
		return ""
	}
	if s.Restarts() {
		return perRestart
	}
	return perAttempt
}

// A judgedGate is one gate on one variant.
type judgedGate struct {
	expect  *scenarios.Expectation
	variant *results.Variant
	counts  map[string]float64 // the variant's values of the counts that the gate names
	result  results.GateResult

	uncounted string // a count that the gate names and no trial measured, or ""
}

// names reports whether name is in the expectation of the gate.
func (p *judgedGate) names(name string) bool { return slices.Contains(p.expect.Names, name) }

// count computes the total of each count that the gate names.
func (p *judgedGate) count() {
	p.counts = map[string]float64{}
	for _, name := range p.expect.Names {
		c, ok := metrics.FindCount(name)
		if !ok {
			continue
		}
		n, counted := c.Total(p.variant)
		if p.counts[name] = float64(n); !counted && p.uncounted == "" {
			p.uncounted = name
		}
	}
}

type summaryKey struct {
	variant *results.Variant
	level   float64
}

// A gateJudge judges the gates of one scenario.
type gateJudge struct {
	out       *results.Scenario
	baseline  *results.Variant
	summaries map[summaryKey]map[string]results.Summary
}

func (j *gateJudge) summary(v *results.Variant, level float64) map[string]results.Summary {
	key := summaryKey{v, level}
	if j.summaries[key] == nil {
		j.summaries[key] = summary.At(v, level)
	}
	return j.summaries[key]
}

// judge sets the outcome of a gate. Its intervals have the given confidence level.
func (j *gateJudge) judge(p *judgedGate, level float64) {
	r := &p.result
	r.Outcome, r.MoreTrials, r.Undecidable = results.GateUndecided, nil, false
	n := len(p.variant.ValidTrials())
	if n < j.out.MinValid {
		if r.Note = j.out.QuickLook(); r.Note == "" {
			r.Note = fmt.Sprintf("%s, %d are needed", unit.Plural(n, "valid trial"), j.out.MinValid)
		}
		return
	}
	if p.uncounted != "" {
		r.Note, r.Undecidable = p.uncounted+" was not measured", true
		return
	}
	ranges, why := j.ranges(p, level)
	if why != "" {
		r.Note = why
		return
	}
	met, decided, err := p.decide(ranges, 1)
	switch {
	case err != nil:
		r.Note, r.Undecidable = err.Error(), true
		return
	case !decided:
		r.Note, r.MoreTrials = straddles(p, ranges, n)
		r.Note = describeRanges(ranges, level) + r.Note
		return
	case met:
		r.Outcome = results.GatePass
	default:
		r.Outcome = results.GateFail
	}
	r.Note = describeRanges(ranges, level) + gateNote(p, n)
}

// A figureRange holds the range of a figure of the variant and, if the gate also names it for the
// baseline, the range of the baseline's.
type figureRange struct {
	name     string
	variant  [3]float64 // center, lowest, highest
	baseline [3]float64
	change   string // the variant's change from the baseline as text, if both are named
}

// ranges returns the ranges of the figures with intervals that the gate names, or the reason why
// one of them has no range.
func (j *gateJudge) ranges(p *judgedGate, level float64) ([]figureRange, string) {
	var all []figureRange
	for _, metric := range p.expect.Figures() {
		r := figureRange{name: metric}
		own, ofBase := p.names(metric), p.names(scenarios.BaselinePrefix+metric)
		if ofBase && j.baseline == nil {
			p.result.Undecidable = true
			return nil, "the baseline was not run"
		}
		if own && ofBase && p.variant != j.baseline {
			d, ok := compare.Variants(p.variant, j.baseline, metric, level)
			if !ok {
				return nil, metric + " was not measured in both trials of any block"
			}
			if d.Change.Lo == nil {
				return nil, d.Change.Warnings[0]
			}
			base := j.summary(j.baseline, stats.Confidence)[metric].Center
			for i, change := range []float64{d.Change.Center, *d.Change.Lo, *d.Change.Hi} {
				r.baseline[i] = base
				if r.variant[i] = base + change; d.Scale == results.ScaleRatio {
					r.variant[i] = base * change
				}
			}
			r.change = fmt.Sprintf("%s: %s to the baseline %s",
				metric, d.Scale, spread(d.Change, unitOfChange(d)))
			all = append(all, r)
			continue
		}
		for _, side := range []struct {
			named   bool
			variant *results.Variant
			values  *[3]float64
		}{{own, p.variant, &r.variant}, {ofBase, j.baseline, &r.baseline}} {
			if !side.named {
				continue
			}
			s, ok := j.summary(side.variant, level)[metric]
			switch {
			case !ok:
				return nil, fmt.Sprintf("%s of %s was not measured",
					metric, results.LabelString(side.variant.Labels))
			case s.Lo == nil:
				return nil, s.Warnings[0]
			}
			*side.values = [3]float64{s.Center, *s.Lo, *s.Hi}
			if side.variant == p.variant {
				r.change = metric + " " + spread(s, metrics.UnitOf(metric))
			}
		}
		all = append(all, r)
	}
	return all, ""
}

// spread returns a figure with its interval as text.
func spread(s results.Summary, in unit.Unit) string {
	return unit.Spread(s.Center, s.Lo, s.Hi, func(x float64) string { return in.Text(x, 4) })
}

// unitOfChange returns the unit of a metric's change. A ratio has none.
func unitOfChange(d results.Delta) unit.Unit {
	if d.Scale == results.ScaleRatio {
		return unit.None
	}
	return metrics.UnitOf(d.Metric)
}

func describeRanges(ranges []figureRange, level float64) string {
	var texts []string
	for _, r := range ranges {
		if r.change != "" {
			texts = append(texts, r.change)
		}
	}
	if len(texts) == 0 {
		return ""
	}
	return fmt.Sprintf("%s (%.4g %%); ", strings.Join(texts, ", "), 100*level)
}

// decide evaluates the expectation at the centers of the ranges, and at every combination of their
// ends. It first multiplies the width of each range by shrink, from 0 to 1. The gate is decided if
// all results agree.
func (p *judgedGate) decide(ranges []figureRange, shrink float64) (met, decided bool, err error) {
	if met, err = p.at(ranges, func(int) int { return 0 }, shrink); err != nil {
		return false, false, err
	}
	for corner := range 1 << len(ranges) {
		end := func(i int) int { return 1 + corner>>i&1 }
		other, err := p.at(ranges, end, shrink)
		if err != nil {
			return false, false, err
		}
		if other != met {
			return met, false, nil
		}
	}
	return met, true, nil
}

// at evaluates the expectation with figure i at the end or center point(i) of its range, shrunk as
// in decide.
func (p *judgedGate) at(ranges []figureRange, point func(int) int, shrink float64) (bool, error) {
	values := maps.Clone(p.counts)
	for i, r := range ranges {
		pick := func(x [3]float64) float64 { return x[0] + (x[point(i)]-x[0])*shrink }
		values[r.name] = pick(r.variant)
		values[scenarios.BaselinePrefix+r.name] = pick(r.baseline)
	}
	return p.expect.Eval(func(name string) (float64, bool) { x, ok := values[name]; return x, ok })
}

// straddles estimates how many more trials would decide a gate, and returns the estimate as text
// and as a number. It assumes that the width of an interval falls with the square root of the
// number of trials.
func straddles(p *judgedGate, ranges []figureRange, n int) (string, *int) {
	lo, hi := 0.0, 1.0
	for range 30 {
		if _, decided, err := p.decide(ranges, (lo+hi)/2); err == nil && decided {
			lo = (lo + hi) / 2
		} else {
			hi = (lo + hi) / 2
		}
	}
	more := float64(n)/(lo*lo) - float64(n)
	if lo == 0 || more > compare.MaxMore {
		return fmt.Sprintf("the interval straddles the bound, and deciding would take "+
			"more than %d more trials", compare.MaxMore), nil
	}
	whole := max(1, int(math.Ceil(more)))
	return fmt.Sprintf("the interval straddles the bound; about %s would decide it (--trials %d)",
		unit.Plural(whole, "more trial"), n+whole), &whole
}

// gateNote describes the counts on which the outcome is based.
func gateNote(p *judgedGate, n int) string {
	f := results.Total(p.variant.ValidTrials())
	residual := results.Total(p.variant.Trials).Residual
	note := fmt.Sprintf("%s, %s, %d lost",
		unit.Plural(n, "valid trial"), unit.Plural(f.Attempts, "attempt"), f.Lost)
	if f.Dropped != f.Lost {
		note += fmt.Sprintf(", %d dropped", f.Dropped)
	}
	var causes []string
	for _, c := range slices.Sorted(maps.Keys(f.LostByCause)) {
		causes = append(causes, fmt.Sprintf("%s %d", c, f.LostByCause[c]))
	}
	if len(causes) > 0 {
		note += " (" + strings.Join(causes, ", ") + ")"
	}
	if residual != 0 {
		note += fmt.Sprintf(", residual %d", residual)
	}
	return note
}
