package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"reuseport-bench/results/report/reporttest"
	"reuseport-bench/scenarios"
)

// Completion offers the words that exist: scenarios, labels, formats, metrics and runs.
func TestCompletion(t *testing.T) {
	p := newProgram(t)
	older := filepath.Join(p.dir, runsDir, "2026-03-04T05-06-07")
	newer := filepath.Join(p.dir, runsDir, "2026-03-05T05-06-07")
	for dir, run := range map[string]string{
		older: saveRun(t, reporttest.InterruptedRun()), newer: saveRun(t, reporttest.GatedRun()),
	} {
		if err := os.MkdirAll(filepath.Dir(dir), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(run, dir); err != nil {
			t.Fatal(err)
		}
	}
	relative := func(dir string) string { return filepath.Join(runsDir, filepath.Base(dir)) }
	for _, test := range []struct {
		args string // the last argument is the beginning of a word
		want []string
	}{
		{"run ro", []string{"roll", "rolling-update", "round-trip"}},
		{"run roll ro", []string{"rolling-update", "round-trip"}},
		{"run ", scenarios.Names()},
		{"run x/", []string{"yaml", "yml"}},
		{"show stea", []string{"steady"}},
		{"show steady ", nil},
		{"init ", []string{"yaml", "yml"}},
		{"init --kind e", []string{"event-loop"}},
		{"init --restart sys", []string{"systemd"}},
		{"run steady --only ", []string{"sockets=reuseport", "sockets=shared"}},
		{"run --only stop=d", []string{"stop=drain"}},
		{"run --trials a", []string{"auto"}},
		{"run --resume ", []string{relative(older)}},
		{"report ", []string{relative(newer), relative(older)}},
		{"claims ", []string{relative(newer), relative(older)}},
		{"compare " + relative(older) + " ", []string{relative(newer), relative(older)}},
		{"report --format j", []string{"json", "junit"}},
		{"report --scenario r", []string{"rolling-restart"}},
		{"compare --metric gap", []string{"gap_ns"}},
		{"compare --threshold gap", []string{"gap_ns="}},
		{"compare --allow k", []string{"kernel"}},
		{"compare --format git", []string{"github"}},
		{"compare " + relative(newer) + " --only stop=ha", []string{"stop=handoff"}},
		{"explain reset_at", []string{"reset_at_close", "reset_at_close_per_restart"}},
		{"lis", []string{"list"}},
		{"vers", []string{"version"}},
	} {
		args := strings.Split(test.args, " ")
		out, err := p.command(t.Context(), slices.Concat([]string{"__complete"}, args)...).Output()
		if err != nil {
			t.Errorf("%s: %v", test.args, err)
			continue
		}
		var got []string
		for line := range strings.Lines(string(out)) {
			word, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
			if !strings.HasPrefix(word, ":") {
				got = append(got, word)
			}
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", test.args, got, test.want)
		}
	}
}
