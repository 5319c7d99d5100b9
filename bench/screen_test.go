package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"reuseport-bench/results"
	"reuseport-bench/results/report/reporttest"
)

// The error of a run repeats of the brief report only the verdict, in one line. Errors that the
// brief report does not contain are printed in full.
func TestInShort(t *testing.T) {
	ended := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	failed := &results.Run{FinishedAt: &ended, Scenarios: []*results.Scenario{{
		Name: "s", MinValid: 1,
		Variants: []*results.Variant{{Trials: []*results.Trial{{Valid: true}}}},
		Gates:    []results.GateResult{{Expect: "lost == 0", Outcome: results.GateFail}},
	}}}
	reason := "no nft here"
	skipped := &results.Run{FinishedAt: &ended, Scenarios: []*results.Scenario{{
		Name: "s", Variants: []*results.Variant{{SkippedReason: &reason}},
	}}}
	for name, test := range map[string]struct {
		run    *results.Run
		status int
		want   string
	}{
		"a gate failed": {failed, exitFailed, "1 of 1 gate failed"},
		"stopped": {reporttest.StoppedRun(), exitNotMeasured,
			"use --keep-going to run it anyway"},
		"skipped": {skipped, exitNotMeasured, reason},
		"too few": {reporttest.FinishedRun(), exitNotMeasured,
			"could not measure: 1 variant with too few valid trials, 1 gate undecided"},
	} {
		err := inShort(verdict(test.run, nil), test.run, nil)
		var exit *exitError
		if !errors.As(err, &exit) || exit.status != test.status {
			t.Errorf("%s: %v, want status %d", name, err, test.status)
		} else if !strings.Contains(exit.Error(), test.want) {
			t.Errorf("%s: got %q, want %q in it", name, exit.Error(), test.want)
		}
	}
	if err := inShort(nil, failed, nil); err != nil {
		t.Errorf("without an error: %v", err)
	}
}

// Colours are on if the output is a terminal or the user asks for them.
func TestColourMode(t *testing.T) {
	run, err := filepath.Abs("../results/baseline/ci")
	if err != nil {
		t.Fatal(err)
	}
	p := newProgram(t)
	for _, test := range []struct {
		name     string
		args     []string
		env      []string
		terminal bool
		want     bool
	}{
		{"on a terminal", nil, nil, true, true},
		{"in a pipe", nil, nil, false, false},
		{"without by NO_COLOR", nil, []string{"NO_COLOR=1"}, true, false},
		{"NO_COLOR is empty", nil, []string{"NO_COLOR="}, true, true},
		{"on a terminal that has none", nil, []string{"TERM=dumb"}, true, false},
		{"never", []string{"--color", "never"}, nil, true, false},
		{"always", []string{"--color", "always"}, []string{"NO_COLOR=1"}, false, true},
	} {
		c := p.command(t.Context(), append([]string{"report", run}, test.args...)...)
		c.Env = append(os.Environ(), "NO_COLOR=", "TERM=xterm")
		c.Env = append(c.Env, test.env...)
		var out string
		if test.terminal {
			terminal := newPseudoterminal(t, 100)
			out = terminal.during(func() {
				c.Stdout = terminal.slave
				err = c.Run()
			})
		} else {
			var printed []byte
			printed, err = c.Output()
			out = string(printed)
		}
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if got := strings.Contains(out, "\x1b["); got != test.want {
			t.Errorf("%s: colours: %v, want %v", test.name, got, test.want)
		}
	}
}

// pageOf finds the page that writePage wrote, and nothing if no page was written.
func TestPage(t *testing.T) {
	dir := t.TempDir()
	if page := pageOf(dir); page != "" {
		t.Errorf("a directory without a page has %s", page)
	}
	page, err := writePage(dir, reporttest.FinishedRun())
	if err != nil {
		t.Fatal(err)
	}
	if got := pageOf(dir); got != page || filepath.Base(page) != pageName {
		t.Errorf("written to %s, found at %q", page, got)
	}
	text, err := os.ReadFile(page)
	if err != nil || !strings.HasPrefix(string(text), "<!DOCTYPE html>") {
		t.Errorf("error %v, the page begins with %.40q", err, text)
	}
	if _, err := writePage(filepath.Join(dir, "missing"), reporttest.FinishedRun()); err == nil {
		t.Error("no error without the directory")
	}
}
