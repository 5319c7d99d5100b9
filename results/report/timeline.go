package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"reuseport-bench/results"
	"reuseport-bench/results/report/chart"
	"reuseport-bench/results/report/document"
	"reuseport-bench/results/unit"
)

// worst shows one trial of the variant that lost most, and best one of the variant that lost least.
func (c *charting) worst() *document.Chart {
	for _, v := range slices.Backward(c.ranked) {
		if trial := medianTrial(v); trial != nil {
			return c.timeline(v, trial, "trial", c.reason("most", "longest"))
		}
	}
	return nil
}

func (c *charting) best() *document.Chart {
	if len(c.ranked) < 2 || !c.steps {
		return nil
	}
	if trial := medianTrial(c.ranked[0]); trial != nil {
		return c.timeline(c.ranked[0], trial, "trial-best", c.reason("least", "shortest"))
	}
	return nil
}

// reason says why a variant is shown, by the figures that rank variants: it dropped most or least
// or, if none dropped anything, has the longest or shortest p99. A single variant needs no reason.
func (c *charting) reason(dropped, p99 string) string {
	switch {
	case len(c.ranked) == 1:
		return ""
	case results.Total(c.trials()).Dropped > 0:
		return ", which dropped " + dropped
	}
	return ", which has the " + p99 + " p99"
}

// medianTrial returns the valid trial with windows whose number of dropped attempts is the median
// of such trials. If their number is even, it is the lower of the two in the middle.
func medianTrial(v *results.Variant) *results.Trial {
	var all []*results.Trial
	for _, t := range v.ValidTrials() {
		if w := t.Windows; w != nil && w.EndNS() > 0 {
			all = append(all, t)
		}
	}
	if len(all) == 0 {
		return nil
	}
	slices.SortStableFunc(all, func(a, b *results.Trial) int {
		return cmp.Compare(a.Dropped, b.Dropped)
	})
	return all[(len(all)-1)/2]
}

// chartWindows is the number of windows of a chart. They are equally long, unlike a trial's.
const chartWindows = 200

// inMS returns nanoseconds as milliseconds.
func inMS(ns int64) float64 { return float64(ns) / 1e6 }

// timeline shows one trial of a variant in time. reason says why it is this variant.
func (c *charting) timeline(
	v *results.Variant, trial *results.Trial, name, reason string,
) *document.Chart {
	w := trial.Windows
	end := w.EndNS()
	f := chart.TimelineChart{
		Title: fmt.Sprintf("%s: one trial in time, %s", c.s.Name, c.of(v)),
		Axis:  "ms after the first request was due", Unit: "ms", To: inMS(end),
		Window: inMS(end) / chartWindows,
		Max:    perWindow(w, w.ResponseNS.Max),
		P99:    perWindow(w, w.ResponseNS.P99),
		P50:    perWindow(w, w.ResponseNS.P50),
		Queue:  longestQueue(w),
	}
	f.Keys, f.Lost = lostPerWindow(w)
	var left int
	f.Workers, left = timelineWorkers(trial)
	t := &document.Table{Columns: []document.Column{
		document.Left("step"), document.Right("at [ms]"), document.Right("stop [ms]"),
		document.Right("closed [ms]"), document.Right("takeover [ms]"), document.Right("dropped"),
	}}
	for k, step := range trial.Steps {
		f.Steps = append(f.Steps,
			chart.TimelineStep{Name: string(step.Do), At: inMS(step.AtNS)})
		dropped := missing
		if n, ok := trial.StepDropped(k); ok {
			dropped = count(n)
		}
		t.Add(string(step.Do), instant(&step.AtNS), instant(step.StopNS), instant(step.ClosedNS),
			instant(step.TakeoverNS), dropped)
	}
	if m := w.Machine; m != nil {
		f.Host = machineSeries(m, end)
	}
	which := "its median trial by what was dropped"
	if len(v.ValidTrials()) == 1 {
		which = "its only valid trial"
	}
	sentence := fmt.Sprintf("One trial of %s%s: %s, in block %d. All lanes have the same time "+
		"axis.", c.of(v), reason, which, trial.Block+1)
	if left > 0 {
		sentence += fmt.Sprintf(" %s are left out.", unit.Plural(left, "worker"))
	}
	return &document.Chart{Name: name, Sentence: sentence, Drawing: chart.Timeline(f), Table: t}
}

// instant writes an instant in a column of milliseconds.
func instant(ns *int64) string {
	if ns == nil {
		return missing
	}
	return unit.Number(inMS(*ns))
}

// lostPerWindow returns the dropped attempts by cause and window of the chart. All of a window of
// the trial are in the chart's window at its middle.
func lostPerWindow(w *results.Windows) ([]chart.Key, [][]float64) {
	counts := map[string]int64{}
	for name := range w.Lost {
		counts[name] = results.Counts{name: w.Lost[name]}.Total()
	}
	keys, causes := causeKeys(counts)
	var all [][]float64
	for _, name := range causes {
		lost := make([]float64, chartWindows)
		for i, n := range w.Lost[name] {
			lost[windowAt(w, (w.EdgesNS[i]+w.EdgesNS[i+1])/2)] += float64(n)
		}
		all = append(all, lost)
	}
	return keys, all
}

// longestQueue returns the greatest length of any queue, by window of the chart.
func longestQueue(w *results.Windows) []float64 {
	if len(w.Queues) == 0 {
		return nil
	}
	out := make([]float64, chartWindows)
	for i := range w.Len() {
		longest := int64(0)
		for _, q := range w.Queues {
			longest = max(longest, q.At(i))
		}
		for k := windowAt(w, w.EdgesNS[i]); k <= windowAt(w, w.EdgesNS[i+1]-1); k++ {
			out[k] = max(out[k], float64(longest))
		}
	}
	return out
}

// windowAt returns the chart's window at an instant.
func windowAt(w *results.Windows, ns int64) int {
	at := float64(ns) / float64(w.EndNS())
	return min(chartWindows-1, max(0, int(at*chartWindows)))
}

// perWindow spreads times over the windows of the chart. If several windows of the trial lie in one
// of the chart's, the longest time counts.
func perWindow(w *results.Windows, times results.Times) []float64 {
	out := slices.Repeat([]float64{math.NaN()}, chartWindows)
	for i, ns := range times {
		if ns < 0 {
			continue
		}
		for k := windowAt(w, w.EdgesNS[i]); k <= windowAt(w, w.EdgesNS[i+1]-1); k++ {
			if x := inMS(ns); math.IsNaN(out[k]) || x > out[k] {
				out[k] = x
			}
		}
	}
	return out
}

// machineSeries returns what the machine took from the trial, as shares of the chart's windows.
func machineSeries(m *results.MachineWindows, end int64) (all []chart.HostSeries) {
	for _, one := range []struct {
		name string
		ns   []int64
	}{{"taken by the hypervisor", m.StealNS}, {"waiting for a CPU", m.RunQueueDelayNS}} {
		if len(one.ns) == 0 {
			continue
		}
		shares := make([]float64, chartWindows)
		for i, taken := range one.ns {
			from, to := m.EdgesNS[i], m.EdgesNS[i+1]
			if to <= from {
				continue
			}
			share := min(1, float64(taken)/float64(to-from))
			at := func(ns int64) float64 { return float64(ns) / float64(end) * chartWindows }
			for k := max(0, int(at(from))); k < chartWindows && float64(k) < at(to); k++ {
				shares[k] = max(shares[k], share)
			}
		}
		all = append(all, chart.HostSeries{Name: one.name, Shares: shares})
	}
	return all
}

// mostLanes is the number of lanes of workers that a chart has at most.
const mostLanes = 32

// timelineWorkers returns the lives of the workers that listened. If there are too many to draw, it
// returns how many it left out.
func timelineWorkers(t *results.Trial) (all []chart.TimelineWorker, left int) {
	known := func(ns *int64) float64 {
		if ns == nil {
			return math.NaN()
		}
		return inMS(*ns)
	}
	l := &lanes{steps: t.Steps}
	for _, w := range t.Workers {
		if w.Acceptor || w.BindError != "" || w.StartedNS == nil && w.ReadyNS == nil {
			continue
		}
		lane := l.of(w)
		if lane >= mostLanes {
			left++
			continue
		}
		all = append(all, chart.TimelineWorker{
			Name: fmt.Sprintf("worker %d", w.ID), Lane: lane, Started: known(w.StartedNS),
			Ready: known(w.ReadyNS), Told: known(w.StopNS), Closed: known(w.ClosedNS),
			Gone: known(w.GoneNS),
		})
	}
	return all, left
}

// lanes places workers. A worker takes the lane of one that ended before, or that the same step
// ends. Each lane has at most two workers at a time.
type lanes struct {
	steps []results.Step
	ends  [][]int64 // of the workers of each lane
}

func (l *lanes) of(w results.Worker) int {
	started, ended := int64(math.MinInt64), int64(math.MaxInt64)
	for _, ns := range []*int64{w.ReadyNS, w.StartedNS} { // StartedNS counts if it is known
		if ns != nil {
			started = *ns
		}
	}
	for _, ns := range []*int64{w.StopNS, w.ClosedNS, w.GoneNS} {
		if ns != nil {
			ended = *ns
			break
		}
	}
	step := func(ns int64) int { // the number of steps until then
		n := 0
		for i := range l.steps {
			if l.steps[i].AtNS <= ns {
				n++
			}
		}
		return n
	}
	for i, ends := range l.ends {
		last := ends[len(ends)-1]
		free := last <= started || last < math.MaxInt64 && step(last) == step(started)
		if len(ends) > 1 && ends[len(ends)-2] > started {
			free = false
		}
		if free {
			l.ends[i] = append(ends, ended)
			return i
		}
	}
	l.ends = append(l.ends, []int64{ended})
	return len(l.ends) - 1
}
