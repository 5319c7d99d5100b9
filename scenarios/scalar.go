package scenarios

import (
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// decodeScalar sets v from n and checks it against s. On a problem it returns what is wrong and a
// hint, and leaves v alone.
func decodeScalar(n *yaml.Node, v reflect.Value, s setting) (what, hint string) {
	if n.Kind != yaml.ScalarNode || isNull(n) {
		return "expected a single value, found " + describe(n), exampleHint(s)
	}
	switch v.Addr().Interface().(type) {
	case *time.Duration:
		return decodeDuration(n, v, s)
	case *Rate:
		return decodeRate(n, v, s)
	case *Lag:
		return decodeLag(n, v, s)
	}
	switch v.Kind() {
	case reflect.Bool:
		return decodeBool(n, v)
	case reflect.Int:
		return decodeInt(n, v, s)
	case reflect.Float64:
		return decodeFloat(n, v, s)
	}
	return decodeString(n, v, s)
}

func exampleHint(s setting) string {
	switch {
	case len(s.choices) > 0:
		return "allowed: " + strings.Join(s.values(), ", ")
	case s.example != "":
		return "for example " + s.example
	}
	return ""
}

func decodeString(n *yaml.Node, v reflect.Value, s setting) (what, hint string) {
	values := s.values()
	if s.joined {
		return decodeJoined(n, v, s)
	}
	for _, value := range values {
		if n.Value == value {
			v.SetString(value)
			return "", ""
		}
	}
	if len(values) == 0 {
		v.SetString(n.Value)
		return "", ""
	}
	hint = exampleHint(s)
	if near := nearest(n.Value, values); near != "" {
		hint = fmt.Sprintf("did you mean %q? (%s)", near, hint)
	}
	return fmt.Sprintf("unknown value %q", n.Value), hint
}

// decodeJoined decodes choices that are joined by +.
func decodeJoined(n *yaml.Node, v reflect.Value, s setting) (what, hint string) {
	seen := map[string]bool{}
	for name := range strings.SplitSeq(n.Value, "+") {
		one := s
		one.joined = false
		into := reflect.New(v.Type()).Elem()
		if what, hint := decodeString(&yaml.Node{Kind: yaml.ScalarNode, Value: name}, into, one); what != "" {
			return what, hint + "; join several by +, for example " + s.example
		}
		if seen[name] {
			return fmt.Sprintf("%q is named twice", name), ""
		}
		seen[name] = true
	}
	v.SetString(n.Value)
	return "", ""
}

func decodeBool(n *yaml.Node, v reflect.Value) (what, hint string) {
	if n.ShortTag() != "!!bool" {
		return "expected true or false, found " + describe(n), ""
	}
	var b bool
	if err := n.Load(&b); err != nil {
		return fmt.Sprintf("%q is neither true nor false", n.Value), ""
	}
	v.SetBool(b)
	return "", ""
}

func decodeInt(n *yaml.Node, v reflect.Value, s setting) (what, hint string) {
	tooLong := n.ShortTag() == "!!float" && strings.Trim(n.Value, "+-0123456789") == ""
	if n.ShortTag() != "!!int" && !tooLong {
		return "expected a whole number, found " + describe(n), ""
	}
	var i int
	if err := n.Load(&i); err != nil || !s.allows(float64(i)) {
		return n.Value + " is out of range", s.rangeText(numberText)
	}
	v.SetInt(int64(i))
	return "", ""
}

func numberText(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }

func decodeFloat(n *yaml.Node, v reflect.Value, s setting) (what, hint string) {
	if tag := n.ShortTag(); tag != "!!int" && tag != "!!float" {
		return "expected a number, found " + describe(n), ""
	}
	var x float64
	if err := n.Load(&x); err != nil || !s.allows(x) {
		return n.Value + " is out of range", s.rangeText(numberText)
	}
	v.SetFloat(x)
	return "", ""
}

func decodeDuration(n *yaml.Node, v reflect.Value, s setting) (what, hint string) {
	if bareNumber.MatchString(n.Value) && n.Value != "0" {
		return n.Value + " has no unit", fmt.Sprintf("write %sms, say; units are ns, us, ms, s, m, h", n.Value)
	}
	duration, err := time.ParseDuration(n.Value)
	if err != nil {
		return fmt.Sprintf("%q is not a duration", n.Value), "write a number and a unit (ns, us, ms, s, m, h), for example " + s.example
	}
	if !s.allows(float64(duration)) {
		return durationText(duration) + " is out of range", s.rangeText(func(x float64) string { return durationText(time.Duration(x)) })
	}
	v.SetInt(int64(duration))
	return "", ""
}

func decodeRate(n *yaml.Node, v reflect.Value, s setting) (what, hint string) {
	if strings.Contains(n.Value, "capacity") {
		return decodeShare(n, v, s)
	}
	number, perSecond := strings.CutSuffix(n.Value, "/s")
	switch {
	case bareNumber.MatchString(n.Value):
		return n.Value + " has no unit", fmt.Sprintf("write %s/s", n.Value)
	case !perSecond || !bareNumber.MatchString(number):
		return fmt.Sprintf("%q is not a rate", n.Value), "write attempts per second, for example 2000/s" + shareHint(s)
	}
	rate, err := strconv.ParseFloat(number, 64)
	if err != nil || !s.allows(rate) {
		return n.Value + " is out of range", s.rangeText(func(x float64) string { return Rate{PerSecond: x}.String() })
	}
	v.Set(reflect.ValueOf(Rate{PerSecond: rate}))
	return "", ""
}

// shareHint adds how to write a share of the capacity, where that is allowed.
func shareHint(s setting) string {
	if s.path == "load.rate" {
		return ", or a share of what the servers can do, 0.7*capacity"
	}
	return ""
}

// decodeShare decodes "0.7*capacity". Only the rate of a load may be one.
func decodeShare(n *yaml.Node, v reflect.Value, s setting) (what, hint string) {
	number, ok := strings.CutSuffix(strings.ReplaceAll(n.Value, " ", ""), ofCapacity)
	switch {
	case s.path != "load.rate":
		return "only load.rate can be a share of the capacity", "write attempts per second, for example " + s.example
	case !ok || !bareNumber.MatchString(number):
		return fmt.Sprintf("%q is not a share of the capacity", n.Value), "write a number, an asterisk and the word: 0.7*capacity"
	}
	share, err := strconv.ParseFloat(number, 64)
	if err != nil || share <= 0 || share > maxOfCapacity {
		return n.Value + " is out of range", fmt.Sprintf("allowed: more than 0, up to %s", Rate{OfCapacity: maxOfCapacity})
	}
	v.Set(reflect.ValueOf(Rate{OfCapacity: share}))
	return "", ""
}

// bareNumber is a decimal number without a unit; underscores may group its digits.
var bareNumber = regexp.MustCompile(`^[+-]?([0-9]+(_[0-9]+)*(\.[0-9]+)?|\.[0-9]+)$`)
