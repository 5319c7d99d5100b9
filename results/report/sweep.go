package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"reuseport-bench/results"
	"reuseport-bench/results/metrics"
	"reuseport-bench/results/report/chart"
	"reuseport-bench/results/report/document"
	"reuseport-bench/results/unit"
)

const (
	// fewestSwept is the number of values from which on a setting is drawn as an axis.
	fewestSwept = 3
	// mostLines is the number of lines that a chart of a sweep has at most.
	mostLines = 12
)

// A swept is a figure that is drawn over a setting.
type swept struct {
	metric metrics.Metric
	axis   string // "dropped per restart"
	what   string // the axis, in a sentence
	key    string // the path of the setting
	values map[string]float64
	inX    unit.Scale
}

// sweep shows the figure that the scenario is about over a numeric setting, if the matrix has one.
func (c *charting) sweep() *document.Chart {
	m, of := c.lossMetric()
	s := swept{metric: m, axis: "dropped per " + of, what: "the number dropped per " + of}
	if results.Total(c.trials()).Dropped == 0 {
		s.metric, _ = metrics.Find(metrics.ResponseP99)
		s.axis, s.what = "p99 of the response time", "the p99 of the response time"
	}
	if sought := searchFor(c.all); sought != nil {
		s.metric, _ = metrics.Find(sought.metric)
		s.axis, s.what = sought.what, "the "+sought.what
	}
	for _, key := range c.varying {
		if s.over(key, c.all) {
			return c.swept(s)
		}
	}
	return nil
}

// over sets the setting of the sweep. It returns false if the variants have too few values of it,
// or values of different kinds.
func (s *swept) over(key string, variants []*results.Variant) bool {
	s.key, s.values = key, map[string]float64{}
	kinds := map[string]bool{}
	for _, v := range variants {
		if x, kind, ok := numberIn(v.Labels[key]); ok {
			s.values[v.Labels[key]], kinds[kind] = x, true
		}
	}
	if len(s.values) < fewestSwept || len(kinds) != 1 {
		return false
	}
	s.inX = unit.Plain()
	for kind := range kinds {
		if s.inX.Name = kind; kind == "ns" {
			s.inX = unit.Nanoseconds.Scale(slices.Collect(maps.Values(s.values))...)
		}
	}
	return true
}

// numberIn returns the number in a label, and its kind: a duration in nanoseconds ("ns"), a rate
// per second ("1/s"), a share of capacity ("× capacity"), or a plain number ("").
func numberIn(text string) (x float64, kind string, ok bool) {
	if d, err := time.ParseDuration(text); err == nil && text != "0" {
		return float64(d), "ns", true
	}
	number, isRate := strings.CutSuffix(text, "/s")
	number, isShare := strings.CutSuffix(number, "*capacity")
	switch {
	case isRate:
		kind = "1/s"
	case isShare:
		kind = "× capacity"
	}
	x, err := strconv.ParseFloat(strings.ReplaceAll(number, "_", ""), 64)
	return x, kind, err == nil
}

func (c *charting) swept(s swept) *document.Chart {
	var ys []float64
	for _, v := range c.all {
		if figure, ok := v.Summary[s.metric.Name]; ok {
			ys = append(ys, figure.Center)
		}
	}
	inY := scaleOf(s.metric.Unit, ys...)
	xs := slices.Collect(maps.Values(s.values))
	f := chart.SweepChart{
		Title: c.s.Name + ": " + s.axis + " by " + s.key, X: headIn(s.key, s.inX),
		Y:    headIn(s.axis, inY) + " [95 %]",
		LogX: slices.Min(xs) > 0 && slices.Max(xs) >= 20*slices.Min(xs),
	}
	t := &document.Table{Columns: []document.Column{
		document.Left("variant"), document.Right(f.X), document.Right(f.Y),
	}}
	lines := map[string]*chart.SweepLine{}
	var order []string
	for _, v := range c.s.Variants {
		x, ok := s.values[v.Labels[s.key]]
		y, has := v.Summary[s.metric.Name]
		if !ok || !has || !slices.Contains(c.all, v) {
			continue
		}
		name := ""
		if len(c.varying) > 1 {
			rest := maps.Clone(v.Labels)
			delete(rest, s.key)
			name = c.ofLabels(rest)
		}
		if lines[name] == nil {
			lines[name] = &chart.SweepLine{Label: name}
			order = append(order, name)
		}
		text := figure(y, s.metric.Unit, inY, true)
		lines[name].Points = append(lines[name].Points, chart.SweepPoint{X: x / s.inX.Factor,
			Mark: markOf(y, inY, c.of(v)+": "+text)})
		t.Add(c.of(v), s.inX.Of(x), text)
	}
	points := 0
	for _, name := range order {
		slices.SortFunc(lines[name].Points, func(a, b chart.SweepPoint) int {
			return cmp.Compare(a.X, b.X)
		})
		points = max(points, len(lines[name].Points))
		f.Lines = append(f.Lines, *lines[name])
	}
	if points < fewestSwept {
		return nil
	}
	sentence := fmt.Sprintf("How %s depends on %s.", s.what, s.key)
	if c.bounded(s.metric.Name) {
		sentence = fmt.Sprintf("How %s depends on %s, with 95 %% intervals.", s.what, s.key)
	}
	if left := len(f.Lines) - mostLines; left > 0 {
		f.Lines = f.Lines[:mostLines]
		sentence += fmt.Sprintf(" %s of the other settings are left out.",
			unit.Plural(left, "combination"))
	}
	return &document.Chart{Name: "sweep", Drawing: chart.Sweep(f), Table: t, Sentence: sentence}
}
