package dns

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestName(t *testing.T) {
	if got, want := Name("web", "default"), "web.default.svc.cluster.local."; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// newServer makes a server without sockets.
func newServer() *Server {
	return &Server{records: map[string]record{}, random: rand.New(rand.NewPCG(1, 2))}
}

func set(t *testing.T, s *Server, name string, ttl time.Duration, addrs ...string) int64 {
	t.Helper()
	var parsed []netip.Addr
	for _, a := range addrs {
		parsed = append(parsed, netip.MustParseAddr(a))
	}
	at, err := s.Set(name, parsed, ttl)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func question(name string, kind uint16) *dns.Msg { return new(dns.Msg).SetQuestion(name, kind) }

func TestAnswer(t *testing.T) {
	s := newServer()
	set(t, s, "web.default.svc.cluster.local.", 30*time.Second, "198.18.1.2", "198.18.1.2")
	set(t, s, "empty.other.svc.cluster.local.", 7*time.Second)
	chaos := question("web.default.svc.cluster.local.", dns.TypeA)
	chaos.Question[0].Qclass = dns.ClassCHAOS
	notify := question("web.default.svc.cluster.local.", dns.TypeA)
	notify.Opcode = dns.OpcodeNotify
	for _, tt := range []struct {
		name     string
		question *dns.Msg
		rcode    int
		answer   string        // the records
		negative time.Duration // for how long a negative answer may be cached; -1: no SOA
	}{
		{"an address, once", question("web.default.svc.cluster.local.", dns.TypeA), dns.RcodeSuccess, "web.default.svc.cluster.local.\t30\tIN\tA\t198.18.1.2", -1},
		{"upper case", question("WEB.default.svc.Cluster.local.", dns.TypeA), dns.RcodeSuccess, "WEB.default.svc.Cluster.local.\t30\tIN\tA\t198.18.1.2", -1},
		{"no IPv6 address", question("web.default.svc.cluster.local.", dns.TypeAAAA), dns.RcodeSuccess, "", 30 * time.Second},
		{"no ready endpoint", question("empty.other.svc.cluster.local.", dns.TypeA), dns.RcodeNameError, "", 7 * time.Second},
		{"no ready endpoint, IPv6", question("empty.other.svc.cluster.local.", dns.TypeAAAA), dns.RcodeNameError, "", 7 * time.Second},
		{"never set", question("none.default.svc.cluster.local.", dns.TypeA), dns.RcodeNameError, "", 5 * time.Second},
		{"below a service", question("pod.web.default.svc.cluster.local.", dns.TypeA), dns.RcodeNameError, "", 5 * time.Second},
		{"a namespace", question("other.svc.cluster.local.", dns.TypeA), dns.RcodeSuccess, "", 5 * time.Second},
		{"a suffix of a namespace", question("efault.svc.cluster.local.", dns.TypeA), dns.RcodeNameError, "", 5 * time.Second},
		{"the zone", question("cluster.local.", dns.TypeA), dns.RcodeSuccess, "", 5 * time.Second},
		{"another zone", question("example.com.", dns.TypeA), dns.RcodeRefused, "", -1},
		{"another class", chaos, dns.RcodeRefused, "", -1},
		{"not a query", notify, dns.RcodeNotImplemented, "", -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := s.answer(tt.question)
			var records []string
			for _, rr := range a.Answer {
				records = append(records, rr.String())
			}
			if got := strings.Join(records, "\n"); got != tt.answer || a.Rcode != tt.rcode {
				t.Errorf("%s %q, want %s %q",
					dns.RcodeToString[a.Rcode], got, dns.RcodeToString[tt.rcode], tt.answer)
			}
			negative := time.Duration(-1)
			for _, rr := range a.Ns {
				negative = time.Duration(min(rr.(*dns.SOA).Minttl, rr.Header().Ttl)) * time.Second
			}
			if negative != tt.negative {
				t.Errorf("may be cached for %v, want %v", negative, tt.negative)
			}
			ours := a.Rcode == dns.RcodeSuccess || a.Rcode == dns.RcodeNameError
			if a.Authoritative != ours {
				t.Errorf("authoritative: %v, want %v", a.Authoritative, ours)
			}
			if a.Id != tt.question.Id || !a.Response {
				t.Error("the answer is not to the question")
			}
		})
	}
	if got := s.Questions(); got != 13 {
		t.Errorf("%d questions counted, want 13", got)
	}
}

func TestSetReplaces(t *testing.T) {
	s := newServer()
	name := Name("web", "default")
	first := set(t, s, name, time.Second, "198.18.1.2", "198.18.1.3")
	second := set(t, s, strings.ToUpper(name), 0, "198.18.1.4")
	if second < first {
		t.Errorf("changed at %d, want at %d or later", second, first)
	}
	a := s.answer(question(name, dns.TypeA))
	if len(a.Answer) != 1 || a.Answer[0].String() != name+"\t0\tIN\tA\t198.18.1.4" {
		t.Errorf("answer %v, want 198.18.1.4 with TTL 0", a.Answer)
	}
}

func TestSetRefuses(t *testing.T) {
	v4, v6 := netip.MustParseAddr("198.18.1.2"), netip.MustParseAddr("2001:2::1")
	for _, tt := range []struct {
		name, service string
		addr          netip.Addr
		ttl           time.Duration
		want          string
	}{
		{"no final dot", "web.default.svc.cluster.local", v4, time.Second, "not the name of a service"},
		{"another zone", "web.example.com.", v4, time.Second, "not the name of a service"},
		{"the zone of services", "svc.cluster.local.", v4, time.Second, "not the name of a service"},
		{"an empty label", "web..svc.cluster.local.", v4, time.Second, "not the name of a service"},
		{"IPv6", Name("web", "default"), v6, time.Second, "not an IPv4 address"},
		{"no address", Name("web", "default"), netip.Addr{}, time.Second, "not an IPv4 address"},
		{"half a second", Name("web", "default"), v4, 500 * time.Millisecond, "whole seconds"},
		{"a negative TTL", Name("web", "default"), v4, -time.Second, "whole seconds"},
		{"too large a TTL", Name("web", "default"), v4, (1 << 31) * time.Second, "whole seconds"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer()
			_, err := s.Set(tt.service, []netip.Addr{tt.addr}, tt.ttl)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if len(s.records) != 0 {
				t.Error("the name was set despite the error")
			}
		})
	}
}

func TestAnswerOrderIsRandom(t *testing.T) {
	s := newServer()
	name := Name("web", "default")
	set(t, s, name, time.Second, "198.18.1.1", "198.18.1.2", "198.18.1.3")
	counts := map[string]int{}
	for range 6000 {
		var order []string
		for _, rr := range s.answer(question(name, dns.TypeA)).Answer {
			order = append(order, rr.(*dns.A).A.String()[len("198.18.1."):])
		}
		counts[strings.Join(order, "")]++
	}
	// There are six orders, each expected 1,000 times with standard deviation √(6000·1/6·5/6) = 29.
	if len(counts) != 6 {
		t.Errorf("orders %v, want all six", counts)
	}
	for order, n := range counts {
		if n < 1000-5*29 || n > 1000+5*29 {
			t.Errorf("order %s came %d times, want 1,000 ± 145", order, n)
		}
	}
}

// TestAnswerFits checks that an answer too large for UDP is truncated, and has the flag that says
// so (RFC 1035, 4.2.1). A record takes 16 bytes here, since names are compressed.
func TestAnswerFits(t *testing.T) {
	s := newServer()
	name := Name("web", "default")
	var addrs []string
	for i := range 100 {
		addrs = append(addrs, fmt.Sprintf("198.18.1.%d", i))
	}
	set(t, s, name, time.Second, addrs...)
	plain, edns := question(name, dns.TypeA), question(name, dns.TypeA)
	huge := question(name, dns.TypeA)
	edns.SetEdns0(1000, false)
	huge.SetEdns0(65000, false)
	for _, tt := range []struct {
		name      string
		question  *dns.Msg
		network   string
		limit     int
		truncated bool
	}{
		{"UDP", plain, "udp", 512, true},
		{"UDP with EDNS", edns, "udp", 1000, true},
		{"UDP with too large a size in EDNS", huge, "udp", 1232, true},
		{"TCP", plain, "tcp", 65535, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := &writer{network: tt.network}
			s.serve(w, tt.question)
			b, err := w.message.Pack()
			if err != nil {
				t.Fatal(err)
			}
			truncated := w.message.Truncated
			if len(b) > tt.limit || len(b) < tt.limit-16 && tt.truncated ||
				truncated != tt.truncated {
				t.Errorf("%d bytes, truncated: %v; want up to %d, %v",
					len(b), truncated, tt.limit, tt.truncated)
			}
			if (tt.question.IsEdns0() != nil) != (w.message.IsEdns0() != nil) {
				t.Error("EDNS is not answered with EDNS (RFC 6891, 6.1.1)")
			}
			var got []string
			for _, rr := range w.message.Answer {
				got = append(got, rr.(*dns.A).A.String())
			}
			slices.Sort(got)
			if !tt.truncated {
				slices.Sort(addrs)
				if diff := cmp.Diff(addrs, got); diff != "" {
					t.Errorf("addresses (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// writer records a server's answer.
type writer struct {
	dns.ResponseWriter
	network string
	message *dns.Msg
}

func (w *writer) RemoteAddr() net.Addr {
	if w.network == "udp" {
		return &net.UDPAddr{}
	}
	return &net.TCPAddr{}
}

func (w *writer) WriteMsg(m *dns.Msg) error {
	w.message = m
	return nil
}
