package testkit

import (
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// markedTable matches a table between markers in a Markdown document.
var markedTable = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?s)(<!-- table: ([a-z0-9-]+) -->\n)(.*?)(<!-- end -->)`)
})

// Documents returns README.md and the documents of docs; root is the top of the repository.
func Documents(t testing.TB, root string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	return append(files, filepath.Join(root, "README.md"))
}

// Tables compares each table with the text between the lines "<!-- table: NAME -->" and "<!-- end
// -->" in the documents, where NAME is its key. With -update it writes the table there instead. It
// ignores other tables of the documents, which belong to other tests. A table that is in no
// document is an error.
func Tables(t testing.TB, documents []string, tables map[string]string) {
	t.Helper()
	found := map[string]bool{}
	for _, file := range documents {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		got := markedTable().ReplaceAllFunc(text, func(block []byte) []byte {
			parts := markedTable().FindSubmatch(block)
			table, ours := tables[string(parts[2])]
			if !ours {
				return block
			}
			found[string(parts[2])] = true
			return []byte(string(parts[1]) + table + string(parts[4]))
		})
		if *update {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if diff := cmp.Diff(string(got), string(text)); diff != "" {
			t.Errorf("%s, rewrite with 'make generate' if this is wanted (-got "+
				"+want):\n%s", file, diff)
		}
	}
	for name := range tables {
		if !found[name] {
			t.Errorf("no document has the table %s", name)
		}
	}
}
