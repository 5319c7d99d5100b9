package harness

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"reuseport-bench/bench/internal/ledger"
	"reuseport-bench/bench/internal/load"
	"reuseport-bench/bench/internal/plan"
	"reuseport-bench/bench/internal/trial"
	"reuseport-bench/results"
	"reuseport-bench/results/unit"
	"reuseport-bench/servers"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/journal"
)

// capacityWarmUp is the first part of plan.CapacityDuration, which is not counted.
const capacityWarmUp = 150 * time.Millisecond

// resolve sets the rate of every variant whose load is a share of the capacity. It uses the
// capacity recorded with the trials so far, or measures it.
func (r *runner) resolve(ctx context.Context, sp *plan.Scenario, out *results.Scenario) error {
	measured := map[string]float64{}
	for i, v := range sp.Variants {
		trials := out.Variants[i].Trials
		if v.Load == nil && len(trials) > 0 && trials[0].CapacityPerSecond != nil {
			measured[v.ServersKey()] = *trials[0].CapacityPerSecond
		}
	}
	for key, v := range sp.Capacities() {
		if measured[key] > 0 {
			continue
		}
		r.note(sp, "measuring the capacity of "+unit.Plural(v.Servers.Workers, "worker"))
		perSecond, err := measureCapacity(ctx, r.plan, v, r.cfg.Roles)
		if err != nil {
			return fmt.Errorf("measure the capacity of the servers of %s: %w",
				plan.OrNone(v.Labels.String()), err)
		}
		measured[key] = perSecond
		r.pace.add(slices.Index(r.plan.Scenarios, sp), -plan.CapacityTakes)
	}
	for i, v := range sp.Variants {
		if !v.NeedsCapacity() {
			continue
		}
		capacity := measured[v.ServersKey()]
		out.Variants[i].CapacityPerSecond = &capacity
		at, err := v.At(v.OfCapacity * capacity)
		if err != nil {
			return fmt.Errorf("variant %s: %w", v.Labels, err)
		}
		sp.Variants[i] = at
	}
	return nil
}

// measureCapacity returns the median of a few measurements, in responses per second.
func measureCapacity(
	ctx context.Context, p *plan.Plan, v *plan.Variant, roles trial.Roles,
) (float64, error) {
	var all []float64
	for range plan.CapacityRepeats {
		perSecond, loadBusy, err := saturate(ctx, p, v, roles)
		if err != nil {
			return 0, err
		}
		if loadBusy > ledger.LoadBound {
			return 0, fmt.Errorf("the load process was at its limit at %.0f/s, before the servers "+
				"were, so their capacity is unknown; give the servers more work, the load more "+
				"processes or CPUs, or set load.rate to a number", perSecond)
		}
		all = append(all, perSecond)
	}
	slices.Sort(all)
	return all[len(all)/2], nil
}

// saturate keeps the variant's servers busy for plan.CapacityDuration. It returns how many requests
// they answered per second, and the share of its CPUs' time that the load used.
func saturate(
	ctx context.Context, p *plan.Plan, v *plan.Variant, roles trial.Roles,
) (perSecond, loadBusy float64, err error) {
	if v, err = v.FlatOut(plan.CapacityDuration); err != nil {
		return 0, 0, err
	}
	answered := answers{}
	rig, err := trial.NewRig(ctx, trial.RigOptions{
		Init: roles.Init, Worker: roles.Worker, Network: v.Network, Servers: v.Servers,
		Sysctls: v.Sysctls, CPUs: p.CPUs.Servers, Account: answered.record,
	})
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, rig.Close()) }()
	loads := v.Load
	for i := range loads {
		loads[i].Timeout, loads[i].Retry = 10*time.Second, load.Retry{}
	}
	begin, cpu, err := rig.Drive(ctx, roles.Load, loads, p.CPUs.Load, func(*results.Sample) {})
	if err = errors.Join(err, rig.Close()); err != nil {
		return 0, 0, err
	}
	from, to := begin.Add(capacityWarmUp), begin.Add(plan.CapacityDuration)
	n := answered.between(from, to)
	if n == 0 {
		return 0, 0, fmt.Errorf("the servers answered nothing in %v", plan.CapacityDuration)
	}
	perSecond = float64(n) / to.Sub(from).Seconds()
	loadBusy = cpu.Seconds() / plan.CapacityDuration.Seconds() / float64(len(loads))
	return perSecond, loadBusy, nil
}

// answers collects the instants at which workers handed over their responses.
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

// between counts the answers in [from, to).
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
