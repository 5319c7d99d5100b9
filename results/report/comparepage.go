package report

import (
	"fmt"
	"io"
	"math"
	"strings"

	"reuseport-bench/results"
	"reuseport-bench/results/compare"
	"reuseport-bench/results/metrics"
	"reuseport-bench/results/report/chart"
	"reuseport-bench/results/report/document"
	"reuseport-bench/results/unit"
)

// CompareHTML prints the comparison as one page with charts: each variant with two marks, the
// head's filled and the base's hollow.
func CompareHTML(w io.Writer, c *compare.Comparison) error {
	return compareDocument(c, layoutPage).HTML(w)
}

// comparedCharts adds a chart for each metric of a scenario that was compared.
func comparedCharts(d *document.Document, s *compare.ScenarioComparison) {
	for _, metric := range metricsIn(s) {
		if one := comparedForest(s, metric); one != nil {
			d.Chart(one)
		}
	}
}

// metricsIn returns the metrics that were compared, in the order of the registry.
func metricsIn(s *compare.ScenarioComparison) (names []string) {
	compared := map[string]bool{}
	for _, d := range deltasOf(s) {
		compared[d.Metric] = true
	}
	for _, m := range metrics.All() {
		if compared[m.Name] {
			names = append(names, m.Name)
		}
	}
	return names
}

// comparedForest shows a metric of each variant, in the base and in the head. Variants that changed
// come first. It returns nil if all values are 0.
func comparedForest(s *compare.ScenarioComparison, metric string) *document.Chart {
	in := deltaScales(s)[metric]
	m, _ := metrics.Find(metric)
	what := m.In(in)
	if m.Unit == unit.PerAttempt {
		in = unit.Percent()
		what = headIn(m.Name, in)
	}
	f := chart.ForestChart{
		Title: s.Name + ": " + what + ", base and head", Axis: what + " [95 %]",
		Filled: "head", Hollow: "base",
	}
	n := compareNames(s)
	changed, some := 0, false
	var others []chart.ForestRow // that did not change
	for _, v := range s.Variants {
		for _, d := range v.Deltas {
			if d.Metric != metric {
				continue
			}
			row := comparedRow(d, m, in, n.ofLabels(v.Labels))
			for _, mark := range row.Marks {
				some = some || mark.Value > 0 && !math.IsInf(mark.Value, 0)
			}
			if d.Outcome != results.DeltaNone {
				changed++
				f.Rows = append(f.Rows, row)
			} else {
				others = append(others, row)
			}
		}
	}
	if !some {
		return nil
	}
	f.Rows = append(f.Rows, others...)
	text := comparedSentence(m, changed, len(f.Rows))
	if left := len(f.Rows) - mostRows; left > 0 {
		f.Rows = f.Rows[:mostRows]
		text += fmt.Sprintf(" The other %s are in the table.", unit.Plural(left, "variant"))
	}
	return &document.Chart{
		Name: s.Name + "-" + metric, Drawing: chart.Forest(f), Sentence: text,
	}
}

// comparedSentence says what to see in a chart of a metric in which changed of all variants differ.
func comparedSentence(m metrics.Metric, changed, all int) string {
	differ := fmt.Sprintf("%d of %s are", changed, unit.Plural(all, "variant"))
	switch changed {
	case 0:
		differ = fmt.Sprintf("none of %s is", unit.Plural(all, "variant"))
	case 1:
		differ = fmt.Sprintf("1 of %s is", unit.Plural(all, "variant"))
	}
	return fmt.Sprintf("How %s changed (%s): %s known to differ. A filled dot is the head, a "+
		"hollow one the base. The figure is the change.", strings.TrimSuffix(m.Name, "_ns"), m.Doc,
		differ)
}

// comparedRow returns the row of a variant: its head over its base.
func comparedRow(d *results.Delta, m metrics.Metric, in unit.Scale, name string) chart.ForestRow {
	title := func(side string, s results.Summary) string {
		return strings.TrimSpace(name + ", " + side + ": " + figure(s, m.Unit, in, true) + " " +
			in.Name)
	}
	head := markOf(d.Head, in, title("head", d.Head))
	base := markOf(d.Base, in, title("base", d.Base))
	base.Hollow = true
	value, interval, _ := strings.Cut(strings.TrimSuffix(changeText(d, in), " %"), " [")
	if interval != "" {
		interval = "[" + interval
	}
	unitName := in.Name
	switch {
	case d.Scale == results.ScaleRatio:
		unitName = "%"
	case unitName == "%":
		unitName = "% points"
	}
	return chart.ForestRow{Label: name, Figure: strings.TrimSpace(value + " " + unitName),
		Interval: interval, Marks: []chart.Mark{head, base}}
}
