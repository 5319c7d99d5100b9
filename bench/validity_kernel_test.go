package main

import (
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/results"
)

// burn keeps one CPU busy until it reads EOF from its standard input.
func burn(cpu string) error {
	number, err := strconv.Atoi(cpu)
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	var set unix.CPUSet
	set.Set(number)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return err
	}
	var ended atomic.Bool
	go func() {
		_, _ = os.Stdin.Read(make([]byte, 1))
		ended.Store(true)
	}()
	for !ended.Load() {
	}
	return nil
}

// burner is the argument that makes the test binary call burn. The next argument is the CPU.
const burner = "burn"

// occupy keeps CPUs busy until the test ends, with one process for each element of cpus.
func occupy(t *testing.T, cpus []int) {
	t.Helper()
	for _, cpu := range cpus {
		cmd := exec.Command("/proc/self/exe", burner, strconv.Itoa(cpu))
		// Each process gets its own session, as workers do: the scheduler divides a CPU among
		// sessions (autogroup, sched(7)).
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := stdin.Close(); err != nil {
				t.Error(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

// cpuSides returns the CPUs that a plan gives to the load and to the servers.
func cpuSides(t *testing.T) (load, servers []int) {
	t.Helper()
	p, err := (&runFlags{}).plan([]string{"steady"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Machine.CPUs) == 1 {
		t.Skip("load and servers share the only CPU")
	}
	return p.CPUs.Load, p.CPUs.Servers
}

// onlyInvalid checks that each trial of the run is invalid for a reason that contains the texts.
func onlyInvalid(t *testing.T, run *results.Run, texts ...string) {
	t.Helper()
	for label, list := range trials(run, "sockets") {
		for _, tr := range list {
			contains := func(reason string) bool {
				lacks := func(text string) bool { return !strings.Contains(reason, text) }
				return !slices.ContainsFunc(texts, lacks)
			}
			if tr.Valid || !slices.ContainsFunc(tr.InvalidReasons, contains) {
				t.Errorf("%s: valid %v, because of %q; want a reason with %q", label, tr.Valid,
					tr.InvalidReasons, texts)
			}
			if d := tr.CPU.RunQueueDelayNS; d != nil {
				t.Logf("%s: run-queue delay %v of %v", label, time.Duration(*d),
					time.Duration(*tr.CPU.WatchedNS))
			}
		}
	}
}

func TestKernelStolenCPU(t *testing.T) {
	requireLab(t)
	_, servers := cpuSides(t)
	// Two busy processes on each CPU leave the worker a third of its CPU.
	occupy(t, append(slices.Clone(servers), servers...))
	for _, tt := range []struct{ name, timeline, where string }{
		{"in a step's window", "timeline: [{at: 100ms, every: 100ms, do: stall, for: 1ms}]", "in the window of step "},
		{"during the trial", "", "during the trial"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run, stderr, status := newProgram(t).run(t, `
name: neighbour
about: Something else runs on the servers' CPUs.
workers: 1
server: {work: {burn: 400us}}   # more than half of the CPU, which is what a neighbour leaves
load: {rate: 2000/s, duration: 500ms, timeout: 100ms}
validity: {lag_floor: 1m, step_lag: 1m, achieved: 0.01, steal: 1, run_queue: 0.1}
trials: 1
`+tt.timeline)
			if status != exitNotMeasured {
				t.Errorf("exit status %d, want %d:\n%s", status, exitNotMeasured, stderr)
			}
			onlyInvalid(t, run, "something else kept the workers waiting for a CPU (", tt.where)
		})
	}
}

// More connections reach TIME_WAIT than the kernel keeps in that state (tcp_max_tw_buckets). The
// excess connections are closed without it, and the trial is invalid.
func TestKernelTimeWaitOverflow(t *testing.T) {
	requireLab(t)
	run, stderr, status := newProgram(t).run(t, `
name: time-wait
about: Hardly any room for TIME_WAIT.
server: {fault: {time_wait: 100}}
load: {rate: 1000/s, duration: 500ms}
trials: 1
`+lenient)
	if status != exitNotMeasured {
		t.Fatalf("exit status %d, want %d:\n%s", status, exitNotMeasured, stderr)
	}
	for _, tr := range run.Scenarios[0].Variants[0].Trials {
		reasons := strings.Join(tr.InvalidReasons, "\n")
		if tr.Valid || !strings.Contains(reasons, "than the kernel keeps in TIME_WAIT") ||
			tr.Kernel["TcpExtTCPTimeWaitOverflow"] < 300 {
			t.Errorf("valid %v, TCPTimeWaitOverflow %d; reasons: %s", tr.Valid,
				tr.Kernel["TcpExtTCPTimeWaitOverflow"], reasons)
		}
	}
}

func TestKernelStarvedGenerator(t *testing.T) {
	requireLab(t)
	load, _ := cpuSides(t)
	// Start several processes: a single one leaves the load half of a CPU, which may be enough.
	for range 5 {
		occupy(t, load)
	}
	run, stderr, status := newProgram(t).run(t, `
name: starved
about: Something else runs on the load's CPUs.
load: {rate: 8000/s, duration: 500ms}
validity: {steal: 1, run_queue: 1, achieved: 0.01}
trials: 1
`)
	if status != exitNotMeasured {
		t.Errorf("exit status %d, want %d:\n%s", status, exitNotMeasured, stderr)
	}
	onlyInvalid(t, run, "the load generator ran late (p99")
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
		t.Errorf("exit status %d, want %d with \"could not keep up\":\n%s", status, exitNotMeasured,
			stderr)
	}
	for _, v := range run.Scenarios[0].Variants {
		if _, ok := v.Summary["response_p99_ns"]; ok || len(v.ValidTrials()) > 0 {
			t.Errorf("an overloaded run has figures: %v", v.Summary)
		}
	}
}
