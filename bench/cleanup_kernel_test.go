package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"reuseport-bench/results"
)

var (
	interrupts = flag.Int("interrupts", 4,
		"how many runs of each scenario TestKernelNothingIsLeft ends at a random instant")
	interruptSeed = flag.Uint64("interrupt-seed", 0,
		"draws those instants; 0: another one each time")
)

// TestKernelNothingIsLeft interrupts runs with signals, including SIGKILL, and checks that no
// process is left.
func TestKernelNothingIsLeft(t *testing.T) {
	requireLab(t)
	t.Run("stopped workers, parked successors", func(t *testing.T) {
		nothingIsLeft(t, `
name: stopped
about: Workers that are stopped most of the time, while others wait to be started.
workers: 6
load: {rate: 500/s, duration: 1s}
timeline: [{at: 50ms, do: stall, for: 900ms}, {at: 990ms, do: replace}]
stop: close
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
	t.Run("a server of the user's own", func(t *testing.T) {
		installed(t, "nginx")
		name := ownNginx(t)
		nothingIsLeft(t, "name: own"+strings.Replace(nginx, "start: nginx", "start: "+name, 1)+`
load: {rate: 300/s, duration: 500ms}
timeline: [{at: 10ms, every: 20ms, do: restart}]
restart: reload
trials: 50
`)
		if left := processesOf(t, name); len(left) > 0 {
			t.Errorf("processes %v of nginx are left", left)
		}
		entries, err := os.ReadDir("/run/server")
		if err == nil {
			t.Errorf("/run/server is left on the machine: %v", entries)
		}
	})
}

// ownNginx returns the path of a copy of nginx. The path tells the copy's processes from those of
// any other nginx on the machine.
func ownNginx(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("nginx")
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	open(t, dir)
	name := filepath.Join(dir, "nginx")
	if err := copyProgram(path, name); err != nil {
		t.Fatal(err)
	}
	return name
}

// nothingIsLeft interrupts half of its runs at a random instant, which may be before the first
// trial. It interrupts the other half during a later trial, after the first has been stored.
func nothingIsLeft(t *testing.T, scenario string) {
	t.Helper()
	p := newProgram(t)
	seed := *interruptSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-interrupt-seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	signals := []syscall.Signal{syscall.SIGINT, syscall.SIGKILL, syscall.SIGTERM, syscall.SIGKILL}
	for i := range *interrupts {
		by := interruption{
			signal: signals[i%len(signals)],
			after:  time.Duration(random.IntN(4000)) * time.Millisecond,
		}
		if i >= *interrupts/2 {
			by.trials, by.after = 1, by.after/4
		}
		p.interrupt(t, scenario+lenient, "run"+strconv.Itoa(i), by)
	}
}

// TestKernelNothingIsLeftOfWaits interrupts a run with workers behind an acceptor, and with
// processes that block in a system call without the Go runtime's knowledge.
func TestKernelNothingIsLeftOfWaits(t *testing.T) {
	requireLab(t)
	// The signal comes after three stored trials, among which is at least one of each accept mode.
	newProgram(t).interrupt(t, `
name: waits
about: Workers that wait in accept, or behind an acceptor.
workers: 4
sockets: shared
load: {rate: 500/s, duration: 400ms}
timeline: [{at: 50ms, do: stall, for: 300ms, target: 1}]
matrix: [{accept: [blocking, acceptor]}]
trials: 50
`+lenient, "run", interruption{signal: syscall.SIGINT, trials: 3})
}

// TestKernelSignals ends runs by each signal that can end one, as root and as an ordinary user.
func TestKernelSignals(t *testing.T) {
	requireLab(t)
	for _, user := range users(t) {
		for _, signal := range endings {
			t.Run(fmt.Sprintf("%s/%v", user.name, signal), func(t *testing.T) {
				t.Parallel()
				p := newProgram(t)
				p.actAs(t, user.credential)
				p.interrupt(t, idle+lenient, "run", interruption{signal: signal, trials: 1})
			})
		}
	}
}

// A second signal ends the program at once. The program's labs end with it and, if the user is not
// root, so does the child process that the run needs.
func TestKernelSecondSignal(t *testing.T) {
	requireLab(t)
	for _, user := range users(t) {
		t.Run(user.name, func(t *testing.T) {
			t.Parallel()
			p := newProgram(t)
			p.actAs(t, user.credential)
			write(t, filepath.Join(p.dir, "idle.yaml"), idle+lenient)
			c := p.command(t.Context(), "run", "idle.yaml", "--out", "run")
			var stderr bytes.Buffer
			c.Stderr = &stderr
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			awaitTrials(t, filepath.Join(p.dir, "run"), 1)
			for _, by := range endings[:2] {
				if err := c.Process.Signal(by); err != nil && !errors.Is(err, os.ErrProcessDone) {
					t.Fatal(err)
				}
			}
			_ = c.Wait()
			if status := c.ProcessState.ExitCode(); status != exitInterrupted {
				t.Errorf("exit status %d, want %d\n%s", status, exitInterrupted, stderr.String())
			}
			p.gone(t)
		})
	}
}

// TestKernelNoHangUp starts a run with SIGHUP ignored, as nohup(1) does. SIGHUP does not end the
// run.
func TestKernelNoHangUp(t *testing.T) {
	requireLab(t)
	for _, user := range users(t) {
		t.Run(user.name, func(t *testing.T) {
			t.Parallel()
			p := newProgram(t)
			p.actAs(t, user.credential)
			file, out := filepath.Join(p.dir, "idle.yaml"), filepath.Join(p.dir, "run")
			write(t, file, idle+lenient)
			c := p.command(t.Context(), "run", file, "--out", out, "--trials", "2")
			c.Args = append([]string{"sh", "-c", `trap '' HUP; exec "$0" "$@"`}, c.Args...)
			c.Path = "/bin/sh"
			var stderr bytes.Buffer
			c.Stderr = &stderr
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			awaitTrials(t, out, 1)
			if err := c.Process.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			if err := c.Wait(); err != nil {
				t.Errorf("%v\n%s", err, stderr.String())
			}
			p.gone(t)
		})
	}
}

// idle is a scenario with many short trials under little load.
const idle = `
name: idle
about: Trials that only need to be there.
load: {rate: 50/s, duration: 500ms}
trials: 50
`

// A user is a user as whom the tests run the program.
type user struct {
	name       string
	credential *syscall.Credential // nil means the user of the tests
}

// users returns the user of the tests and, if that is root, an ordinary user.
func users(t *testing.T) []user {
	t.Helper()
	if os.Getuid() != 0 {
		return []user{{name: "user"}}
	}
	nobody := &syscall.Credential{Uid: 65534, Gid: 65534}
	all := []user{{name: "root"}, {name: "user", credential: nobody}}
	p := newProgram(t)
	p.actAs(t, nobody)
	if out, err := p.command(t.Context(), "doctor").CombinedOutput(); err != nil {
		t.Logf("not as an ordinary user: %v\n%s", err, out)
		return all[:1]
	}
	return all
}

// An interruption ends a run: it sends the signal a time after the given number of trials has been
// stored.
type interruption struct {
	signal syscall.Signal
	trials int
	after  time.Duration
}

// interrupt starts a run of the scenario, interrupts it, and checks that no process is left and
// that report accepts the stored trials.
func (p *program) interrupt(t *testing.T, scenario, dir string, by interruption) {
	t.Helper()
	file, out := filepath.Join(p.dir, "scenario.yaml"), filepath.Join(p.dir, dir)
	if err := os.WriteFile(file, []byte(scenario), 0o666); err != nil {
		t.Fatal(err)
	}
	c := p.command(t.Context(), "run", file, "--out", out)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	stored := awaitTrials(t, out, by.trials)
	// Until the program has set its signal handlers up, which is before it starts a child, signals
	// end it without an exit status of its own.
	for end := time.Now().Add(awaitLimit); len(p.processes(t)) < 2 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(by.after)
	if err := c.Process.Signal(by.signal); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait()
	status := c.ProcessState.ExitCode()
	t.Logf("%v, %v after trial %d: exit status %d", by.signal, by.after, stored, status)
	if by.signal != syscall.SIGKILL && status != exitInterrupted {
		t.Errorf("%v: exit status %d, want %d\n%s", by.signal, status, exitInterrupted,
			stderr.String())
	}
	if strings.Contains(stderr.String(), "goroutine") {
		t.Errorf("%v: a trace:\n%s", by.signal, stderr.String())
	}
	goOn := "reuseport-bench run --resume " + out
	told := by.signal != syscall.SIGKILL && by.trials > 0
	if told && !strings.Contains(stderr.String(), goOn) {
		t.Errorf("%v: it does not say %q:\n%s", by.signal, goOn, stderr.String())
	}
	p.gone(t)
	if stored < by.trials {
		t.Fatalf("%d trials were stored within %v, want %d\n%s", stored, awaitLimit, by.trials,
			stderr.String())
	}
	if _, err := os.Stat(filepath.Join(out, results.RunFile)); err != nil && by.trials == 0 {
		// The first trial of the run had not ended, so nothing should be stored.
		if _, err := os.Stat(out); err == nil && by.signal != syscall.SIGKILL {
			t.Errorf("%v: the directory is left, without a run", by.signal)
		}
		return
	}
	if b, err := p.command(t.Context(), "report", out).CombinedOutput(); err != nil {
		t.Errorf("%v: report: %v\n%s", by.signal, err, b)
	}
}

// awaitLimit is the time limit for a run to store the trials that a test waits for.
const awaitLimit = 20 * time.Second

// awaitTrials waits until n trials are stored. It returns the number of stored trials.
func awaitTrials(t *testing.T, out string, n int) (stored int) {
	t.Helper()
	for end := time.Now().Add(awaitLimit); stored < n && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
		run, err := results.Load(out)
		if err != nil {
			continue // nothing is stored yet
		}
		stored = 0
		for _, list := range trials(run, "accept") {
			stored += len(list)
		}
	}
	return stored
}
