package cluster

import (
	"time"

	"reuseport-bench/bench/internal/kube"
	"reuseport-bench/bench/internal/ledger"
	"reuseport-bench/results"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers"
	"reuseport-bench/servers/clock"
)

// watchSkew is more than the time by which an event of one watch of the API can be received before
// an earlier event of another.
const watchSkew = 100 * time.Millisecond

// A Timescale converts instants of the monotonic clock to times of a trial. *ledger.Book is one.
type Timescale interface {
	Time(clock.Instant) ledger.Time
	Maybe(clock.Instant) *ledger.Time // nil for 0, which means that the event did not happen
}

// ReadTranslations reads the conntrack entries of the clients' node, which Routes needs. It must be
// called as soon as the load has ended, because some entries last only for seconds.
func (c *Cluster) ReadTranslations() (err error) {
	c.translations, err = c.lab.Translations(c.lab.Clients())
	return err
}

// Routes returns the addresses to which clients' connections were sent, and the times at which pods
// listened there. Call ReadTranslations first. sharedPorts means that attempts use a limited set of
// ports in turn.
func (c *Cluster) Routes(at Timescale, sharedPorts bool) *ledger.Routes {
	r := &ledger.Routes{
		Translations: c.translations, SharedPorts: sharedPorts, Service: c.plan.Service.Addr(),
	}
	orNever := func(i clock.Instant) ledger.Time {
		if i == 0 {
			return ledger.Never
		}
		return at.Time(i)
	}
	for _, p := range c.order {
		if c.plan.Path == vocabulary.PathPod && p.Addr != c.plan.FirstPod.Addr() {
			continue // clients do not know the pod's address
		}
		pod := ledger.Pod{
			Addr: p.Addr, Worker: p.workers[0].ID, Silent: orNever(p.silenced),
			Listens: orNever(p.workers[0].ReadyAt()), Gone: orNever(c.gone(p)),
		}
		switch c.plan.Path {
		case vocabulary.PathService:
			pod.Routed = c.routed(at, p)
		case vocabulary.PathPod:
			pod.Routed = []ledger.Span{{From: -ledger.Never, Until: ledger.Never}}
		case vocabulary.PathDNS:
			// Clients may cache a pod's address, so the span has no end.
			if i := c.since(p, kube.EndpointsChanged, 0, true); i != 0 {
				pod.Routed = []ledger.Span{{From: at.Time(i), Until: ledger.Never}}
			}
		}
		r.Pods = append(r.Pods, pod)
	}
	return r
}

// routed returns the spans of time in which the rules of the clients' node led to the pod. There
// may be several: rules that no longer lead to a terminating pod lead to it again if no other pod
// is left.
func (c *Cluster) routed(at Timescale, p *pod) (all []ledger.Span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.events {
		switch {
		case !c.isForClients(e, p):
		case e.Kind == kube.EndpointAdded:
			all = append(all, ledger.Span{From: at.Time(e.At), Until: ledger.Never})
		case e.Kind == kube.EndpointRemoved && len(all) > 0:
			all[len(all)-1].Until = at.Time(e.At)
		}
	}
	return all
}

// isForClients reports whether the event is about the pod in the rules of the clients' node. The
// rules of a real Kubernetes may name a pod before its worker is known.
func (c *Cluster) isForClients(e kube.Event, p *pod) bool {
	return e.Node == c.lab.Clients().Name &&
		(e.Pod == p.name || e.Pod == "" && e.Address.Addr() == p.Addr)
}

// Removed returns the events of the pods that a step removed. trigger is the instant of the step's
// trigger.
func (c *Cluster) Removed(
	at Timescale, r *ledger.Routes, workers []*servers.Worker, trigger clock.Instant,
) (all []results.Pod) {
	for _, w := range workers {
		all = append(all, c.removed(at, r, c.podOf(w), trigger))
	}
	return all
}

func (c *Cluster) removed(
	at Timescale, routes *ledger.Routes, p *pod, trigger clock.Instant,
) results.Pod {
	deleted := c.since(p, kube.DeletionBegun, trigger, false)
	term := c.since(p, kube.TermSent, trigger, false)
	if c.real != nil {
		term = p.workers[0].TermAt()
	}
	r := results.Pod{
		Worker: p.workers[0].ID, Node: c.lab.Node(p.Node).Name,
		DeletedNS: at.Maybe(deleted).Nanoseconds(),
		TermNS:    at.Maybe(term).Nanoseconds(),
		ClosedNS:  at.Maybe(c.gone(p)).Nanoseconds(),
	}
	r.NodeRulesNS = c.nodeRules(at, p)
	// Only a pod that is among the ready endpoints can be removed from them.
	from := max(deleted, trigger)
	if c.real != nil {
		from = from.Add(-watchSkew)
	}
	if c.listed(p, from) {
		r.EndpointsNS = at.Maybe(c.since(p, kube.EndpointsChanged, from, false)).Nanoseconds()
	}
	if pod := routes.Of(r.Worker); pod != nil && c.plan.Path == vocabulary.PathService &&
		len(pod.Routed) > 0 {
		if last := pod.Routed[len(pod.Routed)-1].Until; last < ledger.Never {
			r.RulesNS = last.Nanoseconds()
		}
		if pod.RoutedAt(pod.Gone) {
			r.Endpoints = routes.Count(pod.Gone)
		}
	}
	return r
}

// Added returns the events of the pods that a step started.
func (c *Cluster) Added(
	at Timescale, routes *ledger.Routes, workers []*servers.Worker,
) (all []results.Pod) {
	for _, w := range workers {
		p := c.podOf(w)
		r := results.Pod{
			Worker: p.workers[0].ID, Node: c.lab.Node(p.Node).Name, Started: true,
			ListenNS:    at.Maybe(p.workers[0].ReadyAt()).Nanoseconds(),
			ReadyNS:     at.Maybe(c.since(p, kube.PodReady, 0, true)).Nanoseconds(),
			EndpointsNS: at.Maybe(c.since(p, kube.EndpointsChanged, 0, true)).Nanoseconds(),
		}
		if pod := routes.Of(r.Worker); pod != nil && c.plan.Path == vocabulary.PathService &&
			len(pod.Routed) > 0 {
			r.RulesNS = pod.Routed[0].From.Nanoseconds()
		}
		all = append(all, r)
	}
	return all
}

// nodeRules returns the instants at which the rules of the nodes last ceased to lead to a pod, by
// the node's name.
func (c *Cluster) nodeRules(at Timescale, p *pod) map[string]int64 {
	if c.real == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	by := map[string]int64{}
	for _, e := range c.events {
		if e.Kind == kube.EndpointRemoved && e.Pod == p.name && e.Node != c.lab.Clients().Name {
			by[e.Node] = *at.Maybe(e.At).Nanoseconds()
		}
	}
	return by
}

// since returns the instant of the first event of that kind about the pod at or after from, or 0 if
// there was none. For EndpointsChanged it looks for the first event after which the pod is among
// the ready endpoints (if listed is true), or after which it is not.
func (c *Cluster) since(
	p *pod, kind kube.EventKind, from clock.Instant, listed bool,
) clock.Instant {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.events {
		switch {
		case e.Kind != kind || e.At < from:
		case kind == kube.EndpointsChanged && hasReady(e, p.name) == listed:
			return e.At
		case kind != kube.EndpointsChanged && e.Pod == p.name:
			return e.At
		}
	}
	return 0
}

// listed reports whether the pod was among the ready endpoints at an instant.
func (c *Cluster) listed(p *pod, at clock.Instant) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	listed := false
	for _, e := range c.events {
		if e.Kind == kube.EndpointsChanged && e.At <= at {
			listed = hasReady(e, p.name)
		}
	}
	return listed
}
