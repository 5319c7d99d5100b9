package report

import (
	"fmt"
	"slices"

	"reuseport-bench/results"
	"reuseport-bench/results/metrics"
	"reuseport-bench/results/report/document"
	"reuseport-bench/results/unit"
)

// A sought is the setting that a scenario's search looks for.
type sought struct {
	setting, metric string
	what            string // "least kube.pre_stop"
	greatest        bool
}

// searchFor returns the setting that the variants' searches looked for. It returns nil if they
// looked for none.
func searchFor(variants []*results.Variant) *sought {
	for _, v := range variants {
		for _, t := range v.ValidTrials() {
			r := t.Search
			if r == nil || r.Setting == "" {
				continue
			}
			s := &sought{setting: r.Setting, greatest: r.Greatest, what: "least " + r.Setting}
			if r.Greatest {
				s.what = "greatest " + r.Setting
			}
			for _, name := range metrics.Gating([]*results.Trial{t}) {
				m, _ := metrics.Find(name)
				if _, found := m.Of(t); found {
					s.metric = name
				}
			}
			return s
		}
	}
	return nil
}

// columns returns the columns of the values that were found.
func (s *sought) columns() []figureColumn {
	return []figureColumn{
		trialsColumn,
		{head: s.what + " [95 %]", metric: s.metric, interval: true},
		{head: "dropped some at", text: nearestFailed},
		{head: "steps in each try", text: stepsPerTry},
	}
}

// noneFailed is written if all values that were tried dropped nothing.
const noneFailed = "no value"

// nearestFailed writes the values nearest to the found ones that dropped attempts: the range over
// all trials.
func nearestFailed(_ *document.Table, _ *results.Scenario, v *results.Variant) string {
	var failed []float64
	in := unit.None
	for _, t := range v.ValidTrials() {
		if r := t.Search; r != nil && r.Failed != nil {
			failed = append(failed, *r.Failed)
			if r.Unit == "ns" {
				in = unit.Nanoseconds
			}
		}
	}
	if len(failed) == 0 {
		return noneFailed
	}
	least, most := in.Text(slices.Min(failed), 3), in.Text(slices.Max(failed), 3)
	if least == most {
		return least
	}
	return least + " to " + most
}

// stepsPerTry writes the number of steps in the trial that was found.
func stepsPerTry(_ *document.Table, _ *results.Scenario, v *results.Variant) string {
	least, most := -1, 0
	for _, t := range v.ValidTrials() {
		n := len(t.Steps)
		if least < 0 || n < least {
			least = n
		}
		most = max(most, n)
	}
	if least == most {
		return fmt.Sprint(most)
	}
	return fmt.Sprintf("%d to %d", least, most)
}

// found describes the value of the setting that each variant needs.
func (a *answer) found(s *sought) (lines []string) {
	m, _ := metrics.Find(s.metric)
	more := "more"
	if s.greatest {
		more = "less"
	}
	for _, v := range a.decided {
		f, ok := v.Summary[s.metric]
		if !ok {
			continue
		}
		write := func(x float64) string { return m.Unit.Text(x, 3) }
		text := fmt.Sprintf("nothing was dropped with %s %s or %s", s.setting,
			unit.Spread(f.Center, f.Lo, f.Hi, write), more)
		if failed := nearestFailed(nil, nil, v); failed != noneFailed {
			text += "; " + failed + " dropped some"
		}
		lines = append(lines, a.withSubject(v, text))
	}
	return lines
}
