package harness

import (
	"slices"

	"reuseport-bench/bench/internal/kube"
	"reuseport-bench/bench/internal/load"
	"reuseport-bench/results"
	"reuseport-bench/servers/clock"
)

// since is the instant of the first event of that kind about the pod at or after another; 0: there was none. Endpoints have changed for it when it
// is among the ready ones, or is so no more.
func (c *cluster) since(p *pod, kind kube.EventKind, from clock.Instant, listed bool) clock.Instant {
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

// instants adds to a step, whose window is between two instants, what happened to its pods, and when the endpoints and the rules had
// followed the last of those it took away.
func (c *cluster) instants(b *books, r *routes, f *fired, from, until int64, s *results.Step) {
	if c == nil {
		return
	}
	s.Endpoints = f.endpoints
	if c.setup.Path == pathService {
		c.predict(b, r, from, until, s)
	}
	for _, w := range slices.Concat(f.stopped, f.silenced) {
		p := c.lost(b, r, c.podOf(w), f)
		s.Pods = append(s.Pods, p)
		s.EndpointsNS, s.RulesNS = p.EndpointsNS, p.RulesNS
	}
	for _, w := range f.started {
		s.Pods = append(s.Pods, c.added(b, r, c.podOf(w)))
	}
}

// predict adds to a step what it is to be expected to cost, from the instants of rules and
// listeners.
func (c *cluster) predict(b *books, r *routes, from, until int64, s *results.Step) {
	l := c.setup.Load
	if l.Connections == string(load.New) && l.Retry.Max == 0 {
		dead := int64(r.expect(from, until, l.Timeout).dead)
		s.DeadNS = &dead
	}
	lost, unknown := r.predict(l, float64(len(b.attempts))/l.Duration.Seconds(), from, until)
	if s.Unpredicted = unknown; unknown == "" {
		s.PredictedLost = &lost
	}
}

// lost is a pod that a step took away.
func (c *cluster) lost(b *books, routes *routes, p *pod, f *fired) results.Pod {
	deleted := c.since(p, kube.DeletionBegun, f.trigger, false)
	r := results.Pod{
		Worker: p.workers[0].ID, Node: c.lab.Node(p.Node).Name, DeletedNS: b.instant(deleted),
		TermNS: b.instant(c.since(p, kube.TermSent, f.trigger, false)), ClosedNS: b.instant(c.gone(p)),
	}
	// A pod that was not listed when it went does not leave the endpoints either.
	if at := max(deleted, f.trigger); c.listed(p, at) {
		r.EndpointsNS = b.instant(c.since(p, kube.EndpointsChanged, at, false))
	}
	if routed := routes.of(p); routed != nil && c.setup.Path == pathService && len(routed.routed) > 0 {
		if last := routed.routed[len(routed.routed)-1].until; last < never {
			r.RulesNS = &last
		}
		if routed.routedAt(routed.gone) {
			r.Endpoints = routes.count(routed.gone)
		}
	}
	return r
}

// listed says that the pod was among the ready endpoints at an instant.
func (c *cluster) listed(p *pod, at clock.Instant) (is bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.events {
		if e.Kind == kube.EndpointsChanged && e.At <= at {
			is = hasReady(e, p.name)
		}
	}
	return is
}

// of is what is known of a pod; nil: clients were never sent there.
func (r *routes) of(p *pod) *routedPod {
	i := slices.IndexFunc(r.pods, func(x routedPod) bool { return x.worker == p.workers[0].ID })
	if i < 0 {
		return nil
	}
	return &r.pods[i]
}

// count is how many pods clients were sent to at an instant.
func (r *routes) count(at int64) (n int) {
	for i := range r.pods {
		if r.pods[i].routedAt(at) {
			n++
		}
	}
	return n
}

// added is a pod that a step started.
func (c *cluster) added(b *books, routes *routes, p *pod) results.Pod {
	r := results.Pod{
		Worker: p.workers[0].ID, Node: c.lab.Node(p.Node).Name, Started: true,
		ListenNS: b.instant(p.workers[0].ReadyAt()),
		ReadyNS:  b.instant(c.since(p, kube.PodReady, 0, true)), EndpointsNS: b.instant(c.since(p, kube.EndpointsChanged, 0, true)),
	}
	if routed := routes.of(p); routed != nil && c.setup.Path == pathService && len(routed.routed) > 0 {
		first := routed.routed[0].from
		r.RulesNS = &first
	}
	return r
}
