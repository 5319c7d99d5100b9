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
	slices.SortStableFunc(all, func(a, b *results.Trial) int {
		return cmp.Compare(a.Dropped, b.Dropped)
	})
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
	f.Max = perWindow(w, windows, w.ResponseNS.Max)
	f.P99 = perWindow(w, windows, w.ResponseNS.P99)
	f.P50 = perWindow(w, windows, w.ResponseNS.P50)
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
	sentence := fmt.Sprintf("One trial in time: %s, the trial whose losses are the median (block "+
		"%d). All lanes have the same time axis.", c.of(v), trial.Block+1)
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
