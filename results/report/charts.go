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
	"reuseport-bench/results/summary"
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
		sentence = fmt.Sprintf("%d of %d variants dropped nothing that was seen: an open bar ends at "+
			"the most that they can lose (3 in the number of %ss). A dot is what the others "+
			"lost, with the interval that holds the true value in 95 of 100 runs.",
			none, none+lost, of)
	case none > 0:
		sentence = fmt.Sprintf("No variant dropped anything that was seen. Each bar ends at the most "+
			"that it can lose (3 in the number of %ss).", of)
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
		sentence = fmt.Sprintf("Why requests were dropped: each bar is all that a variant dropped. "+
			"The most frequent cause is %s. %s", causes[0], meaning(causes[0]))
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
		if sum == nil || sum.Lost.Total() == 0 || bins > 0 && (sum.BinNS != binNS || sum.Bins != bins) {
			continue
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
	sentence := "When requests were dropped: all restarts laid over each other, the stop signal at 0. " +
		"A bar is what was dropped of the requests that were due in one millisecond."
	if f.Own {
		sentence += " Each variant has a scale of its own."
	}
	return &document.Chart{Name: "when", Sentence: sentence, Drawing: chart.Overlay(f), Table: t}
}

// worst shows one trial of the variant that lost most, and best one of the variant that lost least.
func (c *charting) worst() *document.Chart {
	return c.timeline(c.variants[len(c.variants)-1], "trial")
}

func (c *charting) best() *document.Chart {
	if len(c.variants) < 2 || !c.steps {
		return nil
	}
	return c.timeline(c.variants[0], "trial-best")
}

// medianTrial returns the valid trial with windows whose number of dropped attempts is the median.
func medianTrial(v *results.Variant) *results.Trial {
	var all []*results.Trial
	for _, t := range v.ValidTrials() {
		if t.Windows != nil {
			all = append(all, t)
		}
	}
	if len(all) == 0 {
		return nil
	}
	slices.SortStableFunc(all, func(a, b *results.Trial) int { return cmp.Compare(a.Dropped, b.Dropped) })
	return all[(len(all)-1)/2]
}

// timeline shows one trial in time.
func (c *charting) timeline(v *results.Variant, name string) *document.Chart {
	trial := medianTrial(v)
	if trial == nil {
		return nil
	}
	w := trial.Windows
	ms := func(ns int64) float64 { return float64(ns) / 1e6 }
	known := func(ns *int64) float64 {
		if ns == nil {
			return math.NaN()
		}
		return ms(*ns)
	}
	end := w.EdgesNS[len(w.EdgesNS)-1]
	f := chart.TimelineChart{
		Title: fmt.Sprintf("%s: one trial in time, %s", c.s.Name, c.of(v)),
		Axis:  "ms after the first request was due", Unit: "ms", To: ms(end),
	}
	counts := map[string]int64{}
	for name, byWindow := range w.Lost {
		for _, n := range byWindow {
			counts[name] += n
		}
	}
	// The windows of the trial differ in length; the chart's do not.
	const windows = 200
	f.Window = ms(end) / windows
	at := func(i int) int {
		middle := float64(w.EdgesNS[i]+w.EdgesNS[i+1]) / 2
		return min(windows-1, int(middle/float64(end)*windows))
	}
	var causes []string
	f.Keys, causes = causeKeys(counts)
	for _, name := range causes {
		lost := make([]float64, windows)
		for i, n := range w.Lost[name] {
			lost[at(i)] += float64(n)
		}
		f.Lost = append(f.Lost, lost)
	}
	f.Max, f.P99, f.P50 = perWindow(w, windows, w.ResponseNS.Max), perWindow(w, windows, w.ResponseNS.P99),
		perWindow(w, windows, w.ResponseNS.P50)
	if len(w.Queues) > 0 {
		longest := make([]int64, w.Len())
		for _, q := range w.Queues {
			for i := range longest {
				longest[i] = max(longest[i], q.At(i))
			}
		}
		f.Queue = make([]float64, windows)
		for i, n := range longest {
			for k := firstWindow(w, windows, i); k <= at(i); k++ {
				f.Queue[k] = max(f.Queue[k], float64(n))
			}
		}
	}
	lanes := newLanes()
	for _, one := range trial.Workers {
		if one.Acceptor || one.BindError != "" || one.StartedNS == nil && one.ReadyNS == nil {
			continue
		}
		life := chart.TimelineWorker{
			Name: fmt.Sprintf("worker %d", one.ID), Started: known(one.StartedNS),
			Ready: known(one.ReadyNS), Told: known(one.StopNS), Closed: known(one.ClosedNS),
			Gone: known(one.GoneNS),
		}
		life.Lane = lanes.of(one)
		f.Workers = append(f.Workers, life)
	}
	t := &document.Table{Columns: []document.Column{
		document.Left("step"), document.Right("at [ms]"), document.Right("stop [ms]"),
		document.Right("closed [ms]"), document.Right("takeover [ms]"), document.Right("dropped"),
	}}
	cell := func(ns *int64) string {
		if ns == nil {
			return missing
		}
		return unit.Number(ms(*ns))
	}
	for k, step := range trial.Steps {
		f.Steps = append(f.Steps, chart.TimelineStep{Name: string(step.Do), At: ms(step.AtNS)})
		dropped := missing
		if n, ok := trial.StepDropped(k); ok {
			dropped = count(n)
		}
		t.Add(string(step.Do), cell(&step.AtNS), cell(step.StopNS), cell(step.ClosedNS),
			cell(step.TakeoverNS), dropped)
	}
	if m := w.Machine; m != nil && len(m.EdgesNS) > 1 {
		f.Host = machineSeries(m, windows, end)
	}
	sentence := fmt.Sprintf("One trial in time: %s, the trial whose losses are the median (block %d). "+
		"Each lane has the same time axis.", c.of(v), trial.Block+1)
	return &document.Chart{Name: name, Sentence: sentence, Drawing: chart.Timeline(f), Table: t}
}

// firstWindow returns the first of the chart's n windows that window i of the trial covers.
func firstWindow(w *results.Windows, n, i int) int {
	end := w.EdgesNS[len(w.EdgesNS)-1]
	return min(n-1, int(float64(w.EdgesNS[i])/float64(end)*float64(n)))
}

// perWindow spreads times over the n equal windows of a chart. If several windows of the trial lie
// in one of the chart's, the longest time counts.
func perWindow(w *results.Windows, n int, times results.Times) []float64 {
	out := slices.Repeat([]float64{math.NaN()}, n)
	end := w.EdgesNS[len(w.EdgesNS)-1]
	for i, ns := range times {
		if ns < 0 {
			continue
		}
		last := min(n-1, int(float64(w.EdgesNS[i+1]-1)/float64(end)*float64(n)))
		for k := firstWindow(w, n, i); k <= last; k++ {
			if x := float64(ns) / 1e6; math.IsNaN(out[k]) || x > out[k] {
				out[k] = x
			}
		}
	}
	return out
}

// machineSeries returns what the machine took from the trial, as shares of n equal windows.
func machineSeries(m *results.MachineWindows, n int, end int64) (all []chart.HostSeries) {
	for _, one := range []struct {
		name string
		ns   []int64
	}{{"taken by the hypervisor", m.StealNS}, {"waiting for a CPU", m.RunQueueDelayNS}} {
		if len(one.ns) == 0 {
			continue
		}
		shares := make([]float64, n)
		for i, taken := range one.ns {
			from, to := m.EdgesNS[i], m.EdgesNS[i+1]
			if to <= from {
				continue
			}
			share := min(1, float64(taken)/float64(to-from))
			for k := max(0, int(float64(from)/float64(end)*float64(n))); k < n &&
				float64(k) < float64(to)/float64(end)*float64(n); k++ {
				shares[k] = max(shares[k], share)
			}
		}
		all = append(all, chart.HostSeries{Name: one.name, Shares: shares})
	}
	return all
}

// lanes places workers: a worker takes the lane of one that was told to stop before.
type lanes struct{ until []int64 }

func newLanes() *lanes { return &lanes{} }

func (l *lanes) of(w results.Worker) int {
	started, stopped := int64(math.MinInt64), int64(math.MaxInt64)
	if w.StartedNS != nil {
		started = *w.StartedNS
	}
	for _, ns := range []*int64{w.StopNS, w.ClosedNS, w.GoneNS} {
		if ns != nil {
			stopped = *ns
			break
		}
	}
	for i, until := range l.until {
		if until <= started {
			l.until[i] = stopped
			return i
		}
	}
	l.until = append(l.until, stopped)
	return len(l.until) - 1
}

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
	sentence := "How long requests took: 99 % took no longer than the line at 99 %, and so on. Lower is " +
		"better."
	if anyLost {
		sentence += " Dropped requests count as longer than the timeout: a line rises where they begin."
	}
	return &document.Chart{Name: "response", Sentence: sentence, Drawing: chart.Spectrum(f), Table: t}
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
		Sentence: "Who served: a dot is a worker's share of the connections of one trial. If a fair " +
			"die chose the worker, 95 of 100 dots would be in the grey band.",
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
		document.Right(slope.Key + " [" + in.Name + "]"), document.Right("outage [" + in.Name + "]"),
	}}
	for i, p := range points {
		f.Points = append(f.Points, chart.ScatterPoint{X: p.x / in.Factor, Y: p.y / in.Factor,
			Title: titles[i]})
		t.Add(in.Of(p.x), in.Of(p.y))
	}
	sentence := fmt.Sprintf("How long the outage lasts: each second of %s adds %s ± %s s.", slope.Key,
		unit.Digits(slope.Slope, 4), unit.Digits(slope.Half, 2))
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
		document.Left("variant"), document.Right(headIn(key, inX)), document.Right(headIn(what, inY)),
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
		slices.SortFunc(lines[name].Points, func(a, b chart.SweepPoint) int { return cmp.Compare(a.X, b.X) })
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
