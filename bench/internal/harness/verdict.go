package harness

import (
	"fmt"
	"slices"
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
	reasons = append(reasons, judgeMachine(s.Validity, serverCPUs, t)...)
	if n := t.Kernel["TcpExtTCPTimeWaitOverflow"]; n > 0 {
		invalid("TIME_WAIT overflow: %s skipped it, so stray resets are possible", results.Plural(n, "connection"))
	}
	if t.Residual != 0 {
		invalid("the books do not balance: residual %d; 'report --ledger' shows the rows", t.Residual)
	}
	return reasons
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
