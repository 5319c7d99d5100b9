package kube

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"sync"

	"reuseport-bench/servers/clock"
)

// A ControlPlane updates the rules of every node as pods change. A call returns as soon as its
// change is recorded. The effects follow later, and are reported as Events to the owner of the
// control plane.
//
// The methods may be called by several goroutines. They return ErrUnknown for an unknown service or
// pod, ErrExists for an existing one, and ErrClosed after Close.
type ControlPlane interface {
	// CreateService creates a service without endpoints and sends it to every node. The zero
	// address makes a headless service: it has endpoints, for the DNS, but no rules.
	CreateService(ctx context.Context, name string, address netip.AddrPort) error
	// AddPod adds a pod that has not started. MarkStarted records that its address is known: it is
	// now an endpoint that is not ready.
	AddPod(ctx context.Context, pod Pod) error
	MarkStarted(ctx context.Context, pod string) error
	// MarkReady records that the pod's readiness probe succeeds, and MarkUnready that it fails.
	// Repeating a call changes nothing. Kubelets call these methods; a control plane with its own
	// kubelets may return ErrNotSupported.
	MarkReady(ctx context.Context, pod string) error
	MarkUnready(ctx context.Context, pod string) error
	// DeletePod begins the pod's deletion: the pod is now terminating, and its kubelet must end its
	// processes. Calling DeletePod again changes nothing.
	DeletePod(ctx context.Context, pod string) error
	// RemovePod removes a pod whose processes have exited. Kubelets call it at the end of a
	// deletion.
	RemovePod(ctx context.Context, pod string) error
	// Close ends the control plane and waits for its goroutines. The rules stay in force. It
	// returns the errors since the start, such as a failed sync of the rules. Further calls do
	// nothing.
	Close() error
}

// The errors of a ControlPlane that callers may distinguish.
var (
	ErrUnknown      = errors.New("no such object")
	ErrExists       = errors.New("exists already")
	ErrClosed       = errors.New("the control plane is closed")
	ErrNotSupported = errors.New("not supported by this control plane")
)

// A Pod is an address to which a service may send connections.
type Pod struct {
	Name    string
	Service string // the service whose selector matches the pod
	Node    string // the node that the pod runs on
	Address netip.AddrPort
}

// A Service is a service as a node sees it.
type Service struct {
	Name      string         // unique; a DNS label
	Address   netip.AddrPort // zero: headless, without rules
	Endpoints []Endpoint     // in the order in which they were added
}

// An Endpoint is a pod as its service's EndpointSlice lists it.
type Endpoint struct {
	Pod     string
	Node    string
	Address netip.AddrPort
	// Serving reports whether the readiness probe succeeds. A terminating pod is probed, too
	// (KEP-1672).
	Serving bool
	// Terminating reports whether the pod's deletion has begun.
	Terminating bool
}

// Ready reports whether the endpoint is serving and not terminating (KEP-1672, condition "ready").
func (e Endpoint) Ready() bool { return e.Serving && !e.Terminating }

// Used returns the endpoints that new connections go to: the ready ones or, if there are none,
// those that are terminating but still serve (KEP-1669, "proxy terminating endpoints").
func (s Service) Used() []Endpoint {
	var ready, last []Endpoint
	for _, e := range s.Endpoints {
		switch {
		case e.Ready():
			ready = append(ready, e)
		case e.Serving:
			last = append(last, e)
		}
	}
	if len(ready) > 0 {
		return ready
	}
	return last
}

// label matches a DNS label (RFC 1123, section 2.1). Names of services must be labels; they are
// also part of the names of nftables' chains.
var label = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
})

func checkName(name string) error {
	if !label().MatchString(name) {
		return fmt.Errorf("name %q is not a DNS label: use at most 63 of a-z, 0-9 and -", name)
	}
	return nil
}

// An EventKind is the kind of an Event.
type EventKind string

// The kinds of events, in the order of a pod's life.
const (
	PodAdded   EventKind = "pod_added"
	PodStarted EventKind = "pod_started" // the pod's kubelet reported its address
	PodReady   EventKind = "pod_ready"   // the pod's kubelet reported it ready
	PodUnready EventKind = "pod_unready" // the kubelet reported it unready; no event for a new pod
	// EndpointsChanged reports a change of the Service's endpoints. Endpoints lists all of them.
	EndpointsChanged EventKind = "endpoints_changed"
	// RulesCommitted reports that new rules on the Node are in force.
	RulesCommitted EventKind = "rules_committed"
	// EndpointAdded reports a commit after which the Node's rules send new connections to the Pod.
	EndpointAdded EventKind = "endpoint_added"
	// EndpointRemoved reports a commit after which the Node's rules no longer send new connections
	// to the Pod.
	EndpointRemoved EventKind = "endpoint_removed"
	DeletionBegun   EventKind = "deletion_begun"
	TermSent        EventKind = "sigterm_sent" // the instant just before SIGTERM
	Killed          EventKind = "killed"       // the instant just before SIGKILL
	PodGone         EventKind = "gone"
	// SyncFailed reports that a sync of the Node's rules failed with the error Err. The sync is
	// retried at the next change.
	SyncFailed EventKind = "sync_failed"
)

// An Event is a change in or around a control plane. Its kind determines which fields are set.
type Event struct {
	At        clock.Instant
	Kind      EventKind
	Pod       string
	Service   string
	Node      string
	Address   netip.AddrPort // of the endpoint, if a RulesWatch emitted the event
	Endpoints []Endpoint
	Err       error
}
