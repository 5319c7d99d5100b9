package load

import (
	"context"
	"net/netip"
	"time"

	"reuseport-bench/bench/internal/dns"
	"reuseport-bench/scenarios/vocabulary"
)

// Lookup is how attempts find out where to connect to.
type Lookup struct {
	Server netip.AddrPort      `json:"server"` // that answers
	Name   string              `json:"name"`   // that is asked for, with its last dot
	Policy vocabulary.DNSCache `json:"policy"`
	// Clients share the attempts, in turn: each has a cache of its own.
	Clients int    `json:"clients"`
	Seed    uint64 `json:"seed"`
}

// lookupTimeout of one question: two of them are over before an attempt is.
const lookupTimeout = 300 * time.Millisecond

// names are the clients of a Lookup.
type names struct {
	name    string
	clients []*dns.Resolver
}

func newNames(l *Lookup) (*names, error) {
	n := &names{name: l.Name}
	for i := range l.Clients {
		r, err := dns.NewResolver(dns.Options{Server: l.Server, Policy: l.Policy, Timeout: lookupTimeout, Seed: l.Seed + uint64(i)})
		if err != nil {
			return nil, err
		}
		n.clients = append(n.clients, r)
	}
	return n, nil
}

// target is where the connection of an attempt goes to: the first of the addresses that its client knows, as most take it. release is to be
// called when the connection is over.
func (n *names) target(index uint64, port uint16, deadline time.Duration) (to netip.AddrPort, release func(), err error) {
	r := n.clients[index%uint64(len(n.clients))]
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	answer, err := r.Lookup(ctx, n.name)
	if err != nil {
		return netip.AddrPort{}, nil, err
	}
	r.Opened(n.name)
	return netip.AddrPortFrom(answer.Addrs[0], port), func() { r.Closed(n.name) }, nil
}
