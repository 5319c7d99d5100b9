package ledger

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"reuseport-bench/bench/internal/load"
	"reuseport-bench/results"
	"reuseport-bench/results/unit"
	"reuseport-bench/scenarios"
)

// Invalid returns the reasons why a trial says nothing about its servers, or nil if it is valid.
// limits are the scenario's limits, and serverCPUs is the number of the servers' CPUs.
func Invalid(limits scenarios.Validity, serverCPUs int, t *results.Trial) []string {
	var reasons []string
	invalid := func(format string, args ...any) {
		reasons = append(reasons, fmt.Sprintf(format, args...))
	}

	// The quota comes first, because it may also be the reason for the delays below.
	if ns := t.CPU.ThrottledNS; ns != nil && *ns > 0 {
		invalid("a CPU quota stopped this program and all it had started (for %v); "+
			"give it whole CPUs and no quota, see 'doctor'", Rounded(time.Duration(*ns)))
	}
	offered := t.OfferedPerSecond
	if offered != nil && t.AchievedPerSecond < limits.Achieved**offered {
		invalid("the load generator could not keep up (it sent %.0f/s of %.0f/s); lower load.rate",
			t.AchievedPerSecond, *offered)
	}
	if lag, allowed := generatorLag(limits, t); lag > allowed {
		invalid("the load generator ran late (p99 %v, allowed %v), "+
			"so this trial says nothing about the servers", Rounded(lag), Rounded(allowed))
	}
	for i, step := range t.Steps {
		if step.ScheduleLagMaxNS == nil {
			continue
		}
		if lag := time.Duration(*step.ScheduleLagMaxNS); lag > limits.StepLag {
			invalid("the load generator ran late after a step "+
				"(%v in the window of step %d, %s; allowed %v), so the step's cost is unknown",
				Rounded(lag), i+1, step.Do, limits.StepLag)
			break
		}
	}
	reasons = append(reasons, closedInvalid(t)...)
	reasons = append(reasons, loadInvalid(t)...)
	reasons = append(reasons, machineInvalid(limits, serverCPUs, t)...)
	reasons = append(reasons, harnessInvalid(limits, t.CPU)...)
	if n := t.Kernel["TcpExtTCPTimeWaitOverflow"]; n > 0 {
		invalid("more connections ended than the kernel keeps in TIME_WAIT (%d too many), "+
			"so stray resets are possible", n)
	}
	if t.Served == 0 && len(t.ErrorAnswers) > 0 {
		statuses := slices.Sorted(maps.Keys(t.ErrorAnswers))
		invalid("the server served no request: it answered with status %s; "+
			"set request.path and request.status", strings.Join(statuses, ", "))
	}
	if t.Residual != 0 {
		invalid("the ledger does not balance (residual %d); 'report --ledger' shows the rows",
			t.Residual)
	}
	return reasons
}

// generatorLag returns the trial's p99 schedule lag (the time from when an attempt is due until it
// is sent), and the allowed lag: a tenth of the p99 response time, but at least limits.LagFloor.
// The lag is 0 in a closed loop, or if no attempt was answered.
func generatorLag(limits scenarios.Validity, t *results.Trial) (lag, allowed time.Duration) {
	if t.ResponseNS == nil || t.ScheduleLagP99NS == nil {
		return 0, limits.LagFloor
	}
	allowed = max(limits.LagFloor, time.Duration(t.ResponseNS.P99)/10)
	return time.Duration(*t.ScheduleLagP99NS), allowed
}

// LoadBound is the largest share of its CPUs' time that the load of a closed loop may use. Above
// it, the load itself limits the rate, not the servers.
const LoadBound = 0.95

// closedInvalid returns the reasons why a closed loop was limited by its load, or ended early. A
// closed loop has no schedule lag that would reveal a slow load.
func closedInvalid(t *results.Trial) (reasons []string) {
	if t.Concurrency == 0 {
		return nil
	}
	if used, all := t.CPU.LoadDriveNS, t.CPU.WatchedNS; all != nil && over(used, *all, LoadBound) {
		reasons = append(reasons, fmt.Sprintf("the load process was at its limit (it used its CPU "+
			"for %v of %v), so this trial says nothing about the servers; give them more work, or "+
			"use load.rate", Rounded(time.Duration(*used)), Rounded(time.Duration(*all))))
	}
	if t.Attempts >= load.MaxAttempts {
		reasons = append(reasons, fmt.Sprintf("the clients reached the limit of attempts "+
			"before the trial's end (%s); shorten load.duration",
			unit.Plural(t.Attempts, "attempt")))
	}
	return reasons
}

// mayNeverSend is the largest share of a trial's attempts that the load may fail to send outside
// the steps' windows.
const mayNeverSend = 0.001

// loadInvalid returns the reasons that are failures of the load itself. No validity setting can
// allow them, because it is not known whether the servers would have served the attempts that were
// not sent.
func loadInvalid(t *results.Trial) []string {
	setting := "load.rate"
	if t.Concurrency > 0 {
		setting = "load.concurrency"
	}
	remedy := "lower " + setting + ", or run on a less busy machine"
	var reasons []string
	invalid := func(format string, args ...any) {
		reasons = append(reasons, fmt.Sprintf(format, args...))
	}

	failed, by := int64(0), []string{}
	for _, name := range slices.Sorted(maps.Keys(t.LocalErrors)) {
		failed += t.LocalErrors[name]
		by = append(by, fmt.Sprintf("%s %d", name, t.LocalErrors[name]))
	}
	if failed > 0 {
		invalid("attempts failed in the load process itself (%d: %s), "+
			"which says nothing about the servers; lower %s or load.timeout; "+
			"for EMFILE raise the limit on open files (ulimit -n)",
			failed, strings.Join(by, ", "), setting)
	}
	inWindows, first := int64(0), -1
	for k, step := range t.Steps {
		if step.NeverSent == nil || *step.NeverSent == 0 {
			continue
		}
		if inWindows += *step.NeverSent; first < 0 {
			first = k
		}
	}
	if inWindows > 0 {
		invalid("the load generator never sent attempts due in a step's window "+
			"(%d, the first after step %d, %s), which might have been lost there; %s",
			inWindows, first+1, t.Steps[first].Do, remedy)
	}
	all, _ := t.Unsent()
	if outside := all - inWindows; float64(outside) > mayNeverSend*float64(t.Attempts) {
		invalid("the load generator never sent attempts "+
			"(%d of %d outside any step's window, allowed %v of all); %s",
			outside, t.Attempts, mayNeverSend, remedy)
	}
	return reasons
}

// shortestJudged is the length of the shortest window that is judged. In a shorter window, a single
// tick of the kernel's steal time, 10 ms, could exceed the limit.
const shortestJudged = 50 * time.Millisecond

// machineInvalid returns the reasons why the servers could not run: CPU time that the host took,
// and waits for a CPU. For each, it reports the first step's window that exceeds the limit or, if
// none does, the whole trial if that exceeds the limit.
func machineInvalid(v scenarios.Validity, serverCPUs int, t *results.Trial) []string {
	var steal, queue string
	look := func(where string, windowNS, stealNS, delayNS *int64) {
		if windowNS == nil || *windowNS < int64(shortestJudged) {
			return
		}
		window := *windowNS
		if all := window * int64(serverCPUs); steal == "" && over(stealNS, all, v.Steal) {
			steal = fmt.Sprintf("the host took CPU time from the servers (%v of %v %s, allowed %v)",
				Rounded(time.Duration(*stealNS)), Rounded(time.Duration(all)), where, v.Steal)
		}
		if queue == "" && over(delayNS, window, v.RunQueue) {
			queue = fmt.Sprintf("something else kept the workers waiting for a CPU "+
				"(%v of %v %s, allowed %v); end other programs, or wait",
				Rounded(time.Duration(*delayNS)), Rounded(time.Duration(window)), where, v.RunQueue)
		}
	}
	for i, step := range t.Steps {
		where := fmt.Sprintf("in the window of step %d, %s", i+1, step.Do)
		look(where, step.WindowNS, step.StealNS, step.RunQueueDelayNS)
	}
	look("during the trial", t.CPU.WatchedNS, t.CPU.StealNS, t.CPU.RunQueueDelayNS)
	empty := func(reason string) bool { return reason == "" }
	return slices.DeleteFunc([]string{steal, queue}, empty)
}

// harnessFloor is the share of one CPU's time that the harness may always use. It is for nearly
// idle servers: observing them costs more than 2 % of their CPU time, the default of
// validity.harness.
const harnessFloor = 0.01

// harnessLeast is the CPU time that the harness may use in a trial of any length. That is enough
// for about six readings of the machine: those around a step, and those at the start and the end of
// the load.
const harnessLeast = 2 * time.Millisecond

// harnessInvalid returns a reason if observing and bookkeeping took too much CPU time while the
// load ran. The work that this program does in place of a real system, or as a client of a real
// Kubernetes, does not count.
func harnessInvalid(v scenarios.Validity, cpu results.CPU) []string {
	if cpu.HarnessNS == nil || cpu.WatchedNS == nil {
		return nil
	}
	used := *cpu.HarnessNS
	for _, other := range []*int64{cpu.StandInNS, cpu.KubernetesNS} {
		if other != nil {
			used -= *other
		}
	}
	of, share, whose := *cpu.WatchedNS, harnessFloor, "one CPU's time"
	if s := cpu.ServersNS; s != nil && float64(*s)*v.Harness > float64(of)*share {
		of, share, whose = *s, v.Harness, "the servers' CPU time"
	}
	if time.Duration(used) <= harnessLeast || !over(&used, of, share) {
		return nil
	}
	return []string{fmt.Sprintf("this program itself took CPU time "+
		"(%v for observing and bookkeeping beside %v of %s, allowed %v); "+
		"run fewer workers or attempts, or allow more by validity.harness",
		Rounded(time.Duration(used)), Rounded(time.Duration(of)), whose, share)}
}

// over reports whether part exceeds the given share of whole. If part is nil, which means unknown,
// it returns false.
func over(part *int64, whole int64, share float64) bool {
	return part != nil && float64(*part) > share*float64(whole)
}

// Rounded returns d rounded to the precision that readers need.
func Rounded(d time.Duration) time.Duration {
	if d > time.Millisecond {
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(100 * time.Nanosecond)
}
