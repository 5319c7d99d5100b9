package harness

import (
	"math"
	"net/netip"
	"slices"

	"reuseport-bench/bench/internal/kube"
	"reuseport-bench/results"
	"reuseport-bench/servers/wire"
)

// routes are where connections were sent behind a Service, and whether anybody listened there.
type routes struct {
	// translations are the pods that the clients' node sent each connection to, by the client's end: what its connection tracking remembers at
	// the end.
	translations map[netip.AddrPort]netip.Addr
	pods         []routedPod // by worker
}

// A routedPod is a pod that clients were, or are, sent to. Instants are nanoseconds from the first scheduled attempt.
type routedPod struct {
	addr          netip.Addr
	worker        int
	added         int64 // clients were sent there from then on
	listens, gone int64 // its worker listened, from to; gone also if its node fell silent
	removed       int64 // clients were sent there no more
}

// stale says that somebody may have been sent there, and found nobody any more, between sent and done.
func (p *routedPod) stale(a *attempt) bool {
	return p.gone <= a.done+clockSlack && a.sent <= p.removed+clockSlack
}

// early says that somebody may have been sent there, and found nobody yet.
func (p *routedPod) early(a *attempt) bool {
	return p.added <= a.done+clockSlack && a.sent <= p.listens+clockSlack
}

func (r *routes) to(source netip.AddrPort) *routedPod {
	addr, ok := r.translations[source]
	for i := range r.pods {
		if ok && r.pods[i].addr == addr {
			return &r.pods[i]
		}
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
	there := j.routes.to(source)
	of := func(cause string, e evidence, p *routedPod) judgement {
		return judgement{cause: cause, evidence: e, worker: p.worker, explained: true}
	}
	if reused {
		// A pod that is stopped takes leave of its connections, and the kernel of one that is killed ends them: only silence is left.
		if a.class == results.ClassTimeout && there != nil && there.gone <= a.done {
			return of(causeStaleConn, evidenceKernel, there)
		}
		return v
	}
	switch v.cause {
	case causeRefused, causeSYNTimeout, causeTimeout, causeNoRoute, causeUnknown:
	default:
		return v
	}
	switch {
	case a.state != neverAccepted:
		return v
	case there != nil && a.sent > there.removed+clockSlack:
		// A SYN that is not answered leaves an entry behind (SYN_SENT, 120 s: nf_conntrack_proto_tcp.c), and who comes from the same address and port
		// follows it, whatever the rules say by then. Each try renews it.
		return of(causeStaleConntrack, evidenceKernel, there)
	case there != nil && there.gone <= a.done:
		return of(causeStaleEndpoint, evidenceKernel, there)
	case there != nil && a.sent <= there.listens:
		return of(causeEarlyEndpoint, evidenceKernel, there)
	case there == nil && v.cause != causeUnknown && j.routes.nowhere(a):
		return judgement{cause: causeNoEndpoint, evidence: evidenceKernel, worker: -1, explained: true}
	case v.cause == causeRefused:
		return j.routes.refused(a, v, of)
	}
	return v
}

// nowhere says that clients were sent to no pod when the attempt was sent: a rule rejected it, by ICMP. Who is told while it is still in
// connect(2), as on the clients' own node, takes that for a hint only, and asks again after a second (tcp_v4_err in net/ipv4/tcp_ipv4.c: the
// socket is owned by its user), so that the attempt looks like silence.
func (r *routes) nowhere(a *attempt) bool {
	return !slices.ContainsFunc(r.pods, func(p routedPod) bool { return p.added <= a.sent && a.sent <= p.removed })
}

// refused is the judgement of a refusal that connection tracking has forgotten: an entry whose only answer is a reset goes at once (tcp_packet in
// net/netfilter/nf_conntrack_proto_tcp.c). Who refuses is a pod that clients are sent to and that does not listen.
func (r *routes) refused(a *attempt, v judgement, of func(string, evidence, *routedPod) judgement) judgement {
	for i := range r.pods {
		if r.pods[i].stale(a) {
			return of(causeStaleEndpoint, evidenceWorker, &r.pods[i])
		}
	}
	for i := range r.pods {
		if r.pods[i].early(a) {
			return of(causeEarlyEndpoint, evidenceWorker, &r.pods[i])
		}
	}
	return v
}

// routes are the pods that clients have been sent to.
func (c *cluster) routes(b *books, translations map[netip.AddrPort]netip.Addr) *routes {
	const never = math.MaxInt64 - clockSlack
	since := func(i wire.Instant, otherwise int64) int64 {
		if i == 0 {
			return otherwise
		}
		return b.since(int64(i))
	}
	r := &routes{translations: translations}
	for _, p := range c.order {
		if c.setup.Path == pathPod && p.Addr != firstPodAddress(c.setup).Addr() {
			continue // nobody asks for it
		}
		pod := routedPod{
			addr: p.Addr, worker: p.workers[0].ID, removed: never,
			listens: since(p.workers[0].ReadyAt(), never), gone: since(c.gone(p), never),
		}
		kind := kube.EndpointsChanged
		if c.setup.Path == pathService {
			kind = kube.EndpointAdded
			// Who knows a pod by name goes there for as long as the name is cached, and who knows its address for ever.
			pod.removed = since(c.since(p, kube.EndpointRemoved, 0, false), never)
		}
		if pod.added = since(c.since(p, kind, 0, true), never); c.setup.Path == pathPod {
			pod.added = -never // clients need not be told
		}
		r.pods = append(r.pods, pod)
	}
	return r
}
