package vocabulary

import "slices"

// Placement is where pods are.
type Placement string

// The placements.
const (
	PlacementPods        Placement = "pods"
	PlacementOneNode     Placement = "one-node"
	PlacementContainers  Placement = "containers"
	PlacementHostNetwork Placement = "host-network"
)

// A PlacementRow is the row of a placement.
type PlacementRow struct {
	Name Placement
	Doc  string
	// SharesNetwork: all workers have one network namespace, and so compete for one port.
	SharesNetwork bool
}

var placements = []PlacementRow{
	{Name: PlacementPods, Doc: "each worker is a pod of its own, on the two nodes in turn"},
	{Name: PlacementOneNode, Doc: "each worker is a pod of its own, all on one node"},
	{Name: PlacementContainers, SharesNetwork: true,
		Doc: "the workers are containers of one pod: one network namespace, one address, one port"},
	{Name: PlacementHostNetwork, SharesNetwork: true,
		Doc: "each worker is a pod with hostNetwork: true, all on one node: they have the node's " +
			"address, and one port (path pod)"},
}

func (r PlacementRow) value() Value { return Value{string(r.Name), r.Doc} }

// Row returns the row of p; the zero row if there is none.
func (p Placement) Row() PlacementRow { return rowOf(placements, p) }

// Users are the user ids of the workers.
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
		Doc: "each worker of a generation runs under a user id of its own, so that of those in " +
			"one network only the first gets the port (in pods with path pod; needs root)"},
	{Name: UsersOther, Needs: []Capability{UserIDs},
		Doc: "workers that steps start run under another user id than those before, so that they " +
			"do not get the port while others have it (in pods with path pod; needs root)"},
}

func (r UsersRow) value() Value { return Value{string(r.Name), r.Doc} }

// AllUsers returns the table of users.
func AllUsers() []UsersRow { return slices.Clone(users) }

// Row returns the row of u; the zero row if there is none.
func (u Users) Row() UsersRow { return rowOf(users, u) }

// Readiness is when a pod counts as ready.
type Readiness string

// The kinds of readiness.
const (
	ReadinessListening Readiness = "listening"
	ReadinessStarted   Readiness = "started"
	ReadinessProbe     Readiness = "probe"
)

var readinesses = []Row[Readiness]{
	{ReadinessListening, "at the instant its process listens: a probe could not be better"},
	{ReadinessStarted, "as soon as its process has been started, listening or not: a pod without " +
		"a " +
		"readiness probe"},
	{ReadinessProbe, "when an HTTP request to it is answered, asked by its node every " +
		"probe_period"},
}
