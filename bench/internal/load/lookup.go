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

// names are the clients of a Lookup. They ask beside the loop, which an eventfd tells of answers.
type names struct {
	name    string
	port    uint16
	clients []*dns.Resolver
	answers chan answer
	eventFD int
}

// answer is what an attempt is to connect to.
type answer struct {
	attempt *attempt
	target  netip.AddrPort
	release func() // to be called when the connection is over
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

// close frees the eventfd. No question may be open.
func (n *names) close() error { return unix.Close(n.eventFD) }

// find has the attempt connect to what its client's resolver knows, or finds out within the limit.
func (n *names) find(a *attempt, limit time.Duration) {
	if known := n.askFor(a, 0); !errors.Is(known.err, context.DeadlineExceeded) {
		known.give()
		return
	}
	go func() {
		n.answers <- n.askFor(a, limit)
		// It fails only after 2⁶⁴ − 2 answers, for it is never read (eventfd(2)).
		_, _ = unix.Write(n.eventFD, binary.NativeEndian.AppendUint64(nil, 1))
	}()
}

// askFor asks the attempt's client.
func (n *names) askFor(a *attempt, limit time.Duration) answer {
	got := n.ask(a.index, limit)
	got.attempt = a
	return got
}

// ask asks the client for the name whose turn it is at that index, and takes the first of the
// addresses, as most do. With no time it is a look into the client's cache.
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

// answered gives the attempts the answers that have come.
func (n *names) answered() error {
	for {
		select {
		case got := <-n.answers:
			got.give()
		default:
			return nil
		}
	}
}

// give has the attempt go to the target, or end the try.
func (got answer) give() {
	if got.err != nil {
		got.attempt.unknown()
		return
	}
	got.attempt.conn.release = got.release
	got.attempt.connect(got.target)
}
