package scenarios

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// A Lag is how long something takes: always the same, or drawn anew each time.
type Lag struct {
	// Distribution is what it is drawn from: "" (it is always A), "uniform" (from A to B), "exponential" (of mean A) or
	// "lognormal" (with median A and 99th percentile B).
	Distribution string
	A, B         time.Duration
}

// String writes l as a scenario would: "100ms", "uniform(10ms..1s)", "exponential(100ms)", "lognormal(100ms..1s)".
func (l Lag) String() string {
	switch l.Distribution {
	case "":
		return durationText(l.A)
	case "exponential":
		return fmt.Sprintf("%s(%s)", l.Distribution, durationText(l.A))
	}
	return fmt.Sprintf("%s(%s..%s)", l.Distribution, durationText(l.A), durationText(l.B))
}

// Typical is what the lag is about: itself, the middle of its range, its mean, or its median.
func (l Lag) Typical() time.Duration {
	if l.Distribution == "uniform" {
		return l.A + (l.B-l.A)/2
	}
	return l.A
}

// Long is more than all but a few of the lags: they are longer less than once in a thousand times.
func (l Lag) Long() time.Duration {
	switch l.Distribution {
	case "uniform":
		return l.B
	case "exponential":
		return 7 * l.A // e^-7 is 0.0009
	case "lognormal": // 3.09 standard deviations, of which there are 2.33 between the median and the 99th percentile
		return 2 * l.B
	}
	return l.A
}

var (
	drawnLag    = regexp.MustCompile(`^([a-z]+)\((.*)\)$`)
	lagExamples = "write 100ms, uniform(10ms..1s), exponential(100ms), or lognormal(100ms..1s): median and 99th percentile"
)

// decodeLag decodes a duration, or a distribution with one or two of them.
func decodeLag(n *yaml.Node, v reflect.Value, s setting) (what, hint string) {
	var lag Lag
	fixed := reflect.ValueOf(&lag.A).Elem()
	m := drawnLag.FindStringSubmatch(strings.ReplaceAll(n.Value, " ", ""))
	if m == nil {
		if what, hint = decodeDuration(n, fixed, s); what == "" {
			v.Set(reflect.ValueOf(lag))
		}
		return what, hint
	}
	lag.Distribution = m[1]
	first, second, two := strings.Cut(m[2], "..")
	wants := map[string]bool{"uniform": true, "exponential": false, "lognormal": true}
	if want, known := wants[lag.Distribution]; !known || two != want {
		return fmt.Sprintf("%q is no lag", n.Value), lagExamples
	}
	if what, hint = decodeDuration(scalarNode(first), fixed, s); what != "" {
		return what, hint
	}
	if two {
		if what, hint = decodeDuration(scalarNode(second), reflect.ValueOf(&lag.B).Elem(), s); what != "" {
			return what, hint
		}
	}
	switch {
	case two && lag.B < lag.A:
		return fmt.Sprintf("%s ends before it begins", lag), "the smaller one comes first"
	case lag.Distribution == "lognormal" && lag.A == 0:
		return lag.String() + " has a median of 0", "all of its lags would be 0; give more than that, or 0s"
	}
	v.Set(reflect.ValueOf(lag))
	return "", ""
}
