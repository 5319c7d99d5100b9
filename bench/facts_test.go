package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A run with --keep-facts has a file for each trial, with every sample, journal record and verdict.
// A run without it has no such files.
func TestKernelKeepFacts(t *testing.T) {
	requireLab(t)
	p := newProgram(t)
	file := filepath.Join(p.dir, "kept.yaml")
	scenario := "name: kept\nabout: Facts of two trials.\ntrials: 2\n" +
		"load: {rate: 500/s, duration: 200ms}\n" + lenient
	if err := os.WriteFile(file, []byte(scenario), 0o666); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (dir string) {
		out := filepath.Join(t.TempDir(), "run")
		args = append([]string{"run", file, "--out", out}, args...)
		if output, err := p.command(t.Context(), args...).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, output)
		}
		p.gone(t)
		return filepath.Join(out, "facts")
	}
	kept := run("--keep-facts")
	for _, name := range []string{"kept-00-00.jsonl.gz", "kept-00-01.jsonl.gz"} {
		lines := factsLines(t, filepath.Join(kept, name))
		if lines["sample"] != 100 || lines["trial"] != 1 || lines["record"] < 300 {
			t.Errorf("%s: lines %v; want 100 samples, some 400 records and a trial", name, lines)
		}
	}
	if _, err := os.Stat(run("--trials", "1")); !os.IsNotExist(err) {
		t.Errorf("facts without --keep-facts: %v", err)
	}

	// again judges all recordings again and checks the exit status and the message.
	again := func(want int, says string) {
		t.Helper()
		c := p.command(t.Context(), "report", filepath.Dir(kept), "--rejudge")
		output, _ := c.CombinedOutput()
		if status := c.ProcessState.ExitCode(); status != want ||
			!strings.Contains(string(output), says) {
			t.Errorf("exit status %d, want %d and %q:\n%s", status, want, says, output)
		}
	}
	first := filepath.Join(kept, "kept-00-00.jsonl.gz")
	second := filepath.Join(kept, "kept-00-01.jsonl.gz")
	again(0, "200 attempts of 2 trials judged again: 0 come out differently")
	content, err := os.ReadFile(second)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(first, content, 0o666); err != nil {
		t.Fatal(err)
	}
	again(exitUsage, "the facts of another trial")
	if err := os.Remove(first); err != nil {
		t.Fatal(err)
	}
	again(exitNotMeasured, "Of 1 of the run's 2 trials there are no facts")
}

// factsLines counts the lines of a recording by their kind.
func factsLines(t *testing.T, path string) map[string]int {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	packed, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string]int{}
	for r := bufio.NewReader(packed); ; {
		text, err := r.ReadBytes('\n')
		if err == io.EOF {
			return lines
		}
		var line map[string]json.RawMessage
		if err == nil {
			err = json.Unmarshal(text, &line)
		}
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		for name := range line {
			lines[name]++
		}
	}
}
