package plan

import (
	"time"

	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/results"
	"reuseport-bench/scenarios"
	"reuseport-bench/scenarios/vocabulary"
)

// A RoundTrip is a delay that the lab adds between clients and servers.
type RoundTrip struct {
	Time time.Duration // sum of both directions
	By   string        // the means of delaying packets: results.ByNetem or results.ByRelay
}

// newRoundTrip returns the round trip that a setup adds, or nil if it adds none. It chooses netem
// if the kernel has it, because netem uses less CPU time than a relay and delays packets more
// evenly.
func newRoundTrip(s scenarios.Setup, m Machine) *RoundTrip {
	if s.RoundTrip == 0 {
		return nil
	}
	if _, missing := m.Missing[string(vocabulary.Netem)]; missing {
		return &RoundTrip{s.RoundTrip, results.ByRelay}
	}
	return &RoundTrip{s.RoundTrip, results.ByNetem}
}

// Whole returns the sum of the delays in both directions. For nil it returns 0.
func (r *RoundTrip) Whole() time.Duration {
	if r == nil {
		return 0
	}
	return r.Time
}

// Delay returns the delay in the form of the lab's options. For nil it returns the zero Delay.
func (r *RoundTrip) Delay() netlab.Delay {
	if r == nil {
		return netlab.Delay{}
	}
	return netlab.Delay{OneWay: r.Time / 2, Relayed: r.By == results.ByRelay}
}
