package scenarios

import (
	"slices"
	"strings"
)

// A StepKind is one value of a step's do, and what such a step does to workers.
type StepKind struct {
	Name string
	Doc  string

	Plain    bool // there is such a step for workers that are in no pods
	Pods     bool // … and for pods: path service, dns or pod
	Restarts bool // what it loses counts into lost_per_restart
	Starts   bool // it starts workers
	Ends     bool // it ends workers, whose listeners are closed
}

// StepKinds returns every kind of step. All that depends on what a kind does is derived from here.
func StepKinds() []StepKind {
	return []StepKind{
		{Name: "replace", Plain: true, Restarts: true, Starts: true, Ends: true,
			Doc: "start a new generation, wait until it is ready, stop the old one"},
		{Name: "roll", Plain: true, Restarts: true, Starts: true, Ends: true,
			Doc: "a new generation too, but one worker after the other: start one, wait until it is " +
				"ready, stop one"},
		{Name: "add", Plain: true, Pods: true, Starts: true,
			Doc: "start one more worker"},
		{Name: "remove", Plain: true, Pods: true, Ends: true,
			Doc: "stop the target worker, by default the first; nobody takes its place"},
		{Name: "kill", Plain: true, Pods: true, Ends: true,
			Doc: "SIGKILL the target worker, by default the first; nobody takes its place"},
		{Name: "cold-start", Plain: true, Pods: true, Starts: true,
			Doc: "start one more worker, which needs time to warm up: its requests take server.cold " +
				"longer at first, and no longer after for"},
		{Name: "stall", Plain: true,
			Doc: "every worker, or only the target, stands still for a while"},
		{Name: "delete-pod", Pods: true, Ends: true,
			Doc: "the target worker's pod is deleted, by default the first; nobody takes its place " +
				"(path service, dns or pod)"},
		{Name: "rolling-update", Pods: true, Restarts: true, Starts: true, Ends: true,
			Doc: "new pods take the place of the old ones, as a Deployment's do, within " +
				"kube.max_surge and kube.max_unavailable (path service, dns or pod)"},
		{Name: "scale", Pods: true, Starts: true, Ends: true,
			Doc: "as many pods more or fewer, the newest first, as it takes to have replicas of them " +
				"(path service, dns or pod)"},
		{Name: "move-pod", Pods: true, Starts: true, Ends: true,
			Doc: "the target worker's pod, by default the first, is deleted while another is started " +
				"on the other node (path service, dns or pod)"},
		{Name: "drain-node", Pods: true, Starts: true, Ends: true,
			Doc: "every pod on the target node, 0 or 1, is evicted while another is started on the " +
				"other node; that one gets all later pods, too (path service, dns or pod)"},
		{Name: "node-down", Pods: true,
			Doc: "the target node, 0 or 1, falls silent for good, with all pods on it (path service, " +
				"dns or pod)"},
		{Name: "crash", Plain: true, Restarts: true, Starts: true, Ends: true,
			Doc: "SIGKILL the target worker, by default the first; a supervisor starts another after " +
				"for"},
	}
}

// Kind returns what a step of its do does; the zero StepKind if there is no such kind.
func (s Step) Kind() StepKind {
	kinds := StepKinds()
	if i := slices.IndexFunc(kinds, func(k StepKind) bool { return k.Name == s.Do }); i >= 0 {
		return kinds[i]
	}
	return StepKind{}
}

// stepChoices returns the kinds as the values of a setting.
func stepChoices() []Choice {
	var choices []Choice
	for _, k := range StepKinds() {
		choices = append(choices, Choice{k.Name, k.Doc})
	}
	return choices
}

// stepNames returns the names of the kinds that satisfy is, in the order of StepKinds.
func stepNames(is func(StepKind) bool) []string {
	var names []string
	for _, k := range StepKinds() {
		if is(k) {
			names = append(names, k.Name)
		}
	}
	return names
}

// Restarts reports whether the timeline restarts workers.
func (s Setup) Restarts() bool {
	return slices.ContainsFunc(s.Timeline, func(step Step) bool { return step.Kind().Restarts })
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
func (n need) met(k StepKind) bool {
	switch n {
	case needRestarts:
		return k.Restarts
	case needStarts:
		return k.Starts
	case needEnds:
		return k.Ends
	}
	return true
}

// does reports whether some step of the timeline meets n. No need is always met.
func (s Setup) does(n need) bool {
	return n == "" || slices.ContainsFunc(s.Timeline, func(step Step) bool {
		return n.met(step.Kind())
	})
}

// wanted names the kinds of step that would meet n.
func (s Setup) wanted(n need) string {
	if n == needStep {
		return "step"
	}
	kinds := stepNames(func(k StepKind) bool { return s.allows(k) && n.met(k) })
	return strings.Join(kinds, " or ")
}

// allows reports whether there is such a step for the setup's workers.
func (s Setup) allows(k StepKind) bool {
	if s.InPods() {
		return k.Pods
	}
	return k.Plain
}

// has reports whether the timeline holds a step of one of the kinds.
func (s Setup) has(kinds ...string) bool {
	return slices.ContainsFunc(s.Timeline, func(step Step) bool {
		return slices.Contains(kinds, step.Do)
	})
}
