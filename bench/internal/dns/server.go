package dns

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// Domain is the zone that a Server is authoritative for.
const Domain = "cluster.local."

// Name returns the name of a service: service.namespace.svc.cluster.local., with the final dot.
func Name(service, namespace string) string { return service + "." + namespace + ".svc." + Domain }

// A Server answers for the names of services, over UDP and TCP.
//
// It follows the Kubernetes DNS specification (github.com/kubernetes/dns, docs/specification.md,
// 2.3 and 2.4): a name without addresses does not exist (NXDOMAIN, "no ready endpoints"), and other
// types of an existing name are empty (NODATA). Every answer has its addresses in random order,
// like CoreDNS's loadbalance plugin (round_robin, in kubeadm's Corefile).
type Server struct {
	parts []*part

	mu        sync.Mutex
	records   map[string]record // by canonical name
	random    *rand.Rand
	questions uint64

	close  sync.Once
	closed error
}

// part serves one socket.
type part struct {
	*dns.Server
	ended chan error // receives the result of serving, once
}

type record struct {
	addrs []netip.Addr // if empty, the name does not exist, but the names above it do
	ttl   time.Duration
}

// unknownTTL is the time for which a client may remember that a name that was never Set does not
// exist: the default ttl of CoreDNS's kubernetes plugin.
const unknownTTL = 5 * time.Second

// udpSize is the largest answer over UDP, in bytes, to clients that accept more than 512 (RFC
// 6891). No network fragments an answer of this size (dnsflagday.net/2020).
const udpSize = 1232

// closeLimit bounds how long Close waits for clients that do not read their answers.
const closeLimit = 5 * time.Second

// Serve answers questions on two sockets, which the server owns from here on, even if Serve fails.
// They stay in the network namespace in which they were made. The seed determines the order of
// addresses. The caller closes the server.
func Serve(packets net.PacketConn, listener net.Listener, seed uint64) (*Server, error) {
	s := &Server{records: map[string]record{}, random: rand.New(rand.NewPCG(seed, 0xd5))}
	for _, server := range []*dns.Server{{PacketConn: packets}, {Listener: listener}} {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		server.Handler = dns.HandlerFunc(s.serve)
		p := &part{Server: server, ended: make(chan error, 1)}
		go func() { p.ended <- p.ActivateAndServe() }()
		select {
		case <-started:
			s.parts = append(s.parts, p)
		case err := <-p.ended:
			return nil, errors.Join(fmt.Errorf("dns: serve %v: %w", packets.LocalAddr(), err),
				s.Close(), ignoreClosed(packets.Close()), ignoreClosed(listener.Close()))
		}
	}
	return s, nil
}

// Close stops listening and returns when every answer under way has been sent and every goroutine
// has ended. It may be called twice.
func (s *Server) Close() error {
	s.close.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
		defer cancel()
		for _, p := range s.parts {
			s.closed = errors.Join(s.closed, p.ShutdownContext(ctx))
			select {
			case err := <-p.ended:
				s.closed = errors.Join(s.closed, ignoreClosed(err))
			case <-ctx.Done(): // ShutdownContext has returned the error
			}
		}
		if s.closed != nil {
			s.closed = fmt.Errorf("dns: close: %w", s.closed)
		}
	})
	return s.closed
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Set replaces the addresses of a name at once and returns the instant of the change,
// CLOCK_MONOTONIC in nanoseconds. Questions that the server reads after this instant get the new
// addresses. The addresses are IPv4, in any order. If there are none, the name ceases to exist. The
// TTL is in whole seconds, as in DNS; 0 forbids caching. Set fails only if its arguments are
// invalid.
func (s *Server) Set(
	name string, addrs []netip.Addr, ttl time.Duration,
) (changed int64, err error) {
	canonical := dns.CanonicalName(name)
	_, ok := dns.IsDomainName(name)
	if !ok || !dns.IsFqdn(name) || !strings.HasSuffix(canonical, ".svc."+Domain) {
		return 0, fmt.Errorf("dns: set %q: not the name of a service: want NAME.NAMESPACE.svc.%s",
			name, Domain)
	}
	if ttl < 0 || ttl%time.Second != 0 || ttl > maxTTL {
		return 0, fmt.Errorf("dns: set %s: TTL %v: want whole seconds, 0 to 2³¹−1 (RFC 2181, 8)",
			name, ttl)
	}
	r := record{ttl: ttl}
	for _, a := range addrs {
		if !a.Is4() {
			return 0, fmt.Errorf("dns: set %s: %v is not an IPv4 address, as A records need",
				name, a)
		}
		if !slices.Contains(r.addrs, a) { // the records of a name are a set (RFC 2181, 5)
			r.addrs = append(r.addrs, a)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records[canonical] = r
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return 0, fmt.Errorf("dns: set %s: clock_gettime: %w", name, err)
	}
	return now.Nano(), nil
}

// maxTTL is the largest TTL of DNS (RFC 2181, 8).
const maxTTL = (1<<31 - 1) * time.Second

// Questions returns the number of questions that the server has answered, including negative
// answers.
func (s *Server) Questions() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.questions
}

func (s *Server) serve(w dns.ResponseWriter, question *dns.Msg) {
	size := dns.MaxMsgSize
	if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
		size = dns.MinMsgSize
		if opt := question.IsEdns0(); opt != nil {
			size = min(int(opt.UDPSize()), udpSize)
		}
	}
	a := s.answer(question)
	a.Truncate(size)
	_ = w.WriteMsg(a) // a client that gets no answer asks again
}

// answer answers a message with one question. The library rejects all others.
func (s *Server) answer(m *dns.Msg) *dns.Msg {
	a := new(dns.Msg).SetReply(m)
	if m.IsEdns0() != nil {
		a.SetEdns0(udpSize, false)
	}
	q := m.Question[0]
	name := dns.CanonicalName(q.Name)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.questions++
	switch {
	case m.Opcode != dns.OpcodeQuery:
		a.Rcode = dns.RcodeNotImplemented
		return a
	case q.Qclass != dns.ClassINET || !dns.IsSubDomain(Domain, name):
		a.Rcode = dns.RcodeRefused
		return a
	}
	a.Authoritative = true
	r, known := s.records[name]
	if !known {
		r.ttl = unknownTTL
	}
	if len(r.addrs) > 0 && q.Qtype == dns.TypeA {
		for _, i := range s.random.Perm(len(r.addrs)) {
			header := dns.RR_Header{
				Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET,
				Ttl: uint32(r.ttl / time.Second),
			}
			a.Answer = append(a.Answer, &dns.A{Hdr: header, A: r.addrs[i].AsSlice()})
		}
		return a
	}
	if len(r.addrs) == 0 && !s.hasSubdomain(name) {
		a.Rcode = dns.RcodeNameError
	}
	a.Ns = []dns.RR{soa(r.ttl)}
	return a
}

// hasSubdomain reports whether the name is the zone or has known names below it. Such a name
// exists, without records (RFC 8020).
func (s *Server) hasSubdomain(name string) bool {
	if name == Domain {
		return true
	}
	for known := range s.records {
		if known != name && dns.IsSubDomain(name, known) {
			return true
		}
	}
	return false
}

// soa returns the SOA record. A client may cache a negative answer for the lesser of the record's
// TTL and its minimum (RFC 2308, 5). The other values are CoreDNS's (plugin/backend_lookup.go).
// They do not matter, because this zone is never transferred.
func soa(ttl time.Duration) *dns.SOA {
	seconds := uint32(ttl / time.Second)
	return &dns.SOA{
		Hdr: dns.RR_Header{
			Name: Domain, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: min(seconds, 300),
		},
		Ns: "ns.dns." + Domain, Mbox: "hostmaster." + Domain,
		Serial: 1, Refresh: 7200, Retry: 1800, Expire: 86400, Minttl: seconds,
	}
}
