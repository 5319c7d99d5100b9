package scenarios

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"reuseport-bench/scenarios/strictyaml"
	"reuseport-bench/scenarios/vocabulary"
)

// Every word of the vocabulary is a setting whose field has a type of package vocabulary, and every
// setting whose field has such a type is a word.
func TestWordsAreSettings(t *testing.T) {
	words := map[string]bool{}
	for _, w := range vocabulary.Words() {
		words[w.Setting] = true
		s := format().Setting(w.Setting)
		if len(s.Choices) != len(w.Values) {
			t.Errorf("%s has %d choices, want %d", w.Setting, len(s.Choices), len(w.Values))
		}
		if s.Default != "" && !slices.Contains(s.Values(), s.Default) {
			t.Errorf("%s: the default %q is none of %q", w.Setting, s.Default, s.Values())
		}
	}
	for _, s := range settings() {
		root := any(new(Setup))
		path, ofStep := strings.CutPrefix(s.Path, "timeline[].")
		if ofStep {
			root = new(Step)
		}
		field, ok := strictyaml.Lookup(root, path)
		if !ok {
			continue
		}
		of := reflect.TypeOf(field).Elem()
		typed := of.PkgPath() == reflect.TypeFor[vocabulary.Path]().PkgPath() ||
			of == reflect.TypeFor[Connections]() || // a word, or a number
			of == reflect.TypeFor[Start]() // a word, or a command
		// The field of load.retry.on, which joins several values, is a string.
		if is := words[s.Path]; is != typed && !s.Joined {
			t.Errorf("%s: in the vocabulary: %t; its field, a %v, has such a type: %t", s.Path, is,
				of, typed)
		}
	}
}
