package plan

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/scenarios"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers"
)

// started returns the indexes of the workers that a variant's steps start.
func started(v *Variant) (all []int) {
	next := v.Starts()
	for index, ok := next(); ok; index, ok = next() {
		all = append(all, index)
	}
	return all
}

// Starts derives the indexes of new workers from all earlier steps.
func TestStarts(t *testing.T) {
	step := func(do vocabulary.StepName, n ...int) PlannedStep {
		s := PlannedStep{Step: scenarios.Step{Do: do}}
		switch {
		case len(n) > 0 && do.Kind().Replicas:
			s.Replicas = &n[0]
		case len(n) > 0:
			s.Target = &n[0]
		}
		return s
	}
	const (
		add, remove, kill = vocabulary.StepAdd, vocabulary.StepRemove, vocabulary.StepKill
		crash, scale      = vocabulary.StepCrash, vocabulary.StepScale
		replace, move     = vocabulary.StepReplace, vocabulary.StepMovePod
	)
	for _, test := range []struct {
		name  string
		steps []PlannedStep
		want  []int
	}{
		{"no step", nil, nil},
		{"two generations", []PlannedStep{step(replace), step(replace)}, []int{0, 1, 2, 0, 1, 2}},
		{"one after the other", []PlannedStep{step(vocabulary.StepRoll)}, []int{0, 1, 2}},
		{
			"steps that start none",
			[]PlannedStep{step(vocabulary.StepStall), step(remove), step(kill, 1)},
			nil,
		},
		{"more workers", []PlannedStep{step(add), step(vocabulary.StepColdStart)}, []int{3, 4}},
		{"a free index", []PlannedStep{step(remove, 1), step(add)}, []int{1}},
		{
			"targets count the workers left",
			[]PlannedStep{step(kill), step(crash), step(crash, 1)},
			[]int{1, 2},
		},
		{
			"a generation in place of fewer",
			[]PlannedStep{step(remove), step(replace), step(add)},
			[]int{0, 1, 2, 3},
		},
		{
			"the workers left, one after the other",
			[]PlannedStep{step(remove, 1), step(vocabulary.StepRoll)},
			[]int{0, 2},
		},
		{"a missing target", []PlannedStep{
			step(kill), step(kill), step(kill), step(kill), step(crash), step(add),
		}, []int{0}},
		{
			"more pods",
			[]PlannedStep{step(scale, 5), step(scale, 2), step(scale, 4)},
			[]int{3, 4, 2, 3},
		},
		{
			"the newest pods go first",
			[]PlannedStep{step(move), step(scale, 2), step(scale, 3)},
			[]int{0, 0},
		},
		{"all pods", []PlannedStep{step(vocabulary.StepRollingUpdate)}, []int{0, 1, 2}},
		{"any pod of a node", []PlannedStep{step(vocabulary.StepDrainNode, 1)}, []int{0, 1, 2}},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := &Variant{Servers: servers.Config{Workers: 3}, Steps: test.steps}
			if diff := cmp.Diff(started(v), test.want); diff != "" {
				t.Errorf("indexes (-got +want):\n%s", diff)
			}
		})
	}
}

// For workers of this program, Starts returns indexes for exactly the steps that start workers
// according to their rows in the vocabulary.
func TestStartsOfEveryStep(t *testing.T) {
	for _, k := range vocabulary.StepKinds() {
		s := PlannedStep{Step: scenarios.Step{Do: k.Name, Replicas: new(3)}}
		v := &Variant{Servers: servers.Config{Workers: 2}, Steps: []PlannedStep{s}}
		if n := len(started(v)); n > 0 != (k.Starts && (k.Plain || k.Pods)) {
			t.Errorf("%s starts %d workers; by the vocabulary it starts some: %t",
				k.Name, n, k.Starts)
		}
	}
}

// Workers start parked unless the scenario sets server.start or the stop mode does not allow it.
func TestStart(t *testing.T) {
	const replace = "timeline: [{at: 100ms, do: replace}]\n"
	for _, test := range []struct {
		text string
		want vocabulary.Start
	}{
		{"", ""},
		{"stop: close\n" + replace, vocabulary.StartParked},
		{"stop: close\nserver: {start: cold}\n" + replace, vocabulary.StartCold},
		{
			"sockets: shared\nstop: tableflip\nserver: {kind: http}\n" + replace,
			vocabulary.StartCold,
		},
	} {
		s, err := scenarios.Parse("start.yaml", []byte(
			"name: start\nabout: One variant.\nload: {rate: 100/s, duration: 1s}\n"+test.text))
		if err != nil {
			t.Fatal(err)
		}
		p, err := New([]*scenarios.Scenario{s}, 1, Machine{CPUs: []int{0, 1}}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Scenarios[0].Variants[0].Start; got != test.want {
			t.Errorf("%q: start %q, want %q", test.text, got, test.want)
		}
	}
}
