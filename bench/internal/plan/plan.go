// Package plan decides what a run will do before it begins: which trials, in which order, on which
// CPUs, and for every variant how each process is configured. It is a pure function of scenarios,
// seed and machine. What comes after it consults no scenario.
package plan

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"reuseport-bench/bench/internal/gates"
	"reuseport-bench/results"
	"reuseport-bench/results/compare"
	"reuseport-bench/scenarios"
)

// A Plan is everything a run will do, decided before it begins: a pure function of scenarios, seed
// and machine.
type Plan struct {
	Seed      uint64
	Machine   Machine
	CPUs      Placement // while the load runs
	Scenarios []*Scenario
}

// A Scenario is a scenario's variants and the order of their trials.
type Scenario struct {
	Spec     *scenarios.Scenario
	Variants []*Variant
	Trials   []Trial // in order
	// MinValid is how many valid trials of a variant the gates need: the scenario's min_valid, but
	// no more than the trials that were asked for. Options.Budget does not lower it.
	MinValid int
	// Looks are the numbers of blocks at which the gates are looked at, to see whether more are
	// needed. Nil: the trials are what they are. Trials are those up to the first of them.
	Looks []int
	// Budget is how long the scenario may take in all while blocks are added.
	Budget time.Duration

	further []Trial // beyond Trials, up to the last look
}

// Validity returns the limits of the scenario's trials. It returns false where the matrix varies
// them.
func (s *Scenario) Validity() (limits scenarios.Validity, same bool) {
	for i, v := range s.Variants {
		if i > 0 && v.Validity != limits {
			return limits, false
		}
		limits = v.Validity
	}
	return limits, true
}

// A Trial is one trial to be run.
type Trial struct {
	Variant int // index into Scenario.Variants
	Block   int
}

// Options of New. The zero value changes nothing.
type Options struct {
	// Trials replaces the scenarios' number of blocks.
	Trials int
	// Only keeps the variants whose labels include these.
	Only scenarios.Labels
	// Budget, per scenario, reduces the blocks so that it is expected to end within it, but not
	// below one. With fewer than the scenario's gates need, they stay undecided.
	Budget time.Duration
	// Auto adds blocks, at the looks of AutoLooks, until every gate is decided or AutoBudget is
	// used up. A scenario without gates is an error.
	Auto bool
	// AutoBudget is per scenario.
	AutoBudget time.Duration
	// Resume is an unfinished run to go on with. What is planned are its variants, blocks and looks
	// instead of what the options above say, and its budget unless AutoBudget is another. Its seed
	// is not looked at.
	Resume *results.Run
}

// AutoLooks returns the numbers of blocks at which gates are looked at when blocks are added until
// they are decided. Each look could decide wrongly, so each is allowed only its share of the error
// (Bonferroni): few looks, each half as far again as the one before.
func AutoLooks() []int { return []int{12, 18, 27, 40, 60, 90} }

// trialOverhead is what a trial takes beside its load: lab, processes, the last stop.
const trialOverhead = 250 * time.Millisecond

// New plans the scenarios. It fails when nothing is left to do.
func New(all []*scenarios.Scenario, seed uint64, m Machine, o Options) (*Plan, error) {
	if len(m.CPUs) == 0 {
		return nil, fmt.Errorf("plan: no CPU is usable")
	}
	if o.Resume != nil {
		began := o.Resume.Environment
		m.Wanted = Placement{Load: began.LoadCPUs, Servers: began.ServerCPUs, Harness: began.HarnessCPUs}
		for _, cpu := range slices.Concat(began.LoadCPUs, began.ServerCPUs, began.HarnessCPUs) {
			if !slices.Contains(m.CPUs, cpu) {
				return nil, fmt.Errorf("the run began on CPU %d, which cannot be used now; make it available again, or start a new run", cpu)
			}
		}
	}
	m.Wanted = m.Place()
	p := &Plan{Seed: seed, Machine: m, CPUs: m.Wanted}
	for _, s := range all {
		sp, err := planScenario(s, seed, m, o)
		if err != nil {
			return nil, err
		}
		if len(sp.Variants) > 0 {
			p.Scenarios = append(p.Scenarios, sp)
		}
	}
	if len(p.Scenarios) == 0 {
		return nil, fmt.Errorf("no variant has the labels %q; 'show NAME' lists a scenario's variants", o.Only)
	}
	return p, nil
}

func planScenario(s *scenarios.Scenario, seed uint64, m Machine, o Options) (*Scenario, error) {
	p := &Scenario{Spec: s}
	var stored *results.Scenario
	if o.Resume != nil {
		stored = o.Resume.Scenario(s.Name)
		if stored == nil || stored.SHA256 != s.SHA256 {
			return nil, fmt.Errorf("scenario %s is not what it was when the run began; "+
				"put its file back, or start a new run", s.Name)
		}
		o.Trials, o.Auto, o.Only = stored.Trials, len(stored.Looks) > 0, nil
		o.AutoBudget, o.Budget = cmp.Or(o.AutoBudget, time.Duration(stored.BudgetNS)), 0
	}
	if o.Auto && len(s.Gates) == 0 {
		return nil, fmt.Errorf("scenario %s has no gates, so nothing says when its trials are enough; "+
			"give their number", s.Name)
	}
	var block time.Duration
	timeline := steps(s)
	for _, v := range withControl(s) {
		if !v.Labels.Includes(o.Only) || stored != nil && stored.Variant(v.Labels) == nil {
			continue
		}
		vp, err := newVariant(v, timeline, m)
		if err != nil {
			return nil, fmt.Errorf("scenario %s, variant %s: %w", s.Name, v.Labels, err)
		}
		p.Variants = append(p.Variants, vp)
		if vp.Skipped == "" {
			block += vp.Takes()
		}
	}
	trials := cmp.Or(o.Trials, s.Trials)
	p.MinValid = min(s.MinValid, trials)
	if o.Budget > 0 && block > 0 {
		trials = max(1, min(trials, int(o.Budget/block)))
	}
	if o.Auto {
		p.Looks, p.Budget = AutoLooks(), o.AutoBudget
		p.MinValid = min(s.MinValid, p.Looks[0])
		trials = p.Looks[len(p.Looks)-1]
	}
	// One stream per scenario: adding a scenario does not reshuffle the others.
	random := rand.New(rand.NewPCG(seed, nameSeed(s.Name)))
	for b := range trials {
		for _, v := range random.Perm(len(p.Variants)) {
			if p.Variants[v].Skipped == "" {
				p.Trials = append(p.Trials, Trial{Variant: v, Block: b})
			}
		}
	}
	if o.Auto {
		first := slices.IndexFunc(p.Trials, func(t Trial) bool { return t.Block == p.Looks[0] })
		if first >= 0 {
			p.Trials, p.further = p.Trials[:first:first], p.Trials[first:]
		}
		if d := p.Duration(); d > p.Budget {
			return nil, fmt.Errorf("scenario %s: gates are first looked at after %d blocks, which take about %v: "+
				"the budget of %v is less", s.Name, p.Looks[0], roughly(d), p.Budget)
		}
	}
	if stored != nil {
		p.MinValid = stored.MinValid
		if !p.resumes(stored) {
			return nil, fmt.Errorf("scenario %s has other variants or looks in this version of "+
				"the program than in the one that began the run; go on with that one, or start a "+
				"new run", s.Name)
		}
	}
	return p, nil
}

// resumes reports whether the plan is of the same variants and looks as the stored scenario, so
// that trials can be told apart.
func (p *Scenario) resumes(stored *results.Scenario) bool {
	same := func(v *Variant, s *results.Variant) bool { return v.Labels.Equal(s.Labels) }
	return len(p.Variants) > 0 && slices.EqualFunc(p.Variants, stored.Variants, same) &&
		slices.Equal(p.Looks, stored.Looks)
}

// withControl returns the scenario's variants, and the baseline once more, as the A/A arm, when
// gates need to know whether it differs from itself.
func withControl(s *scenarios.Scenario) []scenarios.Variant {
	all := slices.Clone(s.Variants)
	if len(gates.ControlMetrics(s)) == 0 {
		return all
	}
	for i, v := range all {
		if v.Labels.Equal(s.Baseline) {
			control := v
			control.Labels = maps.Clone(v.Labels)
			if control.Labels == nil {
				control.Labels = scenarios.Labels{}
			}
			control.Labels[results.LabelArm] = results.ArmControl
			return slices.Insert(all, i+1, control)
		}
	}
	return all
}

// More returns the trials of up to that many more blocks, and adds them to the plan.
func (p *Scenario) More(blocks int) []Trial {
	until := p.Blocks() + blocks
	n := slices.IndexFunc(p.further, func(t Trial) bool { return t.Block >= until })
	if n < 0 {
		n = len(p.further)
	}
	added := p.further[:n]
	p.Trials, p.further = append(p.Trials, added...), p.further[n:]
	return added
}

// BlockDuration returns how long a block is expected to take.
func (p *Scenario) BlockDuration() (d time.Duration) {
	for _, v := range p.Variants {
		if v.Skipped == "" {
			d += v.Takes()
		}
	}
	return d
}

// Alpha returns the error probability of one look at the scenario's gates.
func (p *Scenario) Alpha() float64 {
	if p.Looks == nil {
		return compare.Alpha
	}
	return compare.Alpha / float64(len(AutoLooks()))
}

// nameSeed returns FNV-1a of the name.
func nameSeed(name string) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range []byte(name) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

// QuickLook says that the scenario has fewer trials than its gates need; "" if it has enough.
func (p *Scenario) QuickLook() string { return results.QuickLook(p.Blocks(), p.MinValid) }

// Duration returns how long the scenario is expected to take, repeats of invalid trials aside.
func (p *Scenario) Duration() time.Duration {
	d := time.Duration(len(p.Capacities())) * CapacityTakes
	for _, t := range p.Trials {
		d += p.Variants[t.Variant].Takes()
	}
	return d
}

// Blocks returns the number of blocks.
func (p *Scenario) Blocks() int {
	if len(p.Trials) == 0 {
		return 0
	}
	return p.Trials[len(p.Trials)-1].Block + 1
}

// Block returns the trials of one block, in order.
func (p *Scenario) Block(n int) []Trial {
	var block []Trial
	for _, t := range p.Trials {
		if t.Block == n {
			block = append(block, t)
		}
	}
	return block
}

// Repeats returns how many invalid trials may be run again.
func (p *Scenario) Repeats() int { return RepeatsOf(len(p.Trials)) }

// RepeatsOf returns how many of so many planned trials may be run again: three for eight, and at
// least two.
func RepeatsOf(trials int) int { return max(2, trials*3/8) }

// Duration returns how long the run is expected to take, repeats of invalid trials aside.
func (p *Plan) Duration() time.Duration {
	var d time.Duration
	for _, s := range p.Scenarios {
		d += s.Duration()
	}
	return d
}
