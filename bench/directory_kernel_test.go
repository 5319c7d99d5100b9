package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// An unusable directory ends a run with status 2, before it prints anything else.
func TestKernelBadDirectory(t *testing.T) {
	requireLab(t)
	p := newProgram(t)
	for _, bad := range []string{p.path, filepath.Join(p.path, "x"), p.dir, "/proc/x"} {
		c := p.command(t.Context(), "run", "steady", "--out", bad)
		out, _ := c.CombinedOutput()
		said := string(out)
		status := c.ProcessState.ExitCode()
		if status != exitUsage || strings.Contains(said, "results go to") {
			t.Errorf("--out %s: exit status %d, want %d:\n%s", bad, status, exitUsage, said)
		}
		if !strings.Contains(said, bad) || !strings.Contains(said, "name a") {
			t.Errorf("--out %s: it does not say what to do:\n%s", bad, said)
		}
	}
}

// Runs that start at the same instant get separate directories.
func TestKernelRunsAtOnce(t *testing.T) {
	requireLab(t)
	t.Parallel()
	p := newProgram(t)
	write(t, filepath.Join(p.dir, "idle.yaml"), idle+lenient)
	const runs = 4
	var all sync.WaitGroup
	for range runs {
		all.Go(func() {
			c := p.command(t.Context(), "run", "idle.yaml", "--trials", "1")
			var stderr bytes.Buffer
			c.Stderr = &stderr
			if err := c.Run(); err != nil {
				t.Errorf("%v\n%s", err, stderr.String())
			}
		})
	}
	all.Wait()
	p.gone(t)
	made, err := filepath.Glob(filepath.Join(p.dir, runsDir, "*", "run.json"))
	if err != nil || len(made) != runs {
		t.Errorf("%d runs have made %q, %v", runs, made, err)
	}
}

// If the report of a run cannot be printed, the run is kept, and the error names its directory.
func TestKernelNoOutput(t *testing.T) {
	requireLab(t)
	p := newProgram(t)
	write(t, filepath.Join(p.dir, "idle.yaml"), idle+lenient)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer w.Close()
	for _, test := range []struct {
		name   string
		stdout *os.File
		status int
		says   string
	}{
		{"full", full, exitNotMeasured, "standard output could not be written"},
		{"closed", w, 0, ""},
	} {
		out := "o u t " + test.name
		c := p.command(t.Context(), "run", "idle.yaml", "--trials", "1", "--out", out)
		var stderr bytes.Buffer
		c.Stdout, c.Stderr = test.stdout, &stderr
		_ = c.Run()
		said := stderr.String()
		status := c.ProcessState.ExitCode()
		if status != test.status || !strings.Contains(said, test.says) {
			t.Errorf("%s: exit status %d, want %d and %q:\n%s",
				test.name, status, test.status, test.says, said)
		}
		if want := "reuseport-bench report '" + out + "'"; !strings.Contains(said, want) {
			t.Errorf("%s: it does not say %q:\n%s", test.name, want, said)
		}
	}
}
