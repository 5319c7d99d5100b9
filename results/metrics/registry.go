// Package metrics is the one table of what trials are measured by: how each metric is named, in
// what unit, which way it is better, how it is compared, what must happen for it to exist, and the
// function that pools a trial into one value. Reports, comparisons, gates and claims look it up.
//
// A metric's name is that of run.json, everywhere.
package metrics

import (
	"math"
	"slices"
	"strings"

	"reuseport-bench/results"
	"reuseport-bench/results/unit"
)

// Which way a metric is better.
const (
	Lower  = "lower"
	Higher = "higher"
)

// A Need is what the scenario must do for a metric or a count to exist.
type Need int

// The needs.
const (
	Nothing   Need = iota
	Steps          // any step of the timeline
	Restarts       // a step that restarts workers
	Starts         // a step that starts workers
	Ends           // a step that closes listeners
	ColdStart      // a step cold-start
)

// String says what the scenario must do, as "a step that starts workers"; "" for Nothing.
func (n Need) String() string {
	return [...]string{
		Nothing: "", Steps: "a step", Restarts: "a step that restarts workers",
		Starts: "a step that starts workers", Ends: "a step that ends workers",
		ColdStart: "a step cold-start",
	}[n]
}

// A Loop is the kind of load that it takes for a metric to exist.
type Loop int

// The loops.
const (
	AnyLoop    Loop = iota
	OpenLoop        // a schedule says when attempts are due
	ClosedLoop      // each client waits for the end of its last attempt
)

// String names the kind of load; "" for AnyLoop.
func (l Loop) String() string {
	return [...]string{AnyLoop: "", OpenLoop: "an open loop", ClosedLoop: "a closed loop"}[l]
}

// A Metric has one value per trial, or is a rate of events over several; over trials it has a
// center and an interval.
type Metric struct {
	Name string // its key in run.json
	Doc  string
	Unit unit.Unit

	// Better is Lower, Higher, or "": neither is.
	Better string
	// Scale is how two variants are compared, results.ScaleRatio or results.ScaleDifference; "":
	// it only describes a trial, and is not compared.
	Scale string
	// Threshold is the least change that matters in practice: a share of the base for ratios, for
	// differences the metric's own unit.
	Threshold float64
	// Needs is what must happen for it to exist, and Loop under which load.
	Needs Need
	Loop  Loop
	// Signed says that it can be negative. All others are at least 0.
	Signed bool
	// Most is the largest value that it can have; 0: there is none.
	Most float64
	// OverRestarts: its number of observations is that of restarts, not of trials.
	OverRestarts bool
	// Bench is its unit in the Go benchmark format; "": it is not printed there. Times are in
	// seconds there.
	Bench string

	// Pool returns the trial's one value; false: it has none. It is nil for metrics that are no one
	// value per trial.
	Pool func(*results.Trial) (float64, bool)
	// Tally returns what the trial counted, of metrics that are events per exposure; else it is
	// nil.
	Tally func(*results.Trial) (Tally, bool)
}

// Compared reports whether two variants can be compared in the metric.
func (m Metric) Compared() bool { return m.Scale != "" }

// Range returns the least and the largest value that the metric can have, infinite where it has no
// bound.
func (m Metric) Range() (lo, hi float64) {
	lo, hi = 0, math.Inf(1)
	if m.Signed {
		lo = math.Inf(-1)
	}
	if m.Most > 0 {
		hi = m.Most
	}
	return lo, hi
}

// Of returns the trial's one value of the metric: of one that counts, the trial's own rate. False:
// it has none.
func (m Metric) Of(t *results.Trial) (float64, bool) {
	switch {
	case m.Tally != nil:
		one, ok := m.Tally(t)
		if !ok {
			return 0, false
		}
		return float64(one.Count()) / one.Units(), true
	case m.Pool != nil:
		return m.Pool(t)
	}
	return 0, false
}

// In returns the metric's name with the unit of the scale instead of that of the base: "gap [ms]".
func (m Metric) In(scale unit.Scale) string {
	if scale.Name == "" {
		return m.Name
	}
	return strings.TrimSuffix(m.Name, "_ns") + " [" + scale.Name + "]"
}

// All returns every metric, in the order of reports.
func All() []Metric { return slices.Clone(registry) }

// Find returns the metric of that name.
func Find(name string) (Metric, bool) {
	i := slices.IndexFunc(registry, func(m Metric) bool { return m.Name == name })
	if i < 0 {
		return Metric{}, false
	}
	return registry[i], true
}

// UnitOf returns the unit of the metric of that name; unit.None, if this program does not know it.
func UnitOf(name string) unit.Unit {
	m, _ := Find(name)
	return m.Unit
}

// FindCompared is Find for metrics in which variants can be compared.
func FindCompared(name string) (Metric, bool) {
	m, ok := Find(name)
	return m, ok && m.Compared()
}

// Compared lists the names of all metrics that can be compared.
func Compared() (names []string) {
	for _, m := range registry {
		if m.Compared() {
			names = append(names, m.Name)
		}
	}
	return names
}

// Figures returns the trial's value of each metric that is one value per trial; a metric that it
// does not have is absent.
func Figures(t *results.Trial) map[string]float64 {
	figures := map[string]float64{}
	for _, m := range registry {
		if m.Pool == nil {
			continue
		}
		if x, ok := m.Pool(t); ok {
			figures[m.Name] = x
		}
	}
	return figures
}

// MaxGating is how many metrics may decide a comparison of two variants, or the gates of a
// scenario: each more costs all of them power.
const MaxGating = 4

// Gating are the metrics by which a comparison is decided where nothing else is asked for: what the
// usable trials were made to find out.
func Gating(trials []*results.Trial) []string {
	has := func(what func(*results.Trial) bool) bool { return slices.ContainsFunc(trials, what) }
	switch {
	case has(func(t *results.Trial) bool { return t.Search != nil }):
		return []string{HighestRate}
	case has(func(t *results.Trial) bool { return len(t.Restarts()) > 0 }):
		return []string{DroppedPerRestart, Gap, ResponseP50, ResponseP99}
	}
	return []string{DroppedPerAttempt, ResponseP50, ResponseP99, ServersCPUPerAttempt}
}
