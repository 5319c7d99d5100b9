package scenarios

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/expr-lang/expr/ast"
)

// Compile refuses an expectation as constant if and only if one of its comparisons has the same
// result for all values that can be measured.
func TestConstantComparisons(t *testing.T) {
	const (
		count  = "lost is a whole number, 0 or more"
		share  = "lost_share is 0 to 1"
		signed = "pod_ready_ns is any number"
	)
	tests := []struct{ expect, want string }{
		{"lost < 0", "lost < 0 can never be true: " + count},
		{"lost <= -1", "lost <= -1 can never be true: " + count},
		{"lost == -1", "lost == -1 can never be true: " + count},
		{"lost == 0.5", "lost == 0.5 can never be true: " + count},
		{"lost != 0.5", "lost != 0.5 is always true: " + count},
		{"2 * lost + 1 == 0.5", "2 * lost + 1 == 0.5 can never be true: " + count},
		{"lost >= 0", "lost >= 0 is always true: " + count},
		{"0 <= lost", "0 <= lost is always true: " + count},
		{"-lost > 0", "-lost > 0 can never be true: " + count},
		{"+lost > -0.1", "+lost > -0.1 is always true: " + count},
		{"abs(lost) < 0", "abs(lost) < 0 can never be true: " + count},
		{"min(lost, 3) > 3", "min(lost, 3) > 3 can never be true: " + count},
		{"max(lost, 3) >= 3", "max(lost, 3) >= 3 is always true: " + count},
		{"lost * lost < 0", "lost * lost < 0 can never be true: " + count},
		{"lost_share > 2", "lost_share > 2 can never be true: " + share},
		{"lost_share > 1", "lost_share > 1 can never be true: " + share},
		{"lost_share <= 1", "lost_share <= 1 is always true: " + share},
		{"lost_share * 3 > 3", "lost_share * 3 > 3 can never be true: " + share},
		{"lost_share - 2 >= 0", "lost_share - 2 >= 0 can never be true: " + share},
		{"1 / lost_share < 1", "1 / lost_share < 1 can never be true: " + share},
		{"lost_share / -2 > 0", "lost_share / -2 > 0 can never be true: " + share},
		{"gap_ns < 0ms", "gap_ns < 0 can never be true: gap_ns is 0 or more"},
		{"gap_ns < 5ms and not (lost < 0)", "lost < 0 can never be true: " + count},
		{"lost == 0 or lost_share > 2", "lost_share > 2 can never be true: " + share},
		{"0 <= lost < 3", "0 <= lost is always true: " + count},
		{"lost / attempts < 0", "lost / attempts < 0 can never be true: " +
			"attempts is a whole number, 0 or more, " + count},
		{"response_p99_ns + baseline.response_p99_ns < 0", "response_p99_ns + " +
			"baseline.response_p99_ns < 0 can never be true: baseline.response_p99_ns is 0 or " +
			"more, response_p99_ns is 0 or more"},

		{"lost / 0 == 0", "division by zero: lost / 0"},
		{"lost == 0/0", "division by zero: 0 / 0"},
		{"lost / (1 - 1) == 0", "division by zero: lost / (1 - 1)"},
		{"lost / max(0, -3) == 0", "division by zero: lost / max(0, -3)"},
		{"lost / (lost * 0) == 0", "division by zero: lost / (lost * 0)"},
		{"lost < 1e308 * 10", "1e+308 * 10 is too large a number"},
		{"lost < -1e308 - 1e308", "-1e+308 - 1e+308 is too large a number"},

		{"lost < 1", ""},
		{"lost <= 0", ""},
		{"lost > 0", ""},
		{"lost != 0", ""},
		{"lost == 3", ""},
		{"lost / 2 == 0.5", ""},
		{"lost_share < 1", ""},
		{"lost_share >= 1", ""},
		{"lost_share > 0", ""},
		{"lost - lost == 0", ""}, // always true, but intervals do not show it
		{"lost - attempts < 0", ""},
		{"lost / attempts <= 0", ""},
		{"pod_ready_ns < 0", ""},
		{"1 / pod_ready_ns < 0", ""},
		{"wait_mean_ns > -1us", ""},
		{"tries_per_attempt < 1.1", ""},
		{"abs(pod_ready_ns) <= 0", ""},
		{"max_over_mean < 1.01", ""},
		{"lost * 9223372036854775807 > 0", ""},
	}
	for _, test := range tests {
		_, problem := Gate{Expect: test.expect}.compile()
		got := ""
		if problem != nil {
			got = problem.What
		}
		if got != test.want {
			t.Errorf("%s: got %q, want %q", test.expect, got, test.want)
		}
	}
	if f := allFigures().figure("pod_ready_ns"); f.name+" is "+f.allowed() != signed {
		t.Errorf("%s is %s", f.name, f.allowed())
	}
}

// For all numbers x in an interval a and y in an interval b, the result of an operation on x and y
// lies in the result of the operation on a and b. If a comparison of a and b has only one possible
// result, the comparison of x and y has this result.
func TestIntervals(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	ends := []float64{math.Inf(-1), -7, -1, -0.5, 0, 0.5, 1, 2, 1e9, math.Inf(1)}
	binary := map[string]struct {
		intervals func(a, b interval) interval
		numbers   func(x, y float64) float64
	}{
		"+":   {interval.plus, func(x, y float64) float64 { return x + y }},
		"-":   {interval.minus, func(x, y float64) float64 { return x - y }},
		"*":   {interval.times, func(x, y float64) float64 { return x * y }},
		"/":   {interval.over, func(x, y float64) float64 { return x / y }},
		"min": {least, math.Min}, "max": {greatest, math.Max},
		"abs": {
			func(a, _ interval) interval { return a.abs() },
			func(x, _ float64) float64 { return math.Abs(x) },
		},
	}
	for range 20_000 {
		a, b := draw(random, ends), draw(random, ends)
		x, y := a.number(random), b.number(random)
		for name, operation := range binary {
			if name == "/" && (y == 0 || b.lo == 0 && b.hi == 0) {
				continue
			}
			z, within := operation.numbers(x, y), operation.intervals(a, b)
			if !(within.lo <= z && z <= within.hi) {
				t.Fatalf("%v %s %v is %v, not in %v for %v and %v", x, name, y, z, within, a, b)
			}
			if within.whole && z != math.Trunc(z) {
				t.Fatalf("%v %s %v is %v, want a whole number for %v and %v", x, name, y, z, a, b)
			}
			if of := operation.intervals(exactly(x), exactly(y)); of.lo != z || of.hi != z {
				t.Fatalf("%v %s %v is %v, and for known numbers %v", x, name, y, z, of)
			}
		}
		for operator, is := range map[string]bool{
			"<": x < y, "<=": x <= y, ">": x > y, ">=": x >= y, "==": x == y, "!=": x != y,
		} {
			if known := a.compare(operator, b); known.always() && !is || known.never() && is {
				t.Fatalf("%v %s %v is %t; for %v and %v: %+v", x, operator, y, is, a, b, known)
			}
			known := exactly(x).compare(operator, exactly(y))
			if known.always() != is || known.never() == is {
				t.Fatalf("%v %s %v is %t; for the numbers: %+v", x, operator, y, is, known)
			}
		}
	}
}

// draw returns a random interval whose bounds are two of ends.
func draw(random *rand.Rand, ends []float64) interval {
	lo, hi := ends[random.IntN(len(ends)-1)], ends[1+random.IntN(len(ends)-1)]
	a := interval{lo: min(lo, hi), hi: max(lo, hi), whole: random.IntN(2) == 0}
	if math.IsInf(a.hi, -1) || math.IsInf(a.lo, 1) || a.whole && math.Floor(a.hi) < a.lo {
		return interval{lo: 0, hi: math.Inf(1)}
	}
	return a
}

// number returns a random number in a, often one of the bounds of a.
func (a interval) number(random *rand.Rand) float64 {
	x := a.lo + random.Float64()*(a.hi-a.lo)
	switch {
	case math.IsInf(a.lo, 0) && math.IsInf(a.hi, 0):
		x = 100 * random.NormFloat64()
	case math.IsInf(a.lo, 0):
		x = a.hi - 100*random.ExpFloat64()
	case math.IsInf(a.hi, 0):
		x = a.lo + 100*random.ExpFloat64()
	}
	switch random.IntN(4) {
	case 0:
		x = max(a.lo, -1e12)
	case 1:
		x = min(a.hi, 1e12)
	}
	if a.whole {
		if x = math.Floor(x); x < a.lo {
			x++
		}
	}
	return x
}

// An expectation is either refused with a hint or can be evaluated for all values that figures can
// have, with no errors except for division by zero and overflow. A comparison that is refused as
// constant is constant.
func FuzzExpectation(f *testing.F) {
	for _, name := range Names() {
		s, err := Load(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, g := range s.Gates {
			f.Add(g.Expect, uint64(1))
		}
	}
	for _, expect := range []string{
		"1 < lost < 4", "not (lost == 3)",
		"abs(lost - baseline.lost) / 2 == 1.5", "gap_ns > .0049s",
		"lost == 0 or not (gap_ns > 5ms) and lost > 2", `lost_by_cause["timeout"] != 3`,
		"max(lost, min(3, -attempts)) >= 6", "lost / (lost - attempts) < 1e300 * lost",
		"served == 0 || lost / served < 1", "lost < 0", "pod_ready_ns / 0 > 1",
		"lost == 1; lost == 0", "count(1..9, # > 3) > lost", "let x = lost; x == 0",
		"lost ?? 1 == $env", "1 / lost_share < 1",
	} {
		f.Add(expect, uint64(2))
	}
	f.Fuzz(func(t *testing.T, expect string, seed uint64) {
		tree, problem := parseExpectation(expect)
		e, also := Gate{Expect: expect}.compile()
		if problem == nil {
			problem = also
		}
		random := rand.New(rand.NewPCG(seed, 1))
		if problem != nil {
			if problem.What == "" || problem.Hint == "" {
				t.Fatalf("refused: %q; %q", problem.What, problem.Hint)
			}
			always := strings.Contains(problem.What, " is always true: ")
			never := strings.Contains(problem.What, " can never be true: ")
			if n, ok := tree.(*ast.BinaryNode); ok && (always || never) && comparing(n) {
				for range 8 {
					is, undecided := measured(random).condition(n)
					if undecided == nil && is.always() != always {
						t.Fatalf("%t, and refused: %s", is.always(), problem.What)
					}
				}
			}
			return
		}
		for range 8 {
			of := measured(random)
			_, err := e.Eval(func(name string) (float64, bool) { return of.value(name).lo, true })
			if err != nil && !strings.Contains(err.Error(), ": division by zero: ") &&
				!strings.HasSuffix(err.Error(), " is too large a number") {
				t.Fatal(err)
			}
		}
	})
}

// comparing reports whether n is a comparison of numbers.
func comparing(n *ast.BinaryNode) bool {
	return slices.Contains([]string{"<", "<=", ">", ">=", "==", "!="}, n.Operator)
}

// measured returns an evaluation in which each figure has a random value from its range.
func measured(random *rand.Rand) *evaluation {
	known, values := allFigures(), map[string]float64{}
	return &evaluation{known: known, measured: true, value: func(name string) interval {
		if _, ok := values[name]; !ok {
			values[name] = known.figure(name).values.number(random)
		}
		return exactly(values[name])
	}}
}
