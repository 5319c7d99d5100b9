package harness

import (
	"slices"
	"time"

	"reuseport-bench/bench/internal/kube"
	"reuseport-bench/results"
	"reuseport-bench/servers/wire"
)

// since is the instant of the first event of that kind about the pod at or after another; 0: there was none. Endpoints have changed for it when it
// is among the ready ones, or is so no more.
func (c *cluster) since(p *pod, kind kube.EventKind, from wire.Instant, listed bool) wire.Instant {
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

// routed is how many pods the rules of the clients' node lead to at an instant.
func (c *cluster) routed(at wire.Instant) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.events {
		switch {
		case e.At >= at:
		case e.Kind == kube.EndpointAdded:
			n++
		case e.Kind == kube.EndpointRemoved:
			n--
		}
	}
	return n
}

// nowhere is for how long the rules of the clients' node led to no pod, from one instant to another.
func (c *cluster) nowhere(from, to wire.Instant) (total int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, since := 0, from
	for _, e := range c.events {
		at := min(max(e.At, from), to)
		switch {
		case e.Kind == kube.EndpointAdded:
			if n == 0 {
				total += int64(at.Sub(since))
			}
			n++
		case e.Kind == kube.EndpointRemoved:
			if n--; n == 0 {
				since = at
			}
		}
	}
	if n == 0 {
		total += int64(to.Sub(since))
	}
	return total
}

// instants adds to a step, whose window lasts until an instant, what happened to its pods, and when the endpoints and the rules had
// followed the last of those it took away.
func (c *cluster) instants(b *books, f *fired, until int64, s *results.Step) {
	if c == nil {
		return
	}
	s.Endpoints = f.endpoints
	if c.setup.Path == pathService {
		s.NowhereNS = c.nowhere(f.trigger, b.begin.Add(time.Duration(until)))
	}
	for _, w := range slices.Concat(f.stopped, f.silenced) {
		p := c.lost(b, c.podOf(w), f.trigger)
		s.Pods = append(s.Pods, p)
		s.EndpointsNS, s.RulesNS = p.EndpointsNS, p.RulesNS
	}
	for _, w := range f.started {
		s.Pods = append(s.Pods, c.added(b, c.podOf(w)))
	}
}

// lost is a pod that a step took away.
func (c *cluster) lost(b *books, p *pod, trigger wire.Instant) results.Pod {
	gone := c.gone(p)
	r := results.Pod{
		Worker: p.workers[0].ID, Node: c.lab.Node(p.Node).Name,
		DeletedNS:   b.instant(c.since(p, kube.DeletionBegun, trigger, false)),
		TermNS:      b.instant(c.since(p, kube.TermSent, trigger, false)),
		ClosedNS:    b.instant(gone),
		EndpointsNS: b.instant(c.since(p, kube.EndpointsChanged, trigger, false)),
	}
	if c.setup.Path == pathService { // elsewhere no rule leads to it
		r.RulesNS = b.instant(c.since(p, kube.EndpointRemoved, trigger, false))
		r.Endpoints = c.routed(gone)
	}
	return r
}

// added is a pod that a step started.
func (c *cluster) added(b *books, p *pod) results.Pod {
	r := results.Pod{
		Worker: p.workers[0].ID, Node: c.lab.Node(p.Node).Name, Started: true,
		ListenNS: b.instant(p.workers[0].ReadyAt()),
		ReadyNS:  b.instant(c.since(p, kube.PodReady, 0, true)), EndpointsNS: b.instant(c.since(p, kube.EndpointsChanged, 0, true)),
	}
	if c.setup.Path == pathService {
		r.RulesNS = b.instant(c.since(p, kube.EndpointAdded, 0, true))
	}
	return r
}
