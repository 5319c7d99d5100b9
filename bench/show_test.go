package main

import (
	"bytes"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"reuseport-bench/results/report/reporttest"
	"reuseport-bench/scenarios"
)

// TestLinesFit checks that the printed variants and plan of every scenario fit the width of the
// terminal, and that parsing the output of the subcommand show yields the original scenario.
func TestLinesFit(t *testing.T) {
	for _, width := range reporttest.Widths() {
		t.Run(strconv.Itoa(width), func(t *testing.T) { linesFit(t, width) })
	}
}

func linesFit(t *testing.T, width int) {
	t.Helper()
	for _, name := range scenarios.Names() {
		s, err := scenarios.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		shown := shows(t, width, s)
		_, variants, _ := strings.Cut(shown, "\n#")
		fits(t, width, "show "+name, variants)
		again, err := scenarios.Parse(name, []byte(shown))
		if err != nil {
			t.Errorf("show %s: %v", name, err)
			continue
		}
		if got := shows(t, width, again); got != shown {
			t.Errorf("show %s: shown again it is\n%s\nand was\n%s", name, got, shown)
		}

		plan, err := (&runFlags{seed: 1}).plan([]string{name}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		if err := describe(&out, width, plan); err != nil {
			t.Fatal(err)
		}
		fits(t, width, "run --dry-run "+name, out.String())
	}
}

func shows(t *testing.T, width int, s *scenarios.Scenario) string {
	t.Helper()
	var out bytes.Buffer
	if err := show(&out, width, s); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func fits(t *testing.T, width int, what, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > width {
			t.Errorf("%s: %d columns: %s", what, n, line)
		}
	}
}
