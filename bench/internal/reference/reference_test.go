package reference

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"reuseport-bench/results/report"
	"reuseport-bench/results/terms"
)

func entries() []Entry {
	commands := []Command{{Name: "run", Use: "run [NAME]", Doc: "Run scenarios",
		Flags: []Flag{{Name: "trials", Type: "int", Default: "8", Doc: "how many blocks"}}}}
	return Entries(commands, []Status{{Code: 3, Doc: "could not measure"}})
}

// Every entry has a text, and every word that an entry relates to has an entry.
func TestEntries(t *testing.T) {
	all := entries()
	for _, e := range all {
		if e.Doc == "" || e.Kind == "" {
			t.Errorf("%s: kind %q, text %q", e.Name, e.Kind, e.Doc)
		}
		for _, word := range e.Related {
			if len(Find(all, word)) == 0 {
				t.Errorf("%s (%s): the related word %q is not explained", e.Name, e.Kind, word)
			}
		}
	}
}

// Every column of a report is the column of a metric, has a term as its heading, or has a text that
// explains it.
func TestColumns(t *testing.T) {
	for _, c := range report.Columns() {
		if _, isTerm := terms.Find(c.Head); !isTerm && len(c.Metrics) == 0 && c.Doc == "" {
			t.Errorf("the column %q has no metric and no text, and is no term", c.Head)
		}
	}
}

// Find explains every column heading as reports print it: the headings in the source code of
// package report, and those in its golden files, where the code may have composed them.
func TestHeadsAreExplained(t *testing.T) {
	all := entries()
	heads := append(codeHeads(t), goldenHeads(t)...)
	for _, want := range []string{"gap", "p99 [µs]", "gates", "took\n[ms]", "p99.9 [ms]"} {
		if !slices.Contains(heads, want) {
			t.Errorf("the test does not find the head %q", want)
		}
	}
	slices.Sort(heads)
	for _, head := range slices.Compact(heads) {
		for _, word := range []string{head, strings.ReplaceAll(head, "\n", " ")} {
			if len(Find(all, word)) == 0 {
				t.Errorf("the column %q is not explained", word)
			}
		}
	}
}

// codeHeads returns the column headings in the source code of package report.
func codeHeads(t *testing.T) (heads []string) {
	t.Helper()
	files, err := filepath.Glob("../../../results/report/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no code: %v", err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		add := func(e ast.Expr) {
			if call, ok := e.(*ast.CallExpr); ok && len(call.Args) > 0 { // as headIn(head, scale)
				e = call.Args[0]
			}
			if l, ok := e.(*ast.BasicLit); ok && l.Kind == token.STRING && l.Value != `""` {
				head, err := strconv.Unquote(l.Value)
				if err != nil {
					t.Fatal(err)
				}
				heads = append(heads, head)
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				f, ok := n.Fun.(*ast.SelectorExpr)
				if ok && (f.Sel.Name == "Left" || f.Sel.Name == "Right") {
					add(n.Args[0])
				}
			case *ast.KeyValueExpr:
				if key, ok := n.Key.(*ast.Ident); ok && key.Name == "head" {
					add(n.Value)
				}
			}
			return true
		})
	}
	return heads
}

// goldenHeads returns the column headings of the tables in the golden files of package report.
func goldenHeads(t *testing.T) (heads []string) {
	t.Helper()
	files, err := filepath.Glob("../../../results/report/testdata/*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		last := ""
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "|") && strings.Trim(line, "|-: \n") == "" {
				for head := range strings.SplitSeq(strings.Trim(last, "| \n"), "|") {
					head = strings.ReplaceAll(strings.TrimSpace(head), "<br>", "\n")
					if head = strings.ReplaceAll(head, "\\", ""); head != "" {
						heads = append(heads, head)
					}
				}
			}
			last = line
		}
	}
	return heads
}

func TestFind(t *testing.T) {
	for word, want := range map[string][]string{
		"reset_at_close":  {kindCause},
		"gap":             {kindTerm},
		"load.rate":       {kindSetting},
		"load.rate=2/s":   {kindSetting},
		"stop=drain":      {"stop mode"},
		"kill":            {"stop mode", "step"},
		"GAP_NS":          {kindMetric},
		"valid/all":       {kindTerm},
		"its p99":         {kindColumn},
		"3":               {kindStatus},
		"run":             {kindTerm, kindCommand},
		"even-spread":     {kindClaim},
		"drop window":     {kindTerm},
		"nothing":         nil,
		"gap [ms]":        {kindTerm},
		"exit status 3":   {kindStatus},
		"status 3":        {kindStatus},
		"preStop":         {kindSetting},
		"prestop":         {kindSetting},
		"PRE-STOP":        {kindSetting},
		"pre_stop":        {kindSetting},
		"maxSurge":        {kindSetting},
		"maxUnavailable":  {kindSetting},
		"minReadySeconds": {kindSetting},
		"readinessProbe":  {kindSetting},
		"periodSeconds":   {kindSetting},
		"replicas":        {kindSetting},
		"runAsUser":       {kindSetting},
		"hostNetwork":     {kindSetting},
		"≤ 3/N":           {kindTerm},
		"≤ 3/64":          {kindTerm},
		"none in 64":      {kindTerm},
		"nothing in 64":   nil,
		"nothing [ms]":    nil,

		"terminationGracePeriodSeconds": {kindSetting},
	} {
		var got []string
		for _, e := range Find(entries(), word) {
			got = append(got, e.Kind)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", word, got, want)
		}
	}
}

// For each link to a heading of a generated document, the document has that heading.
func TestLinks(t *testing.T) {
	for name, text := range map[string]string{
		"reference": Reference(nil, nil), "glossary": Glossary(),
	} {
		anchors := map[string]bool{}
		for line := range strings.Lines(text) {
			heading, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " ")
			if ok && strings.HasPrefix(line, "#") {
				anchors[anchor(strings.TrimSpace(heading))] = true
			}
		}
		for _, part := range strings.Split(text, "](#")[1:] {
			if link, _, _ := strings.Cut(part, ")"); !anchors[link] {
				t.Errorf("%s: no heading for the link #%s", name, link)
			}
		}
	}
}

func TestAnchor(t *testing.T) {
	for heading, want := range map[string]string{
		"drop window": "drop-window", "≤ 3/R": "-3r", "Jain's index": "jains-index",
		"χ² p": "χ-p", "Values of timeline[].do": "values-of-timelinedo",
	} {
		if got := anchor(heading); got != want {
			t.Errorf("anchor(%q) = %q, want %q", heading, got, want)
		}
	}
}

func TestSentence(t *testing.T) {
	for phrase, want := range map[string]string{
		"start one more worker":   "Start one more worker.",
		"accept(2) that blocks":   "accept(2) that blocks.",
		"lost_per_attempt of all": "lost_per_attempt of all.",
		"A sentence.":             "A sentence.",
		"":                        "",
	} {
		if got := sentence(phrase); got != want {
			t.Errorf("sentence(%q) = %q, want %q", phrase, got, want)
		}
	}
}
