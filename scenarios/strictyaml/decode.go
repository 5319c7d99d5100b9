package strictyaml

import (
	"fmt"
	"iter"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v4"
)

// NodeDecoder is implemented by types that have their own syntax and are not single values.
// DecodeYAML decodes n, the node at path, and records problems in d.
type NodeDecoder interface {
	DecodeYAML(d *Decoder, n *yaml.Node, path string)
}

// Decoder fills Go values from a YAML tree. It continues after a problem, so that it finds all
// problems of a file at once.
type Decoder struct {
	Format *Format

	problems []Problem       // at most maxProblems, those on the first lines
	found    int             // the total number of problems
	lines    map[string]int  // line of the value at each path
	bad      map[string]bool // paths of values that have a problem
}

// NewDecoder returns a decoder for files in the format f.
func (f *Format) NewDecoder() *Decoder {
	return &Decoder{Format: f, lines: map[string]int{}, bad: map[string]bool{}}
}

// Decode sets the defaults in the struct that v points to, and then decodes root, the top mapping
// of a file, into it.
func (d *Decoder) Decode(root *yaml.Node, v any) {
	d.Format.SetDefaults(v)
	d.value(root, reflect.ValueOf(v).Elem(), "")
}

// Fail records a problem with the value at path, and distrusts the value.
func (d *Decoder) Fail(line int, path, what, hint string) {
	d.Distrust(path)
	d.add(line, path, what, hint)
}

// add records a problem at path, but does not distrust the value there.
func (d *Decoder) add(line int, path, what, hint string) {
	d.Add(Problem{Line: line, What: within(path) + what, Hint: hint})
}

// Found returns the number of problems found so far.
func (d *Decoder) Found() int { return d.found }

// Distrust marks the value at path as one that has a problem.
func (d *Decoder) Distrust(path string) { d.bad[path] = true }

// Trusts reports whether all values at paths, and all values that enclose them, are free of
// problems.
func (d *Decoder) Trusts(paths ...string) bool {
	for _, path := range paths {
		for p := range around(path) {
			if d.bad[p] {
				return false
			}
		}
	}
	return true
}

// TrustsAll reports whether the value at path, and all values inside it, are free of problems.
func (d *Decoder) TrustsAll(path string) bool {
	for bad := range d.bad {
		for p := range around(bad) {
			if p == path {
				return false
			}
		}
	}
	return true
}

// Line returns the line of the value at path. If the file omits that value, it returns the line of
// the innermost enclosing value that is in the file.
func (d *Decoder) Line(path string) int {
	for p := range around(path) {
		if line, ok := d.lines[p]; ok {
			return line
		}
	}
	return d.lines[""]
}

// around yields path and the paths that enclose it, from the inside out: "a[0].b", "a[0]", "a".
func around(path string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for path != "" && yield(path) {
			path = path[:max(0, strings.LastIndexAny(path, ".["))]
		}
	}
}

// value decodes n into v, which is addressable.
func (d *Decoder) value(n *yaml.Node, v reflect.Value, path string) {
	d.lines[path] = n.Line
	if n.Kind == yaml.AliasNode { // refuseIndirection has already recorded a problem
		d.Distrust(path)
		return
	}
	switch target := v.Addr().Interface().(type) {
	case NodeDecoder:
		target.DecodeYAML(d, n, path)
		return
	case TextDecoder:
		d.scalar(n, v, path)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.mapping(n, v, path)
	case reflect.Slice:
		d.list(n, v, path)
	case reflect.Map:
		d.entries(n, v, path)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), path)
	default:
		d.scalar(n, v, path)
	}
}

// scalar decodes a single value.
func (d *Decoder) scalar(n *yaml.Node, v reflect.Value, path string) {
	if p := decodeScalar(n, v, d.Format.Setting(path)); p != nil {
		d.Fail(n.Line, path, p.What, p.Hint)
	}
}

// mapping decodes n into the fields of the struct v.
func (d *Decoder) mapping(n *yaml.Node, v reflect.Value, path string) {
	d.Pairs(n, path, func(key, value *yaml.Node) {
		field, ok := fieldNamed(v, key.Value)
		if !ok {
			d.unknownKey(key, path, fieldNames(v.Type()))
			return
		}
		d.value(value, field, Join(path, key.Value))
	})
}

// entries decodes n into the map v, whose keys are strings that the file chooses. If a key has a
// problem, its entry has the zero value, because paths of values inside the entry can be ambiguous.
func (d *Decoder) entries(n *yaml.Node, v reflect.Value, path string) {
	v.Set(reflect.MakeMap(v.Type()))
	d.Pairs(n, path, func(key, value *yaml.Node) {
		entry, inside := reflect.New(v.Type().Elem()).Elem(), Join(path, key.Value)
		if p := d.Format.checkName(path, key.Value); p != nil {
			d.Distrust(inside)
			d.add(key.Line, path, p.What, p.Hint)
		} else {
			d.value(value, entry, inside)
		}
		v.SetMapIndex(reflect.ValueOf(key.Value), entry)
	})
}

// Pairs calls each for every key of the mapping n, with its value.
func (d *Decoder) Pairs(n *yaml.Node, path string, each func(key, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		d.Fail(n.Line, path, "expected a mapping, found "+Describe(n),
			"write {key: value}, or indented lines of key: value")
		return
	}
	if keys := len(n.Content) / 2; keys > d.Format.MaxLen {
		d.tooLong(n, path, keys, "keys")
		return
	}
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case key.Kind == yaml.AliasNode || key.Tag == "!!merge": // see refuseIndirection
			d.Distrust(path)
		case key.Kind != yaml.ScalarNode:
			d.Fail(key.Line, path, "a key is "+Describe(key), "keys are plain words")
		case first[key.Value] != 0:
			d.add(key.Line, path, fmt.Sprintf("key %q is given twice", key.Value),
				fmt.Sprintf("the first is on line %d; remove one", first[key.Value]))
		default:
			first[key.Value] = key.Line
			each(key, value)
		}
	}
}

// unknownKey records that key is not one of known. It distrusts the known key that the user
// probably meant, so that this one is not also reported as missing.
func (d *Decoder) unknownKey(key *yaml.Node, path string, known []string) {
	if near := Nearest(key.Value, known); near != "" {
		d.Distrust(Join(path, near))
	}
	d.add(key.Line, path, fmt.Sprintf("unknown key %q", key.Value),
		DidYouMean(key.Value, known, "known here: "+strings.Join(known, ", ")))
}

// list decodes n into the slice v.
func (d *Decoder) list(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.SequenceNode {
		d.Fail(n.Line, path, "expected a list, found "+Describe(n),
			"write [...], or lines that start with a hyphen")
		return
	}
	if entries := len(n.Content); entries > d.Format.MaxLen {
		d.tooLong(n, path, entries, "entries")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		d.value(item, v.Index(i), fmt.Sprintf("%s[%d]", path, i))
	}
}

// tooLong records that n has more than MaxLen entries or keys. The parameters found and of are
// their number and the noun for them.
func (d *Decoder) tooLong(n *yaml.Node, path string, found int, of string) {
	what, hint := fmt.Sprintf("%d %s", found, of), fmt.Sprintf("at most %d", d.Format.MaxLen)
	d.Fail(n.Line, path, what, hint)
}

// Join returns the path of key inside path.
func Join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// within returns the beginning of a message about path. It is "" for the top of the file.
func within(path string) string {
	if path == "" {
		return ""
	}
	return path + ": "
}
