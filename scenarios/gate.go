package scenarios

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"

	"reuseport-bench/results/metrics"
	"reuseport-bench/scenarios/strictyaml"
)

// An Expectation is the compiled expression of a gate.
type Expectation struct {
	// Names are the sorted names of the figures in the expression, in the spelling of run.json.
	// Names of figures of the baseline begin with BaselinePrefix.
	Names []string

	gate  Gate
	tree  ast.Node
	equal []string // the elements of Names on either side of == or !=
	known figureNames
}

// Compile compiles the gate's expression. It fails if the expression is not valid, which cannot
// happen with a gate that Load returned.
func (g Gate) Compile() (*Expectation, error) {
	e, problem := g.compile()
	if problem != nil {
		return nil, fmt.Errorf("gate %q: %s", g.Expect, problem.What)
	}
	return e, nil
}

// compile is like Compile, but returns a Problem, which has no line.
func (g Gate) compile() (*Expectation, *Problem) {
	tree, problem := parseExpectation(g.Expect)
	if problem != nil {
		return nil, problem
	}
	known := allFigures()
	possible := func(name string) interval { return known.figure(name).values }
	e := &evaluation{known: known, value: possible}
	if _, problem := e.condition(tree); problem != nil {
		return nil, problem
	}
	slices.Sort(e.names)
	return &Expectation{
		Names: slices.Compact(e.names), gate: g, tree: tree, equal: e.equal, known: known,
	}, nil
}

// Figures returns the sorted names, without BaselinePrefix, of those figures in the expression that
// have a confidence interval.
func (e *Expectation) Figures() (names []string) {
	for _, name := range e.Names {
		if !e.known.figure(name).exact {
			names = append(names, strings.TrimPrefix(name, BaselinePrefix))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Eval reports whether the expectation is met. It calls value for each of Names. It fails if value
// returns false or NaN, either of which means that the figure was not measured. It also fails if
// the expectation divides by 0.
func (e *Expectation) Eval(value func(name string) (float64, bool)) (bool, error) {
	measured := map[string]interval{}
	for _, name := range e.Names {
		x, ok := value(name)
		if !ok || math.IsNaN(x) {
			return false, fmt.Errorf("gate %q: %s was not measured", e.gate.Expect, name)
		}
		measured[name] = exactly(x)
	}
	now := &evaluation{
		known: e.known, measured: true,
		value: func(name string) interval { return measured[name] },
	}
	is, problem := now.condition(e.tree)
	if problem != nil {
		return false, fmt.Errorf("gate %q: %s", e.gate.Expect, problem.What)
	}
	return is.always(), nil
}

// gatingMetrics returns the names of the metrics in gates that have a confidence interval. lines
// has, for each name, the line of the first gate that uses the metric.
func gatingMetrics(gates []Gate) (names []string, lines []int) {
	for _, g := range gates {
		e, err := g.Compile()
		if err != nil {
			continue // checkGate reports the problem
		}
		for _, name := range e.Figures() {
			if !slices.Contains(names, name) {
				names, lines = append(names, name), append(lines, g.Line)
			}
		}
	}
	return names, lines
}

// equalFigure returns the name of a figure that has a confidence interval and is on one side of ==
// or !=. It returns "" if there is no such figure.
func (e *Expectation) equalFigure() string {
	for _, name := range e.equal {
		if !e.known.figure(name).exact {
			return name
		}
	}
	return ""
}

// checkGates checks the gates together, such as the number of metrics in them.
func checkGates(s *Scenario, d *strictyaml.Decoder) {
	if names, lines := gatingMetrics(s.Gates); len(names) > metrics.MaxGating {
		d.Fail(lines[metrics.MaxGating], "gates", fmt.Sprintf("the gates judge %d metrics by "+
			"their intervals: %s", len(names), strings.Join(names, ", ")),
			fmt.Sprintf("at most %d: each more costs all of them power", metrics.MaxGating))
	}
}

// checkGate checks gate i of s. If clean, the whole matrix could be read, so checkGate also checks
// the variants that the gate selects.
func checkGate(s *Scenario, d *strictyaml.Decoder, i int, all []point, clean bool) {
	g, path := s.Gates[i], fmt.Sprintf("gates[%d]", i)
	selects := slices.ContainsFunc(all, func(p point) bool { return p.labels.Includes(g.When) })
	if clean && !selects && d.Trusts(path+".when") {
		d.Fail(d.Line(path+".when"), path+".when", g.When.String()+" selects no variant",
			labelsHint(g.When, all))
	}
	switch {
	case !d.Trusts(path + ".expect"):
		return
	case g.Expect == "":
		d.Fail(d.Line(path), path, "expect is missing",
			"for example expect: lost_by_cause.reset_at_close == 0")
		return
	}
	expectation, problem := g.compile()
	if problem != nil {
		d.Fail(g.Line, path+".expect", problem.What, problem.Hint)
		return
	}
	if name := expectation.equalFigure(); name != "" {
		d.Fail(g.Line, path+".expect", name+" is a figure with an interval, which is never "+
			"exactly one number",
			"compare it with a bound by < or >; counts such as lost can be equal")
		return
	}
	for _, name := range expectation.Names {
		f := expectation.known.figure(name)
		switch {
		case !strings.HasPrefix(name, BaselinePrefix):
		case f.exact:
			d.Fail(g.Line, path+".expect", name+" is a plain count: two counts differ by chance",
				"compare figures that have an interval: lost_per_restart, lost_per_attempt, "+
					"response_p99_ns")
		case !f.compared:
			d.Fail(g.Line, path+".expect", name+" cannot be compared with the variant's",
				"give the variant's own a bound")
		}
	}
	// Refuse a figure that no trial has: its gate would stay undecided.
	for _, name := range expectation.Names {
		if needs := expectation.known.figure(name).needs; d.Trusts("timeline") && !s.does(needs) {
			d.Fail(g.Line, path+".expect", name+" is never measured",
				"the timeline has no "+s.wanted(needs)+"; add one, or remove the gate")
		}
		of := g.When
		if strings.HasPrefix(name, BaselinePrefix) {
			of = s.Baseline
		}
		loop := expectation.known.figure(name).loop
		if v := s.otherLoop(loop, of); clean && selects && v != nil {
			d.Fail(g.Line, path+".expect",
				name+" is never measured of "+variantName(v.Labels), loopHint(loop))
		}
	}
}

// otherLoop returns the first variant with the labels whose kind of load, open or closed, differs
// from loop. It returns nil if there is no such variant.
func (s *Scenario) otherLoop(loop metrics.Loop, labels Labels) *Variant {
	closed := loop == metrics.ClosedLoop
	for i := range s.Variants {
		v := &s.Variants[i]
		if loop != metrics.AnyLoop && v.Labels.Includes(labels) && v.Setup.Load.Closed() != closed {
			return v
		}
	}
	return nil
}

// variantName returns the name by which messages call the variant with the labels.
func variantName(labels Labels) string {
	if len(labels) == 0 {
		return "the only variant"
	}
	return labels.String()
}

// loopHint returns the hint for a figure that only the given kind of load has.
func loopHint(loop metrics.Loop) string {
	if loop == metrics.ClosedLoop {
		return "only a closed loop has it: give load.concurrency instead of load.rate, let when " +
			"select closed loops, or remove the gate"
	}
	return "a closed loop has no schedule to measure it by: give load.rate instead of " +
		"load.concurrency, let when select open loops, or remove the gate"
}
