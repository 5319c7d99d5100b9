package harness

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"reuseport-bench/results"
	"reuseport-bench/scenarios"
)

// EvaluateGates judges every gate of the scenario on every variant that it selects. Counts are
// exact. A figure with an interval is tried at its centre and at both ends, against the baseline's
// opposite end: where these disagree the gate is undecided.
func EvaluateGates(s *scenarios.Scenario, out *results.Scenario) ([]results.GateResult, error) {
	var baseline *results.Variant
	for _, v := range out.Variants {
		if scenarios.Labels(v.Labels).Equal(s.Baseline) {
			baseline = v
		}
	}
	var all []results.GateResult
	for _, g := range s.Gates {
		for _, v := range out.Variants {
			if !scenarios.Labels(v.Labels).Includes(g.When) || v.SkippedReason != nil {
				continue
			}
			r, err := evaluateGate(g, v, baseline, out.MinValid)
			if err != nil {
				return nil, fmt.Errorf("%s:%d: gate %q: %w", s.File, g.Line, g.Expect, err)
			}
			all = append(all, r)
		}
	}
	return all, nil
}

func evaluateGate(g scenarios.Gate, v, baseline *results.Variant, minValid int) (results.GateResult, error) {
	r := results.GateResult{Labels: v.Labels, Expect: g.Expect}
	n := len(v.ValidTrials())
	if n < minValid {
		r.Outcome, r.Note = results.GateUndecided, fmt.Sprintf("%d valid trials, %d are needed", n, minValid)
		return r, nil
	}
	var verdicts []bool
	for _, ends := range [][2]end{{center, center}, {low, high}, {high, low}} {
		m := scenarios.Metrics{Figures: figures(v, ends[0])}
		if baseline != nil {
			m.Baseline = figures(baseline, ends[1])
		}
		ok, err := g.Eval(m)
		if err != nil {
			return r, err
		}
		verdicts = append(verdicts, ok)
	}
	switch {
	case verdicts[0] != verdicts[1] || verdicts[0] != verdicts[2]:
		r.Outcome, r.Note = results.GateUndecided, "the interval straddles the bound; more trials (--trials) narrow it"
	case verdicts[0]:
		r.Outcome = results.GatePass
	default:
		r.Outcome = results.GateFail
	}
	if r.Note == "" {
		r.Note = gateNote(v, n)
	}
	return r, nil
}

// gateNote says what the verdict rests on.
func gateNote(v *results.Variant, n int) string {
	f := figures(v, center)
	note := fmt.Sprintf("%d valid trials, %d attempts, %d lost", n, f.Attempts, f.Lost)
	var causes []string
	for _, c := range slices.Sorted(maps.Keys(f.LostByCause)) {
		causes = append(causes, fmt.Sprintf("%s %d", c, f.LostByCause[c]))
	}
	if len(causes) > 0 {
		note += " (" + strings.Join(causes, ", ") + ")"
	}
	if f.Residual != 0 {
		note += fmt.Sprintf(", residual %d", f.Residual)
	}
	return note
}

// end is the part of an interval that figures are taken at.
type end int

const (
	center end = iota
	low
	high
)

// figures are what a gate can speak of. Counts are totals over valid trials, but the residual is that
// of all trials, for one that is not 0 makes its trial invalid.
func figures(v *results.Variant, at end) scenarios.Figures {
	value := func(metric string) float64 {
		s, ok := v.Summary[metric]
		switch {
		case !ok:
			return math.NaN()
		case at == low && s.Lo != nil:
			return *s.Lo
		case at == high && s.Hi != nil:
			return *s.Hi
		}
		return s.Center
	}
	percentiles := func(prefix string) scenarios.Percentiles {
		return scenarios.Percentiles{
			P50: value(prefix + "_p50_ns"), P90: value(prefix + "_p90_ns"), P99: value(prefix + "_p99_ns"),
			P999: value(prefix + "_p999_ns"), Max: value(prefix + "_max_ns"),
		}
	}
	f := scenarios.Figures{
		LostByCause: map[string]int64{}, LostByPhase: map[string]int64{},
		GapNS: value("gap_ns"), OutageNS: value("outage_ns"), StallNS: value("stall_ns"), TakeoverNS: value("takeover_ns"), TailNS: value("tail_ns"),
		Response: percentiles("response"), Service: percentiles("service"),
		LostPerRestart: value("lost_per_restart"),
		Jain:           value(results.MetricJain), MaxOverMean: value(results.MetricMaxOverMean), Chi2P: value(results.MetricChi2P),
		ContextSwitches: value(results.MetricSwitches), ServersCPUNS: value(results.MetricServersCPUPerAttempt),
	}
	for _, t := range v.Trials {
		f.Residual += t.Residual
	}
	for _, t := range v.ValidTrials() {
		f.Attempts += t.Attempts
		f.Served += t.Served
		f.Lost += t.Lost
		f.Dropped += t.Dropped
		for c, n := range t.LostByCause {
			f.LostByCause[c] += n
		}
		for p, n := range t.LostByPhase {
			f.LostByPhase[p] += n
		}
		if t.LostSentAfterClose != nil {
			f.LostSentAfterClose += *t.LostSentAfterClose
		}
	}
	return f
}
