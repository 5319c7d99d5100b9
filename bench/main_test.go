package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/results"
)

// TestMain makes the test binary be the program when it is called by its name, so that its child
// roles, and an ordinary user's second process, are this binary too.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && childRoles[os.Args[1]] != nil {
		main() // exits
	}
	if len(os.Args) > 2 && os.Args[1] == burner {
		if err := burn(os.Args[2]); err != nil {
			panic(err)
		}
		os.Exit(0)
	}
	testscript.Main(m, map[string]func(){"reuseport-bench": main})
}

func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script"})
}

// requireLab skips a test that needs namespaces where there are none to be had; with
// REQUIRE_KERNEL=1, that is a failure.
func requireLab(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts processes")
	}
	options := probeOptions()
	options.Only = []string{kernel.ProbeNetNamespace, kernel.ProbeUserNamespace}
	for _, r := range kernel.Probes(t.Context(), options) {
		if r.Status == kernel.Yes {
			return
		}
	}
	if os.Getenv("REQUIRE_KERNEL") == "1" {
		t.Fatal("no network namespace is to be had, as root or without")
	}
	t.Skip("no network namespace is to be had")
}

// program is the command under its own name, in a binary of its own: what is left of it afterwards
// can be told from everything else on the machine.
type program struct {
	path string
	dir  string
}

func newProgram(t *testing.T) *program {
	t.Helper()
	p := &program{dir: t.TempDir()}
	p.path = filepath.Join(p.dir, "reuseport-bench")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(exe)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(p.path, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *program) command(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, p.path, args...)
	c.Dir = p.dir
	return c
}

// processes are those that run this binary.
func (p *program) processes(t *testing.T) (pids []int) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		pid := 0
		if json.Unmarshal([]byte(e.Name()), &pid) != nil {
			continue
		}
		if exe, err := os.Readlink("/proc/" + e.Name() + "/exe"); err == nil && strings.HasPrefix(exe, p.path) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// gone waits until no process of the program is left, for 2 s at most.
func (p *program) gone(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Second)
	for {
		left := p.processes(t)
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("processes %v are left", left)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// lenient keeps a busy machine from making trials invalid: these tests are about the books.
const lenient = "\nvalidity: {lag_floor: 1m, step_lag: 1m, achieved: 0.01, steal: 1, run_queue: 1}\n"

// run runs a scenario and returns what it wrote, its standard error, and its exit status.
func (p *program) run(t *testing.T, yaml string, args ...string) (run *results.Run, stderr string, status int) {
	t.Helper()
	file := filepath.Join(p.dir, "scenario.yaml")
	if err := os.WriteFile(file, []byte(yaml), 0o666); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	out := filepath.Join(t.TempDir(), "run")
	c := p.command(ctx, append([]string{"run", file, "--out", out, "--json"}, args...)...)
	var stdout, errs bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &errs
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v\n%s", err, errs.String())
	}
	run, err = results.Load(out)
	if err != nil {
		t.Fatalf("%v\n%s", err, errs.String())
	}
	p.gone(t)
	return run, errs.String(), c.ProcessState.ExitCode()
}

// trials are all trials of the run, by the value of a label.
func trials(run *results.Run, label string) map[string][]*results.Trial {
	all := map[string][]*results.Trial{}
	for _, s := range run.Scenarios {
		for _, v := range s.Variants {
			all[v.Labels[label]] = append(all[v.Labels[label]], v.Trials...)
		}
	}
	return all
}

// carriedOut is the run of a scenario, by a program of its own, which ends with status 0 and whose books balance.
func carriedOut(t *testing.T, yaml string, args ...string) *results.Run {
	t.Helper()
	run, stderr, status := newProgram(t).run(t, yaml, args...)
	if status != 0 {
		t.Fatalf("exit status %d:\n%s", status, stderr)
	}
	balanced(t, run)
	return run
}

// lastTrial is the trial of a variant that counts where there is to be one: repeats come last.
func lastTrial(v *results.Variant) *results.Trial { return v.Trials[len(v.Trials)-1] }

// balanced checks what must hold of every trial, valid or not.
func balanced(t *testing.T, run *results.Run) {
	t.Helper()
	for label, list := range trials(run, "stop") {
		for _, tr := range list {
			causes, phases, rows := int64(0), int64(0), int64(0)
			for _, n := range tr.LostByCause {
				causes += n
			}
			for _, n := range tr.LostByPhase {
				phases += n
			}
			for _, r := range tr.Ledger {
				rows += r.Attempts
			}
			e := tr.Evidence
			if tr.Attempts != tr.Served+tr.Lost || causes != tr.Lost || phases != tr.Lost || rows != tr.Attempts ||
				e.Kernel+e.Counter+e.Worker+e.Client != tr.Lost {
				t.Errorf("%s: %d attempts, %d served, %d lost; %d by cause, %d by phase, %d in the ledger, evidence %+v",
					label, tr.Attempts, tr.Served, tr.Lost, causes, phases, rows, e)
			}
			if tr.Residual != 0 {
				t.Errorf("%s: residual %d: %+v", label, tr.Residual, tr.Ledger)
			}
			if !tr.Valid {
				t.Errorf("%s: invalid: %v", label, tr.InvalidReasons)
			}
		}
	}
}

const restartScenario = `
name: restarts
about: Every way of stopping, in short.
server: {work: {sleep: 100us}}
load: {rate: 1000/s, duration: 1190ms}
timeline: [{at: 200ms, every: 250ms, do: replace}]
matrix:
  - {sockets: [reuseport], stop: [kill, close, drain, migrate]}
  - {sockets: [shared], stop: [kill, handoff]}
trials: 2
gates: [{when: {}, expect: residual == 0}]
` + lenient

func TestKernelRestartsBalance(t *testing.T) {
	requireLab(t)
	run := carriedOut(t, restartScenario)
	for _, tr := range trials(run, "stop")["handoff"] {
		if tr.LostByCause["reset_at_close"] != 0 || len(tr.Steps) != 4 {
			t.Errorf("handoff: %d reset at close in %d steps", tr.LostByCause["reset_at_close"], len(tr.Steps))
		}
	}
	for label, list := range trials(run, "stop") {
		for _, tr := range list {
			if n := tr.LostSentAfterClose; n != nil && *n != 0 {
				t.Errorf("%s: %d attempts were lost that were sent after the close: %+v", label, *n, tr.Losses)
			}
			if tr.Kernel["TcpActiveOpens"] != tr.Attempts-tr.LostByCause["client"] {
				t.Errorf("%s: the kernel opened %d connections for %d attempts", label, tr.Kernel["TcpActiveOpens"], tr.Attempts)
			}
		}
	}
}

func TestKernelInjectedResets(t *testing.T) {
	requireLab(t)
	const k = 17
	run := carriedOut(t, `
name: resets
about: A worker that answers 17 requests with a reset.
server: {work: {sleep: 50us}, fault: {resets: 17}}
load: {rate: 1000/s, duration: 500ms}
matrix: [{sockets: [shared, reuseport]}]
trials: 1
`+lenient)
	for label, list := range trials(run, "sockets") {
		for _, tr := range list {
			if tr.LostByCause["closed_by_worker"] != k || tr.Lost != k || tr.Evidence.Worker+tr.Evidence.Kernel != k || tr.Kernel["TcpOutRsts"] != k {
				t.Errorf("%s: %d lost, by cause %v, evidence %+v, TcpOutRsts %d; want %d of each", label, tr.Lost, tr.LostByCause, tr.Evidence, tr.Kernel["TcpOutRsts"], k)
			}
		}
	}
}

func TestKernelInjectedStall(t *testing.T) {
	requireLab(t)
	run := carriedOut(t, `
name: stalls
about: Every worker is stopped for 200 ms.
server: {work: {sleep: 50us}}
load: {rate: 1000/s, duration: 1s}
timeline: [{at: 300ms, do: stall, for: 200ms}]
matrix: [{sockets: [shared, reuseport]}]
trials: 1
`+lenient)
	for label, list := range trials(run, "sockets") {
		s := list[0].Steps[0]
		if s.StallNS == nil || s.ReadyNS == nil || s.StopNS == nil {
			t.Fatalf("%s: step %+v", label, s)
		}
		// From the signal to the workers' going on; at least the length that was asked for. The first
		// attempt to meet stopped workers comes up to one spacing later, and is served when its turn
		// comes. The slack above is the machine's.
		stopped, stall := *s.ReadyNS-*s.StopNS, *s.StallNS
		if stopped < 200e6 || stall < stopped-s.ResolutionNS-2e6 || stall > stopped+150e6 {
			t.Errorf("%s: stall %v for workers stopped %v", label, time.Duration(stall), time.Duration(stopped))
		}
	}
}

func TestKernelOverloadIsInvalid(t *testing.T) {
	requireLab(t)
	run, stderr, status := newProgram(t).run(t, `
name: overload
about: More than any machine can send.
load: {rate: 900000/s, duration: 300ms}
trials: 1
`)
	if status != exitNotMeasured || !strings.Contains(stderr, "could not keep up") {
		t.Errorf("exit status %d, want %d with \"could not keep up\":\n%s", status, exitNotMeasured, stderr)
	}
	for _, v := range run.Scenarios[0].Variants {
		if _, ok := v.Summary["response_p99_ns"]; ok || len(v.ValidTrials()) > 0 {
			t.Errorf("an overloaded run has figures: %v", v.Summary)
		}
	}
}

var interrupts = flag.Int("interrupts", 4, "how many runs of each scenario TestKernelNothingIsLeft ends at a random instant")

// TestKernelNothingIsLeft ends runs in the middle, by signal and by force, and looks for what is left.
func TestKernelNothingIsLeft(t *testing.T) {
	requireLab(t)
	t.Run("stopped workers", func(t *testing.T) {
		nothingIsLeft(t, `
name: stopped
about: Workers that are stopped most of the time.
load: {rate: 500/s, duration: 1s}
timeline: [{at: 50ms, do: stall, for: 900ms}]
trials: 50
`)
	})
	t.Run("pods", func(t *testing.T) {
		nothingIsLeft(t, `
name: updating
about: Pods that come and go all the time.
network: cluster
path: service
load: {rate: 500/s, duration: 1s}
timeline: [{at: 50ms, every: 300ms, do: rolling-update}]
stop: close
kube: {pre_stop: 200ms, readiness: probe, probe_period: 20ms}
trials: 50
`)
	})
}

func nothingIsLeft(t *testing.T, scenario string) {
	t.Helper()
	p := newProgram(t)
	file := filepath.Join(p.dir, "scenario.yaml")
	scenario += lenient
	if err := os.WriteFile(file, []byte(scenario), 0o666); err != nil {
		t.Fatal(err)
	}
	signals := []syscall.Signal{syscall.SIGINT, syscall.SIGKILL, syscall.SIGTERM, syscall.SIGKILL}
	for i := range *interrupts {
		signal := signals[i%len(signals)]
		out := filepath.Join(p.dir, "run"+strconv.Itoa(i))
		c := p.command(t.Context(), "run", file, "--out", out)
		var stderr bytes.Buffer
		c.Stderr = &stderr
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rand.IntN(4000)) * time.Millisecond)
		if err := c.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		_ = c.Wait()
		t.Logf("%v: exit status %d", signal, c.ProcessState.ExitCode())
		if signal != syscall.SIGKILL && c.ProcessState.ExitCode() != exitInterrupted {
			t.Errorf("%v: exit status %d, want %d\n%s", signal, c.ProcessState.ExitCode(), exitInterrupted, stderr.String())
		}
		p.gone(t)
		if _, err := os.Stat(filepath.Join(out, results.RunFile)); err != nil {
			continue // it had not come to the first trial
		}
		report := p.command(t.Context(), "report", out)
		if b, err := report.CombinedOutput(); err != nil {
			t.Errorf("%v: report: %v\n%s", signal, err, b)
		}
	}
}
