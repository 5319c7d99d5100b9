package harness

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/scenarios"
)

// What attempts meet, over time: the share of pods where nobody listens, all where there is none,
// and again when a rejected SYN is repeated.
func TestExpect(t *testing.T) {
	always := routedPod{listens: -9 * ms, gone: never, routed: []span{{-8 * ms, 250 * ms}, {400 * ms, never}}}
	three := &routes{pods: []routedPod{
		{listens: -9 * ms, gone: 100 * ms, routed: []span{{-8 * ms, 300 * ms}}}, // dead from 100, alone from 250
		always,
		{listens: 460 * ms, gone: never, routed: []span{{450 * ms, never}}}, // dead for 10 ms, one of two
	}}
	// One pod closes at 1000 ms and the rules leave it out 14 ms later; its successor listens at
	// back, and rules lead there.
	replaced := func(back int64) *routes {
		return &routes{pods: []routedPod{
			{listens: -9 * ms, gone: 1000 * ms, routed: []span{{-8 * ms, 1014 * ms}}},
			{listens: back * ms, gone: never, routed: []span{{back * ms, never}}},
		}}
	}
	const impatient, patient = 900 * time.Millisecond, 3 * time.Second
	tests := []struct {
		name     string
		routes   *routes
		from, to int64
		patience time.Duration
		want     expected
	}{
		// Half of 150 ms, all of 50, nobody for 100, half of 10.
		{"three pods", three, 0, 1000 * ms, impatient, expected{dead: 230e6, nowhere: 100e6, lost: 230e6}},
		{"a part of it", three, 200 * ms, 350 * ms, impatient, expected{dead: 125e6, nowhere: 50e6, lost: 125e6}},
		// What was rejected is repeated when both pods are alive; silence and refusals stay.
		{"three pods, patient", three, 0, 1000 * ms, patient, expected{dead: 230e6, nowhere: 100e6, lost: 130e6}},
		{"600 ms", replaced(1620), 1000 * ms, 5000 * ms, impatient, expected{dead: 620e6, nowhere: 606e6, lost: 620e6}},
		{"600 ms, patient", replaced(1620), 1000 * ms, 5000 * ms, patient, expected{dead: 620e6, nowhere: 606e6, lost: 14e6}},
		{"1500 ms", replaced(2520), 1000 * ms, 5000 * ms, impatient, expected{dead: 1520e6, nowhere: 1506e6, lost: 1520e6}},
		// Those of the first 1506 − 1020 ms find no pod a second time.
		{"1500 ms, patient", replaced(2520), 1000 * ms, 5000 * ms, patient,
			expected{dead: 1520e6, nowhere: 1506e6, again: 486e6, lost: 500e6}},
		// However long it lasts, the second rejection ends it.
		{"3500 ms, patient", replaced(4520), 1000 * ms, 5000 * ms, patient,
			expected{dead: 3520e6, nowhere: 3506e6, again: 2486e6, lost: 2500e6}},
		// The repetitions of what came from 1014 to 1114 ms meet a pod of two that does not listen
		// yet.
		{"early", &routes{pods: []routedPod{
			{listens: -9 * ms, gone: 1014 * ms, routed: []span{{-8 * ms, 1014 * ms}}},
			{listens: 1114 * ms, gone: never, routed: []span{{1114 * ms, never}}},
			{listens: 2134 * ms, gone: never, routed: []span{{1114 * ms, never}}},
		}}, 1000 * ms, 5000 * ms, patient, expected{dead: 610e6, nowhere: 100e6, lost: 560e6}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := test.routes.expect(test.from, test.to, test.patience)
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(expected{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// What cannot be predicted is not, and the reason is given.
func TestPredict(t *testing.T) {
	r := &routes{pods: []routedPod{
		{listens: -9e6, gone: 1000e6, routed: []span{{-8e6, 1014e6}}},
		{listens: 2520e6, gone: never, routed: []span{{2520e6, never}}},
	}}
	// The pod that is left takes what comes: there is always one.
	covered := &routes{pods: append([]routedPod{{listens: -9e6, gone: never, routed: []span{{-8e6, never}}}}, r.pods[0])}
	tests := []struct {
		name    string
		routes  *routes
		rate    float64
		set     func(*scenarios.OpenLoad)
		want    float64
		unknown string
	}{
		{"impatient", r, 500, func(*scenarios.OpenLoad) {}, 500 * 1.520, ""},
		{"patient", r, 500, func(l *scenarios.OpenLoad) { l.Timeout = 3 * time.Second }, 500 * (0.014 + 0.486), ""},
		{"about as patient as the kernel", r, 500, func(l *scenarios.OpenLoad) { l.Timeout = time.Second }, 0, "load.timeout of 1s"},
		{"the same where there is always a pod", covered, 500, func(l *scenarios.OpenLoad) { l.Timeout = time.Second }, 500 * 0.014 / 2, ""},
		{"more rejections than the kernel sends", r, 501, func(l *scenarios.OpenLoad) { l.Timeout = 3 * time.Second }, 0, "icmp_msgs_per_sec"},
		{"the same, impatient", r, 1000, func(*scenarios.OpenLoad) {}, 1000 * 1.520, ""},
		{"kept connections", r, 500, func(l *scenarios.OpenLoad) { l.Connections = "reused" }, 0, "kept"},
		{"retries", r, 500, func(l *scenarios.OpenLoad) { l.Retry.Max = 1 }, 0, "try again"},
		{"a ramp", r, 500, func(l *scenarios.OpenLoad) { l.Pace = "ramp" }, 0, "rate changes"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := scenarios.OpenLoad{Connections: "new", Pace: "constant", Timeout: 900 * time.Millisecond}
			test.set(&l)
			got, unknown := test.routes.predict(l, test.rate, 1000e6, 5000e6)
			if got-test.want > 1e-6 || test.want-got > 1e-6 {
				t.Errorf("%v lost, want %v", got, test.want)
			}
			if (unknown == "") != (test.unknown == "") || !strings.Contains(unknown, test.unknown) {
				t.Errorf("not predicted: %q, want %q", unknown, test.unknown)
			}
		})
	}
}
