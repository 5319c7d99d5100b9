package harness

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/cilium/ebpf/btf"

	"reuseport-bench/bench/internal/gates"
	"reuseport-bench/bench/internal/haproxy"
	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/bench/internal/ledger"
	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/bench/internal/plan"
	"reuseport-bench/bench/internal/trial"
	"reuseport-bench/results"
	"reuseport-bench/results/claims"
	"reuseport-bench/results/summary"
	"reuseport-bench/results/unit"
	"reuseport-bench/servers/sys"
)

// RunConfig configures Run.
type RunConfig struct {
	Roles trial.Roles
	// Version is the version of this program, for the record.
	Version string
	// Capabilities holds the results of the probes, by name, for the record. A result is "yes", or
	// the reason that the capability is missing.
	Capabilities map[string]string
	// Directory stores the run. If it already contains an unfinished run, the plan must have been
	// made with plan.Options.Resume.
	Directory *Directory
	// Scenario is the text of a scenario that is in no file. It is stored in the directory as
	// ScenarioFile. Nil if there is none.
	Scenario []byte
	// KeepFacts also stores the recording of each trial in the directory.
	KeepFacts bool
	// Scenarios are the names of all available scenarios, for claims that this run does not decide.
	Scenarios []string
	// Progress, if not nil, is called after every trial, by the goroutine that called Run.
	Progress func(Progress)
	// KeepGoing runs a scenario to its end even if none of its first trials is valid.
	KeepGoing bool
}

// Progress is the state of a run after a trial.
type Progress struct {
	// Done is the number of trials that have ended, and Planned the number of planned trials.
	// Neither includes repeats of invalid trials. Added blocks increase Planned.
	Done, Planned int
	// Repeated is the number of repeats of invalid trials that have ended, and Repeats the number
	// of planned repeats. Each invalid trial may add one repeat.
	Repeated, Repeats int
	Invalid           int           // number of invalid trials so far
	Reason            string        // the most common reason, in short, that trials were invalid
	Left              time.Duration // estimate of the remaining time
	Scenario          string
	Variant           *plan.Variant
	Block             int
	Repeat            bool
	Trial             *results.Trial // nil: the trial ended before the run was resumed
	// Dropped and Attempts are totals of the variant's valid trials so far.
	Dropped, Attempts int64
	// Note is a message about an event other than a trial. Trial and Variant are then nil.
	Note string
}

// A runner carries out a plan.
type runner struct {
	plan   *plan.Plan
	cfg    RunConfig
	store  *results.Store
	run    *results.Run
	types  *btf.Cache // of the running kernel; see trial.Options
	state  Progress
	pace   pace
	stored int // number of trials stored by this runner
	// before is the number of trials that each variant had when the run was resumed.
	before map[*results.Variant]int
	// unstarted maps each variant whose capacity could not be measured, because its server could
	// not be started, to the error. Its trials are invalid.
	unstarted map[*plan.Variant]error
	// kubernetes is the real Kubernetes of the run, if any variant needs one.
	kubernetes *booted
}

// Run carries out the plan and returns the run. Each trial is stored when it ends, and the whole
// run when all trials have ended. If Run fails or ctx ends, the finished trials are kept and
// returned. If there are no finished trials, the returned run is nil and the directory is as it was
// before.
func Run(ctx context.Context, p *plan.Plan, cfg RunConfig) (_ *results.Run, err error) {
	// Nearly all of the heap is the ledger, which holds no pointers, so frequent collections are
	// cheap. They prevent the heap of a trial with a million attempts from growing to twice its
	// size.
	defer debug.SetGCPercent(debug.SetGCPercent(25))
	_ = sys.ReleaseProgram() // so that the peak of memory is the run's; an error is ignored
	r := &runner{
		plan: p, cfg: cfg, types: btf.NewCache(), unstarted: map[*plan.Variant]error{},
	}
	r.kubernetes = &booted{roles: cfg.Roles, cpus: p.CPUs}
	defer func() { err = errors.Join(err, r.kubernetes.close()) }()
	if err := r.open(); err != nil {
		return nil, err
	}
	err = r.trials(ctx)
	switch {
	case err == nil:
		return r.run, r.finish()
	case r.stored == 0 && cfg.Directory.run == nil:
		return nil, errors.Join(err, r.discard())
	}
	summary.FillRun(r.run)
	return r.run, errors.Join(err, r.store.Close())
}

// finish completes the run and stores it.
func (r *runner) finish() error {
	now := time.Now().UTC().Truncate(time.Second)
	r.run.FinishedAt = &now
	summary.FillRun(r.run)
	if err := Conclude(r.plan, r.run, r.cfg.Scenarios); err != nil {
		return errors.Join(err, r.store.Close())
	}
	return r.store.Finish(r.run)
}

// Conclude judges the gates and claims of a run after all its trials. scenarios are the names of
// all available scenarios.
func Conclude(p *plan.Plan, run *results.Run, scenarios []string) error {
	for i, sp := range p.Scenarios {
		if err := gates.Evaluate(sp.Spec, run.Scenarios[i], sp.Alpha()); err != nil {
			return err
		}
	}
	run.Claims = claims.Decide(run, scenarios)
	return nil
}

// open starts a new run in the directory, or resumes the run that is in it.
func (r *runner) open() (err error) {
	r.pace = newPace(r.plan)
	for _, sp := range r.plan.Scenarios {
		r.state.Planned += len(sp.Trials)
	}
	d := r.cfg.Directory
	if d.run != nil {
		r.store, r.run = d.store, d.run
		return nil
	}
	r.run = newRun(r.plan, r.cfg)
	if r.store, err = results.Create(d.path, r.run); err != nil || r.cfg.Scenario == nil {
		return err
	}
	err = os.WriteFile(filepath.Join(d.path, ScenarioFile), r.cfg.Scenario, 0o666)
	if err != nil {
		err = errors.Join(err, r.discard())
	}
	return err
}

// discard removes what open has stored.
func (r *runner) discard() error {
	err := r.store.Discard()
	if r.cfg.Scenario != nil {
		removed := os.Remove(filepath.Join(r.cfg.Directory.path, ScenarioFile))
		if !errors.Is(removed, fs.ErrNotExist) {
			err = errors.Join(err, removed)
		}
	}
	return err
}

func newRun(p *plan.Plan, cfg RunConfig) *results.Run {
	run := &results.Run{
		SchemaVersion: results.SchemaVersion,
		Program:       "reuseport-bench",
		Version:       cfg.Version,
		Seed:          p.Seed,
		StartedAt:     time.Now().UTC().Truncate(time.Second),
		Environment: results.Environment{
			Kernel:       kernel.Release(),
			Go:           runtime.Version(),
			CPUs:         len(p.Machine.CPUs),
			CPUModel:     kernel.CPUModel(),
			Machine:      recorded(p.Machine.Topology),
			LoadCPUs:     p.CPUs.Load,
			HarnessCPUs:  p.CPUs.Harness,
			ServerCPUs:   p.CPUs.Servers,
			Privileged:   netlab.AsRoot(),
			Capabilities: cfg.Capabilities,
		},
	}
	if usesHAProxy(p) {
		// If the probe found HAProxy, its version can be read. If not, the first trial fails and
		// reports the reason.
		run.Environment.HAProxy, _ = haproxy.Version(context.Background())
	}
	for _, sp := range p.Scenarios {
		s := &results.Scenario{
			Name: sp.Spec.Name, About: sp.Spec.About, File: sp.Spec.File, SHA256: sp.Spec.SHA256,
			YAML:     sp.Spec.Text,
			Baseline: sp.Spec.Baseline, MinValid: sp.MinValid, Trials: sp.Blocks(),
			Looks: sp.Looks, BudgetNS: int64(sp.Budget),
		}
		if sp.LoweredMinValid() != "" {
			s.ScenarioMinValid = sp.Spec.MinValid
		}
		for _, v := range sp.Variants {
			rv := &results.Variant{Labels: v.Labels}
			if v.Skipped != "" {
				rv.SkippedReason = &v.Skipped
			}
			s.Variants = append(s.Variants, rv)
		}
		run.Scenarios = append(run.Scenarios, s)
	}
	return run
}

// recorded returns the topology as run.json stores it, or nil if it is unknown.
func recorded(t kernel.Topology) *results.Machine {
	if len(t.CPUs) == 0 {
		return nil
	}
	m := &results.Machine{Governors: t.Governors, Virtual: t.Virtual}
	m.Cores, m.Nodes, m.Capacities = t.Count()
	if t.Quota > 0 {
		m.QuotaCPUs = &t.Quota
	}
	return m
}

// usesHAProxy reports whether the path of any variant that runs leads through HAProxy.
func usesHAProxy(p *plan.Plan) bool {
	for _, sp := range p.Scenarios {
		for _, v := range sp.Variants {
			if v.HAProxy != nil && v.Skipped == "" {
				return true
			}
		}
	}
	return false
}

// A job is a trial of one of the plan's scenarios.
type job struct {
	scenario int
	plan.Trial
	repeat bool
}

// trials runs every trial, scenario by scenario and block by block. Invalid trials are repeated at
// the end, as long as the plan allows more repeats. A disturbance of the machine lasts for a while,
// so an immediate repeat would probably be invalid, too.
func (r *runner) trials(ctx context.Context) error {
	var queue []job
	r.before = map[*results.Variant]int{}
	for i, sp := range r.plan.Scenarios {
		for _, t := range sp.Trials {
			queue = append(queue, job{scenario: i, Trial: t})
		}
		r.pace.repeats += sp.Repeats()
		for _, v := range r.run.Scenarios[i].Variants {
			r.pace.repeats -= repeated(v)
			r.before[v] = len(v.Trials)
		}
	}
	spent := make([]time.Duration, len(r.plan.Scenarios))
	for i, sp := range r.plan.Scenarios { // the time spent before the run was resumed
		for k, v := range r.run.Scenarios[i].Variants {
			spent[i] += time.Duration(len(v.Trials)) * sp.Variants[k].Takes()
		}
	}
	for {
		if len(queue) == 0 {
			var err error
			if queue, err = r.moreTrials(spent); err != nil || len(queue) == 0 {
				return err
			}
			r.pace.repeats += plan.RepeatsOf(len(queue))
		}
		j := queue[0]
		queue = queue[1:]
		sp, out := r.plan.Scenarios[j.scenario], r.run.Scenarios[j.scenario]
		if err := r.resolve(ctx, sp, out); err != nil {
			return fmt.Errorf("scenario %s: %w", sp.Spec.Name, err)
		}
		variant := out.Variants[j.Variant]
		if r.cfg.Directory.run != nil && hasValid(variant, j.Block) {
			r.progress(sp, j, nil, 0)
			continue
		}
		began := time.Now()
		trial, err := r.trial(ctx, sp, j.Trial, out)
		took := time.Since(began)
		spent[j.scenario] += took
		if err != nil {
			return fmt.Errorf("scenario %s%s, block %d: %w",
				sp.Spec.Name, plan.OfVariant(sp.Variants[j.Variant].Labels), j.Block+1, err)
		}
		if !trial.Valid && r.pace.repeats > 0 && !hopeless(variant, sp.Blocks()) {
			r.pace.repeats--
			again := j
			again.repeat = true
			queue = append(queue, again)
			r.state.Repeats++
			r.pace.add(j.scenario, sp.Variants[j.Variant].Takes())
		}
		r.progress(sp, j, trial, took)
		if trial.Attempts == 0 && len(variant.Trials) > 1 && len(variant.ValidTrials()) == 0 {
			queue = r.drop(queue, func(q job) bool {
				return q.scenario == j.scenario && q.Variant == j.Variant
			})
		}
		planned := func(q job) bool { return q.scenario == j.scenario && !q.repeat }
		if !slices.ContainsFunc(queue, planned) {
			continue // only repeats are left, so stopping would save little
		}
		if out.Stopped = r.futile(sp, out); out.Stopped != "" {
			queue = r.drop(queue, func(q job) bool { return q.scenario == j.scenario })
			r.note(sp, "stopped: "+out.Stopped)
		}
	}
}

// drop removes jobs from the queue, and from what is planned.
func (r *runner) drop(queue []job, which func(job) bool) []job {
	return slices.DeleteFunc(queue, func(q job) bool {
		if !which(q) {
			return false
		}
		r.pace.add(q.scenario, -r.plan.Scenarios[q.scenario].Variants[q.Variant].Takes())
		if q.repeat {
			r.state.Repeats--
			r.pace.repeats++
		} else {
			r.state.Planned--
		}
		return true
	})
}

// moreTrials adds blocks to the scenarios with undecided gates, up to the next look, as many as the
// budget allows after the time spent. It returns nil if there is nothing to add.
func (r *runner) moreTrials(spent []time.Duration) (added []job, err error) {
	for i, sp := range r.plan.Scenarios {
		if r.run.Scenarios[i].Stopped != "" {
			continue
		}
		next := slices.IndexFunc(sp.Looks, func(look int) bool { return look > sp.Blocks() })
		if next < 0 {
			continue
		}
		out := r.run.Scenarios[i]
		if err := gates.Evaluate(sp.Spec, out, sp.Alpha()); err != nil {
			return nil, err
		}
		open := slices.DeleteFunc(slices.Clone(out.Gates), func(g results.GateResult) bool {
			return g.Outcome != results.GateUndecided || g.Undecidable
		})
		if len(open) == 0 {
			continue
		}
		block := max(sp.BlockDuration(), spent[i]/time.Duration(sp.Blocks()))
		blocks := min(sp.Looks[next]-sp.Blocks(), int((sp.Budget-spent[i])/block))
		if blocks < 1 {
			r.note(sp, fmt.Sprintf("the budget of %v is used up, %s still undecided",
				sp.Budget, unit.Plural(len(open), "gate")))
			continue
		}
		if blocks < sp.Looks[next]-sp.Blocks() {
			sp.Looks = sp.Looks[:next] // this is the last look: each has a share of the error
		}
		for _, t := range sp.More(blocks) {
			added = append(added, job{scenario: i, Trial: t})
			r.state.Planned++
			r.pace.add(i, sp.Variants[t.Variant].Takes())
		}
		out.Trials = sp.Blocks()
		r.note(sp, fmt.Sprintf("%s undecided after %s, adding %d more",
			unit.Plural(len(open), "gate"), unit.Plural(sp.Blocks()-blocks, "block"), blocks))
	}
	return added, nil
}

// repeated returns the number of a variant's trials that are repeats.
func repeated(v *results.Variant) int {
	blocks := map[int]bool{}
	for _, t := range v.Trials {
		blocks[t.Block] = true
	}
	return len(v.Trials) - len(blocks)
}

// hopeless reports whether a variant has had twice as many trials as planned, none of them valid.
// More repeats would only take the budget from other variants.
func hopeless(v *results.Variant, blocks int) bool {
	return len(v.ValidTrials()) == 0 && len(v.Trials) >= 2*max(2, blocks)
}

// hasValid reports whether a block has a valid trial of the variant.
func hasValid(v *results.Variant, block int) bool {
	return slices.ContainsFunc(v.Trials, func(t *results.Trial) bool {
		return t.Block == block && t.Valid
	})
}

// trial runs a trial and stores it, with its recording if KeepFacts is set.
func (r *runner) trial(
	ctx context.Context, sp *plan.Scenario, t plan.Trial, out *results.Scenario,
) (*results.Trial, error) {
	variant := sp.Variants[t.Variant]
	run := trial.Run
	if variant.Search != nil {
		run = search
	}
	done := trial.NotStarted(variant, r.unstarted[variant])
	if done == nil {
		r.kubernetes.note = func(what string) { r.note(sp, what) }
		var err error
		done, err = run(ctx, r.plan, variant, trial.Options{
			Roles: r.cfg.Roles, Block: t.Block, KernelTypes: r.types, KeepFacts: r.cfg.KeepFacts,
			Kubernetes: r.kubernetes.get,
		})
		err = r.kubernetes.explain(err)
		if err != nil {
			return nil, err
		}
	}
	r.run.Environment.Sysctls = addValues(r.run.Environment.Sysctls, done.Sysctls)
	done.Block = t.Block
	for _, v := range out.Variants {
		for _, t := range v.Trials { // not len(v.Trials): a stored trial may have been lost
			done.Order = max(done.Order, t.Order+1)
		}
	}
	v := out.Variants[t.Variant]
	done.CapacityPerSecond = v.CapacityPerSecond
	if err := r.store.Append(out.Name, v.Labels, done.Trial); err != nil {
		return nil, err
	}
	r.stored++
	repeat := 0
	for _, before := range v.Trials {
		if before.Block == t.Block {
			repeat++
		}
	}
	v.Trials = append(v.Trials, done.Trial)
	if done.Facts == nil {
		return done.Trial, nil
	}
	recorded := *done.Trial
	recorded.Windows = nil // the ledger computes them from the facts
	done.Facts.Trial = &recorded
	done.Facts.Header = ledger.Header{
		Program: r.cfg.Version, Kernel: r.run.Environment.Kernel,
		Privileged: r.run.Environment.Privileged,
		Scenario:   out.Name, Labels: v.Labels, Block: t.Block, Order: done.Order,
		Words: done.Facts.Header.Words,
	}
	name := factsName(out.Name, t.Variant, t.Block, repeat)
	if err := saveFacts(r.cfg.Directory.path, name, done.Facts); err != nil {
		return nil, fmt.Errorf("store facts: %w; the trial itself is stored; free some space", err)
	}
	return done.Trial, nil
}

// note reports an event other than a trial.
func (r *runner) note(sp *plan.Scenario, what string) {
	if r.cfg.Progress != nil {
		s := r.state
		s.Left = r.pace.Left()
		s.Scenario, s.Variant, s.Trial, s.Note = sp.Spec.Name, nil, nil, what
		r.cfg.Progress(s)
	}
}

// progress reports a trial that has ended, and the time that it took. A nil trial means one that
// ended before the run was resumed.
func (r *runner) progress(sp *plan.Scenario, j job, trial *results.Trial, took time.Duration) {
	v, s := sp.Variants[j.Variant], &r.state
	if j.repeat {
		s.Repeated++
	} else {
		s.Done++
	}
	r.pace.ended(j.scenario, v.Takes(), took, trial)
	s.Left = r.pace.Left()
	s.Scenario, s.Variant, s.Block, s.Repeat, s.Trial = sp.Spec.Name, v, j.Block, j.repeat, trial
	s.Invalid = r.pace.invalid
	reason, _ := r.pace.reasons.Commonest()
	s.Reason = results.ShortReason(reason)
	s.Dropped, s.Attempts = 0, 0
	if out := r.run.Scenario(sp.Spec.Name); out != nil {
		for _, t := range out.Variants[j.Variant].ValidTrials() {
			s.Dropped, s.Attempts = s.Dropped+t.Dropped, s.Attempts+t.Attempts
		}
	}
	if r.cfg.Progress != nil {
		r.cfg.Progress(*s)
	}
}

// addValues adds the value of each sysctl to all. If the values differ between trials, it lists all
// of them.
func addValues(all, values map[string]string) map[string]string {
	if all == nil {
		all = map[string]string{}
	}
	for name, value := range values {
		if have, ok := all[name]; !ok {
			all[name] = value
		} else if !slices.Contains(strings.Split(have, " | "), value) {
			all[name] = have + " | " + value
		}
	}
	return all
}
