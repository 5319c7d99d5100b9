package ledger

import (
	"math"
	"net/netip"
	"slices"
)

// Routes is where connections were sent behind a Service, and whether a pod listened there.
type Routes struct {
	// Translations are the pods that the clients' node sent each connection to, by the client's
	// end: what its connection tracking remembers when the load has ended.
	Translations map[netip.AddrPort]netip.Addr `json:"translations"`
	// SharedPorts: attempts took their ports in turn, so an entry may be of a later attempt.
	SharedPorts bool `json:"shared_ports,omitempty"`
	// Service is the Service's address; the zero value where clients know the pods' own.
	Service netip.Addr `json:"service,omitzero"`
	Pods    []Pod      `json:"pods"`
}

// A Pod is one that clients were, or are, sent to.
type Pod struct {
	Addr   netip.Addr `json:"addr"`
	Worker int        `json:"worker"` // its first
	Routed []Span     `json:"routed"` // when clients were sent there
	// Listens and Gone are the ends of the time in which it could serve: Gone is when its listener
	// began to close, or its node fell silent. Never: it did not.
	Listens Time `json:"listens"`
	Gone    Time `json:"gone"`
	Silent  Time `json:"silent"` // its node fell silent; Never: it did not
}

// A Span is the time from From, included, to Until, excluded.
type Span struct {
	From  Time `json:"from"`
	Until Time `json:"until"`
}

// Never is later than every instant of a trial.
const Never = Time(math.MaxInt64) - Time(clockSlack)

// RoutedAt reports whether clients were sent to the pod at an instant, as far as two clocks can
// tell.
func (p *Pod) RoutedAt(at Time) bool { return p.routedDuring(at, at) }

func (p *Pod) routedDuring(from, until Time) bool {
	return slices.ContainsFunc(p.Routed, func(s Span) bool {
		return s.From <= until.Add(clockSlack) && from <= s.Until.Add(clockSlack)
	})
}

// Of returns what is known of the pod of a worker; nil: clients were never sent there.
func (r *Routes) Of(worker int) *Pod {
	i := slices.IndexFunc(r.Pods, func(p Pod) bool { return p.Worker == worker })
	if i < 0 {
		return nil
	}
	return &r.Pods[i]
}

// Count returns how many pods clients were sent to at an instant.
func (r *Routes) Count(at Time) (n int) {
	for i := range r.Pods {
		if r.Pods[i].RoutedAt(at) {
			n++
		}
	}
	return n
}

// to returns the pod that an attempt's connection was sent to; nil: connection tracking does not
// remember. It forgets a refused connection at once, so where ports are shared the entry of one
// that was refused is another attempt's, unless the pod was gone: then it did not answer.
func (r *Routes) to(source netip.AddrPort, a *Attempt) *Pod {
	addr, ok := r.Translations[source]
	i := slices.IndexFunc(r.Pods, func(p Pod) bool { return ok && p.Addr == addr })
	if i < 0 {
		return nil
	}
	if p := &r.Pods[i]; !r.SharedPorts || !a.refused() && p.Gone <= a.Done {
		return p
	}
	return nil
}
