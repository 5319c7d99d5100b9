package report

import (
	"fmt"
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
	losses                  // as it is; none in R as "≤ 3/R", or the count in few restarts
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

// number writes a figure; see results.Number.
func number(x float64) string { return results.Number(x) }

// count writes a whole number.
func count(n int64) string { return strconv.FormatInt(n, 10) }

// The marks of a comparison that shows no change.
const (
	markSame    = "="
	markUnknown = "?"
)

// verdictMark is how a comparison that shows no change is marked, and in how many more trials it
// might; "" for any other.
func verdictMark(d *results.Delta) string {
	switch {
	case d.Verdict == results.VerdictSame:
		return markSame
	case d.Verdict != results.VerdictUnknown:
		return ""
	case d.MoreTrials == nil:
		return markUnknown
	}
	return markUnknown + " +" + strconv.Itoa(*d.MoreTrials)
}

// markText explains the marks; what is one of those that shrink an interval.
func markText(what string) string {
	return fmt.Sprintf("%s: the same, the whole interval is less than a change that matters. "+
		"%s: the interval is too wide to tell; +N: about N more %s of each would tell, if they vary as those seen.",
		markSame, markUnknown, what)
}

// figure writes a summary in its column's scale.
func figure(s results.Summary, k kind, unit scale, withInterval bool) string {
	switch {
	case s.TooFew && k == losses:
		return fmt.Sprintf("%.0f in %d: too few", s.Center*float64(s.N), s.N)
	case s.TooFew:
		return "too few"
	}
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
