package scenarios

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"

	"reuseport-bench/scenarios/strictyaml"
)

// An evaluation evaluates an expectation. It returns a Problem for an expectation that does not
// follow this grammar:
//
//	condition  = comparison | condition ("and" | "or") condition | "not" condition
//	comparison = number ("<" | "<=" | ">" | ">=" | "==" | "!=") number
//	number     = metric | literal | number ("+" | "-" | "*" | "/") number | "-" number
//	           | ("abs" | "min" | "max") "(" number, ... ")"
//
// The grammar is a small part of the language of expr-lang/expr, whose parser reads the
// expectation. The rest of that language is not allowed, because some of its expressions do not
// mean what users would expect.
//
// Numbers are evaluated as intervals. When a scenario is loaded, the interval of a figure is the
// range of values that its metric can have. A comparison that has the same result for the whole
// range decides nothing, so it is a Problem. When results are judged, the interval of a figure is
// the single number that was measured.
type evaluation struct {
	known    figureNames
	value    func(name string) interval // the interval of a figure, by its name in run.json
	measured bool                       // whether value returns measured numbers

	names []string // the figures in the expectation, by their names in run.json
	equal []string // those of names on either side of == or !=
}

const (
	exampleExpectation = "for example lost_by_cause.reset_at_close == 0"
	// grammarHint says what an expectation may contain.
	grammarHint = "an expectation compares metrics and numbers (+ - * /, abs, min, max) by < <= " +
		"> >= == !=, and joins comparisons by and, or, not: " + exampleExpectation
)

// parseExpectation returns the syntax tree of an expectation. Durations in it are numbers of
// nanoseconds. The returned Problem has no line.
func parseExpectation(expect string) (ast.Node, *Problem) {
	if n := len(expect); n > maxExpectation {
		return nil, &Problem{
			What: fmt.Sprintf("%d bytes", n),
			Hint: fmt.Sprintf("at most %d: write a gate for each part", maxExpectation),
		}
	}
	if problem := unseen(expect); problem != nil {
		return nil, problem
	}
	expect, problem := nanoseconds(expect)
	if problem != nil {
		return nil, problem
	}
	tree, err := parser.Parse(expect)
	if err != nil {
		what := "not an expression: " + parseMessage(err)
		return nil, &Problem{What: what, Hint: exampleExpectation}
	}
	return tree.Node, nil
}

// unseen returns a Problem for input that the parser accepts but omits from the tree.
func unseen(expect string) *Problem {
	switch {
	case strings.Contains(expect, ";"):
		return &Problem{
			What: `a ";" is not allowed: an expectation is one expression`,
			Hint: "join them by and, or write a gate for each",
		}
	case strings.Contains(strings.ReplaceAll(expect, "||", ""), "|"):
		return &Problem{What: "| is not allowed in an expectation", Hint: grammarHint}
	case strings.Contains(expect, "//"), strings.Contains(expect, "/*"),
		strings.Contains(expect, "#"):
		return &Problem{
			What: "a comment is not allowed inside an expectation",
			Hint: "write it after the quotes, as a YAML comment (#)",
		}
	}
	return nil
}

// condition evaluates node, which must be a condition.
func (e *evaluation) condition(node ast.Node) (truth, *Problem) {
	switch n := node.(type) {
	case *ast.UnaryNode:
		if n.Operator == "not" || n.Operator == "!" {
			is, problem := e.condition(n.Node)
			return is.not(), problem
		}
	case *ast.BinaryNode:
		switch n.Operator {
		case "and", "&&", "or", "||":
			return e.joined(n)
		case "<", "<=", ">", ">=", "==", "!=":
			return e.comparison(n)
		}
	}
	if _, problem := e.number(node); problem != nil {
		return truth{}, problem
	}
	return truth{}, &Problem{
		What: fmt.Sprintf("%s is a number, where a comparison must stand", node),
		Hint: exampleExpectation,
	}
}

// joined evaluates two conditions joined by "and" or "or". It skips the second condition if the
// first determines the result, as in attempts == 0 or lost / attempts < 0.1.
func (e *evaluation) joined(n *ast.BinaryNode) (truth, *Problem) {
	left, problem := e.condition(n.Left)
	or := n.Operator == "or" || n.Operator == "||"
	if problem != nil || or && left.always() || !or && left.never() {
		return left, problem
	}
	right, problem := e.condition(n.Right)
	if or {
		return truth{left.holds || right.holds, left.fails && right.fails}, problem
	}
	return truth{left.holds && right.holds, left.fails || right.fails}, problem
}

// comparison evaluates a comparison of two numbers. At least one of them must depend on a metric.
func (e *evaluation) comparison(n *ast.BinaryNode) (truth, *Problem) {
	before := len(e.names)
	left, problem := e.number(n.Left)
	if problem != nil {
		return truth{}, problem
	}
	right, problem := e.number(n.Right)
	if problem != nil {
		return truth{}, problem
	}
	names := e.names[before:]
	if len(names) == 0 {
		what := fmt.Sprintf("%s names no metric", n)
		return truth{}, &Problem{What: what, Hint: exampleExpectation}
	}
	if n.Operator == "==" || n.Operator == "!=" {
		e.equal = append(e.equal, names...)
	}
	is := left.compare(n.Operator, right)
	if !e.measured && (is.always() || is.never()) {
		return truth{}, e.constant(n, is, names)
	}
	return is, nil
}

// constant returns the Problem for a comparison that always has the same result.
func (e *evaluation) constant(n *ast.BinaryNode, is truth, names []string) *Problem {
	what := "can never be true"
	if is.always() {
		what = "is always true"
	}
	var ranges []string
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		ranges = append(ranges, name+" is "+e.known.figure(name).allowed())
	}
	return &Problem{
		What: fmt.Sprintf("%s %s: %s", n, what, strings.Join(ranges, ", ")),
		Hint: "such a comparison decides nothing; change its bound, or remove it",
	}
}

// number evaluates node, which must be a number.
func (e *evaluation) number(node ast.Node) (interval, *Problem) {
	if name, ok := dotted(node); ok {
		known, ok := e.known.names[name]
		if !ok {
			return interval{}, unknownMetric(name, e.known.spelled)
		}
		e.names = append(e.names, known)
		return e.value(known), nil
	}
	switch n := node.(type) {
	case *ast.IntegerNode:
		return exactly(float64(n.Value)), nil
	case *ast.FloatNode:
		return exactly(n.Value), nil
	case *ast.UnaryNode:
		return e.signed(n)
	case *ast.BinaryNode:
		return e.arithmetic(n)
	case *ast.BuiltinNode:
		return e.call(n)
	}
	return interval{}, notAllowed(node)
}

// signed evaluates a number with a sign before it.
func (e *evaluation) signed(n *ast.UnaryNode) (interval, *Problem) {
	switch n.Operator {
	case "+":
		return e.number(n.Node)
	case "-":
		x, problem := e.number(n.Node)
		return x.negative(), problem
	}
	return interval{}, &Problem{
		What: fmt.Sprintf("%s: %s binds more tightly than a comparison", n, n.Operator),
		Hint: "write not (lost == 0)",
	}
}

// arithmetic evaluates + - * /.
func (e *evaluation) arithmetic(n *ast.BinaryNode) (interval, *Problem) {
	if !slices.Contains([]string{"+", "-", "*", "/"}, n.Operator) {
		return interval{}, notAllowed(n)
	}
	left, problem := e.number(n.Left)
	if problem != nil {
		return interval{}, problem
	}
	right, problem := e.number(n.Right)
	if problem != nil {
		return interval{}, problem
	}
	var x interval
	switch n.Operator {
	case "+":
		x = left.plus(right)
	case "-":
		x = left.minus(right)
	case "*":
		x = left.times(right)
	default:
		if right.lo == 0 && right.hi == 0 {
			return interval{}, &Problem{
				What: fmt.Sprintf("division by zero: %s", n),
				Hint: "divide by a number that is not always 0",
			}
		}
		x = left.over(right)
	}
	if !(x.lo < math.Inf(1) && x.hi > math.Inf(-1)) {
		return interval{}, &Problem{
			What: fmt.Sprintf("%s is too large a number", n),
			Hint: "use smaller numbers",
		}
	}
	return x, nil
}

// call evaluates a function.
func (e *evaluation) call(n *ast.BuiltinNode) (interval, *Problem) {
	var join func(a, b interval) interval
	switch n.Name {
	case "abs":
	case "min":
		join = least
	case "max":
		join = greatest
	default:
		return interval{}, notAllowed(n)
	}
	if count := len(n.Arguments); count == 0 || join == nil && count > 1 {
		return interval{}, &Problem{
			What: fmt.Sprintf("%s has %d arguments", n, count),
			Hint: "write abs(number), min(number, number) or max(number, number)",
		}
	}
	x, problem := e.number(n.Arguments[0])
	if join == nil {
		return x.abs(), problem
	}
	for _, argument := range n.Arguments[1:] {
		y, another := e.number(argument)
		if problem == nil {
			problem = another
		}
		x = join(x, y)
	}
	return x, problem
}

func notAllowed(node ast.Node) *Problem {
	hint := grammarHint
	if _, ok := node.(*ast.ConditionalNode); ok {
		hint = "write it with and, or, not: lost == 0 or gap_ns < 5ms"
	}
	return &Problem{What: fmt.Sprintf("%s is not allowed here", node), Hint: hint}
}

// dotted returns the dotted name that node stands for. For lost_by_cause["timeout"] this is
// lost_by_cause.timeout.
func dotted(node ast.Node) (name string, ok bool) {
	switch n := node.(type) {
	case *ast.IdentifierNode:
		return n.Value, true
	case *ast.MemberNode:
		property, constant := n.Property.(*ast.StringNode)
		if base, ok := dotted(n.Node); ok && constant && !n.Optional {
			return base + "." + property.Value, true
		}
	}
	return "", false
}

// unknownMetric returns the Problem for a name that is not a metric. If the names of several
// metrics begin with it, the hint lists these.
func unknownMetric(name string, known []string) *Problem {
	var inside []string
	for _, k := range known {
		if rest, ok := strings.CutPrefix(k, name+"."); ok {
			inside = append(inside, rest)
		}
	}
	if len(inside) > 0 {
		return &Problem{
			What: fmt.Sprintf("%q is not a single metric", name),
			Hint: "add one of ." + strings.Join(inside, ", ."),
		}
	}
	hint := "metrics are named as in run.json, for example lost, dropped_per_restart, gap_ns"
	return &Problem{
		What: fmt.Sprintf("unknown metric %q", name),
		Hint: strictyaml.DidYouMean(name, known, hint),
	}
}

// unexpected matches the parser's message about a token that it did not expect.
var unexpected = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`unexpected token \w+\("(.*)"\)`)
})

// parseMessage rewrites an error message of the parser in terms of expectations.
func parseMessage(err error) string {
	var detail *file.Error
	if !errors.As(err, &detail) {
		return err.Error()
	}
	message := detail.Message
	switch m := unexpected().FindStringSubmatch(message); {
	case m != nil:
		return "unexpected " + m[1]
	case strings.HasPrefix(message, "unexpected"):
		return "it ends too early"
	case strings.Contains(message, "literal: "):
		return "a number is too large"
	}
	return message
}

var (
	// word matches a name including its dots, or a number including the letters next to it.
	word = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`[0-9.][0-9._]*[eE][-+][\pL\pN_.]+|[\pL\pN_.]+`)
	})
	// quantity matches a number that ends in a unit of time.
	quantity = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^\.?[0-9].*(ns|us|µs|μs|ms|s|m|h)$`)
	})
)

const durationHint = "write a duration such as 5ms"

// nanoseconds replaces each duration in an expectation, such as 5ms, by the number of nanoseconds.
func nanoseconds(expect string) (string, *Problem) {
	var problem *Problem
	expect = word().ReplaceAllStringFunc(expect, func(literal string) string {
		if !quantity().MatchString(literal) {
			return literal
		}
		d, err := time.ParseDuration(literal)
		switch {
		case err != nil:
			problem = &Problem{What: literal + " is not a duration", Hint: durationHint}
		case d == 0 && strings.ContainsAny(literal, "123456789"):
			problem = &Problem{What: literal + " is less than a nanosecond", Hint: durationHint}
		}
		return strconv.FormatInt(int64(d), 10)
	})
	return expect, problem
}
