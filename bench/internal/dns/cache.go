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

// With DNSCacheForever, failures are cached for negativeForever, including network errors.
const negativeForever = 10 * time.Second

// Options configures a Resolver.
type Options struct {
	Server netip.AddrPort
	Policy vocabulary.DNSCache
	// Timeout is the timeout of one try, and Tries the largest number of tries in a lookup. If they
	// are 0, they are 5 s and 2 (resolv.conf(5): timeout, attempts).
	Timeout time.Duration
	Tries   int
	// Source is the address that questions are sent from. With the zero Addr the kernel chooses.
	Source netip.Addr
	// Seed determines the random age of the first answer for each name with DNSCacheTTL.
	Seed uint64
}

// The defaults of resolv.conf(5).
const (
	defaultTimeout = 5 * time.Second
	defaultTries   = 2
)

// An Answer is the result of a successful lookup, with its cost.
type Answer struct {
	Addrs []netip.Addr  // at least one, in the server's order; shared, so do not modify
	TTL   time.Duration // as sent by the server
	Age   time.Duration // time since it arrived; excludes a first answer's random age
	Took  time.Duration // the time that the caller waited
	Tries int           // questions sent by this lookup; 0 if it needed none
}

// The errors of a lookup, apart from network errors (such as ECONNREFUSED) and those of the
// caller's context. Lookup wraps them in a LookupError.
var (
	ErrNoSuchName = errors.New("no such name")                // NXDOMAIN
	ErrNoAddress  = errors.New("the name has no address")     // NODATA
	ErrTimeout    = errors.New("no answer")                   // within the timeout of any try
	ErrServer     = errors.New("the server could not answer") // SERVFAIL, REFUSED, … or not DNS
)

// A LookupError describes a failed lookup.
type LookupError struct {
	Name   string
	Server netip.AddrPort
	Took   time.Duration // the time that the caller waited
	Tries  int           // as in Answer
	Err    error
}

func (e *LookupError) Error() string {
	return fmt.Sprintf("look up %s at %v: %v (tries: %d, %v)",
		e.Name, e.Server, e.Err, e.Tries, e.Took)
}

func (e *LookupError) Unwrap() error { return e.Err }

// A Resolver is one client's view of names: it asks a server and caches according to its policy. It
// needs no closing and is safe for concurrent use.
//
// It looks up only the IPv4 addresses of absolute names. It has no search list and sends no AAAA
// questions.
type Resolver struct {
	options  Options
	exchange func(ctx context.Context, network string, question *dns.Msg) (*dns.Msg, error)

	mu     sync.Mutex
	random *rand.Rand
	names  map[string]*entry
}

// entry is what the resolver knows about a name.
type entry struct {
	reply   *reply // the cached reply, or nil
	expires time.Time
	primed  bool     // the first answer has arrived
	asking  *inquiry // the inquiry in progress, or nil
	open    int      // open connections, with DNSCachePool
}

// reply is a server's reply, or the error that took its place.
type reply struct {
	addrs []netip.Addr
	ttl   time.Duration // applies to negative answers, too
	at    time.Time
	tries int
	err   error
}

// inquiry is a question that several lookups wait for.
type inquiry struct {
	done  chan struct{} // closed when reply is set
	reply *reply        // nil: the lookup that sent the question was cancelled
}

// NewResolver makes a resolver with an empty cache. It fails only if the options are invalid.
func NewResolver(o Options) (*Resolver, error) {
	switch o.Policy {
	case vocabulary.DNSCacheNone, vocabulary.DNSCacheTTL, vocabulary.DNSCacheForever,
		vocabulary.DNSCachePool:
	default:
		return nil, fmt.Errorf("dns: policy %q: want none, ttl, forever or pool", o.Policy)
	}
	if o.Timeout < 0 || o.Tries < 0 {
		return nil, fmt.Errorf("dns: timeout %v, tries %d: want neither negative",
			o.Timeout, o.Tries)
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.Tries == 0 {
		o.Tries = defaultTries
	}
	r := &Resolver{
		options: o, random: rand.New(rand.NewPCG(o.Seed, 0xa9e)), names: map[string]*entry{},
	}
	r.exchange = r.overNetwork
	return r, nil
}

// Lookup returns the addresses of an absolute name (with its final dot), from the cache or the
// server. It is limited by the context and, if it asks the server itself, by Tries times Timeout.
// Every error is a *LookupError.
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
			// The lookup that sent the question was cancelled. This lookup may have time left to
			// send its own.
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

// inquire asks the server for all lookups that wait for the name, and caches the reply.
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
	return Answer{
		Addrs: p.addrs, TTL: p.ttl, Age: now.Sub(p.at), Took: now.Sub(l.begin), Tries: tries,
	}, nil
}

func (l lookup) failed(err error, tries int) (Answer, error) {
	return Answer{}, &LookupError{
		Name: l.name, Server: l.options.Server, Took: time.Since(l.begin), Tries: tries, Err: err,
	}
}

// entry returns the entry of a name. The caller holds the lock.
func (r *Resolver) entry(name string) *entry {
	e := r.names[name]
	if e == nil {
		e = &entry{}
		r.names[name] = e
	}
	return e
}

// fresh reports whether the entry has a reply that may be used without asking. The caller holds the
// lock.
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

// keep caches the reply according to the policy. The caller holds the lock.
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

// Opened tells a resolver with DNSCachePool that a connection to an address of the name is open.
// Call Closed when that connection is closed. With other policies both do nothing.
func (r *Resolver) Opened(name string) { r.opened(name, 1) }

// Closed undoes one call of Opened. It panics if there was no such call.
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

// ask asks until it gets an answer or has used up its tries. It returns an error only if the
// context has ended. Errors of the server and the network are in the reply, which is never nil.
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

// try sends the question once over UDP, and over TCP if the answer was truncated.
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
	return nil, fmt.Errorf("%w: %w", ErrServer, err) // the answer is not a DNS message
}

// over returns the context's error. Once the deadline has passed, that is DeadlineExceeded, even if
// ctx.Err does not return it yet.
func over(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// read sets p from a message: to the addresses, or to the reason why there are none.
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
	for _, rr := range m.Ns { // without a SOA record the answer is not cached (RFC 2308, 5)
		if s, ok := rr.(*dns.SOA); ok {
			p.ttl = time.Duration(min(s.Hdr.Ttl, s.Minttl)) * time.Second
		}
	}
}

// overNetwork sends the question from a new socket, as resolvers do, and waits for the answer.
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
		_ = conn.Close() // the answer is complete, so an error does not matter
	}()
	// The context sets the timeout; the client's default would be two seconds.
	client := dns.Client{Timeout: r.options.Timeout}
	m, _, err := client.ExchangeWithConnContext(ctx, q, &dns.Conn{Conn: conn})
	return m, err
}
