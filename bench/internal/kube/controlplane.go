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

// A ControlPlane makes the rules of every node follow the pods. What comes of a call comes later,
// as Events to whoever made the control plane; the calls themselves return as soon as what they say
// is on record.
//
// Its methods may be called from several goroutines. They fail with ErrUnknown for a service or pod
// that it does not know, ErrExists for one that it knows already, and ErrClosed after Close.
type ControlPlane interface {
	// CreateService makes a service without endpoints. Its rules are on their way to every node.
	// The zero address makes a headless service: it has endpoints, for the DNS, and no rules.
	CreateService(ctx context.Context, name string, address netip.AddrPort) error
	// AddPod puts a pod on record, not ready.
	AddPod(ctx context.Context, pod Pod) error
	// MarkReady says that the pod's readiness probe succeeds, MarkUnready that it fails. Saying so
	// twice changes nothing. Kubelets call them; a control plane with kubelets of its own may
	// return ErrNotSupported.
	MarkReady(ctx context.Context, pod string) error
	MarkUnready(ctx context.Context, pod string) error
	// DeletePod begins the pod's deletion: from here on it is terminating, and its kubelet is to
	// end it. Calling it again changes nothing.
	DeletePod(ctx context.Context, pod string) error
	// RemovePod takes a pod whose processes have ended off the record. Kubelets call it, as the
	// last of a deletion.
	RemovePod(ctx context.Context, pod string) error
	// Close ends the control plane and waits for all of it. The rules stay as they are. It returns
	// what went wrong meanwhile, a failed sync of the rules for example. Calling it again does
	// nothing.
	Close() error
}

// The errors of a ControlPlane that callers may tell apart.
var (
	ErrUnknown      = errors.New("no such object")
	ErrExists       = errors.New("exists already")
	ErrClosed       = errors.New("the control plane is closed")
	ErrNotSupported = errors.New("not this control plane's to do")
)

// A Pod is one address that a service may send connections to.
type Pod struct {
	Name    string
	Service string // whose selector it matches
	Node    string // where it runs
	Address netip.AddrPort
}

// A Service as a node sees it.
type Service struct {
	Name      string         // unique; a DNS label
	Address   netip.AddrPort // the zero value of a headless service, which has no rules
	Endpoints []Endpoint     // in a steady order
}

// An Endpoint is a pod as its service's EndpointSlice lists it.
type Endpoint struct {
	Pod     string
	Node    string
	Address netip.AddrPort
	// Serving says that the readiness probe succeeds, whether the pod is terminating or not
	// (KEP-1672).
	Serving bool
	// Terminating says that the pod's deletion has begun.
	Terminating bool
}

// Ready is the condition of that name: serving, and not terminating (KEP-1672).
func (e Endpoint) Ready() bool { return e.Serving && !e.Terminating }

// Used are the endpoints that new connections go to: the ready ones; where there are none, those
// that are terminating and still serve (KEP-1669, "proxy terminating endpoints").
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

// label is a DNS label (RFC 1123, section 2.1), as the names of services and, in part, of nftables'
// chains must be.
var label = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
})

func checkName(name string) error {
	if !label().MatchString(name) {
		return fmt.Errorf("the name %q is no DNS label; use at most 63 of a-z, 0-9 and -", name)
	}
	return nil
}

// An EventKind says what an Event is about.
type EventKind string

// The kinds of events, in the order of a pod's life.
const (
	PodAdded         EventKind = "pod_added"
	PodReady         EventKind = "pod_ready"         // its kubelet has said so
	PodUnready       EventKind = "pod_unready"       // likewise; a pod begins unready without it
	EndpointsChanged EventKind = "endpoints_changed" // the Service's endpoints, all of them in Endpoints
	RulesCommitted   EventKind = "rules_committed"   // the Node's
	EndpointAdded    EventKind = "endpoint_added"    // from this commit on the Node's rules send new connections to the Pod
	EndpointRemoved  EventKind = "endpoint_removed"  // from this commit on they do not
	DeletionBegun    EventKind = "deletion_begun"
	TermSent         EventKind = "sigterm_sent" // the instant just before
	Killed           EventKind = "killed"       // the instant just before SIGKILL
	PodGone          EventKind = "gone"
	SyncFailed       EventKind = "sync_failed" // the Node's; Err says why. It is tried again with the next change.
)

// An Event is something that happened in or around a control plane. Only the fields that its kind
// speaks of are set.
type Event struct {
	At        clock.Instant
	Kind      EventKind
	Pod       string
	Service   string
	Node      string
	Endpoints []Endpoint
	Err       error
}
