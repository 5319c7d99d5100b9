package report

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"reuseport-bench/results"
	"reuseport-bench/results/report/document"
	"reuseport-bench/results/unit"
	"reuseport-bench/scenarios/vocabulary"
)

// starts counts the trials of variants whose steps started workers in the same way.
type starts struct {
	start    vocabulary.Start
	variants []string
	ready    []int64 // times from the start of a step until its workers were ready, ns
	counts   results.Starts
}

// startsBlock describes the ways in which steps started workers, and the times until the workers
// were ready. It adds nothing if no step started workers.
func startsBlock(d *document.Document, scenario *results.Scenario, measured []*results.Variant) {
	n := newNames(scenario)
	var all []*starts
	for _, v := range measured {
		for _, t := range v.ValidTrials() {
			if t.Start() == "" {
				continue
			}
			i := slices.IndexFunc(all, func(s *starts) bool { return s.start == t.Start() })
			if i < 0 {
				i = len(all)
				all = append(all, &starts{start: t.Start()})
			}
			all[i].add(n.of(v), t)
		}
	}
	var lines []string
	for _, s := range all {
		workers := "Workers"
		if len(all) > 1 {
			workers = s.where() + ", workers"
		}
		lines = append(lines, workers+s.text())
	}
	if len(lines) > 0 {
		d.Paragraph(strings.Join(lines, "\n"))
	}
}

// fewVariants is the largest number of variants that a line names. For more variants, the line
// gives their number.
const fewVariants = 3

// where names the variants.
func (s *starts) where() string {
	in := "In " + unit.Plural(len(s.variants), "variant")
	if len(s.variants) > fewVariants {
		return in
	}
	return in + " (" + strings.Join(s.variants, "; ") + ")"
}

func (s *starts) add(name string, t *results.Trial) {
	if !slices.Contains(s.variants, name) {
		s.variants = append(s.variants, name)
	}
	for k := range t.Steps {
		if ns := t.Steps[k].ReadyAfterNS(); ns != nil {
			s.ready = append(s.ready, *ns)
		}
	}
	if t.Starts != nil {
		s.counts.Parked += t.Starts.Parked
		s.counts.ParkedLater += t.Starts.ParkedLater
		s.counts.Cold += t.Starts.Cold
	}
}

// text returns the sentence about the workers, without its subject.
func (s *starts) text() string {
	if s.start == vocabulary.StartParked {
		return " that steps started had been parked: their processes were started before the " +
			"load began, and waited." + s.exceptions() + s.readiness()
	}
	return " that steps started were cold: the step started their processes, too." + s.readiness()
}

// exceptions describes the processes that were started later than planned.
func (s *starts) exceptions() (text string) {
	all := s.counts.Parked + s.counts.ParkedLater + s.counts.Cold
	if n := s.counts.ParkedLater; n > 0 {
		text += fmt.Sprintf(" %d of %d were started while the load ran, ahead of their step.", n,
			all)
	}
	if n := s.counts.Cold; n > 0 {
		text += fmt.Sprintf(" %d of %d were started by their step: none was parked in time.", n,
			all)
	}
	return text
}

// readiness describes the time until the workers were ready.
func (s *starts) readiness() string {
	n := len(s.ready)
	if n == 0 {
		return ""
	}
	slices.Sort(s.ready)
	at := func(share float64) string {
		ns := float64(s.ready[int(math.Ceil(share*float64(n)))-1])
		return unit.Nanoseconds.Text(ns, 3)
	}
	if n < 100 {
		return fmt.Sprintf(" They were ready %s after the step began (median of %s, the "+
			"longest %s).",
			at(0.5), unit.Plural(n, "step"), at(1))
	}
	return fmt.Sprintf(" They were ready %s after the step began (median of %s, 99 %% within %s).",
		at(0.5), unit.Plural(n, "step"), at(0.99))
}
