package report

import (
	"fmt"
	"strings"
	"testing"

	"reuseport-bench/results"
	"reuseport-bench/results/report/reporttest"
	"reuseport-bench/results/summary"
)

// roundTripRun returns a run with three round trips. A restart loses the attempts of one round trip
// at 1000/s. In every second trial it loses one more.
func roundTripRun(by string, relay *results.Relay) *results.Run {
	s := &results.Scenario{Name: "round-trip", MinValid: 1, Trials: 2}
	for _, ms := range []int64{0, 10, 20} {
		trip := fmt.Sprintf("%dms", ms)
		v := &results.Variant{Labels: reporttest.Labels("stop", "drain", "round_trip", trip)}
		for i := range 2 {
			t := reporttest.RestartTrial(i, ms+int64(i), ms+int64(i))
			t.CPU.WatchedNS = new(int64(2e9))
			if ms > 0 {
				t.RoundTrip = &results.RoundTrip{AskedNS: ms * 1e6, By: by, Relay: relay}
			}
			v.Trials = append(v.Trials, t)
		}
		s.Variants = append(s.Variants, v)
	}
	run := &results.Run{SchemaVersion: results.SchemaVersion, Scenarios: []*results.Scenario{s}}
	summary.FillRun(run)
	return run
}

// The report names what delayed the packets, and describes what a relay added and how the losses
// depend on the round trip.
func TestRoundTrip(t *testing.T) {
	relay := &results.Relay{
		Packets: 60_000, ExcessNS: &results.Percentiles{Mean: 60_000, P99: 400_000},
		WaitNS: new(int64(25_000)), CPUNS: new(int64(500e6)),
	}
	const byRelay, byNetem = "A relay of this program delayed", "The kernel delayed packets (netem)"
	// Computed by hand: six points 0.5 off the line, s² = 0.375, Σ(x-x̄)² = 400 ms², t = 2.776.
	const slope = "Dropped per restart over round_trip with stop=drain: 1000 ± 85 for each " +
		"second, 0.5 where there is none (6 trials, least squares, 95 %)."
	for _, test := range []struct {
		name        string
		run         *results.Run
		want, never []string
	}{
		{"relay", roundTripRun(results.ByRelay, relay), []string{
			byRelay, slope,
			// The round trip is longer by 2 × (60 + 25) µs. The next figures are the relay's p99
			// excess, its wait, 60,000 ÷ 6000 packets, and 0.5 ÷ 2 s of CPU time.
			"| round_trip=10ms | 10.2ᵃ | 400ᵃ | 25.0ᵃ | 10.0 | 0.250 |",
			"| round_trip=20ms | 20.2ᵃ |",
		}, []string{byNetem, "round_trip=0ms"}},
		{"netem", roundTripRun(results.ByNetem, nil), []string{byNetem, slope}, []string{byRelay}},
	} {
		t.Run(test.name, func(t *testing.T) {
			out := strings.Join(strings.Fields(reporttest.Printed(t, Markdown, test.run)), " ")
			_, section, found := strings.Cut(out, "### Round trip between clients and servers")
			section, _, _ = strings.Cut(section, "### ")
			if !found {
				t.Fatalf("no section in\n%s", out)
			}
			for _, want := range test.want {
				if !strings.Contains(section, want) {
					t.Errorf("no %q in\n%s", want, section)
				}
			}
			for _, never := range test.never {
				if strings.Contains(section, never) {
					t.Errorf("%q in\n%s", never, section)
				}
			}
		})
	}
}
