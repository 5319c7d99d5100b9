// Package metrics is the table of all metrics of a trial. For each metric it has the name, the
// unit, whether lower or higher is better, how variants are compared, what a scenario needs, and
// the function that pools a trial into one value. Reports, comparisons, gates and claims look up
// metrics here.
//
// A metric has the same name everywhere: the one in run.json.
package metrics

import (
	"math"
	"slices"
	"strings"

	"reuseport-bench/results"
	"reuseport-bench/results/unit"
)

// The values of Metric.Better.
const (
	Lower  = "lower"
	Higher = "higher"
)

// A Need is what a scenario must contain for a metric or a count to exist.
type Need int

// The needs.
const (
	Nothing   Need = iota
	Steps          // any step of the timeline
	Restarts       // a step that restarts workers
	Starts         // a step that starts workers
	Ends           // a step that closes listeners
	ColdStart      // a cold-start step
)

// String describes what the scenario must contain, such as "a step that starts workers". For
// Nothing it returns "".
func (n Need) String() string {
	return [...]string{
		Nothing: "", Steps: "a step", Restarts: "a step that restarts workers",
		Starts: "a step that starts workers", Ends: "a step that ends workers",
		ColdStart: "a step cold-start",
	}[n]
}

// A Loop is the kind of load for which a metric exists.
type Loop int

// The loops.
const (
	AnyLoop    Loop = iota
	OpenLoop        // a schedule says when attempts are due
	ClosedLoop      // each client sends an attempt when its previous one has ended
)

// String names the kind of load. For AnyLoop it returns "".
func (l Loop) String() string {
	return [...]string{AnyLoop: "", OpenLoop: "an open loop", ClosedLoop: "a closed loop"}[l]
}

// A Metric has one value per trial, or is a rate of events over several trials. Summarized over
// trials, it has a center and an interval.
type Metric struct {
	Name string // the key in run.json
	Doc  string
	Unit unit.Unit

	// Better is Lower, Higher, or "" for neither.
	Better string
	// Scale is the scale on which two variants are compared: results.ScaleRatio or
	// results.ScaleDifference. It is "" if the metric only describes a trial, and is not compared.
	Scale string
	// Threshold is the smallest change that matters in practice: a share of the base for ratios, a
	// value in the metric's own unit for differences.
	Threshold float64
	// Needs is what a scenario must contain for the metric to exist. Loop is the kind of load for
	// which the metric exists.
	Needs Need
	Loop  Loop
	// Signed: values can be negative. Values of all other metrics are at least 0.
	Signed bool
	// Most is the largest possible value; 0 means that there is no bound.
	Most float64
	// OverRestarts: each observation is a restart, not a trial.
	OverRestarts bool
	// Bench is the metric's unit in the Go benchmark format, which has times in seconds. It is ""
	// if the metric is not printed there.
	Bench string

	// Pool returns the trial's value, or false if the trial has none. Pool is nil for metrics that
	// do not have one value per trial.
	Pool func(*results.Trial) (float64, bool)
	// Tally returns the events that a trial counted and their exposure, or false if the trial did
	// not count them. Tally is nil for metrics that are not rates of events.
	Tally func(*results.Trial) (Tally, bool)
}

// Compared reports whether two variants can be compared in the metric.
func (m Metric) Compared() bool { return m.Scale != "" }

// Range returns the smallest and the largest possible value of the metric. They are infinite if
// there is no bound.
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

// Of returns the trial's value of the metric, or false if the trial has none. If the metric is a
// rate of events, the value is the rate in this trial.
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

// In returns the metric's name with the unit of the scale in place of the base unit, such as "gap
// [ms]".
func (m Metric) In(scale unit.Scale) string {
	if scale.Name == "" {
		return m.Name
	}
	return strings.TrimSuffix(m.Name, "_ns") + " [" + scale.Name + "]"
}

// All returns every metric, in the order of reports.
func All() []Metric { return slices.Clone(registry) }

// Find returns the metric with this name.
func Find(name string) (Metric, bool) {
	i := slices.IndexFunc(registry, func(m Metric) bool { return m.Name == name })
	if i < 0 {
		return Metric{}, false
	}
	return registry[i], true
}

// UnitOf returns the unit of the metric with this name, or unit.None if the name is unknown.
func UnitOf(name string) unit.Unit {
	m, _ := Find(name)
	return m.Unit
}

// FindCompared is like Find, but finds only metrics in which variants can be compared.
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

// Figures returns the trial's values of the metrics that have one value per trial. Metrics that the
// trial lacks are absent.
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

// MaxGating is the number of metrics that may decide a comparison of two variants, or the gates of
// a scenario. The more metrics there are, the harder it is to find a change in any of them.
const MaxGating = 4

// Gating returns the metrics that decide a comparison by default. They depend on what the usable
// trials measured: a search, restarts, or neither.
func Gating(trials []*results.Trial) []string {
	has := func(what func(*results.Trial) bool) bool { return slices.ContainsFunc(trials, what) }
	switch {
	case has(func(t *results.Trial) bool { return t.Search != nil && t.Search.Setting != "" }):
		return []string{LeastDuration, LeastNumber, GreatestDuration, GreatestNumber}
	case has(func(t *results.Trial) bool { return t.Search != nil }):
		return []string{HighestRate}
	case has(func(t *results.Trial) bool { return len(t.Restarts()) > 0 }):
		return []string{DroppedPerRestart, Gap, ResponseP50, ResponseP99}
	}
	return []string{DroppedPerAttempt, ResponseP50, ResponseP99, ServersCPUPerAttempt}
}
