package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"reuseport-bench/bench/internal/doctor"
	"reuseport-bench/results"
	"reuseport-bench/servers/testkit"
)

// requireLab skips a test that needs namespaces if they cannot be created.
func requireLab(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts processes")
	}
	options := probeOptions()
	options.Only = []string{doctor.NetNamespace, doctor.UserNamespace}
	for _, r := range doctor.Examine(t.Context(), options) {
		if r.Status == doctor.Yes {
			return
		}
	}
	testkit.Skip(t, "no network namespace is to be had, as root or without")
}

// A program is the command in its own copy of the binary, which distinguishes its processes from
// all others on the machine.
type program struct {
	path string
	dir  string
	runs int                 // number of runs so far
	user *syscall.Credential // nil means the user of the tests
}

func newProgram(t *testing.T) *program {
	t.Helper()
	p := &program{dir: t.TempDir()}
	p.path = filepath.Join(p.dir, "reuseport-bench")
	exe, err := os.Executable()
	if err == nil {
		err = copyProgram(exe, p.path)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// copyProgram copies a program. While it runs, no other test may start a process: that process
// would inherit the copy open for writing until its execve(2), and the copy could not be executed
// until then (ETXTBSY).
func copyProgram(exe, path string) error {
	in, err := os.Open(exe)
	if err != nil {
		return err
	}
	defer in.Close()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

func (p *program) command(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, p.path, args...)
	c.Dir = p.dir
	c.SysProcAttr = &syscall.SysProcAttr{Credential: p.user}
	return c
}

// actAs makes the program run as another user, who then owns its directory. A nil user changes
// nothing.
func (p *program) actAs(t *testing.T, user *syscall.Credential) {
	t.Helper()
	if user == nil {
		return
	}
	p.user = user
	// Only this test uses the parent directory.
	err := os.Chmod(filepath.Dir(p.dir), 0o755)
	if err = errors.Join(err, os.Chown(p.dir, int(user.Uid), int(user.Gid))); err != nil {
		t.Fatal(err)
	}
}

// processes returns the PIDs of the processes that run p's copy of the binary.
func (p *program) processes(t *testing.T) (pids []int) {
	t.Helper()
	return processesOf(t, p.path)
}

// processesOf returns the processes that run a program.
func processesOf(t *testing.T, path string) (pids []int) {
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
		exe, err := os.Readlink("/proc/" + e.Name() + "/exe")
		if err == nil && strings.HasPrefix(exe, path) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// gone waits up to 10 s until no process of the program is left.
func (p *program) gone(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
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

// lenient keeps trials on a busy machine valid. The tests that use it check the ledger, not the
// machine.
const lenient = "\n" +
	"validity: {lag_floor: 1m, step_lag: 1m, achieved: 0.01, steal: 1, run_queue: 1, harness: 1}\n"

// punctual is like lenient, but the program repeats a trial in which the load sent attempts a tenth
// of a second late. The tests that use it count the attempts that meet a certain state of the
// servers.
const punctual = "\n" +
	"validity: {lag_floor: 50ms, step_lag: 100ms, achieved: 0.01, steal: 1, run_queue: 1, " +
	"harness: 1}\n"

// sentLate returns the number of attempts that were due within the longest time by which the load
// sent an attempt late. So many attempts may have been sent in another state of the servers than
// that in which they were due. rate is in attempts per second.
func sentLate(tr *results.Trial, rate float64) float64 {
	late := int64(0)
	if tr.ScheduleLagP99NS != nil {
		late = *tr.ScheduleLagP99NS
	}
	for _, s := range tr.Steps {
		if s.ScheduleLagMaxNS != nil {
			late = max(late, *s.ScheduleLagMaxNS)
		}
	}
	return rate * float64(late) / 1e9
}

// run runs a scenario. It returns the stored run, the standard error and the exit status.
func (p *program) run(
	t *testing.T, yaml string, args ...string,
) (run *results.Run, stderr string, status int) {
	t.Helper()
	file := filepath.Join(p.dir, "scenario.yaml")
	if err := os.WriteFile(file, []byte(yaml), 0o666); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	p.runs++
	out := filepath.Join(p.dir, fmt.Sprintf("run-%d", p.runs)) // in p.dir, where p.user may write
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

// trials returns all trials of the run, keyed by the value of a label.
func trials(run *results.Run, label string) map[string][]*results.Trial {
	all := map[string][]*results.Trial{}
	for _, s := range run.Scenarios {
		for _, v := range s.Variants {
			all[v.Labels[label]] = append(all[v.Labels[label]], v.Trials...)
		}
	}
	return all
}

// carriedOut runs a scenario with a new program. It checks that the exit status is 0 and that the
// ledger balances.
func carriedOut(t *testing.T, yaml string, args ...string) *results.Run {
	t.Helper()
	run, stderr, status := newProgram(t).run(t, yaml, args...)
	if status != 0 {
		t.Fatalf("exit status %d:\n%s", status, stderr)
	}
	checkTrials(t, run)
	return run
}

// lastTrial returns the last trial of a variant. An invalid trial is repeated later, so the last
// trial is valid if any is.
func lastTrial(v *results.Variant) *results.Trial { return v.Trials[len(v.Trials)-1] }

// checkTrials checks the properties that every trial must have, valid or not. Then it removes
// invalid trials that were repeated.
func checkTrials(t *testing.T, run *results.Run) {
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
			if tr.Attempts != tr.Served+tr.Lost || causes != tr.Lost || phases != tr.Lost ||
				rows != tr.Attempts ||
				e.Kernel+e.Counter+e.Worker+e.Client != tr.Lost {
				t.Errorf("%s: %d attempts, %d served, %d lost; %d by cause, %d by phase, %d in "+
					"the ledger, evidence %+v",
					label, tr.Attempts, tr.Served, tr.Lost, causes, phases, rows, e)
			}
			if tr.Residual != 0 {
				t.Errorf("%s: residual %d: %+v", label, tr.Residual, tr.Ledger)
			}
		}
	}
	for _, v := range run.Scenarios[0].Variants {
		keepValid(t, v)
	}
}

// keepValid removes trials that were repeated because other work on the machine had made them
// invalid.
func keepValid(t *testing.T, v *results.Variant) {
	t.Helper()
	invalid := func(tr *results.Trial) bool {
		if !tr.Valid {
			t.Logf("%s: invalid: %v", results.LabelString(v.Labels), tr.InvalidReasons)
		}
		return !tr.Valid
	}
	all := v.Trials
	v.Trials = slices.DeleteFunc(slices.Clone(all), invalid)
	if len(all) > 0 && len(v.Trials) == 0 {
		t.Fatalf("%s: no trial is valid", results.LabelString(v.Labels))
	}
}
