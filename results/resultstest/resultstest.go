// Package resultstest builds results for tests.
package resultstest

import (
	"strings"
	"testing"
	"time"

	"reuseport-bench/results"
	"reuseport-bench/results/cause"
)

// RestartTrial returns a valid trial of 1000 attempts at 2000/s. lost has the number of attempts
// that each restart lost.
func RestartTrial(lost ...int64) *results.Trial {
	t := &results.Trial{
		Valid: true, Attempts: 1000, OfferedPerSecond: new(2000.),
		ScheduleLagP99NS:   new(int64(100_000)),
		LostByCause:        map[string]int64{},
		LostSentAfterClose: new(int64(0)),
		ResponseNS:         &results.Percentiles{P50: 1, P90: 2, P99: 3, P999: 4, Max: 5},
	}
	for i, n := range lost {
		t.Lost, t.Dropped = t.Lost+n, t.Dropped+n
		t.LostByCause[cause.ResetAtClose] += n
		t.Steps = append(t.Steps, results.Step{
			Do: "replace", Lost: n, GapNS: new(int64(i+1) * 100),
			OutageNS: new(int64(i+1) * 1000), ResolutionNS: new(int64(500)),
			StallNS: new(int64(i+1) * 10), TakeoverNS: new(int64(i+1) * 7),
			TailNS: new(int64(i + 1)),
		})
	}
	t.Served = t.Attempts - t.Lost
	return t
}

// CloseLabels returns the labels of the first variant of NewRun.
func CloseLabels() map[string]string {
	return map[string]string{"sockets": "reuseport", "stop": "close"}
}

// DrainLabels returns the labels of the second variant of NewRun.
func DrainLabels() map[string]string {
	return map[string]string{"sockets": "reuseport", "stop": "drain"}
}

// NewRun returns a run of one scenario with two variants, without trials.
func NewRun() *results.Run {
	return &results.Run{
		SchemaVersion: results.SchemaVersion, Program: "reuseport-bench", Version: "v0.1.0",
		Seed: 42, StartedAt: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC),
		Environment: results.Environment{
			Kernel: "6.18.44", Sysctls: map[string]string{}, Capabilities: map[string]string{},
		},
		Scenarios: []*results.Scenario{{
			Name: "rolling-restart", Trials: 2, MinValid: 1,
			Variants: []*results.Variant{{Labels: CloseLabels()}, {Labels: DrainLabels()}},
		}},
	}
}

// WantError fails the test if err is nil or lacks one of the parts.
func WantError(t testing.TB, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want one with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q\nlacks %q", err, part)
		}
	}
}
