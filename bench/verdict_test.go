package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"reuseport-bench/bench/internal/doctor"
	"reuseport-bench/results"
	"reuseport-bench/results/command"
	"reuseport-bench/scenarios"
)

// If a scenario cannot run here, a run of only this scenario fails, and a run of several scenarios
// leaves it out.
func TestVerdictOfSkipped(t *testing.T) {
	why := "haproxy: not found"
	skipped := &results.Scenario{Name: "load-balancer", MinValid: 1,
		Variants: []*results.Variant{{SkippedReason: &why}}}
	measured := &results.Scenario{Name: "steady", MinValid: 1,
		Variants: []*results.Variant{{Trials: []*results.Trial{{Valid: true}}}}}
	var exit *exitError
	err := verdict(&results.Run{Scenarios: []*results.Scenario{skipped}}, nil)
	if !errors.As(err, &exit) || exit.status != exitNotMeasured {
		t.Errorf("alone: %v, want exit status %d", err, exitNotMeasured)
	}
	err = verdict(&results.Run{Scenarios: []*results.Scenario{measured, skipped}}, nil)
	if err != nil {
		t.Errorf("among others: %v", err)
	}
}

// A run with --quick whose trials are all valid ends with status 3 if a gate needs more trials, and
// with 0 if there is no gate.
func TestVerdictOfQuickLook(t *testing.T) {
	look := func(valid bool, gates ...results.GateResult) error {
		return verdict(&results.Run{Scenarios: []*results.Scenario{{
			Name: "steady", Trials: 1, MinValid: 4, Gates: gates,
			Variants: []*results.Variant{{Trials: []*results.Trial{{Valid: valid}}}},
		}}}, nil)
	}
	if err := look(true); err != nil {
		t.Errorf("without gates: %v", err)
	}
	var exit *exitError
	err := look(true, results.GateResult{Expect: "lost == 0", Outcome: results.GateUndecided,
		Note: "quick"})
	if !errors.As(err, &exit) || exit.status != exitNotMeasured ||
		!strings.Contains(err.Error(), "without --quick") {
		t.Errorf("with a gate: %v, want exit status %d and what to do", err, exitNotMeasured)
	}
	if err := look(false); !errors.As(err, &exit) || exit.status != exitNotMeasured {
		t.Errorf("nothing valid: %v, want exit status %d", err, exitNotMeasured)
	}
}

// For a stopped scenario, the verdict lists one problem, and none for its variants and gates.
func TestVerdictOfStopped(t *testing.T) {
	stopped := &results.Scenario{
		Name: "steady", Trials: 8, MinValid: 4, Stopped: "none of 4 trials was valid",
		Variants: []*results.Variant{
			{Trials: []*results.Trial{{}, {}}}, {Trials: []*results.Trial{{}, {}}},
		},
		Gates: []results.GateResult{{Outcome: results.GateUndecided}},
	}
	err := verdict(&results.Run{Scenarios: []*results.Scenario{stopped}}, nil)
	const want = "could not measure:\n" +
		"  steady was stopped: none of 4 trials was valid; use --keep-going to run it anyway"
	var exit *exitError
	if !errors.As(err, &exit) || exit.status != exitNotMeasured || exit.Error() != want {
		t.Errorf("%v, want exit status %d and\n%s", err, exitNotMeasured, want)
	}
}

// The last lines of doctor tell an ordinary user what root would add. If trials can run, they also
// name the next command.
func TestWhatIsNext(t *testing.T) {
	next := " Next, run the default suite: " + command.Line("run")
	bpf := []string{"sk_reuseport: needs CAP_BPF"}
	for _, test := range []struct {
		can    runnable
		asRoot bool
		want   string
	}{
		{
			runnable{Scenarios: 49, CanRun: 49, InPart: 17, NeedRoot: 61, Missing: bpf}, false,
			"49 of 49 scenarios can run, 17 of them in part. Root would add 61 variants, which " +
				"use eBPF or several user ids, and the kernel's reasons for losses." + next,
		},
		{
			runnable{Scenarios: 49, CanRun: 49, InPart: 17, NeedRoot: 61, Missing: bpf}, true,
			"49 of 49 scenarios can run, 17 of them in part; missing: " + bpf[0] + "." + next,
		},
		{
			runnable{Scenarios: 49, CanRun: 48, Missing: []string{"x"}, others: []string{"x"},
				MayNotCount: []string{"cpus"}}, false,
			"48 of 49 scenarios can run; missing: x. Trials may not count: see cpus." + next,
		},
		{
			runnable{Scenarios: 49, Missing: []string{"a lab"}, others: []string{"a lab"}}, false,
			"0 of 49 scenarios can run; missing: a lab.",
		},
	} {
		if got := test.can.text(test.asRoot); got != test.want {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
	}
}

// If no lab can be made, doctor says that nothing can run, and does not count scenarios.
func TestWhatCanRun(t *testing.T) {
	all := func(status map[string]doctor.Status) (found []doctor.Result) {
		for _, name := range []string{doctor.NetNamespace, doctor.UserNamespace, doctor.NetSysctl,
			doctor.HAProxyCommand} {
			r := doctor.Result{Name: name, Status: doctor.Yes, Detail: "found"}
			if s, ok := status[name]; ok {
				r.Status, r.Detail = s, "refused"
			}
			found = append(found, r)
		}
		return found
	}
	n := len(scenarios.Names())
	for _, test := range []struct {
		status map[string]doctor.Status
		want   string
		no     bool // whether no trial can run
	}{
		{nil, fmt.Sprintf("%d of %d scenarios can run.", n, n), false},
		{map[string]doctor.Status{doctor.NetNamespace: doctor.No}, fmt.Sprintf("%d of %d scenarios can run.", n, n), false},
		{map[string]doctor.Status{doctor.HAProxyCommand: doctor.No},
			fmt.Sprintf("%d of %d scenarios can run; missing: haproxy: refused.", n-1, n), false},
		{map[string]doctor.Status{doctor.NetSysctl: doctor.Unknown}, fmt.Sprintf("%d of %d scenarios can run.", n, n), false},
		{map[string]doctor.Status{doctor.NetSysctl: doctor.No},
			fmt.Sprintf("0 of %d scenarios can run; missing: the sysctls of a lab cannot be set, "+
				"see net_sysctl.", n), true},
		{map[string]doctor.Status{doctor.NetNamespace: doctor.No, doctor.UserNamespace: doctor.No},
			fmt.Sprintf("0 of %d scenarios can run; missing: a lab: neither", n), true},
	} {
		found := all(test.status)
		got, err := whatCanRun(found)
		if err != nil || !strings.HasPrefix(got.text(true), test.want) ||
			(noTrial(found) != "") != test.no {
			t.Errorf("%v: %q, error %v; want %q", test.status, got.text(true), err, test.want)
		}
	}
}

// Doctor lists in one line the servers that are installed, and how to install the others.
func TestServerPrograms(t *testing.T) {
	s := programs{
		Installed: []string{"haproxy", "nginx"},
		Missing:   map[string]string{"caddy": "apt install caddy", "x": "install it"},
	}
	const want = "Servers installed: haproxy, nginx. Not installed: caddy (apt install caddy), " +
		"x (install it)."
	if got := s.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	can := runnable{Scenarios: 3, CanRun: 2, Missing: []string{
		"command caddy: not found in PATH", "haproxy: refused",
	}}
	const sum = "2 of 3 scenarios can run; missing: haproxy: refused. " +
		"Next, run the default suite: reuseport-bench run"
	if got := can.text(true); got != sum {
		t.Errorf("got %q, want %q", got, sum)
	}
}
