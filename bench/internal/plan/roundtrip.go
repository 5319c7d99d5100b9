package plan

import (
	"time"

	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/results"
	"reuseport-bench/scenarios"
	"reuseport-bench/scenarios/vocabulary"
)

// A RoundTrip is added between clients and servers.
type RoundTrip struct {
	Time time.Duration // of both ways together
	By   string        // who delays the packets: results.ByNetem or results.ByRelay
}

// newRoundTrip returns the round trip of a setup; nil where it adds none. Netem delays wherever the
// kernel has it: it costs less, and delays more evenly.
func newRoundTrip(s scenarios.Setup, m Machine) *RoundTrip {
	if s.RoundTrip == 0 {
		return nil
	}
	if _, missing := m.Missing[string(vocabulary.Netem)]; missing {
		return &RoundTrip{s.RoundTrip, results.ByRelay}
	}
	return &RoundTrip{s.RoundTrip, results.ByNetem}
}

// Whole returns the time of both ways together; 0 of nil.
func (r *RoundTrip) Whole() time.Duration {
	if r == nil {
		return 0
	}
	return r.Time
}

// Delay returns what the lab does to packets.
func (r *RoundTrip) Delay() netlab.Delay {
	if r == nil {
		return netlab.Delay{}
	}
	return netlab.Delay{OneWay: r.Time / 2, Relayed: r.By == results.ByRelay}
}
