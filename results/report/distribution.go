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
	"reuseport-bench/results/metrics"
	"reuseport-bench/results/report/chart"
	"reuseport-bench/results/report/document"
	"reuseport-bench/results/summary"
	"reuseport-bench/results/unit"
)

// mostCurves is the number of curves whose signs fit beside a chart.
const mostCurves = 20

// spectrum shows how long attempts took.
func (c *charting) spectrum() *document.Chart {
	f := chart.SpectrumChart{
		Title: c.s.Name + ": response time by percentile", Axis: "response time, ms",
	}
	t := &document.Table{Columns: []document.Column{document.Left("variant")}}
	percentiles := []float64{50, 90, 99, 99.9, 99.99}
	for _, p := range percentiles {
		name := "p" + strconv.FormatFloat(p, 'g', -1, 64)
		t.Columns = append(t.Columns, document.Right(headIn(name, unit.Milliseconds())))
	}
	t.Columns = append(t.Columns, document.Right("dropped"))
	anyLost := false
	drawn := c.extremes(mostCurves)
	for _, v := range c.variants {
		all, dropped, timeout := responses(v)
		if all.Count() == 0 {
			continue
		}
		f.Timeout = max(f.Timeout, inMS(timeout))
		line := chart.SpectrumLine{Label: c.of(v), Lost: float64(dropped),
			Strong: v == c.s.BaselineVariant() && len(c.variants) > 1}
		if p99 := percentile(all, dropped, 99); p99 != missing {
			line.Figure = "p99: " + p99
			if p99 != droppedTime {
				line.Figure += " ms"
			}
		}
		for _, value := range all.Values() {
			line.Values = append(line.Values,
				chart.Count{Value: float64(value.NS) / 1e6, N: float64(value.N)})
		}
		anyLost = anyLost || dropped > 0
		if slices.Contains(drawn, v) {
			f.Lines = append(f.Lines, line)
		}
		cells := []string{c.of(v)}
		for _, p := range percentiles {
			cells = append(cells, percentile(all, dropped, p))
		}
		t.Add(append(cells, count(dropped))...)
	}
	if len(f.Lines) == 0 {
		return nil
	}
	sentence := "How long requests took: 99 % took no longer than the line at 99 %, and so on. " +
		"Lower is better."
	if anyLost {
		sentence += " Dropped requests count as longer than the timeout: a line rises where they " +
			"begin."
	}
	if left := len(c.variants) - len(drawn); left > 0 {
		sentence += fmt.Sprintf(" %s between the best and the worst are only in the table.",
			unit.Plural(left, "variant"))
	}
	return &document.Chart{
		Name: "response", Sentence: sentence, Drawing: chart.Spectrum(f), Table: t,
	}
}

// responses returns the response times of all valid trials that have them, the number of attempts
// that these trials dropped, and their longest timeout in nanoseconds.
func responses(v *results.Variant) (all *results.Histogram, dropped, timeoutNS int64) {
	all = results.NewHistogram()
	for _, trial := range v.ValidTrials() {
		one, err := results.DecodeHistogram(trial.Histogram)
		if err != nil {
			continue // older runs have none
		}
		all.Merge(one)
		dropped += trial.Dropped
		timeoutNS = max(timeoutNS, trial.TimeoutNS)
	}
	return all, dropped, timeoutNS
}

// droppedTime is written in place of a percentile if the attempts up to it include dropped ones.
const droppedTime = "dropped"

// percentile writes a percentile of the response times in milliseconds. Dropped attempts count as
// longer than all others. It writes missing if less than one attempt lies beyond the percentile.
func percentile(served *results.Histogram, dropped int64, p float64) string {
	n := float64(served.Count() + dropped)
	rank := math.Ceil(n * p / 100)
	switch {
	case n*(1-p/100) < 1-1e-9:
		return missing
	case rank > float64(served.Count()):
		return droppedTime
	}
	return unit.Number(inMS(served.At(100 * rank / float64(served.Count()))))
}

// spread shows how the connections were spread over the workers. Where workers are restarted, they
// do not live equally long, and there is no chart.
func (c *charting) spread() *document.Chart {
	if c.steps {
		return nil
	}
	f := chart.SpreadChart{Title: c.s.Name + ": connections by worker", Whole: "connections"}
	t := &document.Table{Columns: []document.Column{
		document.Left("variant"), document.Right("busiest worker ÷ mean"),
		document.Left("connections of each worker"),
	}}
	for _, v := range c.variants {
		trial := fairTrial(v)
		if trial == nil {
			continue
		}
		row := chart.SpreadRow{Label: c.of(v)}
		var accepted []int64
		for _, w := range trial.Workers {
			if !w.Acceptor && w.BindError == "" {
				row.Counts = append(row.Counts, float64(w.Accepted))
				accepted = append(accepted, w.Accepted)
			}
		}
		if len(row.Counts) < 2 {
			continue
		}
		ratio := unit.Number(trial.Fairness.MaxOverMean)
		row.Figure = "busiest " + ratio + "×"
		f.Rows = append(f.Rows, row)
		t.Add(c.of(v), ratio, countsText(accepted))
	}
	if len(f.Rows) == 0 {
		return nil
	}
	return &document.Chart{
		Name: "spread", Drawing: chart.Spread(f), Table: t,
		Sentence: "Who served: a dot is a worker's share of the connections of one trial, the " +
			"median by the busiest worker's share. If a fair die chose the worker, 95 of 100 " +
			"dots would be in the grey band.",
	}
}

// fairTrial returns the valid trial whose busiest worker's share is the median, or nil if no trial
// has such a share. The workers of several trials are not the same, so a chart shows one trial.
func fairTrial(v *results.Variant) *results.Trial {
	all := slices.DeleteFunc(v.ValidTrials(), func(t *results.Trial) bool {
		return t.Fairness == nil
	})
	if len(all) == 0 {
		return nil
	}
	slices.SortStableFunc(all, func(a, b *results.Trial) int {
		return cmp.Compare(a.Fairness.MaxOverMean, b.Fairness.MaxOverMean)
	})
	return all[(len(all)-1)/2]
}

// countsText writes the counts of workers, or their range if there are many.
func countsText(all []int64) string {
	if len(all) > 16 {
		return fmt.Sprintf("%d workers: %d to %d", len(all), slices.Min(all), slices.Max(all))
	}
	var text []string
	for _, n := range all {
		text = append(text, count(n))
	}
	return strings.Join(text, " ")
}

// mostPoints is the number of points that a scatter plot has at most. Its line is fitted to all.
const mostPoints = 300

// mostSlopes is the number of lags, and of settings beside them, that have a chart.
const mostSlopes = 4

// lags shows how long the outage lasts, by each lag on which it depends. A search has no such
// charts: the trials that it found have no outage.
func (c *charting) lags() (all []*document.Chart) {
	if searchFor(c.all) != nil {
		return nil
	}
	slopes := summary.Slopes(c.s, metrics.Outage, "kube.endpoint_lag", "kube.node_lag")
	several := len(slopes) > 1
	slopes = slices.DeleteFunc(slopes, func(s summary.Slope) bool {
		return !(math.Abs(s.Slope) > s.Half)
	})
	for i, slope := range slopes[:min(len(slopes), mostSlopes)] {
		one := c.lag(slope)
		if slope.Rest != "" && several {
			one.Sentence += " The variants are those with " + slope.Rest + "."
		}
		if i > 0 {
			one.Name += "-" + strconv.Itoa(i+1)
		}
		all = append(all, one)
	}
	if left := len(slopes) - mostSlopes; left > 0 {
		all[len(all)-1].Sentence += fmt.Sprintf(" %s by other settings are only in the tables.",
			unit.Plural(left, "such line"))
	}
	return all
}

// A lagPoint is a trial: its lag, and its outage, in nanoseconds.
type lagPoint struct {
	lag, outage float64
	title       string
}

// lagPoints returns the trials to which the slope was fitted or, if there are too many, some trials
// of each variant.
func (c *charting) lagPoints(slope summary.Slope) (points []lagPoint) {
	outage, _ := metrics.Find(metrics.Outage)
	for _, v := range c.all {
		lag, err := time.ParseDuration(v.Labels[slope.Key])
		rest := maps.Clone(v.Labels)
		delete(rest, slope.Key)
		if err != nil || len(rest) > 0 && results.LabelString(rest) != slope.Rest {
			continue
		}
		for i, trial := range v.ValidTrials() {
			if y, ok := outage.Of(trial); ok && i*len(c.all) < mostPoints {
				points = append(points, lagPoint{float64(lag), y, fmt.Sprintf(
					"%s, block %d: an outage of %s", c.of(v), trial.Block+1, unit.Duration(y))})
			}
		}
	}
	return points
}

// lag shows how long the outage lasts, by the lag of the slope.
func (c *charting) lag(slope summary.Slope) *document.Chart {
	points := c.lagPoints(slope)
	var values []float64
	for _, p := range points {
		values = append(values, p.lag, p.outage)
	}
	in := unit.Nanoseconds.Scale(values...)
	fit := slopeDigits(slope)
	f := chart.ScatterChart{
		Title: c.s.Name + ": outage by " + slope.Key,
		X:     headIn(slope.Key, in), Y: headIn("outage", in), Equal: "outage = lag",
		Fit: chart.Fit{Slope: slope.Slope, Intercept: slope.AtNone / in.Factor,
			Name: "fit: " + fit + " per unit of lag"},
	}
	t := &document.Table{Columns: []document.Column{
		document.Right(headIn(slope.Key, in)), document.Right(headIn("outage", in)),
	}}
	for _, p := range points {
		f.Points = append(f.Points, chart.ScatterPoint{X: p.lag / in.Factor,
			Y: p.outage / in.Factor, Title: p.title})
		t.Add(in.Of(p.lag), in.Of(p.outage))
	}
	return &document.Chart{
		Name: "outage", Drawing: chart.Scatter(f), Table: t,
		Sentence: fmt.Sprintf("How long the outage lasts: each second of %s adds %s s.",
			slope.Key, fit),
	}
}

// slopeDigits writes a slope and half of its interval, with the decimals of the latter.
func slopeDigits(s summary.Slope) string {
	half := unit.Digits(s.Half, 2)
	_, decimals, _ := strings.Cut(half, ".")
	return strconv.FormatFloat(s.Slope, 'f', len(decimals), 64) + " ± " + half
}
