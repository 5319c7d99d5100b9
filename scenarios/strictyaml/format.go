// Package strictyaml decodes a YAML document into Go structs, strictly: every key must be a field,
// every value must have the right type and lie in the range of its Setting, and what makes a file
// mean something else than what it says (anchors, aliases, merge keys, tags) is refused. All
// problems are found at once, each with its line and a hint.
//
// A Format says what a kind of file may contain. Format.Parse reads the document, Decoder.Decode
// fills a struct from it. The caller then adds its own checks (Decoder.Fail), which can ask whether
// the values they look at are free of problems (Decoder.Trusts), and Decoder.Err returns everything
// that was found. Marshal writes a struct in the form that Decode reads.
//
// Values are named by dotted paths from the top of the file, as in "timeline[0].at". The keys of a
// struct are those of its yaml tags: the name, then ",inline" or ",omitempty"; "-" is no key. A
// type with a syntax of its own implements TextDecoder and fmt.Stringer if it is a single value,
// NodeDecoder and NodeEncoder otherwise.
package strictyaml

import (
	"regexp"
	"sync"
)

// Format describes a kind of file.
type Format struct {
	// Noun is what a file contains, for messages: "scenario".
	Noun string
	// FirstLine is a line as a file starts with, for a hint: "name: my-scenario".
	FirstLine string
	// Template says where to get a file to start from, for a hint.
	Template string
	// MaxSize is how many bytes a file may have.
	MaxSize int
	// MaxDepth is how deep lists and mappings may be inside each other: in flow style ([] and {}),
	// and as much again by indentation.
	MaxDepth int
	// MaxLen is how many entries a list, and how many keys a mapping, may have.
	MaxLen int
	// Settings lists the single values of a file that are not free text.
	Settings []Setting
}

// Setting returns the setting at path, in which elements of lists may be numbered. Free text has
// the zero setting: no choices and no bounds.
func (f *Format) Setting(path string) Setting {
	path = listIndex().ReplaceAllString(path, "[]")
	for _, s := range f.Settings {
		if s.Path == path {
			return s
		}
	}
	return Setting{Path: path}
}

var listIndex = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\[\d+\]`) })
