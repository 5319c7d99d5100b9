package scenarios

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"
)

// An Expectation is what a gate expects, compiled.
type Expectation struct {
	// Names are the metrics that it speaks of, sorted, the baseline's behind "baseline.".
	Names []string

	gate    Gate
	program *vm.Program
	figures map[string][]int // of those in Names that have an interval: the field of Metrics
}

// Compile compiles the gate's expression. It is an error when that is not valid, which Load would have refused.
func (g Gate) Compile() (*Expectation, error) {
	program, names, problem := compileGate(g.Expect)
	if problem != nil {
		return nil, fmt.Errorf("gate %q: %s", g.Expect, problem.What)
	}
	e := &Expectation{Names: names, gate: g, program: program, figures: map[string][]int{}}
	for m := range (Metrics{}).all() {
		if slices.Contains(names, m.name) && !m.exact {
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
func equalFigure(expect string) string {
	expect, err := nanoseconds(expect)
	if err != nil {
		return ""
	}
	tree, err := parser.Parse(expect)
	if err != nil {
		return ""
	}
	e, err := Gate{Expect: expect}.Compile()
	if err != nil {
		return ""
	}
	found := &equalities{}
	ast.Walk(&tree.Node, found)
	for _, name := range found.names {
		if _, ok := e.figures[name]; ok {
			return name
		}
	}
	return ""
}

// equalities collects the names on either side of == and !=.
type equalities struct{ names []string }

func (e *equalities) Visit(node *ast.Node) {
	if n, ok := (*node).(*ast.BinaryNode); ok && (n.Operator == "==" || n.Operator == "!=") {
		e.names = append(e.names, namesIn(&n.Left)...)
		e.names = append(e.names, namesIn(&n.Right)...)
	}
}

// checkGates checks what only all gates together show.
func checkGates(s *Scenario, d *decoder) {
	if names, lines := gatingMetrics(s.Gates); len(names) > maxGating {
		d.fail(lines[maxGating], "gates", fmt.Sprintf("the gates judge %d metrics by their intervals: %s", len(names), strings.Join(names, ", ")),
			fmt.Sprintf("at most %d: each more costs all of them power", maxGating))
	}
}

// compileGate checks an expression against the metrics, and returns it with the metrics it names;
// or what is wrong with it, and a hint, as a problem without a place.
func compileGate(expect string) (*vm.Program, []string, *Problem) {
	expect, err := nanoseconds(expect)
	if err != nil {
		return nil, nil, &Problem{What: err.Error(), Hint: "write a duration such as 5ms"}
	}
	tree, err := parser.Parse(expect)
	if err != nil {
		return nil, nil, &Problem{What: "not an expression: " + exprMessage(err), Hint: "for example lost_by_cause.reset_at_close == 0"}
	}
	names := namesIn(&tree.Node)
	known := metricNames()
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, nil, unknownMetric(name, known)
		}
	}
	if len(names) == 0 {
		return nil, nil, &Problem{What: "the expression names no metric", Hint: "for example lost_by_cause.reset_at_close == 0"}
	}
	options := []expr.Option{expr.Env(Metrics{}), expr.AsBool(), expr.DisableAllBuiltins()}
	for _, name := range []string{"abs", "min", "max"} {
		options = append(options, expr.EnableBuiltin(name))
	}
	program, err := expr.Compile(expect, options...)
	if err != nil {
		return nil, nil, &Problem{What: exprMessage(err), Hint: "it must compare numbers, for example lost_by_cause.reset_at_close == 0"}
	}
	return program, names, nil
}

// unknownMetric is the problem for a name that is not a metric, or only the beginning of some.
func unknownMetric(name string, known []string) *Problem {
	var inside []string
	for _, k := range known {
		if rest, ok := strings.CutPrefix(k, name+"."); ok {
			inside = append(inside, rest)
		}
	}
	if len(inside) > 0 {
		return &Problem{What: fmt.Sprintf("%q is not a single metric", name), Hint: "add one of ." + strings.Join(inside, ", .")}
	}
	hint := "metrics are named as in run.json"
	if near := nearest(name, known); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	return &Problem{What: fmt.Sprintf("unknown metric %q", name), Hint: hint}
}

// exprMessage is err without the excerpt of the expression that the library adds.
func exprMessage(err error) string {
	var detail *file.Error
	if errors.As(err, &detail) {
		return detail.Message
	}
	return err.Error()
}

// durationLiteral is a duration as time.ParseDuration reads it; \b keeps names such as p50 out.
var durationLiteral = regexp.MustCompile(`\b([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+\b`)

// nanoseconds replaces duration literals such as 5ms by their number of nanoseconds.
func nanoseconds(expect string) (string, error) {
	var errs []error
	expect = durationLiteral.ReplaceAllStringFunc(expect, func(literal string) string {
		d, err := time.ParseDuration(literal)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s is not a duration", literal))
		}
		return strconv.FormatInt(int64(d), 10)
	})
	return expect, errors.Join(errs...)
}

// namesIn lists the dotted names in an expression, sorted: "baseline.response.p99" is one.
func namesIn(node *ast.Node) []string {
	found := dottedNames{}
	ast.Walk(node, found)
	return slices.Sorted(maps.Values(found))
}

// dottedNames collects the longest dotted name around each identifier. Walk visits a node after
// what it is made of, so a longer name takes the place of the one it continues.
type dottedNames map[ast.Node]string

func (found dottedNames) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		found[n] = n.Value
	case *ast.MemberNode:
		property, ok := n.Property.(*ast.StringNode)
		if base, named := found[n.Node]; named && ok {
			delete(found, n.Node)
			found[n] = base + "." + property.Value
		}
	}
}

// checkGate checks gate i of s. clean says that the matrix could be read in full, so that what a
// gate selects from all can be judged.
func checkGate(s *Scenario, d *decoder, i int, all []point, clean bool) {
	g, path := s.Gates[i], fmt.Sprintf("gates[%d]", i)
	selects := slices.ContainsFunc(all, func(p point) bool { return p.labels.Includes(g.When) })
	if clean && !selects && d.trusts(path+".when") {
		d.fail(d.line(path+".when"), path+".when", g.When.String()+" selects no variant", variantsHint(all))
	}
	switch {
	case !d.trusts(path + ".expect"):
		return
	case g.Expect == "":
		d.fail(d.line(path), path, "expect is missing", "for example expect: lost_by_cause.reset_at_close == 0")
		return
	}
	_, names, problem := compileGate(g.Expect)
	if problem != nil {
		d.fail(g.Line, path+".expect", problem.What, problem.Hint)
		return
	}
	if name := equalFigure(g.Expect); name != "" {
		d.fail(g.Line, path+".expect", name+" is a figure with an interval, which is never exactly one number",
			"compare it with a bound by < or >; counts such as lost can be equal")
		return
	}
	for metric := range (Metrics{}).all() {
		if metric.alone && strings.HasPrefix(metric.name, BaselinePrefix) && slices.Contains(names, metric.name) {
			d.fail(g.Line, path+".expect", metric.name+" means nothing beside the variant's", "give a bound, for example chi2_p > 0.001")
		}
		if metric.exact && strings.HasPrefix(metric.name, BaselinePrefix) && slices.Contains(names, metric.name) {
			d.fail(g.Line, path+".expect", metric.name+" is a plain count: two counts differ by chance",
				"compare figures that have an interval: lost_per_restart, lost_per_attempt, response.p99")
		}
	}
	// A gate on what the timeline never causes would stay undecided after all the trials.
	for metric := range (Metrics{}).all() {
		if metric.needs != "" && slices.Contains(names, metric.name) && d.trusts("timeline") && !s.has(strings.Fields(metric.needs)...) {
			d.fail(g.Line, path+".expect", metric.name+" is never measured", "the timeline has no "+strings.Join(strings.Fields(metric.needs), " or "))
		}
	}
}

// Restarts reports whether the timeline restarts workers.
func (s Setup) Restarts() bool {
	return slices.ContainsFunc(s.Timeline, func(step Step) bool {
		return slices.Contains([]string{"replace", "roll", "crash", "rolling-update"}, step.Do)
	})
}

// has reports whether the timeline holds a step of one of the kinds; "step" stands for any.
func (s Setup) has(kinds ...string) bool {
	return slices.ContainsFunc(s.Timeline, func(step Step) bool {
		return slices.Contains(kinds, step.Do) || slices.Contains(kinds, "step")
	})
}
