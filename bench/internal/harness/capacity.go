package harness

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
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

// capacityWarmUp is the first part of plan.CapacityDuration. Its answers are not counted.
const capacityWarmUp = 150 * time.Millisecond

// resolve sets the rate of every variant whose load is a share of its capacity. It uses the
// capacity recorded with earlier trials of the run, or else measures the capacity. If a server
// cannot be started, resolve adds its variants to r.unstarted.
func (r *runner) resolve(ctx context.Context, sp *plan.Scenario, out *results.Scenario) error {
	measured := map[string]float64{}
	for i, v := range sp.Variants {
		trials := out.Variants[i].Trials
		if v.Load == nil && len(trials) > 0 && trials[0].CapacityPerSecond != nil {
			measured[v.ServersKey()] = *trials[0].CapacityPerSecond
		}
	}
	for key, v := range sp.Capacities() {
		if measured[key] > 0 || r.unstarted[v] != nil {
			continue
		}
		what := unit.Plural(v.Servers.Workers, "worker")
		if v.Command != nil {
			what = "the server"
		}
		r.note(sp, "measuring the capacity of "+what)
		perSecond, err := measureCapacity(ctx, r.plan, v, r.cfg.Roles)
		r.pace.add(slices.Index(r.plan.Scenarios, sp), -v.CapacityTakes())
		if trial.NotStarted(v, err) != nil && ctx.Err() == nil {
			for _, same := range sp.Variants {
				if same.NeedsCapacity() && same.ServersKey() == key {
					r.unstarted[same] = err
				}
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("measure the capacity of the servers of %s: %w",
				plan.OrNone(v.Labels.String()), err)
		}
		measured[key] = perSecond
	}
	for i, v := range sp.Variants {
		if !v.NeedsCapacity() || r.unstarted[v] != nil {
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

// saturate keeps the variant's servers busy for plan.CapacityDuration. It returns the number of
// requests that they answered per second, and the share of its own CPUs' time that the load used.
func saturate(
	ctx context.Context, p *plan.Plan, v *plan.Variant, roles trial.Roles,
) (perSecond, loadBusy float64, err error) {
	answered := &answers{}
	rig, err := newRig(ctx, p, v, roles, answered)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, rig.Close()) }()
	return driveFlatOut(ctx, rig, p, v, roles, answered)
}

func newRig(
	ctx context.Context, p *plan.Plan, v *plan.Variant, roles trial.Roles, answered *answers,
) (*trial.Rig, error) {
	return trial.NewRig(ctx, trial.RigOptions{
		Roles: roles, Network: v.Network, Servers: v.Servers, Command: v.Command,
		Sysctls: v.Sysctls, CPUs: p.CPUs.Servers, Account: answered.record,
	})
}

// driveFlatOut runs a closed loop against the servers of a rig. It returns the same as saturate. It
// ends the workers of the rig, but not a server of the user's own.
func driveFlatOut(
	ctx context.Context, rig *trial.Rig, p *plan.Plan, v *plan.Variant, roles trial.Roles,
	answered *answers,
) (perSecond, loadBusy float64, err error) {
	if v, err = v.FlatOut(plan.CapacityDuration); err != nil {
		return 0, 0, err
	}
	loads, timeout, sample := v.Load, 10*time.Second, func(*results.Sample) {}
	if v.Command != nil {
		// Where a server's backlog is short, many clients wait for the kernel to send their SYN
		// once more. What they get after the measurement does not matter.
		timeout, sample = plan.CapacityDuration, answered.sample
	}
	for i := range loads {
		loads[i].Timeout, loads[i].Retry = timeout, load.Retry{}
	}
	begin, cpu, err := rig.Drive(ctx, roles.Load, loads, p.CPUs.Load, sample)
	if err == nil && v.Command == nil {
		err = rig.Close() // reads the rest of the journals
	}
	if err != nil {
		return 0, 0, err
	}
	from, to := begin.Add(capacityWarmUp), begin.Add(plan.CapacityDuration)
	n := answered.between(from, to)
	if n == 0 {
		return 0, 0, answered.none(loads[0].Request)
	}
	perSecond = float64(n) / to.Sub(from).Seconds()
	loadBusy = cpu.Seconds() / plan.CapacityDuration.Seconds() / float64(len(loads))
	return perSecond, loadBusy, nil
}

// answers collects the instants at which servers answered: for workers, when they passed their
// responses to the kernel; for a third-party server, when clients had received its responses.
type answers struct {
	mu   sync.Mutex
	all  []clock.Instant
	lost map[string]int // of a server of the user's own: attempts that were not served, by how
}

func (a *answers) record(_ *servers.Worker, r journal.Record) {
	if r.Kind == journal.Answered {
		a.add(r.At)
	}
}

func (a *answers) sample(s *results.Sample) {
	if s.Served() {
		a.add(clock.Instant(s.Done))
		return
	}
	how := s.Class.String()
	if s.Class == results.ClassErrorAnswer {
		how = fmt.Sprintf("status %d", s.Status)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.lost == nil {
		a.lost = map[string]int{}
	}
	a.lost[how]++
}

func (a *answers) add(at clock.Instant) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = append(a.all, at)
}

// An UnservedError is the error of a server that answers, but serves none of the requests.
type UnservedError struct {
	requests int
	path     string
	how      string // in which most of them ended
}

func (e *UnservedError) Error() string {
	return fmt.Sprintf("the server served none of %s for %s; most ended with: %s",
		unit.Plural(e.requests, "request"), e.path, e.how)
}

// none returns the error for servers that have served nothing.
func (a *answers) none(r load.Request) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	most, total := "", 0
	for _, how := range slices.Sorted(maps.Keys(a.lost)) {
		total += a.lost[how]
		if a.lost[how] > a.lost[most] {
			most = how
		}
	}
	if total == 0 {
		return fmt.Errorf("the servers answered nothing in %v", plan.CapacityDuration)
	}
	return &UnservedError{total, cmp.Or(r.Path, "/"), most}
}

// between returns the number of answers in [from, to).
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
