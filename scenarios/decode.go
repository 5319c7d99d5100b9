package scenarios

import (
	"fmt"
	"iter"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// decoder fills Go values from a YAML tree, strictly, and goes on after a problem so that all are
// reported at once. Paths are dotted keys from the top of the file, as in "timeline[0].at".
type decoder struct {
	problems []Problem
	lines    map[string]int  // where each path stands in the file
	bad      map[string]bool // paths whose value is not to be trusted, because it has a problem
}

func newDecoder() *decoder {
	return &decoder{lines: map[string]int{}, bad: map[string]bool{}}
}

// fail records a problem with the value at path.
func (d *decoder) fail(line int, path, what, hint string) {
	d.bad[path] = true
	d.problems = append(d.problems, Problem{Line: line, What: within(path) + what, Hint: hint})
}

// line is where path stands, or the innermost thing around it that does.
func (d *decoder) line(path string) int {
	for p := range around(path) {
		if line, ok := d.lines[p]; ok {
			return line
		}
	}
	return d.lines[""]
}

// trusts reports whether none of paths, nor anything around them, has a problem.
func (d *decoder) trusts(paths ...string) bool {
	for _, path := range paths {
		for p := range around(path) {
			if d.bad[p] {
				return false
			}
		}
	}
	return true
}

// around yields path and what encloses it, inside out: "a[0].b", "a[0]", "a".
func around(path string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for path != "" && yield(path) {
			path = path[:max(0, strings.LastIndexAny(path, ".["))]
		}
	}
}

// value decodes n into v, which is addressable.
func (d *decoder) value(n *yaml.Node, v reflect.Value, path string) {
	d.lines[path] = n.Line
	if n.Kind == yaml.AliasNode { // refused already, see refuseIndirection
		d.bad[path] = true
		return
	}
	switch target := v.Addr().Interface().(type) {
	case *Labels:
		d.labels(n, target, path)
	case *Block:
		d.block(n, target, path)
	case *Gate:
		d.mapping(n, v, path)
		target.Line = d.line(path + ".expect")
	default:
		switch v.Kind() {
		case reflect.Struct:
			d.mapping(n, v, path)
		case reflect.Slice:
			d.list(n, v, path)
		default:
			if what, hint := decodeScalar(n, v, findSetting(path)); what != "" {
				d.fail(n.Line, path, what, hint)
			}
		}
	}
}

// mapping decodes n into the fields of the struct v.
func (d *decoder) mapping(n *yaml.Node, v reflect.Value, path string) {
	d.pairs(n, path, func(key, value *yaml.Node) {
		field, ok := fieldNamed(v, key.Value)
		if !ok {
			d.unknownKey(key, path, fieldNames(v.Type()))
			return
		}
		d.value(value, field, join(path, key.Value))
	})
}

// pairs calls each with every key of the mapping n and its value, once per key.
func (d *decoder) pairs(n *yaml.Node, path string, each func(key, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		d.fail(n.Line, path, "expected a mapping, found "+describe(n), "write {key: value}, or indented lines of key: value")
		return
	}
	if keys := len(n.Content) / 2; keys > maxListLen {
		d.fail(n.Line, path, fmt.Sprintf("%d keys", keys), fmt.Sprintf("at most %d", maxListLen))
		return
	}
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case key.Kind == yaml.AliasNode || key.Tag == "!!merge": // refused already
			d.bad[path] = true
		case key.Kind != yaml.ScalarNode:
			d.bad[path] = true
			d.problems = append(d.problems, Problem{Line: key.Line, What: within(path) + "a key is " + describe(key), Hint: "keys are plain words"})
		case first[key.Value] != 0:
			what := fmt.Sprintf("%skey %q is given twice", within(path), key.Value)
			d.problems = append(d.problems, Problem{Line: key.Line, What: what, Hint: fmt.Sprintf("first on line %d", first[key.Value])})
		default:
			first[key.Value] = key.Line
			each(key, value)
		}
	}
}

// unknownKey records that key is none of known. What it was probably meant to be counts as bad, so
// that it is not reported missing as well.
func (d *decoder) unknownKey(key *yaml.Node, path string, known []string) {
	if near := nearest(key.Value, known); near != "" {
		d.bad[join(path, near)] = true
	}
	what := fmt.Sprintf("%sunknown key %q", within(path), key.Value)
	d.problems = append(d.problems, Problem{Line: key.Line, What: what, Hint: didYouMean(key.Value, known, "known here:")})
}

// list decodes n into the slice v.
func (d *decoder) list(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.SequenceNode {
		d.fail(n.Line, path, "expected a list, found "+describe(n), "write [...], or lines that start with a hyphen")
		return
	}
	if len(n.Content) > maxListLen {
		d.fail(n.Line, path, fmt.Sprintf("%d entries", len(n.Content)), fmt.Sprintf("at most %d", maxListLen))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		d.value(item, v.Index(i), fmt.Sprintf("%s[%d]", path, i))
	}
}

// labels decodes a mapping of single values.
func (d *decoder) labels(n *yaml.Node, target *Labels, path string) {
	labels := Labels{}
	d.pairs(n, path, func(key, value *yaml.Node) {
		if value.Kind != yaml.ScalarNode || isNull(value) {
			d.fail(value.Line, join(path, key.Value), "expected a single value, found "+describe(value), "")
			return
		}
		labels[key.Value] = value.Value
	})
	*target = labels
}

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
	}
	switch v.Kind() {
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
	number, perSecond := strings.CutSuffix(n.Value, "/s")
	switch {
	case strings.Contains(n.Value, "capacity"):
		return "a share of the capacity is not supported yet", "write a fixed rate, for example 2000/s"
	case bareNumber.MatchString(n.Value):
		return n.Value + " has no unit", fmt.Sprintf("write %s/s", n.Value)
	case !perSecond || !bareNumber.MatchString(number):
		return fmt.Sprintf("%q is not a rate", n.Value), "write attempts per second, for example 2000/s"
	}
	rate, err := strconv.ParseFloat(number, 64)
	if err != nil || !s.allows(rate) {
		return n.Value + " is out of range", s.rangeText(func(x float64) string { return Rate(x).String() })
	}
	v.SetFloat(rate)
	return "", ""
}

// bareNumber is a decimal number without a unit; underscores may group its digits.
var bareNumber = regexp.MustCompile(`^[+-]?([0-9]+(_[0-9]+)*(\.[0-9]+)?|\.[0-9]+)$`)

// fieldNamed returns the field of the struct v that the YAML key stands for.
func fieldNamed(v reflect.Value, key string) (reflect.Value, bool) {
	for i := range v.NumField() {
		name, option, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		if option == "inline" {
			if field, ok := fieldNamed(v.Field(i), key); ok {
				return field, true
			}
		} else if name == key && name != "-" && name != "" {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

// fieldNames lists the YAML keys of the struct type t, in order.
func fieldNames(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		name, option, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		if option == "inline" {
			names = append(names, fieldNames(t.Field(i).Type)...)
		} else if name != "-" && name != "" {
			names = append(names, name)
		}
	}
	return names
}

// lookup returns the value at a dotted path below the struct v. A list takes part as "[]", which
// stands for a zero element.
func lookup(v reflect.Value, path string) (reflect.Value, bool) {
	for key := range strings.SplitSeq(path, ".") {
		if v.Kind() != reflect.Struct {
			return reflect.Value{}, false
		}
		name, isList := strings.CutSuffix(key, "[]")
		field, ok := fieldNamed(v, name)
		if !ok || isList && field.Kind() != reflect.Slice {
			return reflect.Value{}, false
		}
		if isList {
			field = reflect.New(field.Type().Elem()).Elem()
		}
		v = field
	}
	return v, true
}

// setDefaults gives every setting below the struct v that has a default this default.
func setDefaults(v reflect.Value) {
	for _, s := range settings() {
		if s.def == "" {
			continue
		}
		if field, ok := lookup(v, s.path); ok {
			if what, _ := decodeScalar(scalarNode(s.def), field, s); what != "" {
				panic("scenarios: default of " + s.path + ": " + what) // a mistake in settings
			}
		}
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// within introduces a problem inside path; the top of the file needs no introduction.
func within(path string) string {
	if path == "" {
		return ""
	}
	return path + ": "
}
