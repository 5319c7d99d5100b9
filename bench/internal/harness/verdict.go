package harness

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"reuseport-bench/results"
	"reuseport-bench/scenarios"
)

// judgeValidity says why the trial is no measurement of its servers; nothing, if it is one. The servers had
// that many CPUs.
func judgeValidity(s scenarios.Setup, serverCPUs int, t *results.Trial) []string {
	var reasons []string
	invalid := func(format string, args ...any) { reasons = append(reasons, fmt.Sprintf(format, args...)) }

	if t.AchievedPerSecond < s.Validity.Achieved*t.OfferedPerSecond {
		invalid("could not keep up: the load sent %.0f/s of %.0f/s offered; lower load.rate", t.AchievedPerSecond, t.OfferedPerSecond)
	}
	lag := time.Duration(t.ScheduleLagP99NS)
	if t.ResponseNS != nil && lag > s.Validity.LagFloor && lag > time.Duration(t.ResponseNS.P99)/10 {
		invalid("the generator was measured: p99 schedule lag %v is over %v and over a tenth of p99 response time %v",
			rounded(lag), s.Validity.LagFloor, rounded(time.Duration(t.ResponseNS.P99)))
	}
	for i, step := range t.Steps {
		if lag := time.Duration(step.ScheduleLagMaxNS); lag > s.Validity.StepLag {
			invalid("step %d (%s): an attempt in its window was sent %v late, over %v", i, step.Do, rounded(lag), s.Validity.StepLag)
			break
		}
	}
	reasons = append(reasons, judgeLoad(t)...)
	reasons = append(reasons, judgeMachine(s.Validity, serverCPUs, t)...)
	if n := t.Kernel["TcpExtTCPTimeWaitOverflow"]; n > 0 {
		invalid("TIME_WAIT overflow: %s skipped it, so stray resets are possible", results.Plural(n, "connection"))
	}
	if t.Residual != 0 {
		invalid("the books do not balance: residual %d; 'report --ledger' shows the rows", t.Residual)
	}
	return reasons
}

// mayNeverSend is the largest share of a trial's attempts that the load may leave unsent, outside the
// steps' windows.
const mayNeverSend = 0.001

// judgeLoad says what the load itself failed at. A scenario cannot ask to tolerate it: what was not
// sent might have been dropped, so nobody knows what the servers would have done with it.
func judgeLoad(t *results.Trial) []string {
	const remedy = "lower load.rate, or run on a less busy machine"
	var reasons []string
	invalid := func(format string, args ...any) { reasons = append(reasons, fmt.Sprintf(format, args...)) }

	failed, by := int64(0), []string{}
	for _, name := range slices.Sorted(maps.Keys(t.LocalErrors)) {
		failed += t.LocalErrors[name]
		by = append(by, fmt.Sprintf("%s %d", name, t.LocalErrors[name]))
	}
	if failed > 0 {
		invalid("%s failed in the load process itself (%s), which says nothing of the servers; "+
			"lower load.rate or load.timeout; for EMFILE raise the limit on open files (ulimit -n)",
			attempts(failed), strings.Join(by, ", "))
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
		invalid("the load never sent %s due in a step's window (first: step %d, %s), which might have been "+
			"lost there; %s", attempts(inWindows), first, t.Steps[first].Do, remedy)
	}
	all, _ := t.Unsent()
	if outside := all - inWindows; float64(outside) > mayNeverSend*float64(t.Attempts) {
		invalid("the load never sent %d of %s outside any step's window, over a share of %v; %s",
			outside, attempts(t.Attempts), mayNeverSend, remedy)
	}
	return reasons
}

func attempts(n int64) string {
	if n == 1 {
		return "1 attempt"
	}
	return fmt.Sprintf("%d attempts", n)
}

// neverSent counts the attempts that the load did not come to.
func (m *measured) neverSent() (n int64) {
	for i := range m.books.attempts {
		if m.books.attempts[i].class == results.ClassUnsent {
			n++
		}
	}
	return n
}

// shortestJudged is the shortest window that one tick of the kernel's steal time, 10 ms, cannot make invalid.
const shortestJudged = 50 * time.Millisecond

// judgeMachine says what the machine did instead of running the servers: in the first step's window of which
// there is something to say, or else over the trial.
func judgeMachine(v scenarios.Validity, serverCPUs int, t *results.Trial) []string {
	var steal, queue string
	look := func(where string, windowNS, stealNS, delayNS *int64) {
		if windowNS == nil || *windowNS < int64(shortestJudged) {
			return
		}
		window := *windowNS
		if all := window * int64(serverCPUs); steal == "" && over(stealNS, all, v.Steal) {
			steal = fmt.Sprintf("the machine stole %v of %v from the servers' CPUs %s, over a share of %v",
				rounded(time.Duration(*stealNS)), rounded(time.Duration(all)), where, v.Steal)
		}
		if queue == "" && over(delayNS, window, v.RunQueue) {
			queue = fmt.Sprintf("the workers waited %v of %v for a CPU that something else was using %s, over a share of %v",
				rounded(time.Duration(*delayNS)), rounded(time.Duration(window)), where, v.RunQueue)
		}
	}
	for i, step := range t.Steps {
		look(fmt.Sprintf("in the window of step %d (%s)", i, step.Do), step.WindowNS, step.StealNS, step.RunQueueDelayNS)
	}
	look("during the trial", t.CPU.WatchedNS, t.CPU.StealNS, t.CPU.RunQueueDelayNS)
	return slices.DeleteFunc([]string{steal, queue}, func(reason string) bool { return reason == "" })
}

// over says whether a part of the whole is more than a share of it. What is not known is not.
func over(part *int64, whole int64, share float64) bool {
	return part != nil && float64(*part) > share*float64(whole)
}

func rounded(d time.Duration) time.Duration {
	if d > time.Millisecond {
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(100 * time.Nanosecond)
}

// achieved is the rate at which attempts were sent: their number over the time from the first due
// instant to the last send, plus one spacing.
func (m *measured) achieved() float64 {
	n, last := 0, int64(0)
	for i := range m.books.attempts {
		if a := &m.books.attempts[i]; a.class != results.ClassUnsent {
			n++
			last = max(last, a.sent)
		}
	}
	if n == 0 {
		return 0
	}
	span := max(last, m.books.scheduled(len(m.books.attempts)-1)) + m.spacing(0, len(m.books.attempts))
	return float64(n) / (float64(span) / 1e9)
}
