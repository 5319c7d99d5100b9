package terms

import (
	"slices"
	"strings"
	"testing"
)

// Every term has a sentence, no name stands for two terms, and the table is sorted.
func TestTable(t *testing.T) {
	seen := map[string]string{}
	for _, term := range All() {
		if !strings.HasSuffix(term.Doc, ".") || len(term.Related) == 0 {
			t.Errorf("%s: want sentences and related words, got %q and "+
				"%q", term.Name, term.Doc, term.Related)
		}
		for _, name := range append([]string{term.Name}, term.Also...) {
			key := strings.ToLower(name)
			if other, twice := seen[key]; twice {
				t.Errorf("%q is %s and %s", name, other, term.Name)
			}
			seen[key] = term.Name
		}
	}
	byName := func(a, b Term) int {
		return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name))
	}
	if rest := all[1:]; !slices.IsSortedFunc(rest, byName) { // ≤ comes first
		t.Error("the terms are not in alphabetical order")
	}
}

func TestFind(t *testing.T) {
	for name, want := range map[string]string{
		"gap": "gap", "JAIN": "Jain's index", "lag p99": "schedule lag",
	} {
		if got, ok := Find(name); !ok || got.Name != want {
			t.Errorf("Find(%q) = %q, %t, want %q", name, got.Name, ok, want)
		}
	}
	if got, ok := Find("no such term"); ok {
		t.Errorf("found %q", got.Name)
	}
}
