package ledger

import (
	"strings"
	"testing"
	"time"

	"reuseport-bench/results"
	"reuseport-bench/scenarios"
)

// Advice names settings that would have made trials valid, and omits settings that would not help.
// If no setting would help, it names the reason for which trials were invalid.
func TestAdvice(t *testing.T) {
	limits := scenarios.Validity{
		LagFloor: 30 * time.Millisecond, StepLag: 100 * time.Millisecond,
		Achieved: 0.99, Steal: 0.5, RunQueue: 0.3,
	}
	trial := func(lag, stepLag time.Duration, delay int64) *results.Trial {
		r := &results.Trial{
			OfferedPerSecond: new(100.), AchievedPerSecond: 100, ScheduleLagP99NS: new(int64(lag)),
			ResponseNS: &results.Percentiles{P99: 1e6},
			CPU:        results.CPU{WatchedNS: new(int64(1e9)), RunQueueDelayNS: &delay},
			Steps:      []results.Step{{Do: "replace", ScheduleLagMaxNS: new(int64(stepLag))}},
		}
		r.InvalidReasons = Invalid(limits, 1, r)
		r.Valid = len(r.InvalidReasons) == 0
		return r
	}
	const ms = time.Millisecond
	good, late := trial(ms, ms, 0), trial(138*ms, ms, 0)
	lateStep, busy := trial(138*ms, 300*ms, 0), trial(138*ms, ms, 9e8)
	failed := trial(ms, ms, 0)
	failed.Valid, failed.InvalidReasons = false, []string{"a worker (3) died"}
	unready := trial(ms, ms, 0)
	unready.Valid, unready.InvalidReasons = false, []string{"server: not ready within 1s (now): " +
		"nothing of it listens; name a user; its last lines: return f(x); Listening at (80)"}
	mute := trial(ms, ms, 0)
	mute.Valid, mute.InvalidReasons = false, []string{"server: x: exit status 1; it wrote nothing"}
	const noCPU = "something else kept the workers waiting for a CPU"
	for _, tt := range []struct {
		name   string
		trials []*results.Trial
		want   string // the beginning of the advice
	}{
		{"all valid", []*results.Trial{good, good}, ""},
		{"late", []*results.Trial{good, late, late},
			"with validity: {lag_floor: 200ms} 3 of 3 trials would have counted"},
		{"late in a step, too", []*results.Trial{good, late, lateStep},
			"with validity: {lag_floor: 200ms, step_lag: 500ms} 3 of 3 trials would have counted"},
		{"some busy", []*results.Trial{late, late, busy},
			"with validity: {lag_floor: 200ms} 2 of 3 trials would have counted"},
		{"most busy", []*results.Trial{busy, busy, busy, late},
			"with validity: {lag_floor: 200ms} 1 of 4 trials would have counted; " +
				"the most common other reason: " + noCPU + "; losses stay exact"},
		{"busy", []*results.Trial{busy, busy, busy},
			"no setting helps: " + noCPU + " in 3 of 3 trials; end other programs, or wait"},
		{"failed", []*results.Trial{failed, failed, good},
			"no setting helps: a worker died in 2 of 3 trials"},
		{"server not ready", []*results.Trial{unready, unready, good},
			"2 of 3 trials: server: not ready within 1s: nothing of it listens; name a user; " +
				"look at its last lines: return f(x); Listening at (80)"},
		{"server that says nothing", []*results.Trial{mute, good},
			"1 of 2 trials: server: x: exit status 1; it wrote nothing"},
	} {
		got := Advice(limits, 1, tt.trials)
		if tt.want == "" && got != "" || !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
