package watch

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/results"
	"reuseport-bench/servers"
	"reuseport-bench/servers/clock"
)

const ms = int64(time.Millisecond)

// begin is the instant of the first attempt in these tests.
const begin = clock.Instant(1_000_000_000)

func TestForeignDelay(t *testing.T) {
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
			if got := foreignDelay(tt.each); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// watched is a machine that from 100 ms on steals half of the time and keeps a worker waiting for a
// quarter.
func watched() *Machine {
	u := &Machine{hasSteal: true, hasPressure: true, hasDelay: true}
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
		change   func(*Machine)
		want     results.Step
	}{
		{"before", 10, 90, nil, machineStep(80, 0, 0, 0)},
		{"between two readings", 105, 115, nil, machineStep(10, 5*ms, 1, 25*ms/10)},
		{"half of it", 50, 150, nil, machineStep(100, 25*ms, 0.5, 125*ms/10)},
		{"no longer than the watched part", 0, 300, nil, machineStep(200, 50*ms, 0.5, 25*ms)},
		{"past the end", 290, 400, nil, machineStep(110, 5*ms, 10./110, 25*ms/10)},
		{"after the end", 400, 390, nil, results.Step{}},
		{"the kernel says nothing", 0, 100, func(u *Machine) { *u = Machine{series: u.series} }, results.Step{WindowNS: number(100 * ms)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u := watched()
			if tt.change != nil {
				tt.change(u)
			}
			var got results.Step
			u.Step(&got, begin.Add(time.Duration(tt.from*ms)), begin.Add(time.Duration(tt.to*ms)))
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

// The last reading comes with Stop, so that the whole trial is covered.
func TestMachineStops(t *testing.T) {
	clock, err := clock.New()
	if err != nil {
		t.Fatal(err)
	}
	none := func() []*servers.Worker { return nil }
	u, err := StartMachine(MachineOptions{Clock: clock, Workers: none, Parked: none})
	if err != nil {
		t.Fatal(err)
	}
	before := clock.Now()
	u.Stop()
	u.Stop()
	if last := u.series[len(u.series)-1].at; len(u.series) < 2 || last < before {
		t.Errorf("%d readings, the last at %d; want one after %d", len(u.series), last, before)
	}
	if !slices.IsSortedFunc(u.series, func(a, b reading) int { return int(a.at - b.at) }) {
		t.Error("the readings are not in order")
	}
}
