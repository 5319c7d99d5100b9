package foreign

import (
	"slices"
	"testing"
)

// The last lines leave out lines that only mark the line before.
func TestLastLines(t *testing.T) {
	got := lastLines([]byte("a\n  ^^^^\nreturn f(x)\n  ~~~^^^\n\nb [1] \n"), 3)
	if want := []string{"a", "return f(x)", "b [1]"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
