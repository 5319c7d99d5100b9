package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"reuseport-bench/results"
)

// While the load runs, the harness mostly sleeps, and runs only on its own CPUs. It reports its CPU
// time.
func TestKernelHarnessSleeps(t *testing.T) {
	requireLab(t)
	run := carriedOut(t, `
name: silence
about: Steady load, and a restart every 200 ms.
server: {work: {sleep: 100us}}
load: {rate: 2000/s, duration: 1s}
sockets: shared
stop: handoff
timeline: [{at: 200ms, every: 200ms, do: replace}]
trials: 1
`+lenient)
	tr := run.Scenarios[0].Variants[0].Trials[0]
	mine := run.Environment.HarnessCPUs
	if th := tr.Threads; th == nil || th.N == 0 || !slices.Equal(th.Allowed, mine) ||
		!areAmong(th.Ran, mine) {
		t.Errorf("threads %+v, want all on %v", th, mine)
	}
	c := tr.CPU
	if c.HarnessNS == nil || c.WatchNS == nil || c.StandInNS == nil || *c.WatchNS <= 0 ||
		*c.StandInNS <= 0 || *c.WatchNS+*c.StandInNS > *c.HarnessNS {
		t.Fatalf("%+v", c)
	}
	// The harness must not process the samples while the load runs: that would take about as much
	// CPU time as the load itself.
	if 3**c.HarnessNS > *c.LoadNS {
		t.Errorf("the harness used %v of CPU time, the load %v", time.Duration(*c.HarnessNS),
			time.Duration(*c.LoadNS))
	}
	if tr.EarlyReads != 0 {
		t.Errorf("journals were read %d times while the load ran", tr.EarlyReads)
	}
	for i, s := range tr.Steps {
		if s.LateNS == nil || *s.LateNS < 0 || s.Queued == nil {
			t.Errorf("step %d: late %v, queued %v", i, s.LateNS, s.Queued)
		}
	}
	if tr.Lost != 0 || tr.Residual != 0 || len(tr.Steps) != 4 {
		t.Errorf("%d steps, %d lost, residual %d", len(tr.Steps), tr.Lost, tr.Residual)
	}
}

// areAmong reports whether every CPU in some is in all.
func areAmong(some, all []int) bool {
	return !slices.ContainsFunc(some, func(cpu int) bool { return !slices.Contains(all, cpu) })
}

// If the harness stops for half a second, its steps are late, but nothing else is affected.
func TestKernelHarnessStandsStill(t *testing.T) {
	requireLab(t)
	p := newProgram(t)
	file, out := filepath.Join(p.dir, "scenario.yaml"), filepath.Join(p.dir, "out")
	err := os.WriteFile(file, []byte(`
name: stopped-harness
about: SIGSTOP of the harness in the middle of the load.
load: {rate: 1000/s, duration: 2s}
sockets: shared
stop: handoff
timeline: [{at: 100ms, every: 150ms, do: replace}]
trials: 1
`+lenient), 0o666)
	if err != nil {
		t.Fatal(err)
	}
	c := p.command(t.Context(), "run", file, "--out", out)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := p.awaitLoad(ctx, t, 300); err != nil {
		t.Fatal(err)
	}
	p.signal(t, "run", syscall.SIGSTOP)
	time.Sleep(500 * time.Millisecond)
	p.signal(t, "run", syscall.SIGCONT)
	if err := c.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	p.gone(t)
	run, err := results.Load(out)
	if err != nil {
		t.Fatal(err)
	}
	tr := run.Scenarios[0].Variants[0].Trials[0]
	late := int64(0)
	for _, s := range tr.Steps {
		late = max(late, *s.LateNS)
	}
	if time.Duration(late) < 300*time.Millisecond {
		t.Errorf("no step was more than %v late, though the harness stood still for 500 ms",
			time.Duration(late))
	}
	if tr.Lost != 0 || tr.Residual != 0 || !tr.Valid || tr.Attempts != 2000 || tr.EarlyReads != 0 {
		t.Errorf("%d of %d lost, residual %d, valid %v: %v; %d early reads", tr.Lost, tr.Attempts,
			tr.Residual, tr.Valid, tr.InvalidReasons, tr.EarlyReads)
	}
}

// roles returns the program's processes, grouped by the subcommand that each runs.
func (p *program) roles(t *testing.T) map[string][]int {
	t.Helper()
	all := map[string][]int{}
	for _, pid := range p.processes(t) {
		line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
		if words := strings.Split(string(line), "\x00"); err == nil && len(words) > 1 {
			all[words[1]] = append(all[words[1]], pid)
		}
	}
	return all
}

// signal sends a signal to all processes with the role.
func (p *program) signal(t *testing.T, role string, s syscall.Signal) {
	t.Helper()
	for _, pid := range p.roles(t)[role] {
		if err := syscall.Kill(pid, s); err != nil {
			t.Fatal(err)
		}
	}
}
