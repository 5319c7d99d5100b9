package claims

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"reuseport-bench/results"
	"reuseport-bench/results/metrics"
	"reuseport-bench/results/unit"
)

// Advice has what a reader should do if a claim gets a verdict, one sentence per element. A
// sentence names figures as ${figure}, labels of a figure's variant as ${figure:key}, and the load
// as ${load}. Advice is empty after other verdicts.
type Advice struct {
	Holds       []string `yaml:"holds"`
	Fails       []string `yaml:"fails"`
	Conditional []string `yaml:"conditional"`
}

// after returns the sentences that follow from the verdict.
func (a Advice) after(verdict string) []string {
	switch verdict {
	case VerdictHolds:
		return a.Holds
	case VerdictFails:
		return a.Fails
	case VerdictConditional:
		return a.Conditional
	}
	return nil
}

// A measurement is a figure of a rule, as measured.
type measurement struct {
	rule    FigureRule
	variant *results.Variant
	summary results.Summary
}

// known reports whether advice may quote the figure: it has an interval, from enough restarts.
func (m measurement) known() bool {
	return m.summary.Lo != nil && m.summary.Hi != nil && !m.summary.TooFew
}

// An advice is what follows from the verdict at one setting.
type advice struct {
	of    string // its first sentence, before figures are filled in
	text  string
	first measurement // the first figure in the text
}

// newAdvice fills the sentences with the figures measured at a setting. It leaves out a sentence if
// one of its figures is not known. Without the first sentence, there is no advice.
func newAdvice(sentences []string, measured map[string]measurement) (a advice) {
	var all []string
	for i, sentence := range sentences {
		known := true
		text := os.Expand(sentence, func(word string) string {
			if word == "load" {
				return loadText(measured)
			}
			name, key, isLabel := strings.Cut(word, ":")
			m, ok := measured[name]
			switch {
			case !ok || !m.known():
				known = false
				return ""
			case isLabel:
				return m.variant.Labels[key]
			case a.first.variant == nil:
				a.first = m
			}
			return m.String()
		})
		if known {
			all = append(all, text)
		} else if i == 0 {
			return advice{}
		}
	}
	if len(all) > 0 {
		a.of, a.text = sentences[0], strings.Join(all, " ")
	}
	return a
}

// worst returns the advice of all settings. If several settings lead to the same advice, it takes
// the one at which the advice's first figure is largest.
func worst(tested []judgement) (texts []string) {
	var all []advice
	for _, j := range tested {
		a := j.advice
		i := slices.IndexFunc(all, func(b advice) bool { return b.of == a.of })
		switch {
		case a.text == "":
		case i < 0:
			all = append(all, a)
		case compareFigures(a.first.summary, all[i].first.summary) > 0:
			all[i] = a
		}
	}
	for _, a := range all {
		texts = append(texts, a.text)
	}
	return texts
}

// compareFigures compares figures that have intervals.
func compareFigures(a, b results.Summary) int {
	return cmp.Or(cmp.Compare(a.Center, b.Center), cmp.Compare(*a.Hi, *b.Hi))
}

// String writes the figure as the end of a sentence: "0.26 [0.20, 0.32] requests per restart".
func (m measurement) String() string {
	metric, _ := metrics.Find(m.rule.Metric)
	s := m.summary
	if of, ok := counted[metric.Unit]; ok && *s.Hi == 0 {
		return "none in " + unit.Plural(s.N, of)
	}
	if s.Method == results.MethodRuleOfThree && metric.OverRestarts {
		return fmt.Sprintf("none in %s (at most 3 in %d lose any)", unit.Plural(s.N, "restart"),
			s.N)
	}
	in, name := metric.Unit.Scale(s.Center, *s.Hi), ""
	switch metric.Unit {
	case unit.Nanoseconds:
		if s.Center >= 1e9 {
			in = unit.Seconds()
		}
		name = " " + in.Name
	case unit.PerRestart:
		name = " requests per restart"
	case unit.PerStep:
		name = " requests per step"
	case unit.PerAttempt:
		in, name = unit.Percent(), " % of the requests"
	case unit.Share:
		in, name = unit.Percent(), " %"
	case unit.Count:
		if *s.Lo == *s.Hi {
			return unit.Digits(s.Center, 3)
		}
	}
	if s.Method == results.MethodRuleOfThree {
		return "none (at most " + unit.Digits(*s.Hi/in.Factor, 2) + name + ")"
	}
	return in.Spread(s.Center, s.Lo, s.Hi) + name
}

// counted names what losses were measured in, for figures that write "none in 6 trials".
var counted = map[unit.Unit]string{unit.PerStep: "trial", unit.PerAttempt: "trial"}

// loadText describes the load under which figures were measured at one setting, and the setting's
// other labels: "at 2000 requests per second with a new connection each (workers=4)".
func loadText(measured map[string]measurement) string {
	var variants []*results.Variant
	var others map[string]string // the same for all
	for _, name := range slices.Sorted(maps.Keys(measured)) {
		m := measured[name]
		variants, others = append(variants, m.variant), m.rule.others(m.variant)
	}
	var parts []string
	if share, ok := strings.CutSuffix(others["load.rate"], "*capacity"); ok {
		parts = append(parts, "at "+share+" of capacity")
	} else if rate := rangeOf(variants, metrics.Offered); rate != "" {
		parts = append(parts, "at "+rate+" requests per second")
	} else if clients := rangeOf(variants, metrics.Concurrency); clients != "" {
		parts = append(parts, "with "+clients+" clients")
	}
	switch kept, known := keepsConnections(variants); {
	case known && kept:
		parts = append(parts, "on kept connections")
	case known:
		parts = append(parts, "with a new connection each")
	}
	delete(others, "load.rate")
	delete(others, "load.connections")
	if len(others) > 0 {
		parts = append(parts, "("+results.LabelString(others)+")")
	}
	return strings.Join(parts, " ")
}

// rangeOf writes the smallest and the largest value of a metric, as one number if they are about
// the same. It returns "" if a variant lacks the metric.
func rangeOf(variants []*results.Variant, metric string) string {
	var all []float64
	for _, v := range variants {
		s, ok := v.Summary[metric]
		if !ok {
			return ""
		}
		all = append(all, s.Center)
	}
	from, to := unit.Roughly(slices.Min(all)), unit.Roughly(slices.Max(all))
	if slices.Max(all) <= unit.SameRate*slices.Min(all) {
		return from
	}
	return from + " to " + to
}

// keepsConnections reports whether clients sent their requests on kept connections. The workers'
// counts tell: they accepted about as many connections as they answered requests, or far fewer. If
// the counts leave it open, known is false.
func keepsConnections(variants []*results.Variant) (kept, known bool) {
	var accepted, served int64
	for _, v := range variants {
		for _, t := range v.ValidTrials() {
			for _, w := range t.Workers {
				accepted, served = accepted+w.Accepted, served+w.Served
			}
		}
	}
	return accepted < served/2, served > 0 && (accepted < served/2 || accepted > served/100*95)
}
