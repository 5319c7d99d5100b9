package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"reuseport-bench/results"
)

// A scenario that init wrote, with its example gate uncommented, runs with exit status 0, although
// the current way to restart loses connections.
func TestKernelInitGate(t *testing.T) {
	requireLab(t)
	t.Parallel()
	p := newProgram(t)
	file := filepath.Join(p.dir, "mine.yaml")
	// stop-start restarts as systemctl restart does: each restart loses connections.
	c := p.command(t.Context(), "init", file, "--restart", "stop-start")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	scenario, gates, found := strings.Cut(string(text), "# gates:\n")
	if !found {
		t.Fatalf("there are no gates in\n%s", text)
	}
	scenario = strings.Replace(scenario, "min_valid: 4", "min_valid: 1", 1) +
		"gates:\n" + strings.ReplaceAll(gates, "# ", "") + lenient
	run, stderr, status := p.run(t, scenario, "--trials", "1")
	if status != exitOK {
		t.Errorf("exit status %d, want %d:\n%s", status, exitOK, stderr)
	}
	s := run.Scenarios[0]
	if len(s.Gates) == 0 || s.Gates[0].Outcome != results.GatePass {
		t.Errorf("gates %+v, want one that passes", s.Gates)
	}
	if lost := results.Total(s.BaselineVariant().ValidTrials()).Dropped; lost == 0 {
		t.Error("today's way lost nothing, so the test tells nothing")
	}
}
