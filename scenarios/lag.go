package scenarios

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"reuseport-bench/scenarios/strictyaml"
)

// A Lag is either a fixed duration or a distribution, from which a duration is drawn for each
// event.
type Lag struct {
	// Distribution is the distribution of the lag: "" (always A), "uniform" (from A to B),
	// "exponential" (with mean A), "lognormal" (with median A and 99th percentile B) or "measured".
	Distribution string
	A, B         time.Duration
	Measured     *Measured // nil unless Distribution is "measured"
}

// String formats l as in a scenario: "100ms", "uniform(10ms..1s)", "exponential(100ms)",
// "lognormal(100ms..1s)", "measured/rollout".
func (l Lag) String() string {
	switch l.Distribution {
	case "":
		return strictyaml.FormatDuration(l.A)
	case measuredDir:
		return measuredDir + "/" + l.Measured.Name
	case "exponential":
		return fmt.Sprintf("%s(%s)", l.Distribution, strictyaml.FormatDuration(l.A))
	}
	a, b := strictyaml.FormatDuration(l.A), strictyaml.FormatDuration(l.B)
	return fmt.Sprintf("%s(%s..%s)", l.Distribution, a, b)
}

// Typical returns the duration of a fixed lag, the midpoint of a uniform one, the mean of an
// exponential one, or the median of a lognormal or measured one.
func (l Lag) Typical() time.Duration {
	switch l.Distribution {
	case "uniform":
		return l.A + (l.B-l.A)/2
	case measuredDir:
		return l.Measured.Lags[len(l.Measured.Lags)/2]
	}
	return l.A
}

// Long returns a duration that is exceeded by at most one in a thousand durations drawn from l.
func (l Lag) Long() time.Duration {
	switch l.Distribution {
	case "uniform":
		return l.B
	case "exponential":
		return 7 * l.A // e^-7 is 0.0009
	case "lognormal": // at 3.09 standard deviations; B, the 99th percentile, is at 2.33
		return 2 * l.B
	case measuredDir:
		return l.Measured.Lags[len(l.Measured.Lags)-1]
	}
	return l.A
}

var drawnLag = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^([a-z]+)\((.*)\)$`)
})

const lagExamples = "write 100ms, uniform(10ms..1s), exponential(100ms), or " +
	"lognormal(100ms..1s): median and 99th percentile"

// DecodeText sets l from a duration, a distribution with one or two durations, or the name of a
// preset; see strictyaml.TextDecoder.
func (l *Lag) DecodeText(text string, s strictyaml.Setting) *strictyaml.Problem {
	if strings.HasPrefix(text, measuredDir+"/") {
		lag, p := ownPresets().lag(text, s)
		if p == nil {
			*l = lag
		}
		return p
	}
	m := drawnLag().FindStringSubmatch(strings.ReplaceAll(text, " ", ""))
	if m == nil {
		fixed, p := strictyaml.ParseDuration(text, s)
		if p == nil {
			*l = Lag{A: fixed}
		}
		return p
	}
	lag := Lag{Distribution: m[1]}
	first, second, two := strings.Cut(m[2], "..")
	wants := map[string]bool{"uniform": true, "exponential": false, "lognormal": true}
	if want, known := wants[lag.Distribution]; !known || two != want {
		return &strictyaml.Problem{What: fmt.Sprintf("%q is not a lag", text), Hint: lagExamples}
	}
	var p *strictyaml.Problem
	if lag.A, p = strictyaml.ParseDuration(first, s); p != nil {
		return p
	}
	if two {
		if lag.B, p = strictyaml.ParseDuration(second, s); p != nil {
			return p
		}
	}
	switch {
	case two && lag.B < lag.A:
		return &strictyaml.Problem{
			What: lag.String() + " ends before it begins",
			Hint: "the smaller one comes first",
		}
	case lag.Distribution == "lognormal" && lag.A == 0:
		return &strictyaml.Problem{
			What: lag.String() + " has a median of 0",
			Hint: "all of its lags would be 0; raise the median, or write 0s",
		}
	}
	*l = lag
	return nil
}
