// Package plan decides what a run will do before it begins: which trials, in which order, on which
// CPUs, and how each process of every variant is configured. A plan is a pure function of
// scenarios, seed and machine. Later stages read the plan, not the scenarios. The trials of a
// scenario run in blocks: a block has one trial of each variant. A look is an examination of the
// gates between two blocks.
package plan

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"time"

	"reuseport-bench/bench/internal/gates"
	"reuseport-bench/results"
	"reuseport-bench/results/compare"
	"reuseport-bench/scenarios"
)

// A Plan is everything that a run will do, decided before it begins.
type Plan struct {
	Seed      uint64
	Machine   Machine
	CPUs      Placement // the CPUs in use while the load runs
	Scenarios []*Scenario
}

// A Scenario holds a scenario's variants and the order of their trials.
type Scenario struct {
	Spec     *scenarios.Scenario
	Variants []*Variant
	Trials   []Trial // in the order in which they run
	// MinValid is the number of valid trials of each variant that gates need: the scenario's
	// min_valid or, if smaller, the number of trials per variant that the user asked for.
	// Options.Budget does not lower it.
	MinValid int
	// Looks are the numbers of blocks after which the gates are examined, to find out whether more
	// blocks are needed. New plans the trials up to the first look; More adds others. If Looks is
	// nil, no blocks are added.
	Looks []int
	// Budget is the total time that the scenario may take. It applies only if Looks is not nil.
	Budget time.Duration

	further []Trial // the trials that More can still add
}

// Validity returns the limits that decide whether a trial of the scenario is valid. same is false
// if the variants have different limits.
func (s *Scenario) Validity() (limits scenarios.Validity, same bool) {
	for i, v := range s.Variants {
		if i > 0 && v.Validity != limits {
			return limits, false
		}
		limits = v.Validity
	}
	return limits, true
}

// A Trial is a planned trial.
type Trial struct {
	Variant int // index into Scenario.Variants
	Block   int
}

// Options are the options of New. The zero value plans the scenarios as they are.
type Options struct {
	// Trials replaces the scenarios' number of blocks.
	Trials int
	// Only excludes the variants whose labels do not include all of these.
	Only scenarios.Labels
	// Budget limits the expected duration of each scenario: New reduces the number of blocks, to no
	// less than one. Gates that need more trials stay undecided. 0 means no limit.
	Budget time.Duration
	// Auto plans for as many blocks as the gates need: at each look of AutoLooks, more blocks are
	// added unless every gate is decided or AutoBudget is used up. A scenario without gates is an
	// error.
	Auto bool
	// AutoBudget becomes the Budget of each Scenario if Auto is set.
	AutoBudget time.Duration
	// Resume is an unfinished run to continue. The run's variants, blocks and looks override the
	// options above, except that AutoBudget, if not 0, overrides the run's budget. New does not use
	// the run's seed.
	Resume *results.Run
}

// AutoLooks returns the numbers of blocks after which gates are examined if Options.Auto is set.
// Each look may decide a gate wrongly, so the error probability is divided among the looks
// (Bonferroni). To keep the looks few, each comes at about 1.5 times the number of blocks of the
// look before.
func AutoLooks() []int { return []int{12, 18, 27, 40, 60, 90} }

// trialOverhead is the time that a trial takes in addition to its load: for setting up the lab,
// starting processes, and stopping them at the end.
const trialOverhead = 250 * time.Millisecond

// New plans the scenarios. It fails if the plan would be empty.
func New(all []*scenarios.Scenario, seed uint64, m Machine, o Options) (*Plan, error) {
	if len(m.CPUs) == 0 {
		return nil, fmt.Errorf("plan: no CPU is usable")
	}
	if o.Resume != nil {
		began := o.Resume.Environment
		m.Wanted = Placement{
			Load: began.LoadCPUs, Servers: began.ServerCPUs, Harness: began.HarnessCPUs,
		}
		for _, cpu := range slices.Concat(began.LoadCPUs, began.ServerCPUs, began.HarnessCPUs) {
			if !slices.Contains(m.CPUs, cpu) {
				return nil, fmt.Errorf("the run began on CPU %d, which cannot be used now; "+
					"make it available again, or start a new run", cpu)
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
		return nil, fmt.Errorf("no variant has the labels %q; 'show NAME' lists a scenario's "+
			"variants", o.Only)
	}
	return p, nil
}

// planScenario plans one scenario. The result has no variants if o.Only excludes all of them.
func planScenario(s *scenarios.Scenario, seed uint64, m Machine, o Options) (*Scenario, error) {
	p := &Scenario{Spec: s}
	var stored *results.Scenario
	if o.Resume != nil {
		stored = o.Resume.Scenario(s.Name)
		if stored == nil || stored.SHA256 != s.SHA256 {
			return nil, fmt.Errorf("scenario %s is not what it was when the run began; "+
				"restore its file, or start a new run", s.Name)
		}
		o.Trials, o.Auto, o.Only = stored.Trials, len(stored.Looks) > 0, nil
		o.AutoBudget, o.Budget = cmp.Or(o.AutoBudget, time.Duration(stored.BudgetNS)), 0
	}
	if o.Auto && len(s.Gates) == 0 {
		return nil, fmt.Errorf("scenario %s has no gates, so nothing says when its trials are "+
			"enough; give their number", s.Name)
	}
	var block time.Duration
	timelines := map[string][]PlannedStep{}
	for _, v := range withControl(s) {
		if !v.Labels.Includes(o.Only) || stored != nil && stored.Variant(v.Labels) == nil {
			continue
		}
		do := v.Setup.Step
		if timelines[do] == nil {
			timelines[do] = steps(s, v.Setup.Timeline)
		}
		vp, err := newVariant(v, timelines[do], m, filepath.Dir(s.File))
		if err != nil {
			return nil, fmt.Errorf("scenario %s%s: %w", s.Name, OfVariant(v.Labels), err)
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
	// Each scenario has its own random stream, so that adding a scenario does not change the order
	// of trials in other scenarios.
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
			return nil, fmt.Errorf("scenario %s: gates are first examined after %d blocks, which "+
				"take about %v; the budget is %v: raise --budget",
				s.Name, p.Looks[0], roughly(d), p.Budget)
		}
	}
	if stored != nil {
		p.MinValid = stored.MinValid
		if !p.resumes(stored) {
			return nil, fmt.Errorf("scenario %s has other variants or looks in this version of "+
				"the program than in the version that began the run; resume with that version, "+
				"or start a new run", s.Name)
		}
	}
	return p, nil
}

// OfVariant returns text that names a variant in a message, to follow the name of the scenario. It
// returns "" if the variant has no labels because it is the only one.
func OfVariant(l scenarios.Labels) string {
	if len(l) == 0 {
		return ""
	}
	return ", variant " + l.String()
}

// resumes reports whether p has the same variants and looks as the stored scenario. Only then can
// the trials of p continue the stored trials.
func (p *Scenario) resumes(stored *results.Scenario) bool {
	same := func(v *Variant, s *results.Variant) bool { return v.Labels.Equal(s.Labels) }
	return len(p.Variants) > 0 && slices.EqualFunc(p.Variants, stored.Variants, same) &&
		slices.Equal(p.Looks, stored.Looks)
}

// withControl returns the scenario's variants. If the scenario's gates need it, the variants
// include the A/A arm, a second copy of the baseline, which shows whether the baseline differs from
// itself.
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

// More adds the trials of the next blocks to the plan, at most the given number of blocks. It
// returns the added trials.
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

// BlockDuration returns the expected duration of a block.
func (p *Scenario) BlockDuration() (d time.Duration) {
	for _, v := range p.Variants {
		if v.Skipped == "" {
			d += v.Takes()
		}
	}
	return d
}

// Alpha returns the error probability that each look at the scenario's gates may use.
func (p *Scenario) Alpha() float64 {
	if p.Looks == nil {
		return compare.Alpha
	}
	return compare.Alpha / float64(len(AutoLooks()))
}

// nameSeed returns the FNV-1a hash of the name.
func nameSeed(name string) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range []byte(name) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

// QuickLook returns a warning that fewer trials are planned than the scenario's gates need. It
// returns "" if enough are planned.
func (p *Scenario) QuickLook() string { return results.QuickLook(p.Blocks(), p.MinValid) }

// LoweredMinValid returns a note that MinValid is less than the scenario's min_valid. It returns ""
// if it is not.
func (p *Scenario) LoweredMinValid() string {
	return results.LoweredMinValid(p.MinValid, p.Spec.MinValid)
}

// Duration returns the expected duration of the scenario, without repeats of invalid trials.
func (p *Scenario) Duration() time.Duration {
	var d time.Duration
	for _, v := range p.Capacities() {
		d += v.CapacityTakes()
	}
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

// Repeats returns the maximum number of repeats of invalid trials.
func (p *Scenario) Repeats() int { return RepeatsOf(len(p.Trials)) }

// RepeatsOf returns the number of repeats allowed for a number of planned trials: three for every
// eight trials, but at least two.
func RepeatsOf(trials int) int { return max(2, trials*3/8) }

// Duration returns the expected duration of the run, without repeats of invalid trials.
func (p *Plan) Duration() time.Duration {
	var d time.Duration
	for _, s := range p.Scenarios {
		d += s.Duration()
	}
	return d
}
