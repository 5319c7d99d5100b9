package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

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
	all      []*results.Variant // with valid trials, in the order of reports, without the A/A arm
	ranked   []*results.Variant // all, the best first
	variants []*results.Variant // those of all that have rows in charts
	restarts bool
	steps    bool
}

// mostRows is the number of variants that charts show at most.
const mostRows = 40

func newCharting(s *results.Scenario) *charting {
	c := &charting{names: newNames(s), s: s}
	for _, v := range ordered(s) {
		if v.SkippedReason == nil && !v.IsAA() && len(v.ValidTrials()) > 0 {
			c.all = append(c.all, v)
		}
	}
	c.restarts, c.steps = kinds(c.all)
	c.ranked = slices.Clone(c.all)
	slices.SortStableFunc(c.ranked, func(a, b *results.Variant) int {
		return cmp.Or(cmp.Compare(lossOf(a), lossOf(b)),
			cmp.Compare(a.Summary[metrics.ResponseP99].Center,
				b.Summary[metrics.ResponseP99].Center))
	})
	c.variants = c.extremes(mostRows)
	return c
}

// extremes returns all variants or, if there are more than n, the n/2 best and the n/2 worst.
func (c *charting) extremes(n int) []*results.Variant {
	if len(c.all) <= n {
		return c.all
	}
	middle := c.ranked[n/2 : len(c.all)-n/2]
	return slices.DeleteFunc(slices.Clone(c.all), func(v *results.Variant) bool {
		return slices.Contains(middle, v)
	})
}

// chartBlocks adds the charts of a scenario: what it loses, by which setting, why, when, how long
// it takes, and who serves. A chart without data is left out.
func chartBlocks(d *document.Document, s *results.Scenario) {
	c := newCharting(s)
	if len(c.all) == 0 {
		return
	}
	if len(c.variants) < len(c.all) {
		d.Paragraph(fmt.Sprintf("The charts have rows for %d of the %d variants: the %d that "+
			"dropped least and the %d that dropped most, and of equals those with the lowest and "+
			"the highest p99. The tables have all variants.", len(c.variants), len(c.all),
			mostRows/2, mostRows/2))
	}
	all := append([]*document.Chart{c.forest()}, c.lags()...)
	all = append(all, c.sweep(), c.causes(), c.overlay(), c.worst(), c.best(), c.spectrum(),
		c.spread())
	for _, one := range all {
		if one != nil {
			one.Name = s.Name + "-" + one.Name
			d.Chart(one)
		}
	}
}

// lossMetric returns the metric of loss that the scenario is about, and by what it counts losses.
func (c *charting) lossMetric() (m metrics.Metric, of string) {
	name := metrics.DroppedPerAttempt
	of = "attempt"
	switch {
	case c.restarts:
		name, of = metrics.DroppedPerRestart, "restart"
	case c.has(metrics.DroppedPerStep):
		name, of = metrics.DroppedPerStep, "step"
	}
	m, _ = metrics.Find(name)
	return m, of
}

// scaleOf returns the scale in which charts have a metric with these values.
func scaleOf(u unit.Unit, values ...float64) unit.Scale {
	if u == unit.PerAttempt {
		return unit.Percent()
	}
	return u.Scale(values...)
}

func (c *charting) has(metric string) bool {
	return slices.ContainsFunc(c.all, func(v *results.Variant) bool {
		_, ok := v.Summary[metric]
		return ok
	})
}

// markOf returns the mark of a summary in a chart, in the scale. Only a rate of 0 has an upper
// bound in place of a figure: a median of 0 may be that of trials some of which dropped attempts.
func markOf(s results.Summary, in unit.Scale, title string) chart.Mark {
	m := chart.Mark{Value: s.Center / in.Factor, Low: math.NaN(), High: math.NaN(), Title: title}
	if s.Lo != nil && s.Hi != nil && !s.TooFew {
		m.Low, m.High = *s.Lo/in.Factor, *s.Hi/in.Factor
	}
	m.None = s.Method == results.MethodRuleOfThree
	return m
}

// forestRow returns the row of a figure that is written as text: "0.26 [0.20, 0.32]".
func forestRow(label, text, unitName string, mark chart.Mark) chart.ForestRow {
	value, interval, ok := strings.Cut(text, " [")
	if ok {
		interval = "[" + interval
	}
	if unitName != "" {
		value += " " + unitName
	}
	return chart.ForestRow{Label: label, Figure: value, Interval: interval,
		Marks: []chart.Mark{mark}}
}

// band sets the chart's band to the interval of the baseline.
func band(f *chart.ForestChart, s results.Summary, in unit.Scale) {
	if s.Lo != nil && s.Hi != nil && s.Center > 0 {
		f.Low, f.High, f.BandName = *s.Lo/in.Factor, *s.Hi/in.Factor, "baseline"
	}
}

// bounded reports whether the metric of any variant has an interval or an upper bound.
func (c *charting) bounded(metric string) bool {
	return slices.ContainsFunc(c.all, func(v *results.Variant) bool {
		s, ok := v.Summary[metric]
		return ok && s.Hi != nil && !s.TooFew
	})
}

// forest compares the variants by what they searched for or what they lose. If nothing was lost,
// and there are no steps or too few of them for a bound, it compares them by their response time.
func (c *charting) forest() *document.Chart {
	if found := c.found(); found != nil {
		return found
	}
	m, of := c.lossMetric()
	if results.Total(c.trials()).Dropped == 0 && !(c.steps && c.bounded(m.Name)) {
		return c.response()
	}
	in := scaleOf(m.Unit, 1)
	what := headIn("dropped per "+of, in)
	f := chart.ForestChart{
		Title: c.s.Name + ": dropped per " + of + ", by variant", Axis: what + " [95 %]",
	}
	if of != "attempt" {
		f.At, f.AtName = 1, "one per "+of
	}
	t := &document.Table{Columns: []document.Column{
		document.Left("variant"), document.Right(of + "s"), document.Right("dropped"),
		document.Right(what + " [95 %]"),
	}}
	none, lost, others := 0, 0, 0
	for _, v := range c.all {
		rate, ok := v.Summary[m.Name]
		if !ok {
			others++
			continue
		}
		l := lossIn(v, m.Name, of)
		if l.none {
			none++
		} else {
			lost++
		}
		if v == c.s.BaselineVariant() {
			band(&f, rate, in)
		}
		if !slices.Contains(c.variants, v) {
			continue
		}
		text := figure(rate, m.Unit, in, true)
		title := fmt.Sprintf("%s: %d dropped in %s, %s", c.of(v), l.total,
			unit.Plural(l.n, l.of), strings.TrimSpace(text+" "+in.Name))
		f.Rows = append(f.Rows, forestRow(c.of(v), text, in.Name, markOf(rate, in, title)))
		t.Add(c.of(v), strconv.Itoa(l.n), count(l.total), text)
	}
	return &document.Chart{
		Name: "dropped", Sentence: c.forestSentence(m.Name, of, none, lost, others),
		Drawing: chart.Forest(f), Table: t,
	}
}

// forestSentence says what to see in a chart of the metric in which none variants dropped nothing,
// lost variants dropped some, and others are left out, because they have no such figure.
func (c *charting) forestSentence(metric, of string, none, lost, others int) string {
	bar := fmt.Sprintf("an open bar from 0 to the upper bound, which is 3 ÷ %ss", of)
	if of == "step" { // a median has no such bound
		bar = "an arrow to 0"
	}
	dot := "a dot"
	if c.bounded(metric) {
		dot += ", with its 95 % interval"
	}
	if none > 1 {
		bar = "each has " + bar
	} else {
		bar = "it has " + bar
	}
	var text string
	switch {
	case none > 0 && lost > 1:
		text = fmt.Sprintf("%d of %d variants dropped nothing: %s. Each other variant has %s.",
			none, none+lost, bar, dot)
	case none > 0 && lost == 1:
		text = fmt.Sprintf("%d of %d variants dropped nothing: %s. The other variant has %s.",
			none, none+lost, bar, dot)
	case none > 0:
		text = fmt.Sprintf("No variant dropped anything: %s.", bar)
	default:
		text = fmt.Sprintf("What each variant dropped: %s.", dot)
	}
	text += " Farther to the left is better."
	if others > 0 {
		text += fmt.Sprintf(" Not shown: %s without a figure per %s.",
			unit.Plural(others, "variant"), of)
	}
	return text
}

// response compares the variants by their p99.
func (c *charting) response() *document.Chart {
	return c.figures(metrics.ResponseP99, "p99", "p99 of the response time",
		"Nothing was dropped. Each row is a variant: 99 of 100 requests were answered within "+
			"this time. Farther to the left is better.")
}

// found compares the variants by what their searches found, or returns nil if they searched for
// nothing. The trial that a search found dropped nothing by definition, so its losses say nothing.
func (c *charting) found() *document.Chart {
	if s := searchFor(c.all); s != nil {
		return c.figures(s.metric, "found", s.what, fmt.Sprintf(
			"The %s with which nothing was dropped, of each variant.", s.what))
	}
	if c.has(metrics.HighestRate) {
		return c.figures(metrics.HighestRate, "found", "highest rate [1/s]",
			"The highest rate at which nothing was dropped, of each variant. Farther to the "+
				"right is better.")
	}
	return nil
}

// figures compares the variants by a metric.
func (c *charting) figures(metric, name, what, sentence string) *document.Chart {
	m, _ := metrics.Find(metric)
	var values []float64
	for _, v := range c.all {
		if s, ok := v.Summary[metric]; ok {
			values = append(values, s.Center)
			if s.Hi != nil {
				values = append(values, *s.Hi)
			}
		}
	}
	in := scaleOf(m.Unit, values...)
	f := chart.ForestChart{
		Title: c.s.Name + ": " + what + ", by variant", Axis: headIn(what, in) + " [95 %]",
	}
	t := &document.Table{Columns: []document.Column{
		document.Left("variant"), document.Right(f.Axis),
	}}
	for _, v := range c.all {
		s, ok := v.Summary[metric]
		if !ok {
			continue
		}
		if v == c.s.BaselineVariant() {
			band(&f, s, in)
		}
		if !slices.Contains(c.variants, v) {
			continue
		}
		text := figure(s, m.Unit, in, true)
		f.Rows = append(f.Rows, forestRow(c.of(v), text, in.Name,
			markOf(s, in, strings.TrimSpace(c.of(v)+": "+text+" "+in.Name))))
		t.Add(c.of(v), text)
	}
	if len(f.Rows) == 0 {
		return nil
	}
	return &document.Chart{Name: name, Drawing: chart.Forest(f), Table: t, Sentence: sentence}
}

// trials returns the valid trials of all variants.
func (c *charting) trials() (all []*results.Trial) {
	for _, v := range c.all {
		all = append(all, v.ValidTrials()...)
	}
	return all
}

// colours gives each cause its colour, in all charts of all pages. Causes of the same colour have
// different shades of it.
var colours = []struct {
	colour chart.Colour
	causes []string
}{
	{chart.Vermilion, []string{cause.ResetAtClose, cause.ResetHalfOpen}},
	{chart.Blue, []string{cause.Refused, cause.NoEndpoint, cause.NoRoute}},
	{chart.Purple, []string{cause.WorkerCrash, cause.CutOff, cause.Reset}},
	{chart.Green, []string{cause.ClosedByWorker, cause.Closed, cause.StaleConnection}},
	{chart.Orange, []string{cause.Timeout, cause.QueuedUnaccepted, cause.SYNTimeout}},
	{chart.Sky, []string{cause.StaleEndpoint, cause.EarlyEndpoint, cause.StaleConntrack}},
	{chart.Yellow, []string{cause.AcceptOverflow, cause.ProxyError, cause.ErrorAnswer}},
	{chart.Ink, []string{cause.Unknown, cause.InvalidAnswer, cause.Untranslated}},
}

// keyOf returns the key of a cause. A cause of a newer program is grey.
func keyOf(name string) chart.Key {
	for _, c := range colours {
		if shade := slices.Index(c.causes, name); shade >= 0 {
			return chart.Key{Name: name, Colour: c.colour, Shade: shade}
		}
	}
	return chart.Key{Name: name}
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
	for _, name := range causes {
		keys = append(keys, keyOf(name))
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
		f.Rows = append(f.Rows, row)
		t.Add(cells...)
	}
	sentence := "Why requests were dropped. "
	if len(c.variants) > 1 {
		sentence = "Why requests were dropped: each bar is all that a variant dropped. "
	}
	if len(causes) > 1 {
		sentence += "The most frequent cause is " + causes[0] + ". "
	} else {
		sentence += "The cause is " + causes[0] + ". "
	}
	return &document.Chart{
		Name: "causes", Sentence: sentence + meaning(causes[0]), Drawing: chart.Causes(f), Table: t,
	}
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
