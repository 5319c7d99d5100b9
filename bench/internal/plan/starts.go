package plan

import (
	"cmp"
	"slices"

	"reuseport-bench/scenarios/vocabulary"
)

// Starts returns an iterator over the indexes of the workers that the steps will start, if every
// step succeeds. After the last index, next returns false. For a step drain-node it returns the
// indexes of all pods, because the plan does not know which pods will be on the node.
func (v *Variant) Starts() (next func() (index int, ok bool)) {
	p := &population{size: v.Servers.Workers}
	p.replaceAll()
	steps, started := v.Steps, []int(nil)
	return func() (index int, ok bool) {
		for len(started) == 0 && len(steps) > 0 {
			started, steps = p.carryOut(&steps[0]), steps[1:]
		}
		if len(started) == 0 {
			return 0, false
		}
		index, started = started[0], started[1:]
		return index, true
	}
}

// A population is the set of workers that serve between two steps. The target of a step is an index
// into members.
type population struct {
	size    int // number of workers in a generation
	members []member
	started int // workers started so far
}

// A member is a worker. Its index may be reused after it has stopped; its ID grows with every
// start.
type member struct{ index, id int }

// carryOut applies a step to the population. It returns the indexes of the workers that the step
// starts.
func (p *population) carryOut(s *PlannedStep) []int {
	target := 0
	if s.Target != nil {
		target = *s.Target
	}
	target = min(target, len(p.members)-1) // in a trial, a step whose target does not exist fails
	switch s.Do {
	case vocabulary.StepReplace:
		return p.replaceAll()
	case vocabulary.StepRoll, vocabulary.StepRollingUpdate:
		return p.replace(p.members)
	case vocabulary.StepAdd, vocabulary.StepColdStart:
		return p.add(1)
	case vocabulary.StepScale:
		slices.SortFunc(p.members, func(a, b member) int { return cmp.Compare(a.id, b.id) })
		if more := *s.Replicas - len(p.members); more > 0 {
			return p.add(more)
		}
		p.members = p.members[:*s.Replicas]
	case vocabulary.StepDrainNode:
		return indexes(p.members)
	case vocabulary.StepMovePod, vocabulary.StepCrash:
		if target >= 0 {
			return p.replace(p.members[target : target+1])
		}
	case vocabulary.StepRemove, vocabulary.StepKill, vocabulary.StepDeletePod:
		if target >= 0 {
			p.members = slices.Delete(p.members, target, target+1)
		}
	}
	return nil
}

// replaceAll replaces all members by a new generation.
func (p *population) replaceAll() []int {
	p.members = nil
	return p.add(p.size)
}

// add starts n workers, each with the lowest free index.
func (p *population) add(n int) []int {
	for range n {
		p.members = append(p.members, member{FreeIndex(indexes(p.members)), p.started})
		p.started++
	}
	return indexes(p.members[len(p.members)-n:])
}

// replace replaces each worker in some by a new one.
func (p *population) replace(some []member) []int {
	for i := range some {
		some[i].id = p.started
		p.started++
	}
	return indexes(some)
}

func indexes(members []member) []int {
	all := make([]int, len(members))
	for i, m := range members {
		all[i] = m.index
	}
	return all
}

// FreeIndex returns the lowest index, from 0, that is not in taken.
func FreeIndex(taken []int) int {
	free := 0
	for slices.Contains(taken, free) {
		free++
	}
	return free
}
