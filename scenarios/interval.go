package scenarios

import "math"

// An interval is the range of values that a number in an expectation may have. The bounds lo and hi
// may be infinite. The bounds of a known number are equal.
type interval struct {
	lo, hi float64
	whole  bool // whether it contains only whole numbers
}

// exactly returns the interval of a known number.
func exactly(x float64) interval { return interval{x, x, x == math.Trunc(x)} }

func (a interval) negative() interval { return interval{-a.hi, -a.lo, a.whole} }

func (a interval) plus(b interval) interval {
	return interval{a.lo + b.lo, a.hi + b.hi, a.whole && b.whole}
}

func (a interval) minus(b interval) interval { return a.plus(b.negative()) }

func (a interval) times(b interval) interval {
	product := func(x, y float64) float64 {
		if x == 0 || y == 0 {
			return 0 // even if the other bound is infinite, because all values are finite
		}
		return x * y
	}
	return hull(a.whole && b.whole, product(a.lo, b.lo), product(a.lo, b.hi), product(a.hi, b.lo),
		product(a.hi, b.hi))
}

// over returns the interval of x / y for x in a and y in b, except for y = 0. b must contain a
// number other than 0.
func (a interval) over(b interval) interval {
	if b.lo < 0 && b.hi > 0 {
		return interval{lo: math.Inf(-1), hi: math.Inf(1)}
	}
	negative := b.hi <= 0
	quotient := func(x, y float64) float64 {
		switch {
		case x == 0 || math.IsInf(y, 0):
			return 0
		case y == 0 && negative: // the divisor approaches 0 from below
			return x * math.Inf(-1)
		case y == 0:
			return x * math.Inf(1)
		}
		return x / y
	}
	return hull(false, quotient(a.lo, b.lo), quotient(a.lo, b.hi), quotient(a.hi, b.lo),
		quotient(a.hi, b.hi))
}

func (a interval) abs() interval {
	if a.lo <= 0 && a.hi >= 0 {
		return interval{0, max(-a.lo, a.hi), a.whole}
	}
	return hull(a.whole, math.Abs(a.lo), math.Abs(a.hi))
}

// least returns the interval of min(x, y) for x in a and y in b.
func least(a, b interval) interval {
	return interval{min(a.lo, b.lo), min(a.hi, b.hi), a.whole && b.whole}
}

// greatest returns the interval of max(x, y) for x in a and y in b.
func greatest(a, b interval) interval {
	return interval{max(a.lo, b.lo), max(a.hi, b.hi), a.whole && b.whole}
}

// hull returns the smallest interval that contains all of bounds.
func hull(whole bool, bounds ...float64) interval {
	h := interval{bounds[0], bounds[0], whole}
	for _, x := range bounds[1:] {
		h.lo, h.hi = min(h.lo, x), max(h.hi, x)
	}
	return h
}

// A truth reports about a condition whether it holds for some numbers in the intervals, and whether
// it fails for some.
type truth struct{ holds, fails bool }

// always reports whether the condition holds for all numbers.
func (t truth) always() bool { return t.holds && !t.fails }

// never reports whether the condition fails for all numbers.
func (t truth) never() bool { return t.fails && !t.holds }

func (t truth) not() truth { return truth{t.fails, t.holds} }

// compare returns the truth of the comparison "x operator y" for all x in a and y in b.
func (a interval) compare(operator string, b interval) truth {
	switch operator {
	case "<":
		return truth{holds: a.lo < b.hi, fails: a.hi >= b.lo}
	case "<=":
		return truth{holds: a.lo <= b.hi, fails: a.hi > b.lo}
	case ">", ">=":
		return b.compare(map[string]string{">": "<", ">=": "<="}[operator], a)
	case "!=":
		return a.compare("==", b).not()
	}
	apart := a.hi < b.lo || b.hi < a.lo || a.whole && b.fraction() || b.whole && a.fraction()
	return truth{holds: !apart, fails: apart || a.lo < a.hi || b.lo < b.hi}
}

// fraction reports whether a is a single number that is not whole.
func (a interval) fraction() bool { return a.lo == a.hi && a.lo != math.Trunc(a.lo) }
