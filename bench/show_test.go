package main

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"reuseport-bench/scenarios"
)

// A terminal of 100 columns has room for the variants of every scenario, and for its plan. What is shown of a scenario is that scenario still.
func TestLinesFit(t *testing.T) {
	for _, name := range scenarios.Names() {
		s, err := scenarios.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		shown := shows(t, s)
		_, variants, _ := strings.Cut(shown, "\n#")
		fits(t, "show "+name, variants)
		again, err := scenarios.Parse(name, []byte(shown))
		if err != nil {
			t.Errorf("show %s: %v", name, err)
			continue
		}
		if got := shows(t, again); got != shown {
			t.Errorf("show %s: shown again it is\n%s\nand was\n%s", name, got, shown)
		}

		plan, err := (&runFlags{seed: 1}).plan([]string{name}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		if err := describe(&out, plan); err != nil {
			t.Fatal(err)
		}
		fits(t, "run --dry-run "+name, out.String())
	}
}

func shows(t *testing.T, s *scenarios.Scenario) string {
	t.Helper()
	var out bytes.Buffer
	if err := show(&out, s); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func fits(t *testing.T, what, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 100 {
			t.Errorf("%s: %d columns: %s", what, n, line)
		}
	}
}
