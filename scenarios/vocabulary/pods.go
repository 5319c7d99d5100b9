package vocabulary

import "slices"

// Control is the control plane that the pods of a trial belong to.
type Control string

// The control planes.
const (
	ControlEmbedded Control = "embedded"
	ControlReal     Control = "real"
)

// A ControlRow is the row of a control plane.
type ControlRow struct {
	Name  Control
	Doc   string
	Needs []Capability
}

var controls = []ControlRow{
	{Name: ControlEmbedded,
		Doc: "a control plane in this program, with delays that the scenario sets"},
	{Name: ControlReal, Needs: []Capability{Kubernetes, Cgroups, Overlayfs},
		Doc: "Kubernetes itself: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, " +
			"and two nodes with kubelet, containerd and kube-proxy; they start once per run, and " +
			"decide every delay themselves"},
}

func (r ControlRow) value() Value {
	var path []string
	if r.Name == ControlReal {
		path = []string{"path: " + string(PathService) + ", or kube.placement: " +
			string(PlacementHostNetwork)}
	}
	return Value{Name: string(r.Name), Doc: r.Doc,
		Needs: slices.Concat(path, capabilityNeeds(r.Needs))}
}

// Controls returns the table of control planes.
func Controls() []ControlRow { return slices.Clone(controls) }

// Row returns the row of c, or the zero row if c has none.
func (c Control) Row() ControlRow { return rowOf(controls, c) }

// ProxyMode determines how the kube-proxy of a real Kubernetes programs the rules of Services.
type ProxyMode string

// The modes of kube-proxy.
const (
	ProxyNftables ProxyMode = "nftables"
	ProxyIptables ProxyMode = "iptables"
)

var proxyModes = []Row[ProxyMode]{
	{ProxyNftables, "in nftables' own terms, in one transaction for each sync"},
	{ProxyIptables, "with iptables-restore, for each sync: the default of Kubernetes. iptables " +
		"writes to nftables, too (iptables-nft)"},
}

// Placement determines the nodes and the network namespaces in which pods run.
type Placement string

// The placements.
const (
	PlacementPods        Placement = "pods"
	PlacementOneNode     Placement = "one-node"
	PlacementContainers  Placement = "containers"
	PlacementHostNetwork Placement = "host-network"

	PlacementHostContainers Placement = "host-containers"
)

// A PlacementRow is the row of a placement.
type PlacementRow struct {
	Name Placement
	Doc  string
	// SharesNetwork is true if all workers are in one network namespace, so that they compete for
	// one port.
	SharesNetwork bool
	// OnePod is true if all workers are in one pod, in which they can replace each other.
	OnePod bool
	// OnHost is true if pods use the network of their node.
	OnHost bool
}

var placements = []PlacementRow{
	{Name: PlacementPods, Doc: "each worker is a pod; pods are placed on the two nodes in turn"},
	{Name: PlacementOneNode, Doc: "each worker is a pod, and all pods are on one node"},
	{Name: PlacementContainers, SharesNetwork: true, OnePod: true,
		Doc: "the workers are containers of one pod, and share its network namespace, address " +
			"and port"},
	{Name: PlacementHostNetwork, SharesNetwork: true, OnHost: true,
		Doc: "each worker is a pod with hostNetwork: true; all pods are on one node, and " +
			"share the node's address and one port"},
	{Name: PlacementHostContainers, SharesNetwork: true, OnePod: true, OnHost: true,
		Doc: "the workers are containers of one pod with hostNetwork: true, and share the " +
			"node's address and one port"},
}

func (r PlacementRow) value() Value {
	var path []string
	if r.Name == PlacementHostNetwork {
		path = []string{"path: " + string(PathPod)}
	}
	return Value{Name: string(r.Name), Doc: r.Doc, Needs: path}
}

// Row returns the row of p, or the zero row if p has none.
func (p Placement) Row() PlacementRow { return rowOf(placements, p) }

// Users determines the user ids of the workers.
type Users string

// The users.
const (
	UsersOne   Users = "one"
	UsersEach  Users = "each"
	UsersOther Users = "other"
)

// A UsersRow is the row of a value of Users.
type UsersRow struct {
	Name  Users
	Doc   string
	Needs []Capability
}

var users = []UsersRow{
	{Name: UsersOne, Doc: "all workers run under the user id of this program"},
	{Name: UsersEach, Needs: []Capability{UserIDs},
		Doc: "each worker of a generation runs under its own user id, so that only the first " +
			"worker in a network namespace gets the port; with pods, path: pod only"},
	{Name: UsersOther, Needs: []Capability{UserIDs},
		Doc: "workers that steps start run under a different user id than the workers before " +
			"them, so that they do not get the port while the old workers have it; with pods, " +
			"path: pod only"},
}

func (r UsersRow) value() Value {
	return Value{Name: string(r.Name), Doc: r.Doc, Needs: capabilityNeeds(r.Needs)}
}

// AllUsers returns the table of users.
func AllUsers() []UsersRow { return slices.Clone(users) }

// Row returns the row of u, or the zero row if u has none.
func (u Users) Row() UsersRow { return rowOf(users, u) }

// Readiness is the condition under which a pod counts as ready.
type Readiness string

// The kinds of readiness.
const (
	ReadinessListening Readiness = "listening"
	ReadinessStarted   Readiness = "started"
	ReadinessProbe     Readiness = "probe"
)

var readinesses = []Row[Readiness]{
	{ReadinessListening, "as soon as its process listens, which is the earliest time that a " +
		"probe could report; with kube.control: embedded only"},
	{ReadinessStarted, "as soon as its process has started, even if it does not listen yet, " +
		"like a pod without a readiness probe"},
	{ReadinessProbe, "when it answers an HTTP request, which its node sends every " +
		"kube.probe_period; with server.kind: command, when server.ready holds, which is " +
		"looked at every kube.probe_period"},
}
