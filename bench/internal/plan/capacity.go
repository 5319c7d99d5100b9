package plan

import (
	"encoding/json"
	"time"

	"reuseport-bench/scenarios"
)

// The capacity of servers is the rate at which they answer while they always have work. It is
// measured CapacityRepeats times, each time for CapacityDuration, with a closed loop that keeps
// many attempts in flight.
const (
	CapacityRepeats  = 3
	CapacityDuration = 600 * time.Millisecond
)

// CapacityTakes returns the expected duration of measuring the capacity of v's servers.
func (v *Variant) CapacityTakes() time.Duration {
	return CapacityRepeats * (CapacityDuration + trialOverhead + v.startup())
}

// expectedTries is the typical number of rates that a search tries. Estimates of its duration use
// it.
const expectedTries = 9

// Capacities returns the variants whose capacity must be measured, keyed by ServersKey. Of the
// variants that have the same key and a rate that is a share of the capacity, it returns one.
func (p *Scenario) Capacities() map[string]*Variant {
	all := map[string]*Variant{}
	for _, v := range p.Variants {
		if !v.NeedsCapacity() {
			continue
		}
		if key := v.ServersKey(); all[key] == nil || v.Labels.Equal(p.Spec.Baseline) {
			all[key] = v
		}
	}
	return all
}

// NeedsCapacity reports whether the variant's rate is a share of a capacity that is not known yet.
func (v *Variant) NeedsCapacity() bool {
	return v.Load == nil && v.Skipped == "" && v.OfCapacity > 0
}

// ServersKey returns a key that is equal for variants with the same servers and the same kind of
// load, so that these variants share one capacity. The key ignores the rate, the timeline, and how
// sockets are shared, accepted from and closed, and how a third-party server restarts.
func (v *Variant) ServersKey() string {
	s := v.setup
	s.Sockets, s.Accept, s.Selector, s.Canary = "", "", "", 0
	s.Stop, s.Restart, s.Stall, s.Trace, s.QueueDepth = "", "", "", "", ""
	s.Timeline, s.Validity = nil, scenarios.Validity{}
	s.HAProxy, s.Server.Fault = scenarios.HAProxy{}, scenarios.Fault{}
	s.Server.Start.When, s.Server.Cold, s.Server.Grace = "", 0, 0
	s.Server.Listen, s.Server.DeferAccept, s.Server.Users = "", 0, ""
	s.RoundTrip = 0 // capacities are measured without an added round trip
	s.Load = scenarios.LoadSpec{
		Connections: s.Load.Connections, MaxRequests: s.Load.MaxRequests, Lifetime: s.Load.Lifetime,
		IdleTimeout: s.Load.IdleTimeout, Body: s.Load.Body,
	}
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // cannot happen: s is plain data
	}
	return string(text)
}
