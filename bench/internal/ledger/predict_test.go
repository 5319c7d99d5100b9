package ledger

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/bench/internal/load"
	"reuseport-bench/scenarios/vocabulary"
)

// expect adds up the times during which attempts find no listener. It takes into account that
// clients repeat rejected SYNs.
func TestExpect(t *testing.T) {
	always := Pod{
		Listens: -9 * ms, Gone: Never, Routed: []Span{{-8 * ms, 250 * ms}, {400 * ms, Never}},
	}
	three := &Routes{Pods: []Pod{
		// This pod is dead from 100 ms on. From 250 ms on it is the only pod to which clients are
		// sent.
		{Listens: -9 * ms, Gone: 100 * ms, Routed: []Span{{-8 * ms, 300 * ms}}},
		always,
		// This pod is dead for 10 ms, while it is one of two pods.
		{Listens: 460 * ms, Gone: Never, Routed: []Span{{450 * ms, Never}}},
	}}
	// One pod closes its listener at 1000 ms, and is removed from the rules 14 ms later. At the
	// instant back (in ms), its successor begins to listen and is added to the rules.
	replaced := func(back Time) *Routes {
		return &Routes{Pods: []Pod{
			{Listens: -9 * ms, Gone: 1000 * ms, Routed: []Span{{-8 * ms, 1014 * ms}}},
			{Listens: back * ms, Gone: Never, Routed: []Span{{back * ms, Never}}},
		}}
	}
	const impatient, patient = 900 * time.Millisecond, 3 * time.Second
	tests := []struct {
		name     string
		routes   *Routes
		from, to Time
		timeout  time.Duration
		want     expected
	}{
		// Half of the pods are dead for 150 ms, and all of them for 50 ms. Then there are no pods
		// for 100 ms. Later, half of the pods are dead for 10 ms.
		{"three pods", three, 0, 1000 * ms, impatient, expected{dead: 230e6, nowhere: 100e6, lost: 230e6}},
		{"a part of it", three, 200 * ms, 350 * ms, impatient, expected{dead: 125e6, nowhere: 50e6, lost: 125e6}},
		// Both pods listen when rejected SYNs are repeated. Refusals and silence are final.
		{"three pods, patient", three, 0, 1000 * ms, patient, expected{dead: 230e6, nowhere: 100e6, lost: 130e6}},
		{"600 ms", replaced(1620), 1000 * ms, 5000 * ms, impatient, expected{dead: 620e6, nowhere: 606e6, lost: 620e6}},
		{"600 ms, patient", replaced(1620), 1000 * ms, 5000 * ms, patient, expected{dead: 620e6, nowhere: 606e6, lost: 14e6}},
		{"1500 ms", replaced(2520), 1000 * ms, 5000 * ms, impatient, expected{dead: 1520e6, nowhere: 1506e6, lost: 1520e6}},
		// SYNs of the first 1506 − 1020 = 486 ms find no pod when they are repeated, either.
		{"1500 ms, patient", replaced(2520), 1000 * ms, 5000 * ms, patient,
			expected{dead: 1520e6, nowhere: 1506e6, nowhereTwice: 486e6, lost: 500e6}},
		// However long there is no pod, a second rejection is final.
		{"3500 ms, patient", replaced(4520), 1000 * ms, 5000 * ms, patient,
			expected{dead: 3520e6, nowhere: 3506e6, nowhereTwice: 2486e6, lost: 2500e6}},
		// SYNs from 1014 to 1114 ms are repeated when one of two pods does not listen yet.
		{"early", &Routes{Pods: []Pod{
			{Listens: -9 * ms, Gone: 1014 * ms, Routed: []Span{{-8 * ms, 1014 * ms}}},
			{Listens: 1114 * ms, Gone: Never, Routed: []Span{{1114 * ms, Never}}},
			{Listens: 2134 * ms, Gone: Never, Routed: []Span{{1114 * ms, Never}}},
		}}, 1000 * ms, 5000 * ms, patient, expected{dead: 610e6, nowhere: 100e6, lost: 560e6}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := test.routes.expect(test.from, test.to, test.timeout)
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(expected{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Predict returns a number, or the reason why there is none.
func TestPredict(t *testing.T) {
	r := &Routes{Pods: []Pod{
		{Listens: -9 * ms, Gone: 1000 * ms, Routed: []Span{{-8 * ms, 1014 * ms}}},
		{Listens: 2520 * ms, Gone: Never, Routed: []Span{{2520 * ms, Never}}},
	}}
	// There is another pod all the time.
	other := Pod{Listens: -9 * ms, Gone: Never, Routed: []Span{{-8 * ms, Never}}}
	covered := &Routes{Pods: []Pod{other, r.Pods[0]}}
	patient := func(l *Load) { l.Timeout = 3 * time.Second }
	tests := []struct {
		name    string
		routes  *Routes
		rate    float64
		set     func(*Load)
		want    float64
		unknown string
	}{
		{"impatient", r, 500, func(*Load) {}, 500 * 1.520, ""},
		{"patient", r, 500, patient, 500 * (0.014 + 0.486), ""},
		{"about as patient as the kernel", r, 500, func(l *Load) { l.Timeout = time.Second }, 0, "load.timeout of 1s"},
		{"the same with a second pod", covered, 500, func(l *Load) { l.Timeout = time.Second }, 500 * 0.014 / 2, ""},
		{"more rejections than the kernel sends", r, 501, patient, 0, "icmp_msgs_per_sec"},
		{"the same, impatient", r, 1000, func(*Load) {}, 1000 * 1.520, ""},
		{"kept connections", r, 500, reuses, 0, "kept"},
		{"retries", r, 500, func(l *Load) { l.Tries = 2 }, 0, "try again"},
		{"a ramp", r, 500, func(l *Load) { l.Shape.Pace, l.Shape.From = vocabulary.PaceRamp, l.Shape.Rate }, 0, "rate changes"},
		{"stages", r, 500, func(l *Load) {
			l.Shape.Stages = []load.Stage{{From: 500, Rate: 500, Duration: l.Shape.Duration}}
		}, 0, "rate changes"},
		{"a closed loop", r, 500, func(l *Load) {
			l.Shape.Clients, l.Shape.Rate = 5, 0
		}, 0, "closed loop"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := testBook(t, 5000, func(l *Load) {
				l.Shape.Rate, l.Timeout = test.rate, 900*time.Millisecond
				test.set(l)
			})
			a := b.Close(&Facts{
				Duration: 5 * time.Second, Routes: test.routes,
				Steps: []Step{step(1000*ms, "rolling-update")},
			})
			got, unknown := a.Predict(0)
			if got-test.want > 1e-6 || test.want-got > 1e-6 {
				t.Errorf("predicted %v lost, want %v", got, test.want)
			}
			if (unknown == "") != (test.unknown == "") || !strings.Contains(unknown, test.unknown) {
				t.Errorf("not predicted because %q, want %q", unknown, test.unknown)
			}
		})
	}
}
