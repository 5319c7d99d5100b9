// Package strictyaml decodes a YAML document into Go structs, strictly. Every key must be a field,
// and every value must have the right type and be in the range of its Setting. Constructs that give
// a text another meaning than it seems to have (anchors, aliases, merge keys, tags) are refused. It
// finds all problems at once, each with its line and a hint.
//
// A Format describes what a kind of file may contain. Format.Parse reads the document,
// Decoder.Decode fills a struct from it. The caller then adds its own checks (Decoder.Fail), which
// can ask whether the values they check are free of problems (Decoder.Trusts). Decoder.Err returns
// all problems. Marshal writes a struct in the form that Decode reads.
//
// A dotted path from the top of the file names a value, for example "timeline[0].at". The keys of a
// struct are those of its yaml tags: the name, then ",inline" or ",omitempty"; "-" means no key. In
// the path of a Setting, "[]" stands for any element of a list and NAME for any key of a map. A
// type with a syntax of its own implements TextDecoder and fmt.Stringer if it is a single value,
// NodeDecoder and NodeEncoder otherwise.
package strictyaml

import (
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Format describes a kind of file.
type Format struct {
	// Noun is what a file describes, for messages: "scenario".
	Noun string
	// FirstLine is an example of the first line of a file, for a hint: "name: my-scenario".
	FirstLine string
	// Template says where to get a file to start from, for a hint.
	Template string
	// MaxSize is the largest size of a file, in bytes.
	MaxSize int
	// MaxDepth is the maximum depth of nested lists and mappings. It applies separately to nesting
	// in flow style ([] and {}) and by indentation.
	MaxDepth int
	// MaxLen is the largest number of entries of a list, and of keys of a mapping.
	MaxLen int
	// Settings lists the single values of a file that are not free text.
	Settings []Setting
}

// anyName stands in the path of a Setting for any key of a map.
const anyName = "NAME"

// Setting returns the setting at path, which may have the indexes of list elements and the keys of
// maps. Free text has the zero setting: no choices and no bounds.
func (f *Format) Setting(path string) Setting {
	path = listIndex().ReplaceAllString(path, "[]")
	for _, s := range f.Settings {
		if s.Path == path || strings.Contains(s.Path, "."+anyName) && s.isAt(path) {
			return s
		}
	}
	return Setting{Path: path}
}

// isAt reports whether path is the setting's Path with keys of maps for NAME.
func (s Setting) isAt(path string) bool {
	want, got := strings.Split(s.Path, "."), strings.Split(path, ".")
	return slices.EqualFunc(want, got, func(want, got string) bool {
		if name, found := strings.CutPrefix(want, anyName); found {
			return strings.HasSuffix(got, name)
		}
		return want == got
	})
}

var listIndex = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\[\d+\]`) })
