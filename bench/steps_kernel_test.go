package main

import (
	"slices"
	"testing"

	"reuseport-bench/results"
	"reuseport-bench/scenarios/vocabulary"
)

// Every step starts and ends workers as its Kind says. So a gate on a metric of started or ended
// workers is either refused or decided: it never waits for values that no trial can have.
func TestKernelStepKinds(t *testing.T) {
	requireLab(t)
	t.Parallel()
	const common = "about: Every kind of step.\nstop: close\ntrials: 1\n" +
		"server: {work: {sleep: 100us}, cold: 1ms}\n" + lenient
	const pods = "network: cluster\npath: service\nworkers: 4\n"
	tests := []struct{ name, scenario string }{
		{"workers", `
load: {rate: 500/s, duration: 3200ms, timeout: 400ms}
timeline:
  - {at: 100ms, do: add}
  - {at: 450ms, do: cold-start, for: 50ms}
  - {at: 850ms, do: remove}
  - {at: 1100ms, do: kill}
  - {at: 1350ms, do: stall, for: 20ms}
  - {at: 1600ms, do: replace}
  - {at: 2000ms, do: roll}
  - {at: 2450ms, do: crash, for: 50ms}
  - {at: 2900ms, do: join}
  - {at: 3050ms, do: drop-socket}
`},
		{"pods", pods + `
load: {rate: 500/s, duration: 6s, timeout: 400ms}
timeline:
  - {at: 200ms, do: add}
  - {at: 600ms, do: cold-start, for: 50ms}
  - {at: 1000ms, do: remove}
  - {at: 1400ms, do: kill}
  - {at: 1800ms, do: scale, replicas: 5}
  - {at: 2300ms, do: scale, replicas: 4}
  - {at: 2800ms, do: delete-pod}
  - {at: 3200ms, do: move-pod}
  - {at: 3800ms, do: rolling-update}
  - {at: 5000ms, do: drain-node, target: 0}
`},
		{"node-down", pods + `
load: {rate: 500/s, duration: 1600ms, timeout: 400ms}
timeline: [{at: 200ms, do: cold-start, for: 50ms}, {at: 650ms, do: node-down, target: 0}]
`},
	}
	seen, skipped := map[vocabulary.StepName]bool{}, false
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			run := carriedOut(t, "name: steps\n"+common+test.scenario)
			v := run.Scenarios[0].Variants[0]
			if skips(t, v) {
				skipped = true
				t.SkipNow()
			}
			// Collect the steps of each name, because one scale step only starts workers and
			// another only ends them.
			starts, ends := map[vocabulary.StepName]bool{}, map[vocabulary.StepName]bool{}
			trial := lastTrial(v)
			for _, s := range trial.Steps {
				starts[s.Do] = starts[s.Do] || s.TakeoverNS != nil
				ends[s.Do] = ends[s.Do] || s.TailNS != nil && s.ClosedNS != nil
				if s.StallNS == nil {
					t.Errorf("%s has no stall", s.Do)
				}
			}
			for name := range starts {
				kind := name.Kind()
				if seen[name] = true; starts[name] != kind.Starts || ends[name] != kind.Ends() {
					t.Errorf("%s starts workers: %t, ends them: %t; want %t and %t",
						name, starts[name], ends[name], kind.Starts, kind.Ends())
				}
			}
			// The plan predicted which workers the steps would start.
			if trial.Starts == nil || trial.Starts.Parked == 0 || trial.Starts.Cold > 0 {
				t.Errorf("workers started: %+v; want all of them parked", trial.Starts)
			}
			restarts := slices.DeleteFunc(slices.Clone(trial.Steps), func(s results.Step) bool {
				return !s.Do.Kind().Restarts
			})
			if got, want := len(trial.Restarts()), len(restarts); got != want {
				t.Errorf("%d restarts, want %d", got, want)
			}
		})
	}
	for _, kind := range vocabulary.StepKinds() {
		own := kind.Plain || kind.Pods // other steps are for third-party servers
		if own && !seen[kind.Name] && !skipped && !t.Failed() {
			t.Errorf("no step %s was carried out", kind.Name)
		}
	}
}
