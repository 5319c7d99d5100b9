package scenarios

import (
	"slices"
	"strings"

	"reuseport-bench/results/metrics"
	"reuseport-bench/scenarios/vocabulary"
)

// stepNames returns the names of the kinds of step that satisfy the predicate is, in the order of
// the vocabulary.
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

// occurrences returns the number of steps that are due before the load ends.
func (s Setup) occurrences() (n int) {
	for _, step := range s.Timeline {
		switch left := s.Load.Lasts() - step.At; {
		case left <= 0:
		case step.Every <= 0:
			n++
		default:
			n += 1 + int((left-1)/step.Every)
		}
	}
	return n
}

// meets reports whether a step of kind k satisfies n.
func meets(k vocabulary.StepKind, n metrics.Need) bool {
	switch n {
	case metrics.Restarts:
		return k.Restarts
	case metrics.Starts:
		return k.Starts
	case metrics.Ends:
		return k.Ends()
	case metrics.ColdStart:
		return k.Name == vocabulary.StepColdStart
	}
	return true
}

// does reports whether a step of the timeline satisfies n. The need metrics.Nothing is always
// satisfied.
func (s Setup) does(n metrics.Need) bool {
	return n == metrics.Nothing || slices.ContainsFunc(s.Timeline, func(step Step) bool {
		return meets(step.Do.Kind(), n)
	})
}

// wanted lists the kinds of step that satisfy n, for a message.
func (s Setup) wanted(n metrics.Need) string {
	if n == metrics.Steps {
		return "step"
	}
	kinds := stepNames(func(k vocabulary.StepKind) bool { return s.allows(k) && meets(k, n) })
	return strings.Join(kinds, " or ")
}

// doesAny reports whether the kind of any step of the timeline satisfies the predicate is.
func (s Setup) doesAny(is func(vocabulary.StepKind) bool) bool {
	return slices.ContainsFunc(s.Timeline, func(step Step) bool { return is(step.Do.Kind()) })
}

// starts reports whether any step of the timeline starts workers.
func (s Setup) starts() bool {
	return s.doesAny(func(k vocabulary.StepKind) bool { return k.Starts })
}

// allows reports whether a step of kind k works with the setup's servers.
func (s Setup) allows(k vocabulary.StepKind) bool {
	switch {
	case s.ByCommand() && s.InPods():
		return k.Pods && (k.Command || !k.Plain)
	case s.ByCommand():
		return k.Command
	case s.inOnePod():
		return k.Plain && k.Restarts && k.Stops
	case s.InPods():
		return k.Pods
	}
	return k.Plain
}

// has reports whether the timeline has a step with any of the names.
func (s Setup) has(names ...vocabulary.StepName) bool {
	return slices.ContainsFunc(s.Timeline, func(step Step) bool {
		return slices.Contains(names, step.Do)
	})
}
