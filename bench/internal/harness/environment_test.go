package harness

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/results"
	"reuseport-bench/scenarios"
	"reuseport-bench/servers"
	"reuseport-bench/servers/clock"
)

func TestNeighbours(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		name string
		each []kernel.Sched
		want time.Duration
	}{
		{"no worker", nil, 0},
		{"one alone", []kernel.Sched{{Run: 20 * ms}}, 0},
		{"two that keep each other waiting", []kernel.Sched{{Run: 10 * ms, Delay: 10 * ms}, {Run: 10 * ms, Delay: 10 * ms}}, 0},
		{"one and a stranger", []kernel.Sched{{Run: 10 * ms, Delay: 10 * ms}}, 10 * ms},
		{"two and a stranger, a third each", []kernel.Sched{{Run: 7 * ms, Delay: 14 * ms}, {Run: 7 * ms, Delay: 14 * ms}}, 7 * ms},
		{"two that want little, and a stranger", []kernel.Sched{{Run: 1 * ms, Delay: 15 * ms}, {Run: 1 * ms, Delay: 12 * ms}}, 14 * ms},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := neighbours(tt.each); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// watched is a machine that from 100 ms on steals half of the time and keeps a worker waiting for a quarter.
func watched() *machineUse {
	u := &machineUse{hasSteal: true, hasPressure: true, hasDelay: true}
	for i := range 16 {
		after := time.Duration(max(0, i-5)) * 20 * time.Millisecond
		u.series = append(u.series, reading{
			at: begin.Add(time.Duration(i) * 20 * time.Millisecond), steal: after / 2, stalled: after, delayed: after / 4,
		})
	}
	return u
}

func TestStepsMachine(t *testing.T) {
	for _, tt := range []struct {
		name     string
		from, to int64 // ms
		change   func(*machineUse)
		want     results.Step
	}{
		{"before", 10, 90, nil, machineStep(80, 0, 0, 0)},
		{"between two readings", 105, 115, nil, machineStep(10, 5*ms, 1, 25*ms/10)},
		{"half of it", 50, 150, nil, machineStep(100, 25*ms, 0.5, 125*ms/10)},
		{"no longer than the watched part", 0, 300, nil, machineStep(200, 50*ms, 0.5, 25*ms)},
		{"past the end", 290, 400, nil, machineStep(110, 5*ms, 10./110, 25*ms/10)},
		{"after the end", 400, 390, nil, results.Step{}},
		{"the kernel says nothing", 0, 100, func(u *machineUse) { *u = machineUse{series: u.series} }, results.Step{WindowNS: number(100 * ms)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u := watched()
			if tt.change != nil {
				tt.change(u)
			}
			var got results.Step
			u.step(&got, begin.Add(time.Duration(tt.from*ms)), begin.Add(time.Duration(tt.to*ms)))
			if diff := cmp.Diff(got, tt.want); diff != "" {
				t.Errorf("got -, want +:\n%s", diff)
			}
		})
	}
}

func machineStep(windowMS, steal int64, pressure float64, delay int64) results.Step {
	return results.Step{WindowNS: number(windowMS * ms), StealNS: &steal, Pressure: &pressure, RunQueueDelayNS: &delay}
}

func number(n int64) *int64 { return &n }

func TestValidity(t *testing.T) {
	setup := scenarios.Setup{Validity: scenarios.Validity{
		LagFloor: 500 * time.Microsecond, StepLag: 20 * time.Millisecond, Achieved: 0.99, Steal: 0.5, RunQueue: 0.25,
	}}
	machine := func(windowMS, steal, delay int64) []results.Step {
		s := machineStep(windowMS, steal, 1, delay)
		s.Do = stepReplace
		return []results.Step{machineStep(200, 0, 0, 0), s}
	}
	for _, tt := range []struct {
		name   string
		change func(*results.Trial)
		want   []string
	}{
		{"nothing to say", func(*results.Trial) {}, nil},
		{"too slow", func(t *results.Trial) { t.AchievedPerSecond = 1900 },
			[]string{"could not keep up: the load sent 1900/s of 2000/s offered; lower load.rate"}},
		{"late", func(t *results.Trial) { t.ScheduleLagP99NS = 2 * ms },
			[]string{"the generator was measured: p99 schedule lag 2ms is over 500µs and over a tenth of p99 response time 5ms"}},
		{"late in a step", func(t *results.Trial) { t.Steps = []results.Step{{Do: stepReplace, ScheduleLagMaxNS: 21 * ms}} },
			[]string{"step 0 (replace): an attempt in its window was sent 21ms late, over 20ms"}},
		{"TIME_WAIT overflow", func(t *results.Trial) { t.Kernel = map[string]int64{"TcpExtTCPTimeWaitOverflow": 12} },
			[]string{"TIME_WAIT overflow: 12 connections skipped it, so stray resets are possible"}},
		{"residual", func(t *results.Trial) { t.Residual = 3 },
			[]string{"the books do not balance: residual 3; 'report --ledger' shows the rows"}},
		{"a step's CPU stolen", func(t *results.Trial) { t.Steps = machine(100, 210*ms, 0) },
			[]string{"the machine stole 210ms of 400ms from the servers' CPUs in the window of step 1 (replace), over a share of 0.5"}},
		{"a share that is borne", func(t *results.Trial) { t.Steps = machine(100, 190*ms, 24*ms) }, nil},
		{"a window too short to tell", func(t *results.Trial) { t.Steps = machine(20, 60*ms, 20*ms) }, nil},
		{"a neighbour in a step", func(t *results.Trial) { t.Steps = machine(100, 0, 30*ms) },
			[]string{"the workers waited 30ms of 100ms for a CPU that something else was using in the window of step 1 (replace), over a share of 0.25"}},
		{"the whole trial", func(t *results.Trial) {
			t.CPU = results.CPU{WatchedNS: number(1000 * ms), StealNS: number(2500 * ms), RunQueueDelayNS: number(400 * ms)}
		}, []string{
			"the machine stole 2.5s of 4s from the servers' CPUs during the trial, over a share of 0.5",
			"the workers waited 400ms of 1s for a CPU that something else was using during the trial, over a share of 0.25",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			trial := &results.Trial{OfferedPerSecond: 2000, AchievedPerSecond: 2000, ResponseNS: &results.Percentiles{P99: 5 * ms}}
			tt.change(trial)
			if diff := cmp.Diff(judgeValidity(setup, 4, trial), tt.want); diff != "" {
				t.Errorf("got -, want +:\n%s", diff)
			}
		})
	}
}

// The last reading comes with end, so that the whole trial is covered.
func TestMachineUseEnds(t *testing.T) {
	clk, err := clock.New()
	if err != nil {
		t.Fatal(err)
	}
	u := &machineUse{clock: clk, workers: func() []*servers.Worker { return nil }}
	if err := u.start(); err != nil {
		t.Fatal(err)
	}
	before := u.clock.Now()
	u.end()
	u.end()
	if last := u.series[len(u.series)-1].at; len(u.series) < 2 || last < before {
		t.Errorf("%d readings, the last at %d; want one after %d", len(u.series), last, before)
	}
	if !slices.IsSortedFunc(u.series, func(a, b reading) int { return int(a.at - b.at) }) {
		t.Error("the readings are not in order")
	}
}
