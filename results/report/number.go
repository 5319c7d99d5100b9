package report

import (
	"fmt"
	"strconv"

	"reuseport-bench/results"
	"reuseport-bench/results/unit"
)

// missing stands where a variant has no such figure.
const missing = "–"

// headIn is a column's head with its scale's unit.
func headIn(head string, in unit.Scale) string {
	if in.Name == "" {
		return head
	}
	return head + " [" + in.Name + "]"
}

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

// figure writes a summary of a metric in that unit, in its column's scale. A rate per restart is a
// count in few restarts, and "≤ 3/R" where nothing was seen in R.
func figure(s results.Summary, u unit.Unit, in unit.Scale, withInterval bool) string {
	perRestart := u == unit.PerRestart
	switch {
	case s.TooFew && perRestart:
		return fmt.Sprintf("%.0f in %d: too few", s.Center*float64(s.N), s.N)
	case s.TooFew:
		return "too few"
	case s.Method == results.MethodRuleOfThree && perRestart:
		return "≤ 3/" + strconv.Itoa(s.N)
	case s.Method == results.MethodRuleOfThree && s.Hi != nil:
		return "≤ " + in.Of(*s.Hi)
	case u == unit.Probability && s.Center < 0.001:
		return "< 0.001"
	case !withInterval:
		return in.Of(s.Center)
	}
	return unit.Spread(s.Center, s.Lo, s.Hi, in.Of)
}
