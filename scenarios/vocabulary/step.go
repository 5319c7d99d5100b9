package vocabulary

import "slices"

// StepName is what a step of the timeline does: its do.
type StepName string

// The steps.
const (
	StepReplace       StepName = "replace"
	StepRoll          StepName = "roll"
	StepAdd           StepName = "add"
	StepRemove        StepName = "remove"
	StepKill          StepName = "kill"
	StepColdStart     StepName = "cold-start"
	StepStall         StepName = "stall"
	StepDeletePod     StepName = "delete-pod"
	StepRollingUpdate StepName = "rolling-update"
	StepScale         StepName = "scale"
	StepMovePod       StepName = "move-pod"
	StepDrainNode     StepName = "drain-node"
	StepNodeDown      StepName = "node-down"
	StepCrash         StepName = "crash"
	StepJoin          StepName = "join"
	StepDropSocket    StepName = "drop-socket"
)

// Target is what the target of a step is the number of.
type Target int

// The targets.
const (
	TargetNone   Target = iota // such a step has no target
	TargetWorker               // among those there are at that time
	TargetNode
	TargetSocket // among those that the supervisor holds at that time
)

// A StepKind is the row of a step: what steps of that name do to workers.
type StepKind struct {
	Name StepName
	Doc  string

	Plain    bool          // there is such a step for workers that are in no pods
	Pods     bool          // … and for pods: path service, dns or pod
	Restarts bool          // what it loses counts into lost_per_restart
	Starts   bool          // it starts workers
	Stops    bool          // it ends workers by the stop mode; their listeners are closed
	Kills    bool          // … by SIGKILL
	Lasts    bool          // it has a length: for
	Replicas bool          // it says how many pods there are to be: replicas
	Targets  Target        // what target names
	Sockets  Only[Sockets] // that the workers must have
}

// Ends reports whether steps of the kind end workers.
func (k StepKind) Ends() bool { return k.Stops || k.Kills }

var inGroup = Only[Sockets]{[]Sockets{SocketsReuseport},
	"only a reuseport group has several sockets at one address"}

var stepKinds = []StepKind{
	{Name: StepReplace, Plain: true, Restarts: true, Starts: true, Stops: true,
		Doc: "start a new generation, wait until it is ready, stop the old one"},
	{Name: StepRoll, Plain: true, Restarts: true, Starts: true, Stops: true,
		Doc: "a new generation too, but one worker after the other: start one, wait until it is " +
			"ready, stop one"},
	{Name: StepAdd, Plain: true, Pods: true, Starts: true,
		Doc: "start one more worker"},
	{Name: StepRemove, Plain: true, Pods: true, Stops: true, Targets: TargetWorker,
		Doc: "stop the target worker, by default the first; nobody takes its place"},
	{Name: StepKill, Plain: true, Pods: true, Kills: true, Targets: TargetWorker,
		Doc: "SIGKILL the target worker, by default the first; nobody takes its place"},
	{Name: StepColdStart, Plain: true, Pods: true, Starts: true, Lasts: true,
		Doc: "start one more worker, which needs time to warm up: its requests take server.cold " +
			"longer at first, and no longer after for"},
	{Name: StepStall, Plain: true, Lasts: true, Targets: TargetWorker,
		Doc: "every worker, or only the target, stands still for a while"},
	{Name: StepDeletePod, Pods: true, Stops: true, Targets: TargetWorker,
		Doc: "the target worker's pod is deleted, by default the first; nobody takes its place " +
			"(path service, dns or pod)"},
	{Name: StepRollingUpdate, Pods: true, Restarts: true, Starts: true, Stops: true,
		Doc: "new pods take the place of the old ones, as a Deployment's do, within " +
			"kube.max_surge and kube.max_unavailable (path service, dns or pod)"},
	{Name: StepScale, Pods: true, Starts: true, Stops: true, Replicas: true,
		Doc: "as many pods more or fewer, the newest first, as it takes to have replicas of them " +
			"(path service, dns or pod)"},
	{Name: StepMovePod, Pods: true, Starts: true, Stops: true, Targets: TargetWorker,
		Doc: "the target worker's pod, by default the first, is deleted while another is started " +
			"on the other node (path service, dns or pod)"},
	{Name: StepDrainNode, Pods: true, Starts: true, Stops: true, Targets: TargetNode,
		Doc: "every pod on the target node, 0 or 1, is evicted while another is started on the " +
			"other node; that one gets all later pods, too (path service, dns or pod)"},
	{Name: StepNodeDown, Pods: true, Targets: TargetNode,
		Doc: "the target node, 0 or 1, falls silent for good, with all pods on it (path service, " +
			"dns or pod)"},
	{Name: StepCrash, Plain: true, Restarts: true, Starts: true, Kills: true, Lasts: true,
		Targets: TargetWorker,
		Doc: "SIGKILL the target worker, by default the first; a supervisor starts another after " +
			"for"},
	{Name: StepJoin, Plain: true, Sockets: inGroup,
		Doc: "one more socket listens in the group, which the supervisor holds, and nobody ever " +
			"accepts from it (sockets reuseport)"},
	{Name: StepDropSocket, Plain: true, Targets: TargetSocket, Sockets: inGroup,
		Doc: "the supervisor closes the target one of the sockets that it holds (stop inherit, or " +
			"a join before), by default the first: with its queue, unless a worker has it, too"},
}

func (k StepKind) value() Value { return Value{string(k.Name), k.Doc} }

// StepKinds returns the table of steps.
func StepKinds() []StepKind { return slices.Clone(stepKinds) }

// Kind returns the row of n; the zero StepKind if there is none.
func (n StepName) Kind() StepKind { return rowOf(stepKinds, n) }
