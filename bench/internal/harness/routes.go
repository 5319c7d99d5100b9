package harness

import (
	"math"
	"net/netip"
	"slices"

	"reuseport-bench/bench/internal/kube"
	"reuseport-bench/results"
	"reuseport-bench/results/cause"
	"reuseport-bench/servers/clock"
)

// routes are where connections were sent behind a Service, and whether anybody listened there. Instants are nanoseconds from the first scheduled
// attempt.
type routes struct {
	// translations are the pods that the clients' node sent each connection to, by the client's end: what its connection tracking remembers at
	// the end. shared says that attempts took their ports in turn, so that it may be a later attempt's.
	translations map[netip.AddrPort]netip.Addr
	shared       bool
	service      netip.Addr  // the zero value where clients know pods' own addresses
	pods         []routedPod // by worker
}

// A routedPod is a pod that clients were, or are, sent to.
type routedPod struct {
	addr          netip.Addr
	worker        int
	routed        []span // when clients were sent there
	listens, gone int64  // its worker listened, from to; gone also if its node fell silent
	silent        int64  // its node fell silent
}

// A span of time: from is in it, until is not.
type span struct{ from, until int64 }

// never is later than everything.
const never = math.MaxInt64 - clockSlack

// routedAt says that clients were sent there at an instant, as far as two clocks can tell.
func (p *routedPod) routedAt(at int64) bool { return p.routedDuring(at, at) }

// routedDuring says that they were at some instant between two, both included.
func (p *routedPod) routedDuring(from, until int64) bool {
	return slices.ContainsFunc(p.routed, func(s span) bool { return s.from <= until+clockSlack && from <= s.until+clockSlack })
}

// to is the pod that the attempt's connection was sent to, or nil: nobody remembers.
func (r *routes) to(source netip.AddrPort, a *attempt, refused bool) *routedPod {
	addr, ok := r.translations[source]
	i := slices.IndexFunc(r.pods, func(p routedPod) bool { return ok && p.addr == addr })
	if i < 0 {
		return nil
	}
	// What is refused is forgotten at once, and only a pod that has gone does not answer: any other entry is another attempt's.
	if p := &r.pods[i]; !r.shared || !refused && p.gone <= a.done {
		return p
	}
	return nil
}

// routed is the judgement of an attempt whose connection, from that source, was sent to a pod where nobody listened: the
// refusal, the silence or the missing route that it met are only how that looked. Elsewhere the judgement is v. A
// connection that was queued at a listener was reset by its close, and that stays so. Reused says that an earlier attempt had opened the connection.
func (j *judge) routed(source netip.AddrPort, a *attempt, v judgement, reused bool) judgement {
	if j.routes == nil {
		return v
	}
	there := j.routes.to(source, a, v.cause == cause.Refused)
	of := func(name string, e evidence, p *routedPod) judgement {
		return judgement{cause: name, evidence: e, worker: p.worker, explained: true}
	}
	if reused {
		// A pod that is stopped takes leave of its connections, and the kernel of one that is killed ends them: only a silent node leaves silence.
		if a.class == results.ClassTimeout && there != nil && there.silent <= a.done {
			return of(cause.StaleConnection, evidenceKernel, there)
		}
		return v
	}
	switch v.cause {
	case cause.Refused, cause.SYNTimeout, cause.Timeout, cause.NoRoute, cause.AcceptOverflow, cause.Unknown:
	default:
		return v
	}
	switch {
	case a.state != neverAccepted:
		return v
	case j.routes.service.IsValid() && j.routes.translations[source] == j.routes.service:
		// It went on to the Service's address, where nobody is. Seen just before commits, once in some hundreds: likely a rule of the generation
		// before, which looks its verdict up in a set whose elements are already out of force (nft_do_chain in net/netfilter/nf_tables_core.c
		// reads the generation once; elements are compared with the one of the moment, nft_set_elem_active).
		return judgement{cause: cause.Untranslated, evidence: evidenceKernel, worker: -1, explained: true}
	case there != nil && len(there.routed) > 0 && there.routed[0].from < a.sent && !there.routedAt(a.sent):
		// A SYN that is not answered leaves an entry behind (SYN_SENT, 120 s: nf_conntrack_proto_tcp.c), and who comes from the same address and port
		// follows it, whatever the rules say by then. Each try renews it.
		return of(cause.StaleConntrack, evidenceKernel, there)
	case there != nil && there.gone <= a.done:
		return of(cause.StaleEndpoint, evidenceKernel, there)
	case there != nil && a.sent <= there.listens:
		return of(cause.EarlyEndpoint, evidenceKernel, there)
	case there == nil && v.cause != cause.Unknown && j.routes.nowhere(a):
		return judgement{cause: cause.NoEndpoint, evidence: evidenceKernel, worker: -1, explained: true}
	case v.cause == cause.Refused:
		return j.routes.refused(a, v, of)
	}
	return v
}

// nowhere says that clients were sent to no pod when the attempt was sent: a rule rejected it, by
// ICMP. That refuses it only when its SYN is repeated; until then it looks like silence. See
// patience.go.
func (r *routes) nowhere(a *attempt) bool {
	return !slices.ContainsFunc(r.pods, func(p routedPod) bool { return p.routedAt(a.sent) })
}

// refused is the judgement of a refusal that connection tracking has forgotten: an entry whose only answer is a reset goes at once (tcp_packet in
// net/netfilter/nf_conntrack_proto_tcp.c). Who refuses is a pod that clients are sent to and that does not listen any more or, if there is none
// such, not yet.
func (r *routes) refused(a *attempt, v judgement, of func(string, evidence, *routedPod) judgement) judgement {
	for i := range r.pods {
		if p := &r.pods[i]; p.gone <= a.done+clockSlack && p.routedDuring(a.sent, a.done) {
			return of(cause.StaleEndpoint, evidenceWorker, p)
		}
	}
	for i := range r.pods {
		if p := &r.pods[i]; a.sent <= p.listens+clockSlack && p.routedDuring(a.sent, a.done) {
			return of(cause.EarlyEndpoint, evidenceWorker, p)
		}
	}
	return v
}

// routes are the pods that clients have been sent to.
func (c *cluster) routes(b *books, translations map[netip.AddrPort]netip.Addr) *routes {
	since := func(i clock.Instant) int64 {
		if i == 0 {
			return never
		}
		return b.since(int64(i))
	}
	r := &routes{translations: translations, shared: b.ports > 0}
	if c.setup.Path == pathService {
		r.service = serviceAddress().Addr()
	}
	for _, p := range c.order {
		if c.setup.Path == pathPod && p.Addr != firstPodAddress(c.setup).Addr() {
			continue // nobody asks for it
		}
		pod := routedPod{
			addr: p.Addr, worker: p.workers[0].ID, silent: since(p.silenced),
			listens: since(p.workers[0].ReadyAt()), gone: since(c.gone(p)),
		}
		switch c.setup.Path {
		case pathService:
			pod.routed = c.routedSpans(b, p)
		case pathPod:
			pod.routed = []span{{-never, never}} // clients need not be told
		case pathDNS:
			// Who knows a pod by name goes there for as long as the name is cached.
			if at := c.since(p, kube.EndpointsChanged, 0, true); at != 0 {
				pod.routed = []span{{since(at), never}}
			}
		}
		r.pods = append(r.pods, pod)
	}
	return r
}

// routedSpans is when the rules of the clients' node led to the pod. They may leave one out and come back to it: one that is terminating is used where
// nothing else is left.
func (c *cluster) routedSpans(b *books, p *pod) (all []span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.events {
		switch {
		case e.Pod != p.name:
		case e.Kind == kube.EndpointAdded:
			all = append(all, span{b.since(int64(e.At)), never})
		case e.Kind == kube.EndpointRemoved && len(all) > 0:
			all[len(all)-1].until = b.since(int64(e.At))
		}
	}
	return all
}
