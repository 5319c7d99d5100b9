package vocabulary

import "slices"

// StepName is the name of a step: the value of the key do of an element of the timeline.
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
	StepRestart       StepName = "restart"
)

// Target is the kind of object that a step acts on. The key "target" of the step has the number of
// the object.
type Target int

// The targets.
const (
	TargetNone   Target = iota // the step has no target
	TargetWorker               // a worker, among those that run when the step is due
	TargetNode                 // a node, 0 or 1
	TargetSocket               // a socket, among those that the supervisor then holds
)

// A StepKind is the row of a StepName. It describes the effect of steps with that name on workers.
type StepKind struct {
	Name   StepName
	Doc    string
	Phrase string // see Value.Phrase

	Plain    bool          // it works with workers that are not pods
	Pods     bool          // it works with pods: path service, dns or pod
	Command  bool          // it works with server.kind: command
	Restarts bool          // it counts as a restart in dropped_per_restart
	Starts   bool          // it starts workers
	Stops    bool          // it ends workers by the stop mode; their listeners are closed
	Kills    bool          // it ends workers by SIGKILL
	Lasts    bool          // it has a duration, the value of the key for
	Replicas bool          // it sets the number of pods, by the key replicas
	Targets  Target        // the kind of object to which the key target refers
	Sockets  Only[Sockets] // the values of sockets that it works with
}

// Ends reports whether steps of kind k end workers.
func (k StepKind) Ends() bool { return k.Stops || k.Kills }

var inGroup = Only[Sockets]{[]Sockets{SocketsReuseport},
	"only a reuseport group has several sockets at one address"}

var stepKinds = []StepKind{
	{Name: StepReplace, Phrase: "replacing the workers",
		Plain: true, Restarts: true, Starts: true, Stops: true,
		Doc: "start a new generation, wait until it is ready, then stop the old generation"},
	{Name: StepRoll, Phrase: "replacing the workers one by one",
		Plain: true, Restarts: true, Starts: true, Stops: true,
		Doc: "replace workers one after the other: start a new worker, wait until it is " +
			"ready, then stop an old worker"},
	{Name: StepAdd, Phrase: "adding a worker",
		Plain: true, Pods: true, Starts: true,
		Doc: "start one more worker"},
	{Name: StepRemove, Phrase: "removing a worker",
		Plain: true, Pods: true, Stops: true, Targets: TargetWorker,
		Doc: "stop the target worker, by default the first, without a successor"},
	{Name: StepKill, Phrase: "killing a worker",
		Plain: true, Pods: true, Command: true, Kills: true, Targets: TargetWorker,
		Doc: "kill the target worker (SIGKILL), by default the first, without a successor"},
	{Name: StepColdStart, Phrase: "adding a cold worker",
		Plain: true, Pods: true, Starts: true, Lasts: true,
		Doc: "start one more worker that must warm up: at first its requests take longer by " +
			"server.cold, and after the time for they do not"},
	{Name: StepStall, Phrase: "stalling a worker",
		Plain: true, Command: true, Lasts: true, Targets: TargetWorker,
		Doc: "stop every worker, or only the target, from running for the time for"},
	{Name: StepDeletePod, Phrase: "deleting a pod",
		Pods: true, Stops: true, Targets: TargetWorker,
		Doc: "delete the target worker's pod, by default the first, without a successor"},
	{Name: StepRollingUpdate, Phrase: "a rolling update",
		Pods: true, Restarts: true, Starts: true, Stops: true,
		Doc: "replace all pods as a Deployment does, within kube.max_surge and " +
			"kube.max_unavailable"},
	{Name: StepScale, Phrase: "scaling",
		Pods: true, Starts: true, Stops: true, Replicas: true,
		Doc: "start or delete pods until their number is replicas; the newest pods are " +
			"deleted first"},
	{Name: StepMovePod, Phrase: "moving a pod",
		Pods: true, Starts: true, Stops: true, Targets: TargetWorker,
		Doc: "delete the target worker's pod, by default the first, while a new pod starts on " +
			"the other node"},
	{Name: StepDrainNode, Phrase: "draining a node",
		Pods: true, Starts: true, Stops: true, Targets: TargetNode,
		Doc: "evict every pod of the target node, 0 or 1, while new pods start on the other " +
			"node; later pods are placed on the other node, too"},
	{Name: StepNodeDown, Phrase: "losing a node",
		Pods: true, Targets: TargetNode,
		Doc: "disconnect the target node, 0 or 1, and all its pods from the network until the " +
			"trial ends"},
	{Name: StepCrash, Phrase: "a crash",
		Plain: true, Restarts: true, Starts: true, Kills: true, Lasts: true,
		Targets: TargetWorker,
		Doc: "kill the target worker (SIGKILL), by default the first; a supervisor starts " +
			"another worker after the time for"},
	{Name: StepJoin, Phrase: "a socket without a worker",
		Plain: true, Sockets: inGroup,
		Doc: "add a listening socket to the group; the supervisor holds the socket, and no " +
			"process ever accepts from it"},
	{Name: StepDropSocket, Phrase: "closing a socket of the group",
		Plain: true, Targets: TargetSocket, Sockets: inGroup,
		Doc: "close the target socket, by default the first, of the sockets that the " +
			"supervisor holds (stop: inherit, or an earlier join); the kernel resets its queue " +
			"unless a worker also has the socket"},
	{Name: StepRestart, Phrase: "restarting the server",
		Command: true, Restarts: true, Starts: true, Stops: true,
		Doc: "restart the server in the way that the key restart names; the step ends when " +
			"the restart has had a visible effect, such as a new process"},
}

func (k StepKind) value() Value {
	var where []string
	switch {
	case k.Plain:
	case k.Pods:
		where = []string{"path: service, dns or pod"}
	case k.Command:
		where = []string{"server.kind: command"}
	}
	return Value{Name: string(k.Name), Doc: k.Doc, Phrase: k.Phrase,
		Needs: slices.Concat(where, k.Sockets.needs("sockets"))}
}

// StepKinds returns the table of steps.
func StepKinds() []StepKind { return slices.Clone(stepKinds) }

// Kind returns the row of n, or the zero StepKind if n has none.
func (n StepName) Kind() StepKind { return rowOf(stepKinds, n) }
