package ledger

import (
	"math"
	"net/netip"
	"slices"
)

// Routes holds the pods to which a Service's connections were sent, and the times during which the
// pods listened.
type Routes struct {
	// Translations maps the client's address of each connection to the address of the pod to which
	// the clients' node sent the connection. It comes from the node's connection tracking, read
	// after the end of the load.
	Translations map[netip.AddrPort]netip.Addr `json:"translations"`
	// SharedPorts is true if attempts used ports in turn. An entry of Translations may then belong
	// to a later attempt.
	SharedPorts bool `json:"shared_ports,omitempty"`
	// Service is the Service's address, or the zero value if clients connect to the pods' own
	// addresses.
	Service netip.Addr `json:"service,omitzero"`
	Pods    []Pod      `json:"pods"`
}

// A Pod is a pod to which clients were sent at some time.
type Pod struct {
	Addr   netip.Addr `json:"addr"`
	Worker int        `json:"worker"` // its first worker
	Routed []Span     `json:"routed"` // when clients were sent to it
	// The pod could serve from Listens until Gone. Gone is the instant at which its listener began
	// to close or its node was cut off, or Never if neither happened.
	Listens Time `json:"listens"`
	Gone    Time `json:"gone"`
	Silent  Time `json:"silent"` // when its node was cut off from the network, or Never
}

// A Span is the time from From, included, to Until, excluded.
type Span struct {
	From  Time `json:"from"`
	Until Time `json:"until"`
}

// Never is later than every instant of a trial.
const Never = Time(math.MaxInt64) - Time(clockSlack)

// RoutedAt reports whether clients were sent to the pod at an instant, give or take clockSlack.
func (p *Pod) RoutedAt(at Time) bool { return p.routedDuring(at, at) }

func (p *Pod) routedDuring(from, until Time) bool {
	return slices.ContainsFunc(p.Routed, func(s Span) bool {
		return s.From <= until.Add(clockSlack) && from <= s.Until.Add(clockSlack)
	})
}

// Of returns the pod of a worker, or nil if clients were never sent to it.
func (r *Routes) Of(worker int) *Pod {
	i := slices.IndexFunc(r.Pods, func(p Pod) bool { return p.Worker == worker })
	if i < 0 {
		return nil
	}
	return &r.Pods[i]
}

// Count returns the number of pods to which clients were sent at an instant.
func (r *Routes) Count(at Time) (n int) {
	for i := range r.Pods {
		if r.Pods[i].RoutedAt(at) {
			n++
		}
	}
	return n
}

// to returns the pod to which an attempt's connection was sent, or nil if that is not known from
// connection tracking. If attempts share ports, an entry of connection tracking may belong to
// another attempt. It is then used only if the attempt was not refused, because connection tracking
// forgets refused connections at once, and if the pod was gone, so that the pod cannot have
// answered the other attempt.
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
