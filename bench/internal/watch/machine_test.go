package watch

import (
	"context"
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
		{
			"two that keep each other waiting",
			[]kernel.Sched{{Run: 10 * ms, Delay: 10 * ms}, {Run: 10 * ms, Delay: 10 * ms}},
			0,
		},
		{"one and another program", []kernel.Sched{{Run: 10 * ms, Delay: 10 * ms}}, 10 * ms},
		{
			"two and another program, a third each",
			[]kernel.Sched{{Run: 7 * ms, Delay: 14 * ms}, {Run: 7 * ms, Delay: 14 * ms}},
			7 * ms,
		},
		{
			"two that need little, and another program",
			[]kernel.Sched{{Run: 1 * ms, Delay: 15 * ms}, {Run: 1 * ms, Delay: 12 * ms}},
			14 * ms,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := foreignDelay(tt.each); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// watched returns a Machine that has taken readings for 300 ms. From 100 ms on, the hypervisor took
// half of the CPU time, and a worker waited for a quarter of the time.
func watched() *Machine {
	u := &Machine{hasSteal: true, hasPressure: true, hasDelay: true}
	for i := range 16 {
		after := time.Duration(max(0, i-5)) * 20 * time.Millisecond
		u.series = append(u.series, reading{
			at:    begin.Add(time.Duration(i) * 20 * time.Millisecond),
			steal: after / 2, stalled: after, delayed: after / 4,
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
		{"longer than watchWindow", 0, 300, nil, machineStep(200, 50*ms, 0.5, 25*ms)},
		{"past the end", 290, 400, nil, machineStep(110, 5*ms, 10./110, 25*ms/10)},
		{"after the end", 400, 390, nil, results.Step{}},
		{
			"the kernel has no figures", 0, 100,
			func(u *Machine) { *u = Machine{series: u.series} },
			results.Step{WindowNS: number(100 * ms)},
		},
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

// The figures between two readings are differences. A figure that is unknown is null.
func TestMachineWindows(t *testing.T) {
	at := func(i clock.Instant) int64 { return int64(i.Sub(begin)) }
	u := watched()
	u.series = u.series[3:8] // at 60 to 140 ms
	want := &results.MachineWindows{
		EdgesNS:         []int64{60 * ms, 80 * ms, 100 * ms, 120 * ms, 140 * ms},
		StealNS:         []int64{0, 0, 10 * ms, 10 * ms},
		RunQueueDelayNS: []int64{0, 0, 5 * ms, 5 * ms},
	}
	if diff := cmp.Diff(u.Windows(at), want); diff != "" {
		t.Errorf("got -, want +:\n%s", diff)
	}
	u.hasSteal, u.hasDelay = false, false
	want.StealNS, want.RunQueueDelayNS = nil, nil
	if diff := cmp.Diff(u.Windows(at), want); diff != "" {
		t.Errorf("unknown: got -, want +:\n%s", diff)
	}
	if u.series = u.series[:1]; u.Windows(at) != nil {
		t.Error("one reading has windows")
	}
}

func machineStep(windowMS, steal int64, pressure float64, delay int64) results.Step {
	return results.Step{
		WindowNS: number(windowMS * ms), StealNS: &steal, Pressure: &pressure,
		RunQueueDelayNS: &delay,
	}
}

func number(n int64) *int64 { return &n }

// TestLooks checks that there are looks at the start, at the end, around each step, and at least
// ten times a second.
func TestLooks(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		name     string
		duration time.Duration
		steps    []time.Duration
		want     []look
	}{
		{"no step", 240 * ms, nil, []look{
			{0, false}, {80 * ms, false}, {160 * ms, false}, {240 * ms, true},
		}},
		{"shorter than a gap", 10 * ms, nil, []look{{0, false}, {10 * ms, true}}},
		{"a step", 350 * ms, []time.Duration{105 * ms}, []look{
			{0, false}, {100 * ms, true}, {168333333, false}, {236666666, false},
			{305 * ms, true}, {350 * ms, true},
		}},
		{"a step at once and one at the end", 100 * ms, []time.Duration{0, 99 * ms}, []look{
			{0, true}, {100 * ms, true},
		}},
		{"windows that touch", 500 * ms, []time.Duration{100 * ms, 300 * ms}, []look{
			{0, false}, {95 * ms, true}, {195 * ms, false}, {295 * ms, true},
			{363333333, false}, {431666666, false}, {500 * ms, true},
		}},
		{"many steps", 100 * ms, []time.Duration{30 * ms, 40 * ms, 50 * ms, 60 * ms}, []look{
			{0, false}, {25 * ms, true}, {45 * ms, true}, {100 * ms, true},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := looks(tt.duration, tt.steps)
			if diff := cmp.Diff(got, tt.want, cmp.AllowUnexported(look{})); diff != "" {
				t.Errorf("got -, want +:\n%s", diff)
			}
		})
	}
}

// TestMachineWatches checks that Watch starts and ends with a reading, even if it is interrupted,
// and counts its own cost.
func TestMachineWatches(t *testing.T) {
	clock, err := clock.New()
	if err != nil {
		t.Fatal(err)
	}
	none := func() []*servers.Worker { return nil }
	reads := 0
	u := NewMachine(MachineOptions{
		Clock: clock, Workers: none, Parked: none, Meter: &Meter{},
		Counters: func() (kernel.Counters, error) {
			reads++
			return kernel.Counters{"TcpExtListenOverflows": int64(10 * reads)}, nil
		},
	})
	if err := u.Rest(); err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	for name, ctx := range map[string]context.Context{
		"to its end": t.Context(), "interrupted": ended,
	} {
		reads = 0
		before := clock.Now()
		u.Watch(ctx, before, 60*time.Millisecond, []time.Duration{30 * time.Millisecond})
		last := u.series[len(u.series)-1].at
		if name == "to its end" && (len(u.series) < 2 || last < before.Add(60*time.Millisecond)) {
			t.Errorf("%s: %d readings, the last %v after the start; want 2 or more, and 60ms",
				name, len(u.series), last.Sub(before))
		}
		if !slices.IsSortedFunc(u.series, func(a, b reading) int { return int(a.at - b.at) }) {
			t.Errorf("%s: the readings are not in order", name)
		}
		moved := int64(0)
		start := kernel.Counters{"TcpExtListenOverflows": 5}
		for _, c := range u.Counted(start, func(i clockInstant) int64 { return int64(i) }) {
			moved += c.Overflows
		}
		if want := int64(10*reads - 5); reads == 0 || moved != want {
			t.Errorf("%s: %d overflows in %d readings, want %d", name, moved, reads, want)
		}
	}
	var use results.CPU
	u.Watch(t.Context(), clock.Now(), 60*time.Millisecond, []time.Duration{30 * time.Millisecond})
	u.Trial(&use)
	if use.HarnessNS == nil || *use.WatchNS <= 0 || *use.WatchedNS < int64(60*time.Millisecond) {
		t.Errorf("got %+v; want some cost, and 60ms watched", use)
	}
}

type clockInstant = clock.Instant // because the test has a variable called clock

// TestAwake checks that a delay longer than the time since the last look is not counted, because
// the kernel may count the sleep of a parked process as a wait for a CPU.
func TestAwake(t *testing.T) {
	const ms = time.Millisecond
	got := awake([]kernel.Sched{{Run: ms, Delay: 757 * ms}, {Run: 2 * ms, Delay: 60 * ms}}, 100*ms)
	want := []kernel.Sched{{Run: ms}, {Run: 2 * ms, Delay: 60 * ms}}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
}
