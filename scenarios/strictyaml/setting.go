package strictyaml

import (
	"strconv"
	"strings"
	"time"
)

// Setting describes a value of a file in more detail than its Go type does. Decoding, defaults,
// schemas and documentation all depend on it.
type Setting struct {
	Path     string // dotted; [] is any element of a list, NAME any key of a map
	Doc      string // its meaning, in sentences
	Choices  []Choice
	Joined   bool    // whether several choices may be joined by +
	Min, Max float64 // in ns for a duration, and for a TextDecoder in the unit in which it checks
	Above    bool    // whether the value must be greater than Min
	OrZero   bool    // whether 0 is allowed even if it is less than Min
	// A duration should be a multiple of Multiple, unless Multiple is 0. Hints respect this; the
	// caller must check it.
	Multiple time.Duration
	Default  string // as written in a file; "" means the zero value
	Example  string // a valid value, for hints
	Unset    string // describes the value if a file omits it, for values without Default
	Needs    string // the settings without which the value has no effect, such as "path: haproxy"
}

// Choice is one allowed value of a setting.
type Choice struct {
	Value string
	Doc   string
}

// Values lists the allowed values.
func (s Setting) Values() []string {
	values := make([]string, len(s.Choices))
	for i, c := range s.Choices {
		values[i] = c.Value
	}
	return values
}

// Allows reports whether x, in the unit of Min and Max, is in range. NaN is never in range.
func (s Setting) Allows(x float64) bool {
	if s.OrZero && x == 0 {
		return true
	}
	return (x > s.Min || x == s.Min && !s.Above) && x <= s.Max
}

// OutOfRange returns the Problem for a value that s does not allow. text is the value as the
// message quotes it; format formats the bounds.
func (s Setting) OutOfRange(text string, format func(float64) string) *Problem {
	return &Problem{What: text + " is out of range", Hint: "allowed: " + s.Range(format)}
}

// Range describes the allowed numbers. format formats the bounds.
func (s Setting) Range(format func(float64) string) string {
	bounds := format(s.Min) + " to " + format(s.Max)
	if s.Above {
		bounds = "more than " + format(s.Min) + ", up to " + format(s.Max)
	}
	if s.OrZero {
		bounds += ", or 0"
	}
	return bounds
}

// hint describes the allowed values.
func (s Setting) hint() string {
	choices := "allowed: " + strings.Join(s.Values(), ", ")
	switch {
	case len(s.Choices) > 0 && s.Max > 0:
		return choices + ", or a number, " + FormatNumber(s.Min) + " to " + FormatNumber(s.Max)
	case len(s.Choices) > 0:
		return choices
	case s.Example != "":
		return "for example " + s.Example
	case s.Max > 0:
		return "allowed: " + s.Range(FormatNumber)
	}
	return "write one text, in quotes if it holds brackets, commas, # or a colon"
}

// FormatDuration formats d as in a file: in ASCII, and without trailing parts that are zero, as in
// "1m" for 1m0s.
func FormatDuration(d time.Duration) string {
	s := strings.Replace(d.String(), "µs", "us", 1)
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// FormatNumber formats x in decimal, without an exponent.
func FormatNumber(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }
