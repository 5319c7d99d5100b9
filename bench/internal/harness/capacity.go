package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"reuseport-bench/bench/internal/load"
	"reuseport-bench/results"
	"reuseport-bench/scenarios"
	"reuseport-bench/servers"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/journal"
)

// The capacity of servers is the rate at which they answer when there is always something to do: a closed
// loop of many attempts in flight, for a while, a few times; the median of those.
const (
	capacityRepeats  = 3
	capacityDuration = 600 * time.Millisecond
	capacityWarmUp   = 150 * time.Millisecond // of the duration, not counted
)

// loadBound is the share of its CPUs' time from which on the load, and not the servers, was what could do no more.
const loadBound = 0.95

// capacities are the variants that a capacity is measured of, one for each kind of servers whose load is a share of
// theirs: variants that differ only in how sockets are listened on and closed, in rate and in timeline have the same
// servers, and get the same rate.
func (p *ScenarioPlan) capacities() map[string]*VariantPlan {
	all := map[string]*VariantPlan{}
	for _, v := range p.Variants {
		if v.Load != nil || v.Skipped != "" || v.Setup.Load.Rate.OfCapacity == 0 {
			continue
		}
		key := serversKey(v.Setup)
		if all[key] == nil || v.Labels.Equal(p.Scenario.Baseline) {
			all[key] = v
		}
	}
	return all
}

// serversKey is the same for setups with the same servers and the same kind of load.
func serversKey(s scenarios.Setup) string {
	s.Sockets, s.Accept, s.Selector, s.Canary, s.Stop, s.Stall, s.Timeline, s.Validity = "", "", "", 0, "", "", nil, scenarios.Validity{}
	s.Trace, s.HAProxy, s.Server.Cold, s.Server.Fault = "", scenarios.HAProxy{}, 0, scenarios.Fault{}
	s.Load = scenarios.OpenLoad{Connections: s.Load.Connections, Body: s.Load.Body}
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // plain data
	}
	return string(text)
}

// resolve gives every variant of a scenario whose load is a share of the capacity its rate: as it was in the trials
// there are already, or measured now.
func (r *runner) resolve(ctx context.Context, sp *ScenarioPlan, out *results.Scenario) error {
	measured := map[string]float64{}
	for i, v := range sp.Variants {
		if trials := out.Variants[i].Trials; v.Load == nil && len(trials) > 0 && trials[0].CapacityPerSecond != nil {
			measured[serversKey(v.Setup)] = *trials[0].CapacityPerSecond
		}
	}
	for key, v := range sp.capacities() {
		if measured[key] > 0 {
			continue
		}
		r.note(sp, "measuring the capacity of "+results.Plural(v.Servers.Workers, "worker"))
		perSecond, err := measureCapacity(ctx, r.plan, v, r.cfg.Roles)
		if err != nil {
			return fmt.Errorf("capacity of the servers of %s: %w", orNone(v.Labels.String()), err)
		}
		measured[key] = perSecond
	}
	for i, v := range sp.Variants {
		if v.Load != nil || v.Skipped != "" || v.Setup.Load.Rate.OfCapacity == 0 {
			continue
		}
		capacity := measured[serversKey(v.Setup)]
		out.Variants[i].CapacityPerSecond = &capacity
		at, err := v.At(v.Setup.Load.Rate.OfCapacity * capacity)
		if err != nil {
			return fmt.Errorf("variant %s: %w", v.Labels, err)
		}
		sp.Variants[i] = at
	}
	return nil
}

// measureCapacity measures a few times and returns the median, in responses per second.
func measureCapacity(ctx context.Context, p *Plan, v *VariantPlan, roles Roles) (float64, error) {
	var all []float64
	for range capacityRepeats {
		perSecond, loadBusy, err := saturate(ctx, p, v, roles)
		if err != nil {
			return 0, err
		}
		if loadBusy > loadBound {
			return 0, fmt.Errorf("the load could do no more than %.0f/s, while the servers could: a share of that says nothing about them; give the servers more work, the load more processes or CPUs, or load.rate a number", perSecond)
		}
		all = append(all, perSecond)
	}
	slices.Sort(all)
	return all[len(all)/2], nil
}

// saturate keeps the variant's servers busy for a while and returns how many requests they answered per second, and
// which share of its CPUs' time the load took for it.
func saturate(ctx context.Context, p *Plan, v *VariantPlan, roles Roles) (perSecond, loadBusy float64, err error) {
	busy := *v
	busy.Setup.Load.Pace, busy.Setup.Load.Duration = string(load.Constant), capacityDuration
	if v, err = busy.At(unreachable); err != nil {
		return 0, 0, err
	}
	answered := answers{}
	rig, err := newRig(ctx, roles, v, v.Sysctls, p.ServerCPUs, answered.record)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, rig.close()) }()
	loads := v.Load
	for i := range loads {
		// Enough that a worker that gets less than its share of the connections has one all the same.
		loads[i].InFlight = max(64, 16*v.Servers.Workers) / len(loads)
		loads[i].Timeout, loads[i].Retry = 10*time.Second, load.Retry{}
	}
	begin, cpu, err := rig.drive(ctx, roles.Load, loads, p.LoadCPUs, func(*results.Sample) {})
	if err = errors.Join(err, rig.close()); err != nil {
		return 0, 0, err
	}
	from, to := begin.Add(capacityWarmUp), begin.Add(capacityDuration)
	n := answered.between(from, to)
	if n == 0 {
		return 0, 0, fmt.Errorf("the servers answered nothing in %v", capacityDuration)
	}
	return float64(n) / to.Sub(from).Seconds(), cpu.Seconds() / capacityDuration.Seconds() / float64(len(loads)), nil
}

// answers are the instants at which workers handed responses over.
type answers struct {
	mu  sync.Mutex
	all []clock.Instant
}

func (a *answers) record(_ *servers.Worker, r journal.Record) {
	if r.Kind != journal.Answered {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = append(a.all, r.At)
}

func (a *answers) between(from, to clock.Instant) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, at := range a.all {
		if from <= at && at < to {
			n++
		}
	}
	return n
}
