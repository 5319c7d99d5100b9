package report

import (
	"fmt"
	"strconv"
	"strings"

	"reuseport-bench/results"
	"reuseport-bench/results/report/document"
	"reuseport-bench/results/unit"
)

// missing is printed in place of a figure that a variant lacks.
const missing = "–"

// headIn returns a column's head with its scale's unit.
func headIn(head string, in unit.Scale) string {
	if in.Name == "" {
		return head
	}
	return head + " [" + in.Name + "]"
}

// count writes a whole number.
func count(n int64) string { return strconv.FormatInt(n, 10) }

// The marks of a comparison without a significant change.
const (
	markSame    = "="
	markUnknown = "?"
)

// verdictMark returns the mark of a comparison without a significant change. If more trials might
// decide the comparison, it adds their number. For any other comparison it returns "".
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

// markText explains the marks. what is the plural noun for what would narrow the interval, such as
// "trials".
func markText(what string) string {
	return fmt.Sprintf("%s: the same, the whole interval is less than a change that matters. "+
		"%s: the interval is too wide to tell; +N: about N more %s of each would tell, if they "+
		"vary as those seen.",
		markSame, markUnknown, what)
}

// figure writes a summary of a metric with unit u, in the scale of its column. If there were few
// restarts, it writes a rate per restart as a count. If none of R restarts lost anything, it writes
// "≤ 3/R".
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
	return in.Spread(s.Center, s.Lo, s.Hi)
}

// verdictTone returns the tone of a cell that contains a verdict.
func verdictTone(cell string) document.Tone {
	for _, t := range []struct {
		tone  document.Tone
		words []string
	}{
		{document.Bad, []string{"fail", "worse", "void"}},
		{document.Open, []string{
			"undecided", "invalid", "conditional", "in part", "too few", "stopped", "differs",
			markUnknown,
		}},
		{document.Good, []string{"pass", "holds", "better"}},
	} {
		for _, word := range t.words {
			if strings.Contains(cell, word) {
				return t.tone
			}
		}
	}
	return document.Neutral
}
