package strictyaml

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v4"
)

// TextDecoder is implemented by single values that have their own syntax. DecodeText sets the value
// from text and checks it against s. On failure it returns a Problem without File and Line, and
// leaves the value unchanged.
type TextDecoder interface {
	DecodeText(text string, s Setting) *Problem
}

// KeyedNumber is a TextDecoder whose numbers may also be written as a mapping with one key. If
// NumberKey returns "count", {count: 8} means 8.
type KeyedNumber interface {
	TextDecoder
	NumberKey() string
}

// Single returns the node that contains the single value for v: n itself or, if v is a KeyedNumber
// and n is the mapping with its key, the number in that mapping.
func Single(n *yaml.Node, v any) *yaml.Node {
	keyed, ok := v.(KeyedNumber)
	if ok && n.Kind == yaml.MappingNode && len(n.Content) == 2 &&
		n.Content[0].Value == keyed.NumberKey() && IsNumber(n.Content[1].Value) {
		return n.Content[1]
	}
	return n
}

// DecodeScalar sets the single value to which v points from n and checks it against s. On failure
// it returns a Problem without File and Line, and leaves the value unchanged.
func DecodeScalar(n *yaml.Node, v any, s Setting) *Problem {
	return decodeScalar(n, reflect.ValueOf(v).Elem(), s)
}

func decodeScalar(n *yaml.Node, v reflect.Value, s Setting) *Problem {
	n = Single(n, v.Addr().Interface())
	if n.Kind != yaml.ScalarNode || IsNull(n) {
		hint := s.hint()
		if v.Kind() == reflect.Bool {
			hint = boolHint
		}
		return &Problem{What: "expected a single value, found " + Describe(n), Hint: hint}
	}
	switch target := v.Addr().Interface().(type) {
	case *time.Duration:
		d, p := ParseDuration(n.Value, s)
		if p == nil {
			*target = d
		}
		return p
	case TextDecoder:
		return target.DecodeText(n.Value, s)
	}
	switch v.Kind() {
	case reflect.Pointer: // an optional value
		target := reflect.New(v.Type().Elem())
		p := decodeScalar(n, target.Elem(), s)
		if p == nil {
			v.Set(target)
		}
		return p
	case reflect.Bool:
		return decodeBool(n, v)
	case reflect.Int:
		return decodeInt(n, v, s)
	case reflect.Float64:
		return decodeFloat(n, v, s)
	}
	return decodeString(n.Value, v, s)
}

func decodeString(text string, v reflect.Value, s Setting) *Problem {
	check := CheckChoice
	if s.Joined {
		check = checkJoined
	}
	p := check(text, s)
	if p == nil {
		v.SetString(text)
	}
	return p
}

// CheckChoice checks that text is one of the choices of s, if s has any.
func CheckChoice(text string, s Setting) *Problem {
	values := s.Values()
	if len(values) == 0 || slices.Contains(values, text) {
		return nil
	}
	hint := s.hint()
	if near := Nearest(text, values); near != "" {
		hint = fmt.Sprintf("did you mean %q? (%s)", near, hint)
	}
	return &Problem{What: fmt.Sprintf("unknown value %q", text), Hint: hint}
}

// checkJoined checks that text consists of choices of s, joined by +.
func checkJoined(text string, s Setting) *Problem {
	seen := map[string]bool{}
	for name := range strings.SplitSeq(text, "+") {
		if p := CheckChoice(name, s); p != nil {
			p.Hint += "; join several by +, for example " + s.Example
			return p
		}
		if seen[name] {
			return &Problem{
				What: fmt.Sprintf("%q is named twice", name),
				Hint: "name each once, for example " + s.Example,
			}
		}
		seen[name] = true
	}
	return nil
}

const boolHint = "write true or false"

func decodeBool(n *yaml.Node, v reflect.Value) *Problem {
	var b bool
	if n.ShortTag() != "!!bool" || n.Load(&b) != nil {
		return &Problem{What: "expected true or false, found " + Describe(n), Hint: boolHint}
	}
	v.SetBool(b)
	return nil
}

func decodeInt(n *yaml.Node, v reflect.Value, s Setting) *Problem {
	tooLong := n.ShortTag() == "!!float" && strings.Trim(n.Value, "+-0123456789") == ""
	if n.ShortTag() != "!!int" && !tooLong {
		return notNumber("a whole number", n, s)
	}
	var i int
	if err := n.Load(&i); err != nil || !s.Allows(float64(i)) {
		return s.OutOfRange(n.Value, FormatNumber)
	}
	v.SetInt(int64(i))
	return nil
}

func decodeFloat(n *yaml.Node, v reflect.Value, s Setting) *Problem {
	if tag := n.ShortTag(); tag != "!!int" && tag != "!!float" {
		return notNumber("a number", n, s)
	}
	var x float64
	if err := n.Load(&x); err != nil || !s.Allows(x) {
		return s.OutOfRange(n.Value, FormatNumber)
	}
	v.SetFloat(x)
	return nil
}

// notNumber returns the Problem for a value that is not the expected kind of number.
func notNumber(expected string, n *yaml.Node, s Setting) *Problem {
	hint := s.hint()
	if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 && IsNumber(n.Value) {
		hint = "write it without quotes"
	}
	return &Problem{What: "expected " + expected + ", found " + Describe(n), Hint: hint}
}

// ParseDuration parses a number with a unit (ns, us, ms, s, m, h) and checks it against s, whose
// bounds are in nanoseconds. The returned Problem has no File and no Line.
func ParseDuration(text string, s Setting) (time.Duration, *Problem) {
	if IsNumber(text) && text != "0" {
		hint := durationHint + s.Example
		if with, ok := withUnit(text, s); ok {
			hint = fmt.Sprintf("write %s, say; units are ns, us, ms, s, m, h", with)
		}
		return 0, &Problem{What: text + " has no unit", Hint: hint}
	}
	duration, err := time.ParseDuration(text)
	if err != nil {
		return 0, &Problem{
			What: fmt.Sprintf("%q is not a duration", text),
			Hint: durationHint + s.Example,
		}
	}
	if !s.Allows(float64(duration)) {
		bound := func(x float64) string { return FormatDuration(time.Duration(x)) }
		return 0, s.OutOfRange(FormatDuration(duration), bound)
	}
	return duration, nil
}

// durationHint is the beginning of a hint about how to write a duration. Its user appends an
// example.
const durationHint = "write a number and a unit (ns, us, ms, s, m, h), for example "

// withUnit appends a likely unit to the number in text, so that the result is a duration that s
// allows. ok is false if no unit does that. People mean seconds by most fractions, and milliseconds
// by most whole numbers.
func withUnit(text string, s Setting) (with string, ok bool) {
	units := []string{"ms", "s", "us"}
	if strings.Contains(text, ".") {
		units[0], units[1] = "s", "ms"
	}
	number := strings.ReplaceAll(text, "_", "") // durations have no underscores
	for _, unit := range units {
		d, err := time.ParseDuration(number + unit)
		if err == nil && s.Allows(float64(d)) && (s.Multiple == 0 || d%s.Multiple == 0) {
			return number + unit, true
		}
	}
	return "", false
}

// IsNumber reports whether text is a decimal number without a unit. Underscores may group its
// digits.
func IsNumber(text string) bool { return number().MatchString(text) }

var number = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[+-]?([0-9]+(_[0-9]+)*(\.[0-9]+)?|\.[0-9]+)$`)
})
