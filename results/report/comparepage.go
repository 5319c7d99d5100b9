package report

import (
	"fmt"
	"io"
	"math"

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
	return comparePage(c).HTML(w)
}

func comparePage(c *compare.Comparison) *document.Document {
	d := &document.Document{}
	d.Heading(1, compareVerdict(c))
	d.List([]string{"base: " + sideText(c.Base), "head: " + sideText(c.Head)})
	d.List(c.Warnings)
	for _, s := range c.Scenarios {
		d.Heading(2, s.Name)
		d.Paragraph(methodText(c, s))
		for _, metric := range metricsIn(s) {
			if one := comparedForest(s, metric); one != nil {
				d.Chart(one)
			}
		}
		d.Table(deltaTable(s, layoutWide, func(*results.Delta) bool { return true }))
		d.Paragraph(thresholdText(s))
		responseBlock(d, s)
		missingBlocks(d, s)
	}
	return d
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

// comparedForest shows a metric of each variant, in the base and in the head. It returns nil if all
// values are 0.
func comparedForest(s *compare.ScenarioComparison, metric string) *document.Chart {
	in := deltaScales(s)[metric]
	m, _ := metrics.Find(metric)
	what := m.In(in)
	f := chart.ForestChart{
		Title: s.Name + ": " + what + ", base and head", Axis: what + " [95 %]",
		Filled: "head", Hollow: "base",
	}
	n := compareNames(s)
	changed, some := 0, false
	for _, v := range s.Variants {
		for _, d := range v.Deltas {
			if d.Metric != metric {
				continue
			}
			name := n.ofLabels(v.Labels)
			row := chart.ForestRow{Label: name, Figure: changeText(d, in)}
			head := markOf(d.Head, in, name+", head: "+figure(d.Head, m.Unit, in, true))
			base := markOf(d.Base, in, name+", base: "+figure(d.Base, m.Unit, in, true))
			base.Hollow = true
			row.Marks = []chart.Mark{head, base}
			for _, mark := range row.Marks {
				some = some || mark.Value > 0 && !math.IsInf(mark.Value, 0)
			}
			if d.Outcome != results.DeltaNone {
				changed++
			}
			f.Rows = append(f.Rows, row)
		}
	}
	if !some {
		return nil
	}
	return &document.Chart{
		Name: s.Name + "-" + metric, Drawing: chart.Forest(f),
		Sentence: fmt.Sprintf("%s: %s changed of %d. A filled dot is the head, a hollow one the "+
			"base. The figure is the change.", m.Name, unit.Plural(changed, "variant"),
			len(f.Rows)),
	}
}
