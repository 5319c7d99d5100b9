package scenarios

import (
	"testing"
	"time"
)

// A lag is formatted in the form in which it was read, and has the right typical and long
// durations.
func TestLag(t *testing.T) {
	tests := []struct {
		text, want    string
		typical, long time.Duration
	}{
		{"0s", "0s", 0, 0},
		{"100ms", "100ms", 100 * time.Millisecond, 100 * time.Millisecond},
		{"uniform(10ms .. 1s)", "uniform(10ms..1s)", 505 * time.Millisecond, time.Second},
		{"exponential(100ms)", "exponential(100ms)", 100 * time.Millisecond, 700 * time.Millisecond},
		{"lognormal(25ms..1s)", "lognormal(25ms..1s)", 25 * time.Millisecond, 2 * time.Second},
	}
	for _, test := range tests {
		file := head + "network: cluster\npath: service\nkube: {rules_lag: " + test.text + "}\n"
		s, err := Parse("f", []byte(file))
		if err != nil {
			t.Errorf("%s: %v", test.text, err)
			continue
		}
		lag := s.Kube.RulesLag
		got, typical, long := lag.String(), lag.Typical(), lag.Long()
		if got != test.want || typical != test.typical || long != test.long {
			t.Errorf("%s: %s, typical %v, long %v; want %s, %v, %v", test.text, got, typical, long,
				test.want, test.typical, test.long)
		}
	}
}
