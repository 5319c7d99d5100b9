package scenarios

import (
	"slices"
	"strings"

	"reuseport-bench/scenarios/vocabulary"
)

// stepNames returns the names of the kinds of step that satisfy is, in the order of the vocabulary.
func stepNames(is func(vocabulary.StepKind) bool) []string {
	var names []string
	for _, k := range vocabulary.StepKinds() {
		if is(k) {
			names = append(names, string(k.Name))
		}
	}
	return names
}

// Restarts reports whether the timeline restarts workers.
func (s Setup) Restarts() bool {
	return slices.ContainsFunc(s.Timeline, func(step Step) bool { return step.Do.Kind().Restarts })
}

// A need is what a timeline must do for a metric to exist: the tag needs of a field of Figures.
type need string

const (
	needStep     need = "step" // any
	needRestarts need = "restarts"
	needStarts   need = "starts"
	needEnds     need = "ends"
)

// met reports whether a step of the kind is enough.
func (n need) met(k vocabulary.StepKind) bool {
	switch n {
	case needRestarts:
		return k.Restarts
	case needStarts:
		return k.Starts
	case needEnds:
		return k.Ends()
	}
	return true
}

// does reports whether some step of the timeline meets n. No need is always met.
func (s Setup) does(n need) bool {
	return n == "" || slices.ContainsFunc(s.Timeline, func(step Step) bool {
		return n.met(step.Do.Kind())
	})
}

// wanted names the kinds of step that would meet n.
func (s Setup) wanted(n need) string {
	if n == needStep {
		return "step"
	}
	kinds := stepNames(func(k vocabulary.StepKind) bool { return s.allows(k) && n.met(k) })
	return strings.Join(kinds, " or ")
}

// doesAny reports whether a step of the timeline is of a kind that satisfies is.
func (s Setup) doesAny(is func(vocabulary.StepKind) bool) bool {
	return slices.ContainsFunc(s.Timeline, func(step Step) bool { return is(step.Do.Kind()) })
}

// allows reports whether there is such a step for the setup's workers.
func (s Setup) allows(k vocabulary.StepKind) bool {
	if s.InPods() {
		return k.Pods
	}
	return k.Plain
}

// has reports whether the timeline holds a step of one of the names.
func (s Setup) has(names ...vocabulary.StepName) bool {
	return slices.ContainsFunc(s.Timeline, func(step Step) bool {
		return slices.Contains(names, step.Do)
	})
}
