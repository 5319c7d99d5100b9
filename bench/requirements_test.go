package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/modfile"
)

// The blocks in go.mod, named by the comment above each.
const (
	programBlock  = "Imported by the program."
	testBlock     = "Imported by tests only."
	indirectBlock = "" // no comment, so that go mod tidy adds new requirements to this block
)

// TestRequirements checks that every direct requirement has a reason and is in the right block.
//
// With "go 1.26" in go.mod, go mod tidy leaves commented blocks alone. With "go 1.27" it will
// join the direct blocks and keep the reasons (cmd/go/testdata/script/mod_simplify_require.txt).
func TestRequirements(t *testing.T) {
	const path = "../go.mod"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// List the imports of the packages of this module that the command consists of, without those
	// of their tests.
	const imports = "{{with .Module}}{{if .Main}}" +
		"{{range $.Imports}}{{println .}}{{end}}{{end}}{{end}}"
	out, err := exec.Command("go", "list", "-deps", "-f", imports, module+"bench").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for _, problem := range requirementProblems(t, string(text), strings.Fields(string(out))) {
		t.Errorf("%s:%s", path, problem)
	}
}

// requirementProblems returns the mistakes in the requirements of a go.mod, each as "line: what".
// imports lists the packages that the program imports, without those that only its tests import.
func requirementProblems(t *testing.T, text string, imports []string) (problems []string) {
	t.Helper()
	file, err := modfile.Parse("go.mod", []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	headings := map[*modfile.Line]string{}
	for _, statement := range file.Syntax.Stmt {
		switch statement := statement.(type) {
		case *modfile.LineBlock:
			for _, line := range statement.Line {
				headings[line] = comment(statement.Before)
			}
		case *modfile.Line: // go mod tidy writes a block with a single requirement like this
			headings[statement] = comment(statement.Before)
		}
	}
	for _, required := range file.Require {
		reason, want := comment(required.Syntax.Suffix), testBlock
		switch {
		case required.Indirect:
			want = indirectBlock
		case importsOf(required.Mod.Path, imports):
			want = programBlock
		}
		add := func(what string) {
			at := required.Syntax.Start.Line
			problems = append(problems, fmt.Sprintf("%d: %s: %s", at, required.Mod.Path, what))
		}
		if got := headings[required.Syntax]; got != want {
			add(fmt.Sprintf("in %s; move it to %s", blockName(got), blockName(want)))
		}
		if !required.Indirect && reason == "" {
			add("no reason; say beside it what it is for, in a few words")
		}
	}
	return problems
}

// blockName returns a name for the block with this heading, for messages.
func blockName(heading string) string {
	if heading == "" {
		return "the block without a comment"
	}
	return fmt.Sprintf("the block %q", heading)
}

// comment joins the texts of comments, without the slashes.
func comment(all []modfile.Comment) string {
	var words []string
	for _, c := range all {
		words = append(words, strings.TrimSpace(strings.TrimPrefix(c.Token, "//")))
	}
	return strings.Join(words, " ")
}

// importsOf reports whether one of the imports is in the module with the given path.
func importsOf(path string, imports []string) bool {
	for _, name := range imports {
		if name == path || strings.HasPrefix(name, path+"/") {
			return true
		}
	}
	return false
}

func TestRequirementProblems(t *testing.T) {
	const good = `module example.com/m

go 1.26

// Imported by the program.
require (
	example.com/a v1.0.0 // counts
	example.com/b v1.0.0 // draws
)

// Imported by tests only.
require example.com/c v1.0.0 // compares

require example.com/d v1.0.0 // indirect
`
	imports := []string{"fmt", "example.com/a", "example.com/b/sub", "example.com/cd"}
	const (
		noReason  = ": no reason; say beside it what it is for, in a few words"
		inProgram = `: in the block "Imported by the program."`
		inTest    = `: in the block "Imported by tests only."`
		inNone    = ": in the block without a comment"
		toProgram = `; move it to the block "Imported by the program."`
		toTest    = `; move it to the block "Imported by tests only."`
		toNone    = "; move it to the block without a comment"
	)
	for _, test := range []struct {
		name, old, new string
		want           []string
	}{
		{name: "good"},
		{name: "no reason", old: " // draws", want: []string{"8: example.com/b" + noReason}},
		{
			name: "only tests import it", old: "b v1", new: "e v1",
			want: []string{"8: example.com/e" + inProgram + toTest},
		},
		{
			name: "the program imports it", old: "c v1", new: "cd v1",
			want: []string{"12: example.com/cd" + inTest + toProgram},
		},
		{
			name: "indirect among the direct", old: "counts", new: "indirect",
			want: []string{"7: example.com/a" + inProgram + toNone},
		},
		{
			name: "direct among the indirect", old: "d v1.0.0 // indirect", new: "cd v1.0.0",
			want: []string{
				"14: example.com/cd" + inNone + toProgram, "14: example.com/cd" + noReason,
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := requirementProblems(t, strings.Replace(good, test.old, test.new, 1), imports)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}
