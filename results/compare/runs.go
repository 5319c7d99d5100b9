// Package compare compares variants of a run, a baseline with its A/A arm, and runs with one
// another. Trials that ran close together are paired by block. The p values of each family of
// comparisons are adjusted by Holm's method. Each metric has a threshold below which changes do not
// matter.
package compare

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"reuseport-bench/results"
	"reuseport-bench/results/input"
	"reuseport-bench/results/metrics"
	"reuseport-bench/results/stats"
	"reuseport-bench/results/unit"
)

// The properties in which two runs must be equal to be compared. Options.Allow lists exceptions.
const (
	AllowKernel     = "kernel"
	AllowCPUs       = "cpus"
	AllowCPUModel   = "cpu_model"
	AllowPrivileged = "privileged"
	AllowScenario   = "scenario"
)

// Allowances returns the values that Options.Allow takes.
func Allowances() []string {
	return []string{AllowKernel, AllowCPUs, AllowCPUModel, AllowPrivileged, AllowScenario}
}

// ErrRefused is wrapped by the errors about runs that are not comparable.
var ErrRefused = errors.New("not comparable")

// Options say what to compare. In the zero value they compare everything and allow no exception.
type Options struct {
	// Scenarios are the names of the scenarios to compare. Empty means all scenarios that both
	// sides have.
	Scenarios []string
	// Only selects the variants whose labels include all of Only.
	Only map[string]string
	// Metrics are the metrics that decide, at most metrics.MaxGating. Empty means those that
	// metrics.Gating returns.
	Metrics []string
	// Thresholds replace the metrics' own thresholds: metric → smallest change that matters.
	Thresholds map[string]float64
	// Allow names the properties that may differ between the sides.
	Allow []string
}

// A Comparison describes what changed from the base to the head. Each side is one run or several.
type Comparison struct {
	Base Side `json:"base"`
	Head Side `json:"head"`
	// Paired: each run has one block and the runs of the two sides alternated. They are compared in
	// pairs.
	Paired    bool                  `json:"paired"`
	Scenarios []*ScenarioComparison `json:"scenarios"`
	Warnings  []string              `json:"warnings"`
}

// A Side describes the base or the head: runs of one program on one machine.
type Side struct {
	// Name is the user's name for the side, for reports. Runs leaves it empty.
	Name      string    `json:"name,omitempty"`
	Version   string    `json:"version"`
	Kernel    string    `json:"kernel"`
	Runs      int       `json:"runs"`
	StartedAt time.Time `json:"started_at"` // start of the first run
}

// A ScenarioComparison compares one scenario. Its deltas are one family in Holm's adjustment.
type ScenarioComparison struct {
	Name     string               `json:"name"`
	File     string               `json:"file,omitempty"` // of the head
	Variants []*VariantComparison `json:"variants"`
	// Void lists the reasons why the comparison decides nothing: a side's A/A arm differs from its
	// baseline. Unmeasured lists what could not be compared, and why.
	Void       []string `json:"void"`
	Unmeasured []string `json:"unmeasured"`
	Warnings   []string `json:"warnings"`

	none bool // no variant has all labels in Options.Only
}

// A VariantComparison compares one variant of both sides.
type VariantComparison struct {
	Labels map[string]string `json:"labels"`
	Base   Measured          `json:"base"`
	Head   Measured          `json:"head"`
	Deltas []*results.Delta  `json:"deltas"`
}

// Measured is what one side measured for a variant.
type Measured struct {
	Trials int `json:"trials"`
	Valid  int `json:"valid"`
	// ResponseNS covers all attempts served in valid trials. It is computed from the merged
	// histograms of the trials, and null without histograms.
	ResponseNS *results.Percentiles `json:"response_ns"`
}

// Worse lists the metrics that got worse, except in void scenarios.
func (c *Comparison) Worse() (worse []string) {
	for _, s := range c.Scenarios {
		if len(s.Void) > 0 {
			continue
		}
		for _, v := range s.Variants {
			for _, d := range v.Deltas {
				if d.Outcome == results.DeltaWorse {
					worse = append(worse, fmt.Sprintf("%s %s: %s", s.Name,
						results.LabelString(v.Labels), d))
				}
			}
		}
	}
	return worse
}

// Unmeasured lists what could not be compared, and why, such as void scenarios or too few trials.
func (c *Comparison) Unmeasured() (reasons []string) {
	for _, s := range c.Scenarios {
		for _, r := range slices.Concat(s.Void, s.Unmeasured) {
			reasons = append(reasons, s.Name+": "+r)
		}
	}
	return reasons
}

func byTime(runs []*results.Run) []*results.Run {
	return slices.SortedStableFunc(slices.Values(runs), func(a, b *results.Run) int {
		return a.StartedAt.Compare(b.StartedAt)
	})
}

// Runs compares head with base. Each has at least one run. It compares pairs of runs (see
// stats.PairedRatio) if both sides have the same number of runs, of one block each, and the runs
// alternated: base, head, head, base. Otherwise it compares two samples, which may also differ
// because the machine drifted between them. Runs that differ in kernel, CPUs, privileges or
// scenario, or have nothing in common, are refused with ErrRefused.
func Runs(base, head []*results.Run, o Options) (*Comparison, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	base, head = byTime(base), byTime(head)
	c := &Comparison{Base: sideOf(base), Head: sideOf(head), Paired: alternate(base, head)}
	all := slices.Concat(base, head)
	var errs []error
	for _, r := range all[1:] {
		errs = append(errs, o.refusals(all[0], r)...)
		c.Warnings = append(c.Warnings, environmentWarnings(all[0], r)...)
	}
	slices.Sort(c.Warnings)
	c.Warnings = slices.Compact(c.Warnings)
	if err := errors.Join(firstOfEach(errs)...); err != nil {
		return nil, err
	}
	for _, name := range scenarioNames(base) {
		if len(o.Scenarios) > 0 && !slices.Contains(o.Scenarios, name) {
			continue
		}
		if !slices.Contains(scenarioNames(head), name) {
			c.Warnings = append(c.Warnings, fmt.Sprintf("scenario %s is only in the base", name))
			continue
		}
		s := o.scenario(mergeScenario(base, name), mergeScenario(head, name), c.Paired)
		c.Scenarios = append(c.Scenarios, s)
	}
	for _, name := range scenarioNames(head) {
		if !slices.Contains(scenarioNames(base), name) {
			c.Warnings = append(c.Warnings, fmt.Sprintf("scenario %s is only in the head", name))
		}
	}
	for _, name := range o.Scenarios {
		named := func(s *ScenarioComparison) bool { return s.Name == name }
		if !slices.ContainsFunc(c.Scenarios, named) {
			return nil, fmt.Errorf("%w: scenario %q is not in both; the base has %s", ErrRefused,
				name, listText(scenarioNames(base)))
		}
	}
	some := func(s *ScenarioComparison) bool { return !s.none }
	if len(c.Scenarios) > 0 && !slices.ContainsFunc(c.Scenarios, some) {
		return nil, fmt.Errorf("%w: no variant has the labels %s", ErrRefused,
			results.LabelString(o.Only))
	}
	if len(c.Scenarios) == 0 {
		return nil, fmt.Errorf("%w: no scenario is in both; the base has %s, the head %s",
			ErrRefused, listText(scenarioNames(base)), listText(scenarioNames(head)))
	}
	return c, nil
}

// check returns an error for unknown names, too many metrics and negative thresholds.
func (o Options) check() error {
	if len(o.Metrics) > metrics.MaxGating {
		return fmt.Errorf("%d metrics are chosen to decide; at most %d may: each further one "+
			"makes changes in all of them harder to find", len(o.Metrics), metrics.MaxGating)
	}
	for _, m := range slices.Concat(o.Metrics, slices.Sorted(maps.Keys(o.Thresholds))) {
		if _, ok := metrics.FindCompared(m); !ok {
			return fmt.Errorf("metric %q cannot be compared; these can: %s", m,
				strings.Join(metrics.Compared(), ", "))
		}
	}
	for m, x := range o.Thresholds {
		if !(x >= 0) {
			return fmt.Errorf("threshold %s=%v: must be 0 or more", m, x)
		}
	}
	for _, a := range o.Allow {
		if !slices.Contains(Allowances(), a) {
			return fmt.Errorf("%q cannot be allowed to differ; these can: %s", a,
				strings.Join(Allowances(), ", "))
		}
	}
	return nil
}

func sideOf(runs []*results.Run) Side {
	first := runs[0]
	return Side{
		Version: first.Version, Kernel: first.Environment.Kernel, Runs: len(runs),
		StartedAt: first.StartedAt,
	}
}

// alternate reports whether all runs have one block each and the two sides took turns: of the first
// two runs, one is of the base and one of the head, and so on for each next two.
func alternate(base, head []*results.Run) bool {
	if len(base) != len(head) || len(base) < 2 {
		return false
	}
	type turn struct {
		at   time.Time
		head bool
	}
	var turns []turn
	for i := range base {
		turns = append(turns, turn{base[i].StartedAt, false}, turn{head[i].StartedAt, true})
	}
	slices.SortStableFunc(turns, func(a, b turn) int { return a.at.Compare(b.at) })
	for i := 0; i < len(turns); i += 2 {
		if turns[i].head == turns[i+1].head {
			return false
		}
	}
	for _, r := range slices.Concat(base, head) {
		for _, s := range r.Scenarios {
			if s.Trials != 1 {
				return false
			}
		}
	}
	return true
}

// A refusal is an error about a difference that rules out a comparison.
type refusal struct{ what, a, b string }

func (r *refusal) Error() string {
	return fmt.Sprintf("%v: %s differs: %s and %s; --allow %s compares them anyway", ErrRefused,
		r.what, input.Name(r.a), input.Name(r.b), r.what)
}

func (r *refusal) Unwrap() error { return ErrRefused }

// refusals returns an error for each difference between two runs that Options.Allow does not
// permit.
func (o Options) refusals(a, b *results.Run) (errs []error) {
	check := func(what, x, y string) {
		if x != y && !slices.Contains(o.Allow, what) {
			errs = append(errs, &refusal{what, x, y})
		}
	}
	ea, eb := a.Environment, b.Environment
	check(AllowKernel, ea.Kernel, eb.Kernel)
	cpus := func(e results.Environment) string {
		return fmt.Sprintf("%s (load %v, servers %v)", unit.Plural(e.CPUs, "CPU"), e.LoadCPUs,
			e.ServerCPUs)
	}
	check(AllowCPUs, cpus(ea), cpus(eb))
	check(AllowCPUModel, ea.CPUModel, eb.CPUModel)
	who := map[bool]string{true: "as root", false: "without root"}
	check(AllowPrivileged, who[ea.Privileged], who[eb.Privileged])
	for _, s := range a.Scenarios {
		if len(o.Scenarios) > 0 && !slices.Contains(o.Scenarios, s.Name) {
			continue
		}
		if other := b.Scenario(s.Name); other != nil {
			check(AllowScenario, fmt.Sprintf("%s %.12s", s.Name, s.SHA256),
				fmt.Sprintf("%s %.12s", s.Name, other.SHA256))
		}
	}
	return errs
}

// firstOfEach returns errs without errors that have the same text as an earlier one.
func firstOfEach(errs []error) (first []error) {
	seen := map[string]bool{}
	for _, err := range errs {
		if !seen[err.Error()] {
			seen[err.Error()] = true
			first = append(first, err)
		}
	}
	return first
}

// harnessOn describes the CPUs on which the harness ran during the load.
func harnessOn(r *results.Run) string {
	if r.Environment.HarnessCPUs == nil {
		return "any CPU"
	}
	return fmt.Sprintf("CPUs %v", r.Environment.HarnessCPUs)
}

// queueSources names the sources of the run's queue lengths. It returns "" if the run has no queue
// lengths.
func queueSources(r *results.Run) string {
	seen := map[string]bool{}
	for _, s := range r.Scenarios {
		for _, v := range s.Variants {
			for _, t := range v.Trials {
				if t.Queues != nil {
					seen[cmp.Or(t.Queues.Source, results.QueuesSampled)] = true
				}
			}
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(seen)), " and ")
}

// environmentWarnings returns differences that may explain a change, but do not rule out a
// comparison.
func environmentWarnings(a, b *results.Run) (warnings []string) {
	differ := func(what, x, y string) {
		if x != y {
			warnings = append(warnings, fmt.Sprintf("%s differs: %s and %s", what, x, y))
		}
	}
	differ("Go", a.Environment.Go, b.Environment.Go)
	differ("HAProxy", a.Environment.HAProxy, b.Environment.HAProxy)
	differ("the harness's placement", harnessOn(a), harnessOn(b))
	differ("the source of accept queue lengths", queueSources(a), queueSources(b))
	for _, name := range slices.Sorted(maps.Keys(a.Environment.Sysctls)) {
		if y, ok := b.Environment.Sysctls[name]; ok {
			differ("sysctl "+name, a.Environment.Sysctls[name], y)
		}
	}
	for _, r := range []*results.Run{a, b} {
		if r.FinishedAt == nil {
			warnings = append(warnings, fmt.Sprintf("the run started at %s has not finished",
				r.StartedAt.Format(time.RFC3339)))
		}
		warnings = append(warnings, r.Warnings...)
	}
	return warnings
}

func scenarioNames(runs []*results.Run) (names []string) {
	for _, r := range runs {
		for _, s := range r.Scenarios {
			if !slices.Contains(names, s.Name) {
				names = append(names, s.Name)
			}
		}
	}
	return names
}

// listText joins names in one line.
func listText(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	var all []string
	for _, name := range names {
		all = append(all, input.Name(name))
	}
	return strings.Join(all, ", ")
}

// mergeScenario returns the scenario with the trials of all runs. It renumbers the blocks of each
// run so that they follow those of the previous run.
func mergeScenario(runs []*results.Run, name string) *results.Scenario {
	var merged *results.Scenario
	blocks := 0
	for _, r := range runs {
		s := r.Scenario(name)
		if s == nil {
			blocks++ // one block for the missing run, so that later pairs still match
			continue
		}
		if merged == nil {
			merged = &results.Scenario{
				Name: name, About: s.About, File: s.File, SHA256: s.SHA256, Baseline: s.Baseline,
			}
		}
		for _, v := range s.Variants {
			into := merged.Variant(v.Labels)
			if into == nil {
				into = &results.Variant{Labels: v.Labels, SkippedReason: v.SkippedReason}
				merged.Variants = append(merged.Variants, into)
			}
			if len(v.Trials) > 0 {
				into.SkippedReason = nil // another run did not skip the variant
			}
			if blocks == 0 { // the first run keeps its numbers
				into.Trials = append(into.Trials, v.Trials...)
				continue
			}
			for _, t := range v.Trials {
				moved := *t
				moved.Block += blocks
				into.Trials = append(into.Trials, &moved)
			}
		}
		blocks += s.Trials
		merged.Trials = blocks
	}
	return merged
}

// scenario compares one scenario of both sides.
func (o Options) scenario(base, head *results.Scenario, paired bool) *ScenarioComparison {
	c := &ScenarioComparison{Name: base.Name, File: head.File}
	var family []*results.Delta
	fewest := base.Trials
	// Compute the number once: it requires reading every trial.
	needed := sync.OnceValue(func() int { return o.needed(base, head, paired) })
	for _, b := range base.Variants {
		if !results.Includes(b.Labels, o.Only) || b.IsAA() {
			continue
		}
		name := results.LabelString(b.Labels)
		h := head.Variant(b.Labels)
		switch {
		case b.SkippedReason != nil:
			c.Warnings = append(c.Warnings, name+" was skipped in the base: "+*b.SkippedReason)
			continue
		case h == nil:
			c.Unmeasured = append(c.Unmeasured, name+" is only in the base")
			continue
		case h.SkippedReason != nil:
			c.Unmeasured = append(c.Unmeasured,
				name+" was measured in the base and skipped in the head: "+*h.SkippedReason)
			continue
		}
		v, s := o.variant(b, h, paired)
		c.Variants = append(c.Variants, v)
		family = append(family, v.Deltas...)
		if n := s.replicates(); n < minCompared {
			c.Unmeasured = append(c.Unmeasured, fmt.Sprintf("%s has %s, and %d are needed", name,
				s.describe(), max(minCompared, needed())))
		} else {
			fewest = min(fewest, n)
			c.Unmeasured = append(c.Unmeasured, o.lacking(name, v)...)
		}
	}
	for _, h := range head.Variants {
		if base.Variant(h.Labels) == nil && results.Includes(h.Labels, o.Only) {
			c.Warnings = append(c.Warnings, results.LabelString(h.Labels)+" is only in the head")
		}
	}
	Decide(family)
	all := slices.Concat(base.Variants, head.Variants)
	c.none = len(base.Variants) > 0 && !slices.ContainsFunc(all, func(v *results.Variant) bool {
		return results.Includes(v.Labels, o.Only)
	})
	least := replicatesFor(len(family), paired)
	if len(family) > 0 && fewest < least && len(c.Unmeasured) == 0 {
		what := unit.Plural(fewest, "trial") + " a side"
		if paired {
			what = unit.Plural(fewest, "pair")
		}
		c.Unmeasured = append(c.Unmeasured, fmt.Sprintf("with %s no change can be significant "+
			"among %s; %d are needed", what, unit.Plural(len(family), "comparison"), least))
	}
	if len(c.Variants) == 0 {
		c.Unmeasured = append(c.Unmeasured, "no variant is in both")
	}
	control := map[string][]*results.Delta{
		"base": AA(base, o.metrics(base)), "head": AA(head, o.metrics(head)),
	}
	Decide(slices.Concat(control["base"], control["head"])) // one family
	for _, side := range []string{"base", "head"} {
		if why := Void(control[side]); why != "" {
			c.Void = append(c.Void, side+": "+why)
		}
	}
	return c
}

// needed returns the number of pairs, or of trials per side, that are needed to compare all
// variants that both sides have.
func (o Options) needed(base, head *results.Scenario, paired bool) int {
	n, each := 0, len(o.metrics(base, head))
	for _, v := range base.Variants {
		if results.Includes(v.Labels, o.Only) && !v.IsAA() && head.Variant(v.Labels) != nil {
			n += each
		}
	}
	return replicatesFor(n, paired)
}

// minCompared is the number of valid trials, or pairs, that a comparison needs. With fewer there is
// no 95 % interval.
const minCompared = 6

// replicatesFor returns the number of pairs, or of trials per side, at which one of this many
// comparisons can be significant even if the others are not. With fewer, the smallest possible p of
// the test, 2/2ⁿ or 2/C(2n, n), is above Holm's first limit.
func replicatesFor(comparisons int, paired bool) int {
	level := Alpha / float64(max(1, comparisons))
	if paired {
		return stats.PairsFor(1 - level)
	}
	n, least := 1, 1.0
	for least > level {
		least *= float64(n+1) / float64(2*(2*n+1))
		n++
	}
	return n
}

// lacking lists the metrics in which a variant could not be compared although it has enough trials.
func (o Options) lacking(name string, v *VariantComparison) (reasons []string) {
	if len(v.Deltas) == 0 && len(o.Metrics) == 0 {
		return []string{name + " has no metric to be compared in"}
	}
	for _, metric := range o.Metrics {
		of := func(d *results.Delta) bool { return d.Metric == metric }
		if !slices.ContainsFunc(v.Deltas, of) {
			reasons = append(reasons, fmt.Sprintf("%s has no %s", name, metric))
		}
	}
	for _, d := range v.Deltas {
		what := "trial"
		if d.Paired {
			what = "pair"
		}
		if d.Change.N < minCompared {
			reasons = append(reasons, fmt.Sprintf("%s has %s in %s, and %d are needed", name,
				d.Metric, unit.Plural(d.Change.N, what), minCompared))
		}
	}
	return reasons
}

// metrics returns the metrics that decide.
func (o Options) metrics(scenarios ...*results.Scenario) []string {
	if len(o.Metrics) > 0 {
		return o.Metrics
	}
	var trials []*results.Trial
	for _, s := range scenarios {
		for _, v := range s.Variants {
			trials = append(trials, v.ValidTrials()...)
		}
	}
	return metrics.Gating(trials)
}

// variant compares one variant of both sides.
func (o Options) variant(base, head *results.Variant, paired bool) (*VariantComparison, sides) {
	s := sides{base: base.ValidTrials(), head: head.ValidTrials()}
	if paired {
		s.pairs = pairsOf(s.base, s.head)
	}
	v := &VariantComparison{Labels: base.Labels, Base: measuredOf(base), Head: measuredOf(head)}
	names := o.Metrics
	if len(names) == 0 {
		names = metrics.Gating(slices.Concat(s.base, s.head))
	}
	for _, metric := range names {
		d, ok := s.compare(metric, stats.Confidence)
		if !ok {
			continue
		}
		if x, ok := o.Thresholds[metric]; ok {
			d.Threshold = x
		}
		v.Deltas = append(v.Deltas, &d)
	}
	return v, s
}

func measuredOf(v *results.Variant) Measured {
	valid := v.ValidTrials()
	m := Measured{Trials: len(v.Trials), Valid: len(valid)}
	all := results.NewHistogram()
	for _, t := range valid {
		if t.Histogram == "" { // an older run, or a histogram left out to save room
			continue
		}
		h, err := results.DecodeHistogram(t.Histogram)
		if err != nil {
			return m // percentiles of only some trials would mislead
		}
		all.Merge(h)
	}
	m.ResponseNS = all.Percentiles()
	return m
}

// replicates returns the number of pairs or, without pairs, of trials on the smaller side.
func (s sides) replicates() int {
	if s.pairs != nil {
		return len(s.pairs)
	}
	return min(len(s.base), len(s.head))
}

func (s sides) describe() string {
	if s.pairs != nil {
		return unit.Plural(len(s.pairs), "pair") + " of valid trials"
	}
	return fmt.Sprintf("%d and %d valid trials", len(s.base), len(s.head))
}
