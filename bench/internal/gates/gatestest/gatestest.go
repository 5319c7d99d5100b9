// Package gatestest makes scenarios with gates, and results of such scenarios, for tests.
package gatestest

import (
	"testing"

	"reuseport-bench/results"
	"reuseport-bench/results/summary"
	"reuseport-bench/scenarios"
	"reuseport-bench/scenarios/vocabulary"
)

// Scenario returns a scenario with the given gates, in YAML, and variants of 1 and 2 workers.
func Scenario(t *testing.T, gates string) *scenarios.Scenario {
	t.Helper()
	s, err := scenarios.Parse("gated.yaml", []byte(`name: gated
about: For gates.
load: {rate: 1000/s, duration: 1s}
timeline: [{at: 100ms, every: 200ms, do: replace}]
stop: close
matrix: [{workers: [1, 2]}]
gates:
`+gates))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A Series makes the trial of one variant in a block.
type Series func(block int) *results.Trial

// Timed returns trials without losses whose median response time is us, in microseconds.
func Timed(us func(block int) float64) Series {
	return func(block int) *results.Trial {
		return &results.Trial{
			Valid: true, Block: block, Attempts: 1000, Served: 1000,
			ResponseNS: &results.Percentiles{P50: int64(us(block) * 1e3), P99: 9e6},
			Steps:      []results.Step{{Do: vocabulary.StepReplace}, {Do: vocabulary.StepReplace}},
		}
	}
}

// Measured returns results with a variant for each series. The key of a series is the value of
// workers, or "control" for the A/A arm.
func Measured(blocks int, of map[string]Series) *results.Scenario {
	baseline := map[string]string{"workers": "1"}
	out := &results.Scenario{Name: "gated", MinValid: 3, Baseline: baseline}
	for _, name := range []string{"1", "control", "2"} {
		make, ok := of[name]
		if !ok {
			continue
		}
		v := &results.Variant{Labels: map[string]string{"workers": name}}
		if name == "control" {
			v.Labels = map[string]string{"workers": "1", results.LabelArm: results.ArmControl}
		}
		for b := range blocks {
			v.Trials = append(v.Trials, make(b))
		}
		summary.Fill(v)
		out.Variants = append(out.Variants, v)
	}
	return out
}
