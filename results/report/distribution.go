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
	"reuseport-bench/results/summary"
	"reuseport-bench/results/unit"
)

// spectrum shows how long attempts took.
func (c *charting) spectrum() *document.Chart {
	f := chart.SpectrumChart{
		Title: c.s.Name + ": response time by percentile", Axis: "response time, ms",
	}
	t := &document.Table{Columns: []document.Column{document.Left("variant")}}
	percentiles := []float64{50, 90, 99, 99.9, 99.99}
	for _, p := range percentiles {
		t.Columns = append(t.Columns, document.Right(fmt.Sprintf("p%g [ms]", p)))
	}
	t.Columns = append(t.Columns, document.Right("dropped"))
	anyLost := false
	for _, v := range c.variants {
		all := results.NewHistogram()
		var dropped int64
		for _, trial := range v.ValidTrials() {
			one, err := results.DecodeHistogram(trial.Histogram)
			if err != nil {
				continue // older runs have none
			}
			all.Merge(one)
			dropped += trial.Dropped
			f.Timeout = max(f.Timeout, float64(trial.TimeoutNS)/1e6)
		}
		if all.Count() == 0 {
			continue
		}
		line := chart.SpectrumLine{Label: c.of(v), Lost: float64(dropped),
			Strong: v == c.s.BaselineVariant() && len(c.variants) > 1}
		for _, value := range all.Values() {
			line.Values = append(line.Values,
				chart.Count{Value: float64(value.NS) / 1e6, N: float64(value.N)})
		}
		anyLost = anyLost || dropped > 0
		f.Lines = append(f.Lines, line)
		cells := []string{c.of(v)}
		for _, p := range percentiles {
			if float64(all.Count())*(1-p/100) < 1 {
				cells = append(cells, missing)
				continue
			}
			cells = append(cells, unit.Number(float64(all.At(p))/1e6))
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
	return &document.Chart{
		Name: "response", Sentence: sentence, Drawing: chart.Spectrum(f), Table: t,
	}
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
	workers := 0
	for _, v := range c.variants {
		// The slots of several trials are not the same workers: show one trial.
		trial := v.ValidTrials()[(len(v.ValidTrials())-1)/2]
		row := chart.SpreadRow{Label: c.of(v)}
		var text []string
		for _, w := range trial.Workers {
			if !w.Acceptor && w.BindError == "" {
				row.Counts = append(row.Counts, float64(w.Accepted))
				text = append(text, count(w.Accepted))
			}
		}
		if trial.Fairness == nil || len(row.Counts) < 2 {
			continue
		}
		workers = max(workers, len(row.Counts))
		ratio := unit.Digits(trial.Fairness.MaxOverMean, 3)
		row.Figure = "busiest " + ratio + "×"
		f.Rows = append(f.Rows, row)
		t.Add(c.of(v), ratio, strings.Join(text, " "))
	}
	if len(f.Rows) == 0 {
		return nil
	}
	return &document.Chart{
		Name: "spread", Drawing: chart.Spread(f), Table: t,
		Sentence: "Who served: a dot is a worker's share of the connections of one trial. If a " +
			"fair die chose the worker, 95 of 100 dots would be in the grey band.",
	}
}

// lags shows how long the outage lasts, by the lag of the endpoints.
func (c *charting) lags() *document.Chart {
	slopes := summary.Slopes(c.s, metrics.Outage, "kube.endpoint_lag", "kube.node_lag")
	if len(slopes) == 0 {
		return nil
	}
	slope := slopes[0]
	outage, _ := metrics.Find(metrics.Outage)
	var xs []float64
	type point struct{ x, y float64 }
	var points []point
	var titles []string
	for _, v := range c.variants {
		lag, err := time.ParseDuration(v.Labels[slope.Key])
		rest := maps.Clone(v.Labels)
		delete(rest, slope.Key)
		if err != nil || len(rest) > 0 && results.LabelString(rest) != slope.Rest {
			continue
		}
		for _, trial := range v.ValidTrials() {
			if y, ok := outage.Of(trial); ok {
				points = append(points, point{float64(lag), y})
				xs = append(xs, float64(lag), y)
				titles = append(titles, fmt.Sprintf("%s, block %d: an outage of %s", c.of(v),
					trial.Block+1, unit.Duration(y)))
			}
		}
	}
	in := unit.Nanoseconds.Scale(xs...)
	f := chart.ScatterChart{
		Title: c.s.Name + ": outage by " + slope.Key,
		X:     slope.Key + ", " + in.Name, Y: "outage, " + in.Name, Equal: "outage = lag",
		Fit: chart.Fit{Slope: slope.Slope, Intercept: slope.AtNone / in.Factor,
			Name: fmt.Sprintf("fit: %s ± %s per unit of lag", unit.Digits(slope.Slope, 4),
				unit.Digits(slope.Half, 2))},
	}
	t := &document.Table{Columns: []document.Column{
		document.Right(headIn(slope.Key, in)), document.Right(headIn("outage", in)),
	}}
	for i, p := range points {
		f.Points = append(f.Points, chart.ScatterPoint{X: p.x / in.Factor, Y: p.y / in.Factor,
			Title: titles[i]})
		t.Add(in.Of(p.x), in.Of(p.y))
	}
	sentence := fmt.Sprintf("How long the outage lasts: each second of %s adds %s ± %s s.",
		slope.Key, unit.Digits(slope.Slope, 4), unit.Digits(slope.Half, 2))
	return &document.Chart{Name: "outage", Sentence: sentence, Drawing: chart.Scatter(f), Table: t}
}

// fewestSwept is the number of values from which on a setting is drawn as an axis.
const fewestSwept = 3

// sweep shows the figure that the scenario is about over a numeric setting, if the matrix has one.
func (c *charting) sweep() *document.Chart {
	metric, of := c.lossMetric()
	what, u := "dropped per "+of, unit.PerRestart
	if results.Total(c.trials()).Dropped == 0 {
		metric, what, u = metrics.ResponseP99, "p99 of the response time", unit.Nanoseconds
	}
	if sought := searchFor(c.variants); sought != nil {
		found, _ := metrics.Find(sought.metric)
		metric, what, u = sought.metric, sought.what, found.Unit
	}
	for _, key := range c.varying {
		values := map[string]float64{}
		for _, v := range c.variants {
			if x, ok := numberIn(v.Labels[key]); ok {
				values[v.Labels[key]] = x
			}
		}
		if len(values) >= fewestSwept {
			return c.swept(key, values, metric, what, u)
		}
	}
	return nil
}

// numberIn returns the number in a label: a duration in nanoseconds, a rate per second, or a plain
// number.
func numberIn(text string) (float64, bool) {
	if d, err := time.ParseDuration(text); err == nil {
		return float64(d), true
	}
	text, _ = strings.CutSuffix(text, "/s")
	text, _ = strings.CutSuffix(text, "*capacity")
	x, err := strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64)
	return x, err == nil
}

func (c *charting) swept(
	key string, values map[string]float64, metric, what string, u unit.Unit,
) *document.Chart {
	xs := slices.Collect(maps.Values(values))
	inX, inY := unit.Plain(), unit.Plain()
	for text := range values {
		if _, err := time.ParseDuration(text); err == nil {
			inX = unit.Nanoseconds.Scale(xs...)
		}
	}
	var ys []float64
	for _, v := range c.variants {
		if s, ok := v.Summary[metric]; ok {
			ys = append(ys, s.Center)
		}
	}
	inY = u.Scale(ys...)
	f := chart.SweepChart{
		Title: c.s.Name + ": " + what + " by " + key, X: headIn(key, inX), Y: headIn(what, inY),
	}
	f.LogX = slices.Min(xs) > 0 && slices.Max(xs) >= 20*slices.Min(xs)
	t := &document.Table{Columns: []document.Column{
		document.Left("variant"), document.Right(headIn(key, inX)),
		document.Right(headIn(what, inY)),
	}}
	lines := map[string]*chart.SweepLine{}
	var order []string
	for _, v := range c.s.Variants {
		x, ok := values[v.Labels[key]]
		s, has := v.Summary[metric]
		if !ok || !has || !slices.Contains(c.variants, v) {
			continue
		}
		rest := maps.Clone(v.Labels)
		delete(rest, key)
		name := c.ofLabels(rest)
		if len(c.varying) == 1 {
			name = ""
		}
		if lines[name] == nil {
			lines[name] = &chart.SweepLine{Label: name}
			order = append(order, name)
		}
		text := figure(s, u, inY, true)
		lines[name].Points = append(lines[name].Points, chart.SweepPoint{X: x / inX.Factor,
			Mark: markOf(s, inY, c.of(v)+": "+text)})
		t.Add(c.of(v), inX.Of(x), text)
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
	return &document.Chart{
		Name: "sweep", Drawing: chart.Sweep(f), Table: t,
		Sentence: fmt.Sprintf("How %s depends on %s, with 95 %% intervals.", what, key),
	}
}
