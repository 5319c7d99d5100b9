package plan

import (
	"encoding/json"
	"time"

	"reuseport-bench/scenarios"
)

// The capacity of servers is the rate at which they answer while they always have work. It is
// measured by a closed loop of many attempts in flight, for CapacityDuration, CapacityRepeats
// times.
const (
	CapacityRepeats  = 3
	CapacityDuration = 600 * time.Millisecond
)

// CapacityTakes returns the expected duration of the measurement for a variant.
func (v *Variant) CapacityTakes() time.Duration {
	return CapacityRepeats * (CapacityDuration + trialOverhead + v.startup())
}

// expectedTries is the typical number of tries in a search. Estimates of duration use it.
const expectedTries = 9

// Capacities returns the variants whose capacity must be measured, by ServersKey. There is one for
// each set of variants that have the same servers and a load that is a share of the capacity.
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
// load. Such variants get the same rate. Servers are the same even if the variants differ in how
// sockets are shared, accepted from and closed, in how a server of the user's own restarts, in the
// rate, or in the timeline.
func (v *Variant) ServersKey() string {
	s := v.setup
	s.Sockets, s.Accept, s.Selector, s.Canary = "", "", "", 0
	s.Stop, s.Restart, s.Stall, s.Trace, s.QueueDepth = "", "", "", "", ""
	s.Timeline, s.Validity = nil, scenarios.Validity{}
	s.HAProxy, s.Server.Fault = scenarios.HAProxy{}, scenarios.Fault{}
	s.Server.Start.When, s.Server.Cold, s.Server.Grace = "", 0, 0
	s.Server.Listen, s.Server.DeferAccept, s.Server.Users = "", 0, ""
	s.RoundTrip = 0 // a capacity is measured without a round trip
	s.Load = scenarios.LoadSpec{
		Connections: s.Load.Connections, MaxRequests: s.Load.MaxRequests, Lifetime: s.Load.Lifetime,
		IdleTimeout: s.Load.IdleTimeout, Body: s.Load.Body,
	}
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // plain data
	}
	return string(text)
}
