package scenarios

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm"

	"reuseport-bench/scenarios/strictyaml"
)

// An Expectation is what a gate expects, compiled.
type Expectation struct {
	// Names are the metrics that it speaks of, sorted, the baseline's behind "baseline.".
	Names []string

	gate    Gate
	equal   []string // those of Names on either side of == or !=
	program *vm.Program
	figures map[string][]int // of those in Names that have an interval: the field of Metrics
}

// Compile compiles the gate's expression. It is an error when that is not valid, which Load would have refused.
func (g Gate) Compile() (*Expectation, error) {
	e, problem := g.compile()
	if problem != nil {
		return nil, fmt.Errorf("gate %q: %s", g.Expect, problem.What)
	}
	return e, nil
}

// compile is Compile, with a problem without a place instead of an error.
func (g Gate) compile() (*Expectation, *Problem) {
	program, expression, problem := compileExpression(g.Expect)
	if problem != nil {
		return nil, problem
	}
	e := &Expectation{
		Names: expression.names, gate: g, equal: expression.equal, program: program,
		figures: map[string][]int{},
	}
	for m := range (Metrics{}).all() {
		if slices.Contains(e.Names, m.name) && !m.exact {
			e.figures[m.name] = m.field
		}
	}
	return e, nil
}

// Figures are the metrics with an interval that it speaks of, sorted, without the baseline's prefix.
func (e *Expectation) Figures() (names []string) {
	for _, name := range e.Names {
		bare := strings.TrimPrefix(name, BaselinePrefix)
		if _, ok := e.figures[name]; ok && !slices.Contains(names, bare) {
			names = append(names, bare)
		}
	}
	slices.Sort(names)
	return names
}

// Eval reports whether m meets the expectation. It is an error when it speaks of something that was not measured (NaN).
func (e *Expectation) Eval(m Metrics) (bool, error) {
	for _, name := range e.Names {
		if field, ok := e.figures[name]; ok && math.IsNaN(reflect.ValueOf(m).FieldByIndex(field).Float()) {
			return false, fmt.Errorf("gate %q: %s was not measured", e.gate.Expect, name)
		}
	}
	met, err := expr.Run(e.program, m)
	if err != nil {
		return false, fmt.Errorf("gate %q: %s", e.gate.Expect, exprMessage(err))
	}
	return met.(bool), nil
}

// BaselinePrefix begins the names of the baseline's metrics.
const BaselinePrefix = "baseline."

// maxGating is how many metrics the gates of a scenario may judge by intervals: each more costs all of them power.
const maxGating = 4

// gatingMetrics are the metrics with an interval that gates name, each at the line where it is named first.
func gatingMetrics(gates []Gate) (names []string, lines []int) {
	for _, g := range gates {
		e, err := g.Compile()
		if err != nil {
			continue // it has a problem of its own
		}
		for _, name := range e.Figures() {
			if !slices.Contains(names, name) {
				names, lines = append(names, name), append(lines, g.Line)
			}
		}
	}
	return names, lines
}

// equalFigure is a figure with an interval that the expression holds to be equal, or not equal, to something; "" if there is none.
func (e *Expectation) equalFigure() string {
	for _, name := range e.equal {
		if _, ok := e.figures[name]; ok {
			return name
		}
	}
	return ""
}

// checkGates checks what only all gates together show.
func checkGates(s *Scenario, d *strictyaml.Decoder) {
	if names, lines := gatingMetrics(s.Gates); len(names) > maxGating {
		d.Fail(lines[maxGating], "gates", fmt.Sprintf("the gates judge %d metrics by their intervals: %s", len(names), strings.Join(names, ", ")),
			fmt.Sprintf("at most %d: each more costs all of them power", maxGating))
	}
}

// checkGate checks gate i of s. clean says that the matrix could be read in full, so that what a
// gate selects from all can be judged.
func checkGate(s *Scenario, d *strictyaml.Decoder, i int, all []point, clean bool) {
	g, path := s.Gates[i], fmt.Sprintf("gates[%d]", i)
	selects := slices.ContainsFunc(all, func(p point) bool { return p.labels.Includes(g.When) })
	if clean && !selects && d.Trusts(path+".when") {
		d.Fail(d.Line(path+".when"), path+".when", g.When.String()+" selects no variant", variantsHint(all))
	}
	switch {
	case !d.Trusts(path + ".expect"):
		return
	case g.Expect == "":
		d.Fail(d.Line(path), path, "expect is missing", "for example expect: lost_by_cause.reset_at_close == 0")
		return
	}
	expectation, problem := g.compile()
	if problem != nil {
		d.Fail(g.Line, path+".expect", problem.What, problem.Hint)
		return
	}
	if name := expectation.equalFigure(); name != "" {
		d.Fail(g.Line, path+".expect", name+" is a figure with an interval, which is never exactly one number",
			"compare it with a bound by < or >; counts such as lost can be equal")
		return
	}
	names := expectation.Names
	for metric := range (Metrics{}).all() {
		if metric.alone && strings.HasPrefix(metric.name, BaselinePrefix) && slices.Contains(names, metric.name) {
			d.Fail(g.Line, path+".expect", metric.name+" means nothing beside the variant's", "give a bound, for example chi2_p > 0.001")
		}
		if metric.exact && strings.HasPrefix(metric.name, BaselinePrefix) && slices.Contains(names, metric.name) {
			d.Fail(g.Line, path+".expect", metric.name+" is a plain count: two counts differ by chance",
				"compare figures that have an interval: lost_per_restart, lost_per_attempt, response.p99")
		}
	}
	// A gate on what the timeline never causes would stay undecided after all the trials.
	for metric := range (Metrics{}).all() {
		if slices.Contains(names, metric.name) && d.Trusts("timeline") && !s.does(metric.needs) {
			d.Fail(g.Line, path+".expect", metric.name+" is never measured", "the timeline has no "+s.wanted(metric.needs))
		}
	}
}
