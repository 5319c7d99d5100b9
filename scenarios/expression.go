package scenarios

import (
	"errors"
	"fmt"
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

	"reuseport-bench/scenarios/strictyaml"
)

// An expression is what an expectation says, checked against its grammar:
//
//	condition  = comparison | condition ("and" | "or") condition | "not" condition
//	comparison = number ("<" | "<=" | ">" | ">=" | "==" | "!=") number
//	number     = metric | literal | number ("+" | "-" | "*" | "/") number | "-" number
//	           | ("abs" | "min" | "max") "(" number, ... ")"
//
// That is a small part of the language of expr-lang/expr. The rest is refused: there is more than
// one way in it to write something that is accepted and means something else.
type expression struct {
	names []string // the figures that it names, as in run.json, sorted
	equal []string // those on either side of == or !=
	known figureNames
}

const (
	exampleExpectation = "for example lost_by_cause.reset_at_close == 0"
	// grammarHint says what an expectation may be made of.
	grammarHint = "an expectation compares metrics and numbers (+ - * /, abs, min, max) " +
		"by < <= > >= == !=, and joins comparisons by and, or, not: " + exampleExpectation
)

// functions are those that an expectation may call.
var functions = []string{"abs", "min", "max"}

// compileExpression checks an expectation against the grammar and the metrics, and compiles it. It
// returns what is wrong with it, and a hint, as a problem without a place.
func compileExpression(expect string) (*vm.Program, *expression, *Problem) {
	if problem := unseen(expect); problem != nil {
		return nil, nil, problem
	}
	expect, problem := nanoseconds(expect)
	if problem != nil {
		return nil, nil, problem
	}
	tree, err := parser.Parse(expect)
	if err != nil {
		return nil, nil, &Problem{What: "not an expression: " + exprMessage(err), Hint: exampleExpectation}
	}
	e := &expression{known: newNames()}
	if problem := e.condition(tree.Node); problem != nil {
		return nil, nil, problem
	}
	slices.Sort(e.names)
	e.names = slices.Compact(e.names)
	env := map[string]any{}
	for _, name := range e.names {
		env[name] = 0.
	}
	options := []expr.Option{
		expr.Env(env), expr.AsBool(), expr.DisableAllBuiltins(),
		expr.Function(divisor, nonzero, new(func(float64) float64)),
		expr.Patch(naming(e.known.names)), expr.Patch(arithmetic{}),
	}
	for _, name := range functions {
		options = append(options, expr.EnableBuiltin(name))
	}
	program, err := expr.Compile(expect, options...)
	if err != nil {
		return nil, nil, &Problem{What: exprMessage(err), Hint: grammarHint}
	}
	return program, e, nil
}

// unseen refuses what the parser accepts and leaves no trace of in the tree.
func unseen(expect string) *Problem {
	switch {
	case strings.Contains(expect, ";"):
		return &Problem{
			What: `a ";" is not allowed: an expectation is one expression`,
			Hint: "join them by and, or write a gate for each",
		}
	case strings.Contains(strings.ReplaceAll(expect, "||", ""), "|"):
		return &Problem{What: "| is not allowed in an expectation", Hint: grammarHint}
	case strings.Contains(expect, "//"), strings.Contains(expect, "/*"), strings.Contains(expect, "#"):
		return &Problem{
			What: "a comment is not allowed inside an expectation",
			Hint: "write it behind, outside the quotes, after a # of YAML's",
		}
	}
	return nil
}

// condition checks that node is true or false.
func (e *expression) condition(node ast.Node) *Problem {
	switch n := node.(type) {
	case *ast.UnaryNode:
		if n.Operator == "not" || n.Operator == "!" {
			return e.condition(n.Node)
		}
	case *ast.BinaryNode:
		switch n.Operator {
		case "and", "&&", "or", "||":
			return first(e.condition, n.Left, n.Right)
		case "<", "<=", ">", ">=", "==", "!=":
			return e.comparison(n)
		}
	}
	if problem := e.number(node); problem != nil {
		return problem
	}
	return &Problem{
		What: fmt.Sprintf("%s is a number, where a comparison must stand", node),
		Hint: exampleExpectation,
	}
}

// comparison checks that n compares numbers, and that something measured is among them.
func (e *expression) comparison(n *ast.BinaryNode) *Problem {
	before := len(e.names)
	if problem := first(e.number, n.Left, n.Right); problem != nil {
		return problem
	}
	names := e.names[before:]
	if len(names) == 0 {
		return &Problem{What: fmt.Sprintf("%s names no metric", n), Hint: exampleExpectation}
	}
	if n.Operator == "==" || n.Operator == "!=" {
		e.equal = append(e.equal, names...)
	}
	return nil
}

// number checks that node is a number, and notes the metrics in it.
func (e *expression) number(node ast.Node) *Problem {
	if name, ok := dotted(node); ok {
		known, ok := e.known.names[name]
		if !ok {
			return unknownMetric(name, e.known.spelled)
		}
		e.names = append(e.names, known)
		return nil
	}
	switch n := node.(type) {
	case *ast.IntegerNode, *ast.FloatNode:
		return nil
	case *ast.UnaryNode:
		switch n.Operator {
		case "-", "+":
			return e.number(n.Node)
		case "not", "!":
			return &Problem{
				What: fmt.Sprintf("%s: %s binds more tightly than a comparison", n, n.Operator),
				Hint: "write not (lost == 0)",
			}
		}
	case *ast.BinaryNode:
		switch n.Operator {
		case "+", "-", "*", "/":
			return first(e.number, n.Left, n.Right)
		}
	case *ast.BuiltinNode:
		if slices.Contains(functions, n.Name) {
			return first(e.number, n.Arguments...)
		}
	}
	return notAllowed(node)
}

// first returns the first problem that check finds; nil if there is none.
func first(check func(ast.Node) *Problem, nodes ...ast.Node) *Problem {
	for _, node := range nodes {
		if problem := check(node); problem != nil {
			return problem
		}
	}
	return nil
}

func notAllowed(node ast.Node) *Problem {
	hint := grammarHint
	if _, ok := node.(*ast.ConditionalNode); ok {
		hint = "write it with and, or, not: lost == 0 or gap_ns < 5ms"
	}
	return &Problem{What: fmt.Sprintf("%s is not allowed here", node), Hint: hint}
}

// dotted returns the name that node spells: lost_by_cause.timeout, also where it is written
// lost_by_cause["timeout"].
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

// unknownMetric is the problem for a name that is not a metric, or only the beginning of some.
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
	hint := "metrics are named as in run.json"
	if near := strictyaml.Nearest(name, known); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	return &Problem{What: fmt.Sprintf("unknown metric %q", name), Hint: hint}
}

// naming replaces what spells a figure, also lost_by_cause["timeout"], by one identifier: its name
// as in run.json.
type naming map[string]string

func (n naming) Visit(node *ast.Node) {
	spelled, _ := dotted(*node)
	if name, ok := n[spelled]; ok {
		ast.Patch(node, &ast.IdentifierNode{Value: name})
	}
}

// arithmetic makes literals floating-point, for integers wrap around, and division by zero an
// error, for 0/0 compares as false with anything.
type arithmetic struct{}

// divisor is the function that arithmetic puts around what is divided by. No expectation can call
// it.
const divisor = "divisor"

func (arithmetic) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IntegerNode:
		ast.Patch(node, &ast.FloatNode{Value: float64(n.Value)})
	case *ast.BinaryNode:
		if n.Operator == "/" {
			callee := &ast.IdentifierNode{Value: divisor}
			n.Right = &ast.CallNode{Callee: callee, Arguments: []ast.Node{n.Right}}
		}
	}
}

// nonzero is divisor.
func nonzero(params ...any) (any, error) {
	x, ok := params[0].(float64)
	if !ok {
		return nil, fmt.Errorf("%v is not a number", params[0])
	}
	if x == 0 {
		return nil, errors.New("division by zero")
	}
	return x, nil
}

// exprMessage is err without the excerpt of the expression that the library adds.
func exprMessage(err error) string {
	var detail *file.Error
	if errors.As(err, &detail) {
		return detail.Message
	}
	return err.Error()
}

var (
	// word is a name with all its dots, or whatever stands together with a number.
	word = regexp.MustCompile(`[0-9.][0-9._]*[eE][-+][\pL\pN_.]+|[\pL\pN_.]+`)
	// quantity is a number that ends in a unit of time.
	quantity = regexp.MustCompile(`^\.?[0-9].*(ns|us|µs|μs|ms|s|m|h)$`)
)

const durationHint = "write a duration such as 5ms"

// nanoseconds replaces durations such as 5ms by their number of nanoseconds.
func nanoseconds(expect string) (string, *Problem) {
	var problem *Problem
	expect = word.ReplaceAllStringFunc(expect, func(literal string) string {
		if !quantity.MatchString(literal) {
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
