package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"reuseport-bench/results/report/document"
	"reuseport-bench/results/report/reporttest"
)

// printing returns commands that print something but measure nothing.
func printing(t *testing.T) (all [][]string) {
	t.Helper()
	run, err := filepath.Abs("../results/baseline/ci")
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{
		"list", "list --names", "show steady", "schema", "run --dry-run steady", "--help", "help",
		"help run", "run --help", "--version", "completion bash", "doctor", "claims RUN",
		"report RUN --ledger", "report RUN --losses",
	} {
		all = append(all, strings.Fields(strings.ReplaceAll(args, "RUN", run)))
	}
	gated := saveRun(t, reporttest.GatedRun()) // a run whose failed gates can be annotated
	for format := range reportFormats {
		all = append(all, []string{"report", gated, "--format", format})
	}
	for format := range compareFormats(document.Look{}) {
		if format != "annotations" { // a run compared with itself has no annotations
			all = append(all, []string{"compare", run, run, "--format", format})
		}
	}
	return all
}

// If standard output cannot be written, every command reports it, with a status other than
// exitUsage.
func TestFullOutput(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	p := newProgram(t)
	for _, args := range printing(t) {
		c := p.command(t.Context(), args...)
		var stderr bytes.Buffer
		c.Stdout, c.Stderr = full, &stderr
		_ = c.Run()
		status := c.ProcessState.ExitCode()
		const want = "standard output could not be written: no space left on device; "
		if status != exitNotMeasured || strings.Count(stderr.String(), want) != 1 {
			t.Errorf("%q: exit status %d, want %d and %q:\n%s",
				args, status, exitNotMeasured, want, stderr.String())
		}
	}
}

// If the reader of standard output exits early, the program ends without a message.
func TestNoReader(t *testing.T) {
	p := newProgram(t)
	for _, args := range printing(t) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		c := p.command(t.Context(), args...)
		var stderr bytes.Buffer
		c.Stdout, c.Stderr = w, &stderr
		_ = c.Run()
		w.Close()
		by := c.ProcessState.Sys().(syscall.WaitStatus)
		if !by.Signaled() || by.Signal() != syscall.SIGPIPE || stderr.Len() > 0 {
			t.Errorf("%q: %v, want SIGPIPE and no word:\n%s", args, c.ProcessState, stderr.String())
		}
	}
}
