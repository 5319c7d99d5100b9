package main

import (
	"slices"
	"testing"

	"reuseport-bench/results"
	"reuseport-bench/results/metrics"
	"reuseport-bench/scenarios/vocabulary"
)

// Parked workers are ready sooner than workers started cold, and use less of the servers' CPU time
// while the load runs. In both cases the ledger balances.
func TestKernelStarts(t *testing.T) {
	requireLab(t)
	run := carriedOut(t, `
name: starts
about: Parked workers beside cold ones.
load: {rate: 200/s, duration: 1100ms}
timeline: [{at: 100ms, every: 200ms, do: replace}]
matrix:
  - {server.start: [parked, cold], sockets: [reuseport], stop: [drain, inherit]}
  - {server.start: [parked, cold], sockets: [shared], stop: [handoff]}
trials: 2
`+lenient)
	type figures struct{ ready, cpu float64 }
	all := map[string]figures{}
	for _, v := range run.Scenarios[0].Variants {
		start := vocabulary.Start(v.Labels["server.start"])
		want := results.Starts{Start: start}
		if start == vocabulary.StartParked {
			want.Parked = 10
		} else {
			want.Cold = 10
		}
		var cpu []int64
		for _, tr := range v.Trials {
			if tr.Starts == nil || *tr.Starts != want {
				t.Errorf("%s: started %+v, want %+v", results.LabelString(v.Labels), tr.Starts,
					want)
			}
			cpu = append(cpu, *tr.CPU.ServersNS)
		}
		all[v.Labels["stop"]+" "+string(start)] = figures{
			v.Summary[metrics.ReadyAfter].Center, float64(slices.Min(cpu)),
		}
	}
	for _, stop := range []vocabulary.StopMode{
		vocabulary.StopDrain, vocabulary.StopInherit, vocabulary.StopHandoff,
	} {
		parked, cold := all[string(stop)+" parked"], all[string(stop)+" cold"]
		t.Logf("%s: ready after %.0f µs and %.0f µs, servers' CPU %.1f ms and %.1f ms", stop,
			parked.ready/1e3, cold.ready/1e3, parked.cpu/1e6, cold.cpu/1e6)
		if parked.ready == 0 || parked.ready*2 > cold.ready {
			t.Errorf("%s: parked workers were ready after %.0f ns, cold ones after %.0f", stop,
				parked.ready, cold.ready)
		}
		if parked.cpu == 0 || parked.cpu*1.3 > cold.cpu {
			t.Errorf("%s: with parked workers the servers used %.0f ns, with cold ones %.0f", stop,
				parked.cpu, cold.cpu)
		}
	}
}

// At most 64 processes are parked at a time. When steps have used some of them, more are parked.
func TestKernelStartsOfMany(t *testing.T) {
	requireLab(t)
	run := carriedOut(t, `
name: many
about: More workers than are parked at a time.
workers: 30
load: {rate: 200/s, duration: 2500ms}
timeline: [{at: 100ms, every: 800ms, do: replace}]
stop: drain
trials: 1
`+lenient)
	tr := lastTrial(run.Scenarios[0].Variants[0])
	s := tr.Starts
	if s == nil || len(tr.Steps) != 3 {
		t.Fatalf("started %+v in %d steps, want some in 3", s, len(tr.Steps))
	}
	if s.Parked != 64 || s.ParkedLater+s.Cold != 26 || s.ParkedLater == 0 {
		t.Errorf("started %+v, want 64 parked before the load and 26 later", *s)
	}
}
