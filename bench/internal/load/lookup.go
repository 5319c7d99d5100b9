package load

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/dns"
	"reuseport-bench/scenarios/vocabulary"
)

// Lookup describes how attempts look up the address to connect to.
type Lookup struct {
	Server netip.AddrPort      `json:"server"` // the DNS server
	Name   string              `json:"name"`   // fully qualified, with its final dot
	Policy vocabulary.DNSCache `json:"policy"`
	// Clients is the number of DNS clients that serve the attempts in turn. Each has its own cache.
	Clients int    `json:"clients"`
	Seed    uint64 `json:"seed"`
}

// lookupTimeout is the timeout of one DNS query. The timeout of an attempt allows for two of them.
const lookupTimeout = 300 * time.Millisecond

// names holds the DNS clients of a Lookup. They send their queries outside the loop; an eventfd
// notifies the loop when answers have arrived.
type names struct {
	name    string
	port    uint16
	clients []*dns.Resolver
	answers chan answer
	eventFD int
}

// answer is the result of a lookup for an attempt.
type answer struct {
	attempt *attempt
	target  netip.AddrPort
	release func() // called when the connection has ended
	err     error
}

func newNames(cfg Config, l *loop) (*names, error) {
	n := &names{
		name: cfg.Lookup.Name, port: cfg.Target.Port(),
		answers: make(chan answer, cfg.inFlight()),
	}
	for i := range cfg.Lookup.Clients {
		r, err := dns.NewResolver(dns.Options{
			Server: cfg.Lookup.Server, Policy: cfg.Lookup.Policy, Timeout: lookupTimeout,
			Seed: cfg.Lookup.Seed + uint64(i),
		})
		if err != nil {
			return nil, err
		}
		n.clients = append(n.clients, r)
	}
	var err error
	if n.eventFD, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	if err := l.watch(n.eventFD, unix.EPOLLIN, n.answered); err != nil {
		return nil, errors.Join(err, n.close())
	}
	return n, nil
}

// close frees the eventfd. No lookup may be under way.
func (n *names) close() error { return unix.Close(n.eventFD) }

// find connects the attempt to the address in its client's cache. If the cache has none, the client
// sends a query, which may take the time limit.
func (n *names) find(a *attempt, limit time.Duration) {
	if known := n.askFor(a, 0); !errors.Is(known.err, context.DeadlineExceeded) {
		known.deliver()
		return
	}
	go func() {
		n.answers <- n.askFor(a, limit)
		// The eventfd is never read, so the write fails only after 2⁶⁴ − 2 answers (eventfd(2)).
		_, _ = unix.Write(n.eventFD, binary.NativeEndian.AppendUint64(nil, 1))
	}()
}

// askFor calls ask for the attempt, and returns the answer with the attempt in it.
func (n *names) askFor(a *attempt, limit time.Duration) answer {
	got := n.ask(a.index, limit)
	got.attempt = a
	return got
}

// ask looks the name up with the client whose turn it is at the index. It takes the first address,
// as most clients do. With a limit of 0 it looks only into the client's cache.
func (n *names) ask(index uint64, limit time.Duration) answer {
	r := n.clients[index%uint64(len(n.clients))]
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	found, err := r.Lookup(ctx, n.name)
	if err != nil {
		return answer{err: err}
	}
	r.Opened(n.name)
	target := netip.AddrPortFrom(found.Addrs[0], n.port)
	return answer{target: target, release: func() { r.Closed(n.name) }}
}

// answered calls deliver for the answers that have arrived.
func (n *names) answered() error {
	for {
		select {
		case got := <-n.answers:
			got.deliver()
		default:
			return nil
		}
	}
}

// deliver connects the answer's attempt to the target, or ends its try if the lookup failed.
func (got answer) deliver() {
	if got.err != nil {
		got.attempt.unresolved()
		return
	}
	got.attempt.conn.release = got.release
	got.attempt.connect(got.target)
}
