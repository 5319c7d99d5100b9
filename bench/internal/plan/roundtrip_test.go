package plan

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/results"
	"reuseport-bench/scenarios"
)

// Netem delays packets if the kernel has it, and a relay otherwise. If the machine has neither
// netem nor TUN devices, exactly the variants with a round trip are skipped.
func TestPlanRoundTrip(t *testing.T) {
	const trip, half = 25 * time.Millisecond, 12500 * time.Microsecond
	const text = "name: x\nnetwork: veth\nload: {rate: 100/s, duration: 1s}\n" +
		"matrix: [{round_trip: [0s, 25ms]}]\n"
	s, err := scenarios.Parse("f", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	byRelay, relayed := &RoundTrip{trip, results.ByRelay}, netlab.Delay{OneWay: half, Relayed: true}
	for _, test := range []struct {
		name    string
		missing map[string]string
		want    *RoundTrip
		delay   netlab.Delay
		skipped string
	}{
		{"netem", map[string]string{"tun": "no such file"},
			&RoundTrip{trip, results.ByNetem}, netlab.Delay{OneWay: half}, ""},
		{"relay", map[string]string{"netem": "not compiled in"}, byRelay, relayed, ""},
		{"neither", map[string]string{"netem": "not compiled in", "tun": "no such file"},
			byRelay, relayed,
			"round_trip needs one of two: netem: not compiled in; tun: no such file; see 'doctor'"},
	} {
		t.Run(test.name, func(t *testing.T) {
			machine := Machine{CPUs: []int{0, 1}, Missing: test.missing}
			p, err := New([]*scenarios.Scenario{s}, 1, machine, Options{})
			if err != nil {
				t.Fatal(err)
			}
			none, v := p.Scenarios[0].Variants[0], p.Scenarios[0].Variants[1]
			if r := none.RoundTrip; r != nil || r.Whole() != 0 || r.Delay() != (netlab.Delay{}) {
				t.Errorf("without a round trip: got %+v", r)
			}
			if none.Skipped != "" {
				t.Errorf("without a round trip: skipped for %q", none.Skipped)
			}
			if diff := cmp.Diff(v.RoundTrip, test.want); diff != "" {
				t.Errorf("round trip (-got +want):\n%s", diff)
			}
			if v.RoundTrip.Delay() != test.delay || v.Skipped != test.skipped {
				t.Errorf("got delay %+v, skipped for %q; want %+v, %q",
					v.RoundTrip.Delay(), v.Skipped, test.delay, test.skipped)
			}
			var b strings.Builder
			if err := p.Describe(&b); err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(b.String(), ", a round trip of 25ms\n"); n != 1 {
				t.Errorf("%d variants have a round trip, want 1:\n%s", n, b.String())
			}
		})
	}
}
