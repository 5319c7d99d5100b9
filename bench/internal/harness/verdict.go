package harness

import (
	"errors"
	"fmt"
	"time"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/results"
	"reuseport-bench/scenarios"
)

// judgeValidity says why the trial is no measurement of its servers; nothing, if it is one.
func judgeValidity(s scenarios.Setup, t *results.Trial) []string {
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
	if n := t.Kernel["TcpExtTCPTimeWaitOverflow"]; n > 0 {
		invalid("TIME_WAIT overflow: %d connections skipped it, so stray resets are possible", n)
	}
	if t.Residual != 0 {
		invalid("the books do not balance: residual %d; 'report --ledger' shows the rows", t.Residual)
	}
	return reasons
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

// machineUse is what else the machine did meanwhile. Nil: the kernel does not say.
type machineUse struct {
	steal    *int64   // ns, on the servers' CPUs
	pressure *float64 // share of the time in which some task waited for a CPU

	began         time.Time
	stealBefore   time.Duration
	hasSteal      bool
	stalledBefore time.Duration
	hasPressure   bool
}

func (u *machineUse) start(cpus []int) error {
	u.began = time.Now()
	steal, err := sumSteal(cpus)
	if err != nil && !errors.Is(err, kernel.ErrNotSupported) {
		return err
	}
	u.stealBefore, u.hasSteal = steal, err == nil
	u.stalledBefore, err = kernel.ReadPressure()
	if err != nil && !errors.Is(err, kernel.ErrNotSupported) {
		return err
	}
	u.hasPressure = err == nil
	return nil
}

// stop leaves out what cannot be read any more.
func (u *machineUse) stop(cpus []int) {
	if steal, err := sumSteal(cpus); err == nil && u.hasSteal {
		ns := int64(steal - u.stealBefore)
		u.steal = &ns
	}
	if stalled, err := kernel.ReadPressure(); err == nil && u.hasPressure {
		share := float64(stalled-u.stalledBefore) / float64(time.Since(u.began))
		u.pressure = &share
	}
}

func sumSteal(cpus []int) (time.Duration, error) {
	each, err := kernel.ReadSteal(cpus)
	var total time.Duration
	for _, d := range each {
		total += d
	}
	return total, err
}
