package cause

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Every constant has a row of All, in the same order, and every row says what its cause is and what
// to do about it.
func TestAll(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "cause.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var constants []string
	ast.Inspect(file, func(n ast.Node) bool {
		if d, ok := n.(*ast.GenDecl); ok && d.Tok == token.CONST {
			for _, spec := range d.Specs {
				name, err := strconv.Unquote(spec.(*ast.ValueSpec).Values[0].(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				constants = append(constants, name)
			}
		}
		return true
	})
	if diff := cmp.Diff(Names(), constants); diff != "" {
		t.Errorf("All and the constants (-got +want):\n%s", diff)
	}
	for _, c := range All() {
		if c.Doc == "" || c.Means == "" || c.Do == "" {
			t.Errorf("%s: Doc, Means or Do is missing", c.Name)
		}
	}
}
