package load

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/bench/internal/dns"
	"reuseport-bench/results"
	"reuseport-bench/scenarios/vocabulary"
)

// named starts a DNS server that knows one name and its address.
func named(t *testing.T, name string, addr netip.Addr) (server *dns.Server, at netip.AddrPort) {
	t.Helper()
	packets, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp4", packets.LocalAddr().String())
	if err != nil {
		t.Fatal(errors.Join(err, packets.Close()))
	}
	if server, err = dns.Serve(packets, listener, 1); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	if _, err := server.Set(name, []netip.Addr{addr}, time.Minute); err != nil {
		t.Fatal(err)
	}
	return server, netip.MustParseAddrPort(packets.LocalAddr().String())
}

// TestLookup checks that attempts find their target by name: at once if their client's cache has
// the name, otherwise when the answer arrives. If the name does not exist, attempts are lost as
// unreachable, or retried.
func TestLookup(t *testing.T) {
	const n, clients = 600, 4 // the eventfd must count more than a byte can
	name := dns.Name("web", "default")
	unreachable := results.FailedTry{Failure: results.FailureUnreachable}
	for _, tt := range []struct {
		name      string
		asked     string
		policy    vocabulary.DNSCache
		retry     Retry
		class     results.Class
		failed    []results.FailedTry
		questions uint64
	}{
		{"kept", name, vocabulary.DNSCacheForever, Retry{}, results.ClassNone, nil, clients},
		{"not kept", name, vocabulary.DNSCacheNone, Retry{}, results.ClassNone, nil, n},
		{"no such name", dns.Name("none", "default"), vocabulary.DNSCacheNone, Retry{}, results.ClassUnreachable, nil, n},
		{"retried", dns.Name("none", "default"), vocabulary.DNSCacheNone,
			Retry{Max: 1, On: safe, ConnectTimeout: time.Second}, results.ClassUnreachable, []results.FailedTry{unreachable}, 2 * n},
	} {
		t.Run(tt.name, func(t *testing.T) {
			at, _, _ := scripted(t, nil)
			server, dnsAt := named(t, name, at.Addr())
			tr, finish := newTestTransport(t, Config{
				// Only this port is used, not the address.
				Target:    netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), at.Port()),
				Processes: 1, Timeout: 5 * time.Second, Shape: atOnce(n),
				Connections: vocabulary.ConnectionsNew, Retry: tt.retry,
				Lookup: &Lookup{Server: dnsAt, Name: tt.asked, Policy: tt.policy, Clients: clients},
			})
			for i := range uint64(n) {
				if tr.begin(i); i < n/2 {
					continue // start the first half at the same time, the others one by one
				}
				if err := tr.awaitAttempts(); err != nil {
					t.Fatal(err)
				}
			}
			samples, _ := finish()
			if len(samples) != n {
				t.Errorf("%d samples, want %d", len(samples), n)
			}
			for _, s := range samples {
				diff := cmp.Diff(tt.failed, s.Failed)
				if diff != "" || s.Class != tt.class || s.Done < s.Sent {
					t.Errorf("attempt %d: %v, want %v; failed tries (-want +got):\n%s",
						s.Sequence, s.Class, tt.class, diff)
				}
			}
			if q := server.Questions(); q != tt.questions {
				t.Errorf("%d questions, want %d", q, tt.questions)
			}
		})
	}
}
