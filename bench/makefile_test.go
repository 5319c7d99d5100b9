package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// 'make help' has a line for each target, with a sentence about it. 'make' alone builds.
func TestMakeHelp(t *testing.T) {
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip(err)
	}
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	output := func(arguments ...string) string {
		t.Helper()
		c := exec.CommandContext(t.Context(), "make",
			append([]string{"--no-print-directory", "-C", ".."}, arguments...)...)
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("make %q: %v\n%s", arguments, err, out)
		}
		return string(out)
	}
	var targets []string
	phony := regexp.MustCompile(`(?m)^\.PHONY: .*$`)
	for _, line := range phony.FindAllString(string(makefile), -1) {
		targets = append(targets, strings.Fields(line)[1:]...)
	}
	help := output("help")
	for _, target := range targets {
		line := regexp.MustCompile(`(?m)^` + target + ` +([A-Z].*[^.]\.)$`).FindString(help)
		if line == "" || len(line) > goColumns {
			t.Errorf("%s: %q, want a sentence of at most %d columns", target, line, goColumns)
		}
	}
	if n := strings.Count(help, "\n"); n != len(targets) || n < 10 {
		t.Errorf("%d lines for %d targets:\n%s", n, len(targets), help)
	}
	if got := output("-n"); !strings.Contains(got, " build -o ") {
		t.Errorf("make without a target does not build: %s", got)
	}
}
