package report

import (
	"math"
	"strconv"

	"reuseport-bench/results"
)

// missing stands where a variant has no such figure.
const missing = "–"

// A kind is how the values of a column are scaled and written.
type kind int

const (
	duration    kind = iota // nanoseconds; scaled to one unit per column
	plain                   // as it is
	probability             // as it is, tiny ones as a bound
	losses                  // as it is; none in R as "≤ 3/R"
)

// A scale is the unit of one column.
type scale struct {
	unit   string // "" for none
	factor float64
}

// durationScale is the largest unit that leaves the largest of the values, in nanoseconds, at 1 or more; seconds
// only from 10 s on, because milliseconds are what readers compare, and milliseconds for 0.
func durationScale(ns []float64) scale {
	var largest float64
	for _, v := range ns {
		largest = max(largest, math.Abs(v))
	}
	switch {
	case largest >= 1e10:
		return scale{"s", 1e9}
	case largest >= 1e6 || largest == 0:
		return scale{"ms", 1e6}
	case largest >= 1e3:
		return scale{"µs", 1e3}
	}
	return scale{"ns", 1}
}

// number writes x with three significant figures, from 100 on without decimals, in at most ten characters.
func number(x float64) string {
	size := math.Abs(x)
	switch {
	case x == 0:
		return "0"
	case math.IsNaN(x) || math.IsInf(x, 0):
		return missing
	case size >= 1e7 || size < 1e-4:
		return strconv.FormatFloat(x, 'g', 3, 64)
	case size >= 100:
		return strconv.FormatFloat(x, 'f', 0, 64)
	case size >= 10:
		return strconv.FormatFloat(x, 'f', 1, 64)
	case size >= 1:
		return strconv.FormatFloat(x, 'f', 2, 64)
	}
	decimals := 2 - int(math.Floor(math.Log10(size)))
	return strconv.FormatFloat(x, 'f', decimals, 64)
}

// count writes a whole number; from ten million on in exponent form.
func count(n int64) string {
	if n >= 1e7 || n <= -1e7 {
		return strconv.FormatFloat(float64(n), 'g', 3, 64)
	}
	return strconv.FormatInt(n, 10)
}

// figure writes a summary in its column's scale.
func figure(s results.Summary, k kind, unit scale, withInterval bool) string {
	if k == losses && s.Method == results.MethodRuleOfThree {
		return "≤ 3/" + strconv.Itoa(s.N)
	}
	if s.Method == results.MethodRuleOfThree && s.Hi != nil {
		return "≤ " + number(*s.Hi/unit.factor)
	}
	if k == probability && s.Center < 0.001 {
		return "< 0.001"
	}
	text := number(s.Center / unit.factor)
	if withInterval && s.Lo != nil && s.Hi != nil {
		text += " [" + number(*s.Lo/unit.factor) + ", " + number(*s.Hi/unit.factor) + "]"
	}
	return text
}
