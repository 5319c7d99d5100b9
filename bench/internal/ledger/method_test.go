package ledger

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The table in docs/method.md lists exactly the reasons with which validity.go makes a trial
// invalid.
func TestReasonsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../../docs/method.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## What makes a trial invalid\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var documented []string
	for _, row := range regexp.MustCompile(`(?m)^\| (.+?) \|`).FindAllStringSubmatch(section, -1) {
		documented = append(documented, row[1])
	}
	if !found || len(documented) < 2 {
		t.Fatal("docs/method.md has no table of reasons")
	}
	documented = documented[1:] // without the head
	reasons := reasonsIn(t, "validity.go")
	slices.Sort(documented)
	slices.Sort(reasons)
	if diff := cmp.Diff(documented, reasons); diff != "" {
		t.Errorf("docs/method.md (-), validity.go (+):\n%s", diff)
	}
}

// reasonsIn returns the reasons in a file, each without the figures, which follow in brackets or
// after a colon. A reason is the first argument of invalid or fmt.Sprintf.
func reasonsIn(t *testing.T, file string) (reasons []string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) == 0 {
			return true
		}
		if name := called(call); name != "invalid" && name != "Sprintf" {
			return true
		}
		// "%s %d" and "in the window …" are parts of reasons.
		format := literal(t, call.Args[0])
		if format != "" && !strings.HasPrefix(format, "%") && !strings.HasPrefix(format, "in ") {
			format, _, _ = strings.Cut(format, ":")
			reason, _, _ := strings.Cut(format, " (")
			reasons = append(reasons, reason)
		}
		return true
	})
	return reasons
}

// called returns the name of the function that is called, without its package.
func called(call *ast.CallExpr) string {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}

// literal returns the value of a string literal, or of several that are added. It returns "" for
// other expressions.
func literal(t *testing.T, e ast.Expr) string {
	t.Helper()
	switch e := e.(type) {
	case *ast.BinaryExpr:
		return literal(t, e.X) + literal(t, e.Y)
	case *ast.BasicLit:
		value, err := strconv.Unquote(e.Value)
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	return ""
}
