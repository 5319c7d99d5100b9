package report

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"reuseport-bench/results"
	"reuseport-bench/results/compare"
	"reuseport-bench/results/jsonfile"
	"reuseport-bench/results/metrics"
	"reuseport-bench/results/report/document"
	"reuseport-bench/results/unit"
)

// CompareText prints the comparison for a terminal.
func CompareText(w io.Writer, c *compare.Comparison, look document.Look) error {
	return compareDocument(c, layoutText).Text(w, look)
}

// CompareMarkdown prints the comparison in GitHub's Markdown.
func CompareMarkdown(w io.Writer, c *compare.Comparison) error {
	return compareDocument(c, layoutWide).Markdown(w)
}

// CompareJSON prints the comparison for programs: the figures of base and head, the change and the
// outcome.
func CompareJSON(w io.Writer, c *compare.Comparison) error {
	return jsonfile.EncodeIndented(w, c)
}

// A compareLayout is the place of the variants' names in the table of deltas.
type compareLayout int

const (
	// layoutText puts the name on a line above the variant's deltas, because a column of names
	// would be too wide.
	layoutText compareLayout = iota
	layoutWide               // layoutWide puts the name in a column
	layoutPage               // layoutPage is layoutWide with charts, and a question as title
)

func compareDocument(c *compare.Comparison, layout compareLayout) *document.Document {
	d := &document.Document{}
	if layout == layoutPage {
		d.Heading(1, "What changed from "+sideName(c.Base)+" to "+sideName(c.Head)+"?")
		d.Paragraph(sentence(unsigned(compareVerdict(c))) + ".\n" + changes(c))
	} else {
		d.Heading(1, sidesText(c))
		d.Paragraph(changes(c))
	}
	d.List([]string{"base: " + sideText(c.Base), "head: " + sideText(c.Head)})
	d.List(c.Warnings)
	for _, s := range c.Scenarios {
		d.Heading(2, s.Name)
		d.Paragraph(methodText(c, s))
		if layout == layoutPage {
			comparedCharts(d, s)
		}
		d.Table(deltaTable(s, layout, func(*results.Delta) bool { return true }))
		d.Paragraph(thresholdText(s))
		responseBlock(d, s)
		missingBlocks(d, s)
	}
	return d
}

func sidesText(c *compare.Comparison) string {
	return sideName(c.Base) + " → " + sideName(c.Head)
}

func sideText(s compare.Side) string {
	text := fmt.Sprintf("%s, kernel %s, %s, from %s", s.Version, s.Kernel,
		unit.Plural(s.Runs, "run"), s.StartedAt.UTC().Format("2006-01-02 15:04:05 UTC"))
	if s.Name != "" {
		text = s.Name + ": " + text
	}
	return text
}

// methodText describes in one line the method by which a scenario was compared.
func methodText(c *compare.Comparison, s *compare.ScenarioComparison) string {
	deltas := deltasOf(s)
	how, besides := "As two samples", "\nWhat the machine did between base and head counts as a "+
		"change too; runs that take turns are compared in pairs."
	if c.Paired {
		pairs := 0
		for _, d := range deltas {
			pairs = max(pairs, d.Change.N)
		}
		how, besides = fmt.Sprintf("In pairs, by turns, %s each", unit.Plural(pairs, "block")), ""
	}
	kernel := c.Head.Kernel
	if c.Base.Kernel != kernel {
		kernel = c.Base.Kernel + " → " + kernel
	}
	text := fmt.Sprintf("%s; %s in the family; %s, kernel %s.%s", how,
		unit.Plural(len(deltas), "comparison"), sidesText(c), kernel, besides)
	if shared := compareNames(s).sharedText(); shared != "" {
		text += "\n" + shared + "."
	}
	return text
}

func deltasOf(s *compare.ScenarioComparison) (deltas []*results.Delta) {
	for _, v := range s.Variants {
		deltas = append(deltas, v.Deltas...)
	}
	return deltas
}

// deltaTable returns a table with one row for each delta that is shown.
func deltaTable(
	s *compare.ScenarioComparison, layout compareLayout, show func(*results.Delta) bool,
) *document.Table {
	t := &document.Table{Columns: []document.Column{document.Left("variant"),
		document.Left("metric")}}
	if layout == layoutText {
		t.Columns = []document.Column{document.Left("variant, metric")}
	}
	t.Columns = append(t.Columns, document.Right("base"), document.Right("head"),
		document.Right("change [95 %]"),
		document.Right("p"), document.Right("n"), document.Left("outcome").Toned(verdictTone))
	scales, n := deltaScales(s), compareNames(s)
	for _, v := range s.Variants {
		name := n.ofLabels(v.Labels)
		shown := slices.DeleteFunc(slices.Clone(v.Deltas),
			func(d *results.Delta) bool { return !show(d) })
		if len(shown) > 0 && layout == layoutText {
			t.Add(append([]string{name}, make([]string, len(t.Columns)-1)...)...)
		}
		for _, d := range shown {
			first := []string{name, metricText(d, scales[d.Metric])}
			if layout == layoutText {
				first = []string{indent + first[1]}
			}
			t.Add(append(first, deltaCells(t, d, scales[d.Metric])...)...)
		}
	}
	return t
}

// indent marks the lines of a variant's metrics. Spaces would not do, because tables trim them.
const indent = "· "

// deltaScales returns one scale for each metric of the scenario.
func deltaScales(s *compare.ScenarioComparison) map[string]unit.Scale {
	values := map[string][]float64{}
	for _, d := range deltasOf(s) {
		values[d.Metric] = append(values[d.Metric], d.Base.Center, d.Head.Center)
		if d.Scale == results.ScaleDifference {
			values[d.Metric] = append(values[d.Metric], d.Change.Center)
		}
	}
	scales := map[string]unit.Scale{}
	for metric, xs := range values {
		scales[metric] = metrics.UnitOf(metric).Scale(xs...)
	}
	return scales
}

// metricText returns the metric's name with the unit in which the metric is printed.
func metricText(d *results.Delta, in unit.Scale) string {
	m, ok := metrics.Find(d.Metric)
	if !ok {
		return d.Metric // the metric comes from a newer program
	}
	return m.In(in)
}

func deltaCells(t *document.Table, d *results.Delta, in unit.Scale) []string {
	outcome := cmp.Or(verdictMark(d), d.Outcome)
	notes := d.Change.Warnings
	if d.Unlike != "" {
		notes = append(slices.Clone(notes), d.Unlike)
	}
	return []string{
		spreadText(d.Base, d.Metric, in) + t.Note(d.Base.Warnings...),
		spreadText(d.Head, d.Metric, in) + t.Note(d.Head.Warnings...),
		changeText(d, in) + t.Note(notes...),
		unit.PValue(d.PAdjusted), count(int64(d.Change.N)), outcome,
	}
}

// spreadText writes a center and the distance to the farther end of its interval, as benchstat
// does. There is no space for the whole intervals of base and head beside the interval of the
// change.
func spreadText(s results.Summary, metric string, in unit.Scale) string {
	text := figure(s, metrics.UnitOf(metric), in, false)
	if s.Lo == nil || s.Hi == nil || s.Method == results.MethodRuleOfThree || s.TooFew {
		return text
	}
	far := max(s.Center-*s.Lo, *s.Hi-s.Center)
	// Write the distance itself if it is above 100 % of the center, where percentages are hard to
	// read.
	if s.Center == 0 || far > math.Abs(s.Center) {
		return text + " ± " + unit.Digits(far/in.Factor, 2)
	}
	return fmt.Sprintf("%s ± %.0f %%", text, 100*far/math.Abs(s.Center))
}

// changeText writes a ratio as its difference from 1 in percent, and a difference in the metric's
// unit.
func changeText(d *results.Delta, in unit.Scale) string {
	write, suffix := func(x float64) string { return signed(x/in.Factor, unit.Number) }, ""
	if d.Scale == results.ScaleRatio {
		write, suffix = func(x float64) string { return signed(100*(x-1), tenths) }, " %"
	}
	return unit.Spread(d.Change.Center, d.Change.Lo, d.Change.Hi, write) + suffix
}

func signed(x float64, write func(float64) string) string {
	text := write(x)
	if x > 0 && text != missing && text != "0.0" {
		return "+" + text
	}
	return text
}

// tenths writes a percentage, with one decimal below 100. It writes a rounded 0 without a sign.
func tenths(x float64) string {
	if math.Abs(x) < 0.05 {
		return "0.0"
	}
	if math.Abs(x) >= 100 {
		return unit.Number(x)
	}
	return strconv.FormatFloat(x, 'f', 1, 64)
}

// thresholdText explains which changes matter and how to read the table.
func thresholdText(s *compare.ScenarioComparison) string {
	var parts []string
	for _, d := range deltasOf(s) {
		part := d.Metric + " " + thresholdValue(d)
		if !slices.Contains(parts, part) {
			parts = append(parts, part)
		}
	}
	if len(parts) == 0 {
		return "Nothing could be compared."
	}
	return fmt.Sprintf("Changes that matter are, at least: %s. A change is named when chance "+
		"makes one in at most %.3g %% of cases.\n%s\n"+
		"±: the farther end of the 95 %% interval. p: adjusted for the whole family. n: pairs, or "+
		"trials of the side that has fewer.",
		strings.Join(parts, ", "), 100*compare.Alpha, markText("pairs or trials"))
}

func thresholdValue(d *results.Delta) string {
	if d.Scale == results.ScaleRatio {
		return unit.Digits(100*d.Threshold, 4) + " %"
	}
	in := metrics.UnitOf(d.Metric).Scale(d.Threshold)
	return strings.TrimSpace(unit.Digits(d.Threshold/in.Factor, 4) + " " + in.Name)
}

// A responseColumn shows a percentile of the merged histograms.
type responseColumn struct {
	head string
	of   func(*results.Percentiles) int64
}

var mergedColumns = []responseColumn{
	{"p50", func(p *results.Percentiles) int64 { return p.P50 }},
	{"p90", func(p *results.Percentiles) int64 { return p.P90 }},
	{"p99", func(p *results.Percentiles) int64 { return p.P99 }},
	{"p99.9", func(p *results.Percentiles) int64 { return p.P999 }},
	{"max", func(p *results.Percentiles) int64 { return p.Max }},
}

// responseBlock adds a table of the response times over all attempts, with the number of trials
// that they cover.
func responseBlock(d *document.Document, s *compare.ScenarioComparison) {
	t := &document.Table{Columns: []document.Column{document.Left("variant"),
		document.Right("valid/all\ntrials")}}
	scales := make([]unit.Scale, len(mergedColumns))
	for i, c := range mergedColumns {
		scales[i] = c.scale(s)
		t.Columns = append(t.Columns, document.Right(headIn(c.head, scales[i])))
	}
	n := compareNames(s)
	for _, v := range s.Variants {
		cells := []string{n.ofLabels(v.Labels), fmt.Sprintf("%d/%d → %d/%d", v.Base.Valid,
			v.Base.Trials, v.Head.Valid, v.Head.Trials)}
		for i, c := range mergedColumns {
			text := missing
			if v.Base.ResponseNS != nil || v.Head.ResponseNS != nil {
				text = c.cell(v.Base.ResponseNS, scales[i]) + " → " +
					c.cell(v.Head.ResponseNS, scales[i])
			}
			cells = append(cells, text)
		}
		t.Add(cells...)
	}
	if len(t.Rows) == 0 {
		return
	}
	d.Heading(3, "Response time over all attempts served in valid trials, base → head")
	d.Table(t)
	d.Paragraph("Histograms merged, no interval: attempts within a trial are not independent, " +
		"and one slow trial can own the tail.")
}

func (c responseColumn) scale(s *compare.ScenarioComparison) unit.Scale {
	var values []float64
	for _, v := range s.Variants {
		for _, p := range []*results.Percentiles{v.Base.ResponseNS, v.Head.ResponseNS} {
			if p != nil {
				values = append(values, float64(c.of(p)))
			}
		}
	}
	return unit.Nanoseconds.Scale(values...)
}

func (c responseColumn) cell(p *results.Percentiles, in unit.Scale) string {
	if p == nil {
		return missing
	}
	return in.Of(float64(c.of(p)))
}

// missingBlocks adds the reasons why the comparison is void, what could not be compared, and the
// warnings.
func missingBlocks(d *document.Document, s *compare.ScenarioComparison) {
	for _, block := range []struct {
		head  string
		lines []string
	}{
		{"Void: nothing follows from the tables above", s.Void},
		{"Could not be compared", s.Unmeasured},
		{"Warnings", s.Warnings},
	} {
		if len(block.lines) > 0 {
			d.Heading(3, block.head)
			d.List(block.lines)
		}
	}
}
