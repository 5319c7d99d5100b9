package report

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"reuseport-bench/results"
	"reuseport-bench/results/cause"
	"reuseport-bench/results/metrics"
	"reuseport-bench/results/report/chart"
	"reuseport-bench/results/report/document"
	"reuseport-bench/results/unit"
)

// A charting draws the charts of a scenario.
type charting struct {
	names
	s        *results.Scenario
	variants []*results.Variant // with valid trials, in the order of reports, without the A/A arm
	restarts bool
	steps    bool
}

// chartBlocks adds the charts of a scenario: what it loses, why, when, how long it takes, and who
// serves. A chart without data is left out.
func chartBlocks(d *document.Document, s *results.Scenario) {
	c := charting{names: newNames(s), s: s}
	for _, v := range ordered(s) {
		if v.SkippedReason == nil && !v.IsAA() && len(v.ValidTrials()) > 0 {
			c.variants = append(c.variants, v)
		}
	}
	if len(c.variants) == 0 {
		return
	}
	c.restarts, c.steps = kinds(c.variants)
	for _, draw := range []func() *document.Chart{
		c.forest, c.causes, c.overlay, c.worst, c.best, c.spectrum, c.spread, c.lags, c.sweep,
	} {
		if one := draw(); one != nil {
			one.Name = s.Name + "-" + one.Name
			d.Chart(one)
		}
	}
}

// lossMetric returns the metric of loss that the scenario is about, and by what it counts losses.
func (c *charting) lossMetric() (metric, of string) {
	switch {
	case c.restarts:
		return metrics.DroppedPerRestart, "restart"
	case c.has(metrics.DroppedPerStep):
		return metrics.DroppedPerStep, "step"
	}
	return metrics.DroppedPerAttempt, "attempt"
}

func (c *charting) has(metric string) bool {
	return slices.ContainsFunc(c.variants, func(v *results.Variant) bool {
		_, ok := v.Summary[metric]
		return ok
	})
}

// markOf returns the mark of a summary in a chart, in the scale.
func markOf(s results.Summary, in unit.Scale, title string) chart.Mark {
	m := chart.Mark{Value: s.Center / in.Factor, Low: math.NaN(), High: math.NaN(), Title: title}
	if s.Lo != nil && s.Hi != nil && !s.TooFew {
		m.Low, m.High = *s.Lo/in.Factor, *s.Hi/in.Factor
	}
	if s.Center == 0 {
		m.None = true
		switch {
		case s.Method == results.MethodRuleOfThree && s.N > 0 && s.Hi == nil:
			m.High = 3 / float64(s.N)
		case s.Hi != nil:
			m.High = *s.Hi / in.Factor
		}
	}
	return m
}

// forest compares the variants by what they lose or, if nothing was lost and there are no steps, by
// their response time.
func (c *charting) forest() *document.Chart {
	metric, of := c.lossMetric()
	if results.Total(c.trials()).Dropped == 0 && !c.steps {
		return c.response()
	}
	f := chart.ForestChart{
		Title: c.s.Name + ": dropped per " + of + ", by variant",
		Axis:  "dropped per " + of + " [95 %]",
	}
	if of == "restart" || of == "step" {
		f.At, f.AtName = 1, "one per "+of
	}
	t := &document.Table{Columns: []document.Column{
		document.Left("variant"), document.Right(of + "s"), document.Right("dropped"),
		document.Right("dropped/" + of + " [95 %]"),
	}}
	none, lost := 0, 0
	for _, v := range c.variants {
		rate, ok := v.Summary[metric]
		if !ok {
			continue
		}
		l := lossIn(v, metric, of)
		if l.none {
			none++
		} else {
			lost++
		}
		text := figure(rate, unit.PerRestart, unit.Plain(), true)
		if of == "attempt" {
			text = figure(rate, unit.PerAttempt, unit.Plain(), true)
		}
		of := unit.Plural(l.n, l.of)
		title := fmt.Sprintf("%s: %d dropped in %s, %s", c.of(v), l.total, of, text)
		mark := markOf(rate, unit.Plain(), title)
		value, interval, _ := strings.Cut(text, " [")
		if interval != "" {
			interval = "[" + interval
		}
		f.Rows = append(f.Rows, chart.ForestRow{Label: c.of(v), Figure: value, Interval: interval,
			Marks: []chart.Mark{mark}})
		t.Add(c.of(v), strconv.Itoa(l.n), count(l.total), text)
		if v == c.s.BaselineVariant() && rate.Lo != nil && rate.Hi != nil && rate.Center > 0 {
			f.Low, f.High, f.BandName = *rate.Lo, *rate.Hi, "baseline"
		}
	}
	sentence := "Each row is a variant. Farther to the left is better."
	switch {
	case none > 0 && lost > 0:
		sentence = fmt.Sprintf("%d of %d variants dropped nothing that was seen: an open bar ends "+
			"at the most that they can drop (3 in the number of %ss). A dot is what another "+
			"variant dropped, with the interval that holds the true value in 95 of 100 runs.",
			none, none+lost, of)
	case none > 0:
		sentence = fmt.Sprintf("No variant dropped anything that was seen. Each bar ends at the "+
			"most that it can drop (3 in the number of %ss).", of)
	}
	return &document.Chart{Name: "dropped", Sentence: sentence, Drawing: chart.Forest(f), Table: t}
}

// response compares the variants by their p99.
func (c *charting) response() *document.Chart {
	var all []float64
	for _, v := range c.variants {
		if s, ok := v.Summary[metrics.ResponseP99]; ok {
			all = append(all, s.Center)
		}
	}
	in := unit.Nanoseconds.Scale(all...)
	f := chart.ForestChart{
		Title: c.s.Name + ": p99 of the response time, by variant",
		Axis:  "p99 of the response time, " + in.Name + " [95 %]",
	}
	t := &document.Table{Columns: []document.Column{
		document.Left("variant"), document.Right("p99 [95 %] [" + in.Name + "]"),
	}}
	for _, v := range c.variants {
		s, ok := v.Summary[metrics.ResponseP99]
		if !ok || s.Center == 0 {
			continue
		}
		text := figure(s, unit.Nanoseconds, in, true)
		value, interval, _ := strings.Cut(text, " [")
		if interval != "" {
			interval = "[" + interval
		}
		f.Rows = append(f.Rows, chart.ForestRow{
			Label: c.of(v), Figure: value + " " + in.Name, Interval: interval,
			Marks: []chart.Mark{markOf(s, in, c.of(v)+": p99 "+text+" "+in.Name)},
		})
		t.Add(c.of(v), text)
		if v == c.s.BaselineVariant() && s.Lo != nil && s.Hi != nil {
			f.Low, f.High, f.BandName = *s.Lo/in.Factor, *s.Hi/in.Factor, "baseline"
		}
	}
	if len(f.Rows) == 0 {
		return nil
	}
	return &document.Chart{
		Name: "p99", Drawing: chart.Forest(f), Table: t,
		Sentence: "Nothing was dropped. Each row is a variant: 99 of 100 requests were answered " +
			"within this time. Farther to the left is better.",
	}
}

func (c *charting) trials() (all []*results.Trial) {
	for _, v := range c.variants {
		all = append(all, v.ValidTrials()...)
	}
	return all
}

// colours gives each cause the same colour in all charts of all pages. The other causes are grey.
var colours = []struct {
	colour chart.Colour
	causes []string
}{
	{chart.Vermilion, []string{cause.ResetAtClose, cause.ResetHalfOpen}},
	{chart.Blue, []string{cause.Refused, cause.NoEndpoint, cause.NoRoute}},
	{chart.Purple, []string{cause.WorkerCrash, cause.CutOff, cause.Reset}},
	{chart.Green, []string{cause.ClosedByWorker, cause.Closed, cause.StaleConnection}},
	{chart.Orange, []string{cause.Timeout, cause.QueuedUnaccepted, cause.SYNTimeout}},
	{chart.Sky, []string{cause.StaleEndpoint, cause.StaleConntrack, cause.EarlyEndpoint}},
	{chart.Yellow, []string{cause.AcceptOverflow, cause.ProxyError, cause.ErrorAnswer}},
	{chart.Ink, []string{cause.Unknown, cause.InvalidAnswer, cause.Untranslated}},
}

// causeKeys returns the keys of the causes, the most frequent first. counts has the number of each
// cause. The client's own failures are not among them: they are not dropped.
func causeKeys(counts map[string]int64) (keys []chart.Key, causes []string) {
	for name, n := range counts {
		if n > 0 && name != cause.Client {
			causes = append(causes, name)
		}
	}
	slices.SortFunc(causes, func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	taken := map[chart.Colour]bool{}
	for _, name := range causes {
		key := chart.Key{Name: name}
		for _, c := range colours {
			if slices.Contains(c.causes, name) && !taken[c.colour] {
				key.Colour = c.colour
			}
		}
		taken[key.Colour] = key.Colour != chart.Grey
		keys = append(keys, key)
	}
	return keys, causes
}

// causes shows the causes of each variant's losses.
func (c *charting) causes() *document.Chart {
	keys, causes := causeKeys(results.Total(c.trials()).LostByCause)
	if len(keys) == 0 {
		return nil
	}
	f := chart.CausesChart{Title: c.s.Name + ": causes of the losses, by variant", Keys: keys}
	t := &document.Table{Columns: []document.Column{document.Left("variant")}}
	for _, name := range causes {
		t.Columns = append(t.Columns, document.Right(name))
	}
	most, whole := "", int64(0)
	for _, v := range c.variants {
		sum := results.Total(v.ValidTrials())
		row := chart.CausesRow{Label: c.of(v), Figure: "none"}
		cells := []string{c.of(v)}
		var lost int64
		for _, name := range causes {
			n := sum.LostByCause[name]
			lost += n
			row.Counts = append(row.Counts, float64(n))
			cells = append(cells, count(n))
		}
		if lost > 0 {
			row.Figure = thousands(lost) + " dropped"
		}
		if lost > whole {
			most, whole = c.of(v), lost
		}
		f.Rows = append(f.Rows, row)
		t.Add(cells...)
	}
	sentence := "Why requests were dropped. " + meaning(causes[0])
	if len(c.variants) > 1 && most != "" {
		sentence = fmt.Sprintf("Why requests were dropped: each bar is all that a variant "+
			"dropped. The most frequent cause is %s. %s", causes[0], meaning(causes[0]))
	}
	return &document.Chart{Name: "causes", Sentence: sentence, Drawing: chart.Causes(f), Table: t}
}

// meaning returns what a cause means, in a sentence.
func meaning(name string) string {
	for _, c := range cause.All() {
		if c.Name == name {
			return c.Means
		}
	}
	return ""
}

// overlay lays all restarts of a variant over each other, with the stop at time 0.
func (c *charting) overlay() *document.Chart {
	sums := map[*results.Variant]*results.AroundStops{}
	total := map[string]int64{}
	var binNS int64
	bins := 0
	for _, v := range c.variants {
		sum := v.AroundStops()
		if sum == nil || sum.Lost.Total() == 0 {
			continue
		}
		if bins > 0 && (sum.BinNS != binNS || sum.Bins != bins) {
			continue // of a run that was resumed by a program with other bins
		}
		sums[v], binNS, bins = sum, sum.BinNS, sum.Bins
		for name, byBin := range sum.Lost {
			for _, n := range byBin {
				total[name] += n
			}
		}
	}
	keys, causes := causeKeys(total)
	if len(keys) == 0 {
		return nil
	}
	from, to := -bins, bins
	// Show no more than what has losses, but always the same on both sides of the stop.
	reach := 0
	for _, sum := range sums {
		for _, name := range causes {
			for bin := range sum.Lost[name] {
				reach = max(reach, bin+1, -bin)
			}
		}
	}
	reach = min(bins, max(10, (reach+4)/5*5))
	from, to = -min(reach, 10), reach
	for _, sum := range sums {
		for _, name := range causes {
			for bin := range sum.Lost[name] {
				if bin < from {
					from = -reach
				}
			}
		}
	}
	width := float64(binNS) / 1e6
	f := chart.OverlayChart{
		Title:  c.s.Name + ": dropped around the stop, all restarts laid over each other",
		Axis:   "ms from the stop signal",
		Counts: fmt.Sprintf("dropped per %v", time.Duration(binNS)), Unit: "ms",
		From: float64(from) * width, Bin: width, Keys: keys,
	}
	t := &document.Table{Columns: []document.Column{
		document.Left("variant"), document.Left("cause"), document.Right("ms after the stop"),
		document.Right("dropped"),
	}}
	tallest := []float64{}
	for _, v := range c.variants {
		sum := sums[v]
		if sum == nil {
			continue
		}
		p := chart.OverlayPanel{Label: c.of(v),
			Figure: unit.Plural(int(sum.Stops), "stop")}
		heights := make([]float64, to-from)
		inside, outside := int64(0), int64(0)
		for _, name := range causes {
			lost := make([]float64, to-from)
			for _, bin := range slices.Sorted(maps.Keys(sum.Lost[name])) {
				n := sum.Lost[name][bin]
				lost[bin-from] = float64(n)
				heights[bin-from] += float64(n)
				inside += n
				t.Add(c.of(v), name, strconv.FormatFloat(float64(bin)*width, 'g', -1, 64), count(n))
			}
			p.Lost = append(p.Lost, lost)
			outside += sum.Before[name] + sum.After[name]
		}
		p.More = fmt.Sprintf("%d dropped", inside)
		if outside > 0 {
			p.More += fmt.Sprintf(", %d more outside", outside)
		}
		tallest = append(tallest, slices.Max(heights))
		f.Panels = append(f.Panels, p)
	}
	// A panel a hundred times smaller than another would be flat.
	f.Own = slices.Max(tallest) > 20*slices.Min(tallest)
	sentence := "When requests were dropped: all restarts laid over each other, the stop signal " +
		"at 0. A bar is what was dropped of the requests that were due in one millisecond."
	if f.Own {
		sentence += " Each variant has a scale of its own."
	}
	return &document.Chart{Name: "when", Sentence: sentence, Drawing: chart.Overlay(f), Table: t}
}
