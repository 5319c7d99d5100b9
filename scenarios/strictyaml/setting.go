package strictyaml

import (
	"strconv"
	"strings"
	"time"
)

// Setting describes one value of a file beyond its Go type. The decoder, the defaults, a schema and
// documentation use it.
type Setting struct {
	Path     string // dotted; [] is any element of a list, NAME any key of a map
	Doc      string // its meaning, in sentences
	Choices  []Choice
	Joined   bool    // choices may be joined by +
	Min, Max float64 // for a duration in ns; for a TextDecoder in the unit that it checks
	Above    bool    // Min itself is not allowed
	OrZero   bool    // 0 is allowed, too, even if it is less than Min
	// Multiple is what a duration should be a multiple of, for hints; 0 means anything. The caller
	// checks it.
	Multiple time.Duration
	Default  string // as written in a file; "" is the zero value
	Example  string // for a hint
	Unset    string // the value if a file omits it, unless Default says so
	Needs    string // the settings without which it has no effect, such as "path: haproxy"
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

// Allows reports whether x, in the unit of Min and Max, is in range. NaN is not.
func (s Setting) Allows(x float64) bool {
	if s.OrZero && x == 0 {
		return true
	}
	return (x > s.Min || x == s.Min && !s.Above) && x <= s.Max
}

// OutOfRange returns the problem of a value that s does not allow. text is the value for the
// message; format formats the bounds.
func (s Setting) OutOfRange(text string, format func(float64) string) *Problem {
	return &Problem{What: text + " is out of range", Hint: "allowed: " + s.Range(format)}
}

// Range returns the allowed numbers as text. format formats the bounds.
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

// FormatDuration writes d as in a file: in ASCII, without trailing zero parts.
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

// FormatNumber writes x in decimal, without an exponent.
func FormatNumber(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }
