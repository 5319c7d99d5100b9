// Package strictyaml decodes a YAML document into Go structs, strictly. Every key must be a field,
// and every value must have the right type and be in the range of its Setting. Constructs that can
// make a text mean something other than it seems to (anchors, aliases, merge keys, tags) are
// refused. The package finds all problems of a document at once, each with its line and a hint.
//
// A Format describes what a kind of file may contain. Format.Parse reads the document, and
// Decoder.Decode fills a struct from it. Then the caller makes its own checks: it asks whether
// values are free of problems so far (Decoder.Trusts) and records further problems (Decoder.Fail).
// Decoder.Err returns all problems. Marshal writes a struct in the form that Decode reads.
//
// A dotted path from the top of the file names a value, for example "timeline[0].at". The keys of a
// struct are the names in its yaml tags. A name may be followed by ",inline" or ",omitempty"; "-"
// means that the field has no key. In the path of a Setting, "[]" stands for any element of a list
// and NAME for any key of a map. A type with a syntax of its own implements TextDecoder and
// fmt.Stringer if it is a single value, NodeDecoder and NodeEncoder otherwise.
package strictyaml

import (
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Format describes a kind of file.
type Format struct {
	// Noun names what a file describes, for messages. Example: "scenario".
	Noun string
	// FirstLine is a possible first line of a file, for a hint. Example: "name: my-scenario".
	FirstLine string
	// Template tells users where to get a file that they can change, for a hint.
	Template string
	// MaxSize is the largest size of a file, in bytes.
	MaxSize int
	// MaxDepth is the maximum depth of nested lists and mappings. Nesting in flow style ([] and {})
	// and nesting by indentation are counted separately.
	MaxDepth int
	// MaxLen is the maximum number of entries of a list and of keys of a mapping.
	MaxLen int
	// Settings lists the single values of a file that are not free text.
	Settings []Setting
	// CheckName checks a name that a file chooses as a key of the map at path. It returns the
	// problem with the name, or nil. If CheckName is nil, all names are allowed.
	CheckName func(path, name string) *Problem
}

func (f *Format) checkName(path, name string) *Problem {
	if f.CheckName == nil {
		return nil
	}
	return f.CheckName(path, name)
}

// anyName stands in the path of a Setting for any key of a map.
const anyName = "NAME"

// Setting returns the setting at path, which may contain indexes of list elements and keys of maps.
// For free text it returns the zero Setting, without choices and bounds.
func (f *Format) Setting(path string) Setting {
	path = listIndex().ReplaceAllString(path, "[]")
	for _, s := range f.Settings {
		if s.Path == path || strings.Contains(s.Path, "."+anyName) && s.isAt(path) {
			return s
		}
	}
	return Setting{Path: path}
}

// isAt reports whether path equals s.Path, in which NAME stands for any key of a map.
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
