package vocabulary

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// notWords are the types whose constants are in no table, because only rows use them, not
// scenarios.
var notWords = []string{"Capability", "Handover"}

// constants returns the values of the package's string constants, keyed by the name of their type.
func constants(t *testing.T) map[string][]string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	collect := func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		of, typed := spec.Type.(*ast.Ident)
		literal, text := spec.Values[0].(*ast.BasicLit)
		if !typed || !text || slices.Contains(notWords, of.Name) {
			return true
		}
		value, err := strconv.Unquote(literal.Value)
		if err != nil {
			t.Fatal(err)
		}
		all[of.Name] = append(all[of.Name], value)
		return true
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, collect)
	}
	return all
}

// Every constant has a row, every row has a constant and an explanation, and every table is that of
// a word in Words.
func TestTables(t *testing.T) {
	types := constants(t)
	same := func(values []string, w Word) bool {
		var names []string
		for _, v := range w.Values {
			names = append(names, v.Name)
		}
		return slices.Equal(slices.Sorted(slices.Values(names)),
			slices.Sorted(slices.Values(values)))
	}
	for name, values := range types {
		if !slices.ContainsFunc(Words(), func(w Word) bool { return same(values, w) }) {
			t.Errorf("no word has a row for each constant of %s, %q, and no other", name, values)
		}
	}
	settings := map[string]bool{}
	for _, w := range Words() {
		if settings[w.Setting] {
			t.Errorf("%s is there twice", w.Setting)
		}
		settings[w.Setting] = true
		matches := false
		for _, values := range types {
			matches = matches || same(values, w)
		}
		if !matches {
			t.Errorf("no type has the values of %s", w.Setting)
		}
		for _, v := range w.Values {
			if v.Doc == "" {
				t.Errorf("%s: %s has no explanation", w.Setting, v.Name)
			}
		}
		if got := len(Values(w.Setting)); got != len(w.Values) {
			t.Errorf("Values(%q) has %d values, want %d", w.Setting, got, len(w.Values))
		}
	}
}

// Reports build sentences from the values of these words, so each of these values has a phrase.
// Values of all other words have none.
func TestPhrases(t *testing.T) {
	for _, setting := range []string{
		"stop", "sockets", "selector", "accept", "server.kind", "path", "network",
		"load.connections", "timeline[].do",
	} {
		seen := map[string]bool{}
		for _, v := range Values(setting) {
			phrase := Phrase(setting, v.Name)
			if phrase == "" || seen[phrase] || strings.HasSuffix(phrase, ".") {
				t.Errorf("%s %s: the phrase is %q", setting, v.Name, phrase)
			}
			seen[phrase] = true
		}
	}
	if got := Phrase("stop", "nothing") + Phrase("nothing", "close"); got != "" {
		t.Errorf("what is in no table has the phrase %q", got)
	}
}

// Row returns the row of a value, and the zero row for a value without a row.
func TestRow(t *testing.T) {
	if got := StopBPFDrain.Row(); got.Name != StopBPFDrain || !got.Unlists {
		t.Errorf("the row of %s is %+v", StopBPFDrain, got)
	}
	if got := StopMode("").Row(); got.Name != "" {
		t.Errorf("no stop mode has a row: %+v", got)
	}
	if got := StepCrash.Kind(); !got.Ends() || got.Stops || got.Targets != TargetWorker {
		t.Errorf("the row of %s is %+v", StepCrash, got)
	}
}

// Every step works with some workers, and the fields of its row do not contradict each other.
func TestStepKinds(t *testing.T) {
	for _, k := range StepKinds() {
		if !k.Plain && !k.Pods && !k.Command {
			t.Errorf("%s is for no workers", k.Name)
		}
		if k.Restarts && !(k.Starts && k.Ends()) {
			t.Errorf("%s restarts workers, but does not start and end them", k.Name)
		}
		if k.Stops && k.Kills {
			t.Errorf("%s ends workers both ways", k.Name)
		}
	}
}

func TestOnly(t *testing.T) {
	if only := (Only[Pin]{}); !only.Allows(PinCPU) || !only.Allows("") {
		t.Error("the zero value does not allow all")
	}
	if only := (Only[Pin]{Values: []Pin{PinCPU}}); !only.Allows(PinCPU) || only.Allows(PinNone) {
		t.Error("a list does not allow what is on it, and that alone")
	}
}
