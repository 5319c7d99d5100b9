package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"reuseport-bench/results"
)

var selftest = flag.Bool("selftest", false,
	"measure the program itself in the long form: 20 runs of a minute or more each, twice")

// A selfTally counts the outcomes of the gates in a self-test: found and undecided count, by fault,
// the gates that must fail. The other gates are counted in quiet if they passed, in open if they
// were undecided, and in falseFail.
type selfTally struct {
	runs, void             int
	found, undecided       map[string]int // by fault
	quiet, open, falseFail int            // the gates that must not fail
}

// add counts one run. faults maps a label of a variant to the gate that must fail.
func (s *selfTally) add(t *testing.T, out *results.Scenario, faults map[string]string) {
	t.Helper()
	s.runs++
	if out.Void != "" {
		s.void++
		t.Logf("run %d is void: %s", s.runs, out.Void)
		return
	}
	for _, g := range out.Gates {
		fault := ""
		for label, expect := range faults {
			key, value, _ := strings.Cut(label, "=")
			if g.Labels[key] == value && strings.HasPrefix(g.Expect, expect) {
				fault = label
			}
		}
		what := fmt.Sprintf("run %d, %s: %s: %s: %s", s.runs, results.LabelString(g.Labels),
			g.Expect, g.Outcome, g.Note)
		switch {
		case fault != "" && g.Outcome == results.GateFail:
			s.found[fault]++
			t.Log(what)
		case fault != "" && g.Outcome == results.GatePass:
			t.Errorf("a fault passed: %s", what)
		case fault != "":
			s.undecided[fault]++
			t.Log(what)
		case g.Outcome == results.GateFail:
			s.falseFail++
			t.Errorf("nothing has changed there: %s", what)
		case g.Outcome == results.GatePass:
			s.quiet++
		default:
			s.open++
		}
	}
}

func newSelfTally() *selfTally {
	return &selfTally{found: map[string]int{}, undecided: map[string]int{}}
}

// TestKernelSelfTest injects faults of known size into live trials: longer response times, and
// additional resets. The gate for each fault must fail. The other gates must not fail, and the
// baseline must not differ from itself.
func TestKernelSelfTest(t *testing.T) {
	requireLab(t)
	yaml, err := os.ReadFile(filepath.Join("testdata", "selftest.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	runs, trials := 1, "2" // enough trials to count the resets, too few to decide the gates
	if *selftest {
		runs, trials = 20, trialsAuto
	}
	faults := map[string]string{
		"server.work.sleep=2550us": "response.p50", "server.fault.resets=4": "dropped_per_restart",
	}
	s := newSelfTally()
	for i := range runs {
		run, stderr, status := newProgram(t).run(t, string(yaml), "--trials", trials, "--seed",
			strconv.Itoa(i+1))
		if run == nil {
			t.Fatalf("exit status %d:\n%s", status, stderr)
		}
		out := run.Scenarios[0]
		s.add(t, out, faults)
		if status == 0 {
			t.Errorf("exit status 0 with faults built in:\n%s", stderr)
		}
		// Each injected reset loses exactly one attempt.
		for _, v := range out.Variants {
			for _, trial := range v.ValidTrials() {
				want := map[string]int64{"4": 4}[v.Labels["server.fault.resets"]]
				if trial.LostByCause["closed_by_worker"] != want {
					t.Errorf("%v: %d attempts answered by a reset, want %d", v.Labels,
						trial.LostByCause["closed_by_worker"], want)
				}
			}
		}
	}
	t.Logf("%d runs, %d void; found %v, undecided %v; gates on nothing changed: %d pass, %d "+
		"undecided, %d fail",
		s.runs, s.void, s.found, s.undecided, s.quiet, s.open, s.falseFail)
	if *selftest {
		for fault := range faults {
			if s.found[fault] < s.runs-s.void {
				t.Errorf("%s was found in %d of %d runs", fault, s.found[fault], s.runs-s.void)
			}
		}
	}
}

// TestKernelSelfTestBusy compares equal variants while another process keeps a CPU busy. Gates may
// pass or stay undecided, and a run may be void, but no gate may fail.
func TestKernelSelfTestBusy(t *testing.T) {
	requireLab(t)
	if !*selftest {
		t.Skip("the long form only: -selftest")
	}
	yaml, err := os.ReadFile(filepath.Join("testdata", "selftest.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(yaml), "matrix:")
	_, gates, ok2 := strings.Cut(rest, "baseline:")
	if !ok || !ok2 {
		t.Fatal("selftest.yaml has no matrix before its baseline")
	}
	// This variant equals the baseline: no response takes as long as the timeout.
	same := head +
		"matrix:\n  - {server.work.sleep: [2ms], load.timeout: [900ms, 901ms]}\nbaseline:" +
		strings.Replace(gates, "{server.work.sleep: 2ms}", "{load.timeout: 900ms}", 1)
	occupy(t, []int{runtime.NumCPU() - 1})
	s := newSelfTally()
	for i := range 20 {
		run, stderr, status := newProgram(t).run(t, same, "--trials", "12", "--seed",
			strconv.Itoa(i+1))
		if run == nil {
			t.Fatalf("exit status %d:\n%s", status, stderr)
		}
		s.add(t, run.Scenarios[0], nil)
		if status == exitFailed {
			t.Errorf("exit status 1, and nothing has changed:\n%s", stderr)
		}
	}
	t.Logf("%d runs beside a process that uses up a CPU, %d void; gates: %d pass, %d undecided, "+
		"%d fail", s.runs, s.void, s.quiet, s.open, s.falseFail)
}
