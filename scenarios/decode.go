package scenarios

import (
	"fmt"
	"iter"
	"reflect"
	"strings"

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
	case *Rate, *Lag:
		d.scalar(n, v, path)
	default:
		switch v.Kind() {
		case reflect.Struct:
			d.mapping(n, v, path)
		case reflect.Slice:
			d.list(n, v, path)
		case reflect.Pointer:
			v.Set(reflect.New(v.Type().Elem()))
			d.value(n, v.Elem(), path)
		default:
			d.scalar(n, v, path)
		}
	}
}

// scalar decodes a single value.
func (d *decoder) scalar(n *yaml.Node, v reflect.Value, path string) {
	if what, hint := decodeScalar(n, v, findSetting(path)); what != "" {
		d.fail(n.Line, path, what, hint)
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
