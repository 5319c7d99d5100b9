package dns

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/miekg/dns"

	"reuseport-bench/scenarios/vocabulary"
)

// negativeForever is what Forever keeps failures for: all of them, also those of the network.
const negativeForever = 10 * time.Second

// Options describe a Resolver.
type Options struct {
	Server netip.AddrPort
	Policy vocabulary.DNSCache
	// Timeout of one try, and how many Tries a lookup makes. 0: 5 s and 2 (resolv.conf(5): timeout,
	// attempts).
	Timeout time.Duration
	Tries   int
	// Source is the address that questions are sent from. The zero Addr leaves it to the kernel.
	Source netip.Addr
	// Seed of the age of first answers, with TTL.
	Seed uint64
}

// The defaults of resolv.conf(5).
const (
	defaultTimeout = 5 * time.Second
	defaultTries   = 2
)

// An Answer is what a lookup that succeeded gave, and what it cost.
type Answer struct {
	Addrs []netip.Addr  // at least one, in the server's order; shared: not to be changed
	TTL   time.Duration // as the server said
	Age   time.Duration // since it came from the server; what was drawn for a first answer is not in it
	Took  time.Duration // what the caller waited
	Tries int           // questions sent for this lookup; 0: the answer was in the cache, or another lookup's
}

// What a lookup can fail of, besides errors of the network (such as ECONNREFUSED) and of the
// caller's context. They come inside a LookupError.
var (
	ErrNoSuchName = errors.New("no such name")                // NXDOMAIN
	ErrNoAddress  = errors.New("the name has no address")     // NODATA
	ErrTimeout    = errors.New("no answer")                   // within any try's timeout
	ErrServer     = errors.New("the server could not answer") // SERVFAIL, REFUSED, …, or an answer that is none
)

// A LookupError is a lookup that failed.
type LookupError struct {
	Name   string
	Server netip.AddrPort
	Took   time.Duration // what the caller waited
	Tries  int           // as in Answer; 0: the failure was in the cache, or another lookup's
	Err    error
}

func (e *LookupError) Error() string {
	return fmt.Sprintf("look up %s at %v: %v (tries: %d, %v)", e.Name, e.Server, e.Err, e.Tries, e.Took)
}

func (e *LookupError) Unwrap() error { return e.Err }

// A Resolver is a client's view of names: it asks a server and keeps what its Policy keeps. It
// needs no closing, and may be used by many goroutines at once.
//
// It asks for IPv4 addresses of absolute names only: no search list, no AAAA beside the A.
type Resolver struct {
	options  Options
	exchange func(ctx context.Context, network string, question *dns.Msg) (*dns.Msg, error)

	mu     sync.Mutex
	random *rand.Rand
	names  map[string]*entry
}

// entry is what is known of a name.
type entry struct {
	reply   *reply // the last one that may be kept; nil: none
	expires time.Time
	primed  bool     // the first answer has come
	asking  *inquiry // under way; nil: none
	open    int      // connections, with Pool
}

// reply is what a server made of a question.
type reply struct {
	addrs []netip.Addr
	ttl   time.Duration // of a negative answer, too
	at    time.Time
	tries int
	err   error
}

// inquiry is a question that several lookups wait for.
type inquiry struct {
	done  chan struct{} // closed when reply is there
	reply *reply        // nil: the lookup that asked was called off
}

// NewResolver makes a resolver that knows nothing yet. An error is the caller's mistake.
func NewResolver(o Options) (*Resolver, error) {
	switch o.Policy {
	case vocabulary.DNSCacheNone, vocabulary.DNSCacheTTL, vocabulary.DNSCacheForever,
		vocabulary.DNSCachePool:
	default:
		return nil, fmt.Errorf("dns: policy %q: want none, ttl, forever or pool", o.Policy)
	}
	if o.Timeout < 0 || o.Tries < 0 {
		return nil, fmt.Errorf("dns: timeout %v, tries %d: want no negative ones", o.Timeout, o.Tries)
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.Tries == 0 {
		o.Tries = defaultTries
	}
	r := &Resolver{options: o, random: rand.New(rand.NewPCG(o.Seed, 0xa9e)), names: map[string]*entry{}}
	r.exchange = r.overNetwork
	return r, nil
}

// Lookup gives the addresses of an absolute name (with its final dot), from the cache or from the
// server. It takes no longer than the context allows, and no longer than Tries times Timeout where
// it asks itself. Every error is a *LookupError.
func (r *Resolver) Lookup(ctx context.Context, name string) (Answer, error) {
	l := lookup{Resolver: r, name: dns.CanonicalName(name), begin: time.Now()}
	if !dns.IsFqdn(name) {
		return l.failed(errors.New("not an absolute name; end it with a dot"), 0)
	}
	if r.options.Policy == vocabulary.DNSCacheNone {
		p, err := r.ask(ctx, l.name)
		if err != nil {
			return l.failed(err, p.tries)
		}
		return l.result(p, p.tries)
	}
	for {
		r.mu.Lock()
		e := r.entry(l.name)
		if r.fresh(e) {
			defer r.mu.Unlock()
			return l.result(e.reply, 0)
		}
		q := e.asking
		if q == nil {
			q = &inquiry{done: make(chan struct{})}
			e.asking = q
			r.mu.Unlock()
			return l.inquire(ctx, e)
		}
		r.mu.Unlock()
		select {
		case <-q.done:
			if q.reply != nil {
				return l.result(q.reply, 0)
			}
			// Who asked had no more time. We may have.
		case <-ctx.Done():
			return l.failed(ctx.Err(), 0)
		}
	}
}

// lookup is one call of Lookup.
type lookup struct {
	*Resolver
	name  string
	begin time.Time
}

// inquire asks for all who want the name and keeps what may be kept.
func (l lookup) inquire(ctx context.Context, e *entry) (Answer, error) {
	p, err := l.ask(ctx, l.name)
	l.mu.Lock()
	q := e.asking
	e.asking = nil
	if err == nil {
		q.reply = p
		l.keep(e, p)
	}
	l.mu.Unlock()
	close(q.done)
	if err != nil {
		return l.failed(err, p.tries)
	}
	return l.result(p, p.tries)
}

func (l lookup) result(p *reply, tries int) (Answer, error) {
	if p.err != nil {
		return l.failed(p.err, tries)
	}
	now := time.Now()
	return Answer{Addrs: p.addrs, TTL: p.ttl, Age: now.Sub(p.at), Took: now.Sub(l.begin), Tries: tries}, nil
}

func (l lookup) failed(err error, tries int) (Answer, error) {
	return Answer{}, &LookupError{Name: l.name, Server: l.options.Server, Took: time.Since(l.begin), Tries: tries, Err: err}
}

// entry is the name's; the caller holds the lock.
func (r *Resolver) entry(name string) *entry {
	e := r.names[name]
	if e == nil {
		e = &entry{}
		r.names[name] = e
	}
	return e
}

// fresh says that the entry has a reply that need not be asked for; the caller holds the lock.
func (r *Resolver) fresh(e *entry) bool {
	switch {
	case e.reply == nil:
		return false
	case r.options.Policy == vocabulary.DNSCachePool:
		return e.open > 0
	case r.options.Policy == vocabulary.DNSCacheForever && e.reply.err == nil:
		return true
	}
	return time.Now().Before(e.expires)
}

// keep remembers the reply as the policy has it; the caller holds the lock.
func (r *Resolver) keep(e *entry, p *reply) {
	e.reply = nil
	answered := p.err == nil || errors.Is(p.err, ErrNoSuchName) || errors.Is(p.err, ErrNoAddress)
	switch r.options.Policy {
	case vocabulary.DNSCachePool:
		if p.err == nil {
			e.reply = p
		}
	case vocabulary.DNSCacheForever:
		e.reply, e.expires = p, p.at.Add(negativeForever)
	case vocabulary.DNSCacheTTL:
		if !answered || p.ttl == 0 {
			return
		}
		e.reply, e.expires = p, p.at.Add(p.ttl)
		if !e.primed {
			e.expires = e.expires.Add(-time.Duration(r.random.Int64N(int64(p.ttl))))
			e.primed = true
		}
	}
}

// Opened tells the resolver, for Pool, that a connection to an address of the name is open. Every
// Opened has its Closed, when that connection is no longer. With other policies they do nothing.
func (r *Resolver) Opened(name string) { r.opened(name, 1) }

// Closed is the end of what Opened began. One too many panics.
func (r *Resolver) Closed(name string) { r.opened(name, -1) }

func (r *Resolver) opened(name string, n int) {
	if r.options.Policy != vocabulary.DNSCachePool {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.entry(dns.CanonicalName(name))
	if e.open += n; e.open < 0 {
		panic("dns: Closed without Opened: " + name)
	}
}

// ask asks until there is an answer or the tries are used up. The error is the context's; what the
// server or the network had to say is in the reply, which is never nil.
func (r *Resolver) ask(ctx context.Context, name string) (*reply, error) {
	p := &reply{}
	q := new(dns.Msg).SetQuestion(name, dns.TypeA)
	for p.tries < r.options.Tries {
		if err := over(ctx); err != nil {
			return p, err
		}
		p.tries++
		m, err := r.try(ctx, q)
		p.at = time.Now()
		switch {
		case err == nil && m.Rcode == dns.RcodeSuccess, err == nil && m.Rcode == dns.RcodeNameError:
			p.read(m, name)
			return p, nil
		case err == nil:
			p.err = fmt.Errorf("%w: %s", ErrServer, dns.RcodeToString[m.Rcode])
		default:
			p.err = err
		}
	}
	return p, over(ctx)
}

// try asks once, and once more over TCP if the answer does not fit.
func (r *Resolver) try(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, r.options.Timeout)
	defer cancel()
	m, err := r.exchange(ctx, "udp", q)
	if err == nil && m.Truncated {
		m, err = r.exchange(ctx, "tcp", q)
	}
	var network net.Error
	switch {
	case err == nil:
		return m, nil
	case over(ctx) != nil, errors.Is(err, os.ErrDeadlineExceeded):
		return nil, ErrTimeout
	case errors.As(err, &network):
		return nil, err
	}
	return nil, fmt.Errorf("%w: %w", ErrServer, err) // not a message
}

// over is the context's error, which comes a little after its deadline.
func over(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// read takes the addresses, or the reason why there are none, out of an answer.
func (p *reply) read(m *dns.Msg, name string) {
	p.err = nil
	ttl := uint32(1<<32 - 1)
	for _, rr := range m.Answer {
		a, ok := rr.(*dns.A)
		if !ok || dns.CanonicalName(a.Hdr.Name) != name {
			continue
		}
		if addr, ok := netip.AddrFromSlice(a.A.To4()); ok {
			p.addrs = append(p.addrs, addr)
			ttl = min(ttl, a.Hdr.Ttl)
		}
	}
	switch {
	case len(p.addrs) > 0:
		p.ttl = time.Duration(ttl) * time.Second
		return
	case m.Rcode == dns.RcodeNameError:
		p.err = ErrNoSuchName
	default:
		p.err = ErrNoAddress
	}
	for _, rr := range m.Ns { // without one, the answer is not kept (RFC 2308, 5)
		if s, ok := rr.(*dns.SOA); ok {
			p.ttl = time.Duration(min(s.Hdr.Ttl, s.Minttl)) * time.Second
		}
	}
}

// overNetwork sends the question from a socket of its own, as resolvers do, and waits for the
// answer.
func (r *Resolver) overNetwork(ctx context.Context, network string, q *dns.Msg) (*dns.Msg, error) {
	var d net.Dialer
	if r.options.Source.IsValid() {
		source := netip.AddrPortFrom(r.options.Source, 0)
		d.LocalAddr = net.UDPAddrFromAddrPort(source)
		if network == "tcp" {
			d.LocalAddr = net.TCPAddrFromAddrPort(source)
		}
	}
	conn, err := d.DialContext(ctx, network, r.options.Server.String())
	if err != nil {
		return nil, err
	}
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		_ = conn.Close()
	})
	defer func() {
		if !stop() {
			<-closed
			return
		}
		_ = conn.Close() // nothing is left to be written
	}()
	// The client's own timeout is that of the context; its default would be two seconds.
	client := dns.Client{Timeout: r.options.Timeout}
	m, _, err := client.ExchangeWithConnContext(ctx, q, &dns.Conn{Conn: conn})
	return m, err
}
