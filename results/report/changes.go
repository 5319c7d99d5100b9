package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"reuseport-bench/results"
	"reuseport-bench/results/compare"
	"reuseport-bench/results/metrics"
	"reuseport-bench/results/unit"
)

// A change is a delta with the name of its variant.
type change struct {
	variant string
	delta   *results.Delta
}

// changes describes the findings of a comparison: what got worse, what got better, and how large an
// undetected difference may be.
func changes(c *compare.Comparison) string {
	found := map[string][]change{} // by outcome
	var void []string
	all, unmeasured := 0, false
	for _, s := range c.Scenarios {
		unmeasured = unmeasured || len(s.Unmeasured) > 0
		if len(s.Void) > 0 {
			void = append(void, s.Name)
			continue
		}
		n := compareNames(s)
		for _, v := range s.Variants {
			name := n.ofLabels(v.Labels)
			if len(c.Scenarios) > 1 {
				name = s.Name + ": " + name
			}
			for _, d := range v.Deltas {
				all++
				found[d.Outcome] = append(found[d.Outcome], change{name, d})
			}
		}
	}
	var lines []string
	if len(void) > 0 {
		lines = append(lines, "Void, so nothing follows: "+enumerate(void)+".")
	}
	lines = append(lines, outcomes(c, found, all)...)
	if unmeasured {
		lines = append(lines, "What could not be compared is listed below the tables.")
	}
	return strings.Join(lines, " ")
}

// outcomes describes the outcomes of the compared figures.
func outcomes(c *compare.Comparison, found map[string][]change, all int) (lines []string) {
	head, none := sideName(c.Head), found[results.DeltaNone]
	switch {
	case all == 0:
		return nil
	case len(none) == all:
		return []string{fmt.Sprintf("No difference between %s and %s is shown in %s.%s",
			sideName(c.Base), head, unit.Plural(all, "figure"), limits(none))}
	}
	parts := []string{"none got worse in " + head}
	for _, kind := range []struct{ outcome, verb string }{
		{results.DeltaWorse, "got worse in " + head},
		{results.DeltaBetter, "got better"},
		{results.DeltaDiffers, "changed"},
	} {
		some := found[kind.outcome]
		if len(some) == 0 {
			continue
		}
		if kind.outcome == results.DeltaWorse {
			parts = nil
		}
		parts = append(parts,
			fmt.Sprintf("%d %s: %s", len(some), kind.verb, enumerate(byMetric(some))))
	}
	lines = append(lines, fmt.Sprintf("Of %s, %s.", unit.Plural(all, "figure"),
		strings.Join(parts, "; ")))
	switch len(none) {
	case 0:
	case 1:
		lines = append(lines, "The other one shows no difference."+limits(none))
	default:
		lines = append(lines,
			fmt.Sprintf("The other %d show no difference.", len(none))+limits(none))
	}
	return lines
}

// byMetric describes changes that have the same outcome. It returns one text for each metric.
func byMetric(all []change) (texts []string) {
	var order []string
	groups := map[string][]change{}
	for _, c := range all {
		if groups[c.delta.Metric] == nil {
			order = append(order, c.delta.Metric)
		}
		groups[c.delta.Metric] = append(groups[c.delta.Metric], c)
	}
	for _, metric := range order {
		group := groups[metric]
		by := func(a, b change) int {
			return cmp.Compare(a.delta.Change.Center, b.delta.Change.Center)
		}
		least, most := slices.MinFunc(group, by).delta, slices.MaxFunc(group, by).delta
		text := strings.TrimSuffix(metric, "_ns") + " " + centerText(least)
		if to := centerText(most); to != centerText(least) {
			text += " to " + to
		}
		if len(group) == 1 {
			text += " (" + group[0].variant + ")"
		} else {
			text += " in " + unit.Plural(len(group), "variant")
		}
		texts = append(texts, text)
	}
	return texts
}

// centerText writes the center of a change with its sign and unit.
func centerText(d *results.Delta) string {
	if d.Scale == results.ScaleRatio {
		return signed(100*(d.Change.Center-1), tenths) + " %"
	}
	in := metrics.UnitOf(d.Metric).Scale(d.Change.Center)
	text := signed(d.Change.Center/in.Factor, unit.Number)
	return strings.TrimSpace(text + " " + in.Name)
}

// limits describes the changes that the intervals of the deltas rule out, in a sentence after a
// space. It also gives the number of deltas without such a limit.
func limits(all []change) (text string) {
	var order []string
	farthest := map[string]*results.Delta{} // by metric
	open := 0
	for _, c := range all {
		d := c.delta
		if d.Change.Lo == nil || d.Change.Hi == nil || compare.Clustered(d) {
			open++
			continue
		}
		if farthest[d.Metric] == nil {
			order = append(order, d.Metric)
		} else if farEnd(d) <= farEnd(farthest[d.Metric]) {
			continue
		}
		farthest[d.Metric] = d
	}
	var parts []string
	for _, metric := range order {
		parts = append(parts, farEndText(farthest[metric])+" in "+
			strings.TrimSuffix(metric, "_ns"))
	}
	if len(parts) > 0 {
		text += " The 95 % intervals exclude changes of more than " + enumerate(parts) + "."
	}
	switch {
	case open == len(all):
		text += " No change is excluded: too few trials, or losses in clusters."
	case open > 0:
		have := "have"
		if open == 1 {
			have = "has"
		}
		text += fmt.Sprintf(" %d %s no such limit: too few trials, or losses in clusters.", open,
			have)
	}
	return text
}

// farEnd returns the distance from "no change" to the farther end of the interval.
func farEnd(d *results.Delta) float64 {
	lo, hi := *d.Change.Lo, *d.Change.Hi
	if d.Scale == results.ScaleRatio {
		lo, hi = lo-1, hi-1
	}
	return max(math.Abs(lo), math.Abs(hi))
}

func farEndText(d *results.Delta) string {
	far := farEnd(d)
	if d.Scale == results.ScaleRatio {
		return unit.Digits(100*far, 2) + " %"
	}
	in := metrics.UnitOf(d.Metric).Scale(far)
	return strings.TrimSpace(unit.Digits(far/in.Factor, 2) + " " + in.Name)
}

// compareNames returns the names of the variants that were compared.
func compareNames(s *compare.ScenarioComparison) names {
	run := &results.Scenario{Name: s.Name}
	for _, v := range s.Variants {
		run.Variants = append(run.Variants, &results.Variant{Labels: v.Labels})
	}
	return newNames(run)
}

// sideName returns the name that the user gave a side or, without one, the program's version.
func sideName(s compare.Side) string { return cmp.Or(s.Name, s.Version) }
