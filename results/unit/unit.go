// Package unit writes figures. Each metric has one Unit. Values are stored in base units; only this
// package scales them.
package unit

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// A Unit is what a metric is measured in.
type Unit int

// The units.
const (
	None          Unit = iota // a number without a unit, such as an index
	Nanoseconds               // the base unit of time
	PerSecond                 // a rate
	PerRestart                // events per restart
	PerStep                   // events per step of the timeline
	PerAttempt                // events per attempt
	PerConnection             // events per connection
	Share                     // a part of a whole, 0 to 1
	Probability               // a p value, 0 to 1
	Count                     // a number of things
)

// Name describes the unit in words, such as "per restart". For None it returns "".
func (u Unit) Name() string {
	return [...]string{
		None: "", Nanoseconds: "nanoseconds", PerSecond: "per second", PerRestart: "per restart",
		PerStep: "per step", PerAttempt: "per attempt", PerConnection: "per connection",
		Share: "share", Probability: "probability", Count: "a count",
	}[u]
}

// A Scale is the unit in which a column of figures is printed.
type Scale struct {
	Name   string  // "" for none
	Factor float64 // the size of the scale's unit in base units
}

// Plain returns the scale that leaves figures as they are.
func Plain() Scale { return Scale{"", 1} }

// Seconds returns the scale that converts times to seconds, for formats that require them.
func Seconds() Scale { return Scale{"s", 1e9} }

// Milliseconds returns the scale that converts times to milliseconds.
func Milliseconds() Scale { return Scale{"ms", 1e6} }

// Scale returns one scale for all the values, which are in base units. For times it is the largest
// unit in which the largest value is at least 1, but no unit larger than milliseconds for values up
// to 10 s, because readers compare milliseconds. If all times are 0, it is milliseconds.
func (u Unit) Scale(values ...float64) Scale {
	if u != Nanoseconds {
		return Plain()
	}
	var largest float64
	for _, v := range values {
		largest = max(largest, math.Abs(v))
	}
	switch {
	case largest >= 1e10:
		return Seconds()
	case largest >= 1e6 || largest == 0:
		return Scale{"ms", 1e6}
	case largest >= 1e3:
		return Scale{"µs", 1e3}
	}
	return Scale{"ns", 1}
}

// Of writes x, which is in base units, in the scale's unit, in the same way as Number.
func (s Scale) Of(x float64) string { return Number(x / s.Factor) }

// Percent returns the scale that converts shares to percent.
func Percent() Scale { return Scale{"%", 0.01} }

// A figure has two significant digits instead of three if its interval is wider than this share of
// the figure.
const wide = 0.1

// Digits returns the function that writes a figure and the ends of its interval with three
// significant digits, or with two if the interval is wide.
func (s Scale) Digits(center float64, lo, hi *float64) func(float64) string {
	if lo == nil || hi == nil || *hi-*lo <= wide*math.Abs(center) {
		return s.Of
	}
	size := math.Abs(center)
	if size == 0 {
		size = max(math.Abs(*lo), math.Abs(*hi))
	}
	// If an end is much smaller than the figure, write it with one more decimal.
	most := max(0, 1-int(math.Floor(math.Log10(size/s.Factor)))) + 1
	return func(x float64) string {
		x /= s.Factor
		if x == 0 {
			return "0"
		}
		decimals := max(0, 1-int(math.Floor(math.Log10(math.Abs(x)))))
		text := strconv.FormatFloat(x, 'f', min(decimals, most), 64)
		if strings.Trim(text, "-0.") == "" {
			return "0"
		}
		return text
	}
}

// Spread writes a figure with its interval, in the digits of Digits.
func (s Scale) Spread(center float64, lo, hi *float64) string {
	return Spread(center, lo, hi, s.Digits(center, lo, hi))
}

// Text writes x for use outside of a table. It writes a time with its unit and three significant
// figures, and other values with this many digits.
func (u Unit) Text(x float64, digits int) string {
	if u == Nanoseconds {
		return Duration(x).String()
	}
	return Digits(x, digits)
}

// Duration returns ns nanoseconds, rounded to three significant figures.
func Duration(ns float64) time.Duration {
	if ns == 0 {
		return 0
	}
	step := math.Pow(10, max(0, math.Floor(math.Log10(math.Abs(ns)))-2))
	return time.Duration(math.Round(ns/step) * step)
}

// Spread writes a figure with its interval, if it has one: "x [lo, hi]".
func Spread(center float64, lo, hi *float64, write func(float64) string) string {
	text := write(center)
	if lo != nil && hi != nil {
		text += " [" + write(*lo) + ", " + write(*hi) + "]"
	}
	return text
}
