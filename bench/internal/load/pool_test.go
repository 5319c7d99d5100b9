package load

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/dns"
	"reuseport-bench/results"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/wire"
)

// A keeper is a server that keeps its connections open and may delay its answers.
type keeper struct {
	at net.Listener

	mu    sync.Mutex
	conns []*keptConn // in the order in which they were accepted
}

type keptConn struct {
	from     netip.AddrPort
	requests []uint64 // sequence numbers of the answered requests
}

// keeping returns a keeper on a loopback address. Before each answer the keeper calls may, which
// can wait or close the connection.
func keeping(t *testing.T, may func(c *net.TCPConn, sequence uint64)) *keeper {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k := &keeper{at: l}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			kept := &keptConn{from: netip.MustParseAddrPort(c.RemoteAddr().String())}
			k.mu.Lock()
			k.conns = append(k.conns, kept)
			k.mu.Unlock()
			all.Go(func() { k.serve(c.(*net.TCPConn), kept, may) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	return k
}

// serve answers the requests on a connection, one at a time, until the connection ends.
func (k *keeper) serve(c *net.TCPConn, kept *keptConn, may func(*net.TCPConn, uint64)) {
	defer c.Close()
	in := make([]byte, wire.MaxHead)
	for {
		n, err := c.Read(in)
		if err != nil {
			return
		}
		r, _, _ := wire.ParseRequest(in[:n])
		if may != nil {
			may(c, r.Attempt.Sequence)
		}
		k.mu.Lock()
		kept.requests = append(kept.requests, r.Attempt.Sequence)
		k.mu.Unlock()
		if _, err := c.Write(wire.AppendResponse(nil, 3, 4, wire.KeepAlive)); err != nil {
			return
		}
	}
}

func (k *keeper) target() netip.AddrPort { return netip.MustParseAddrPort(k.at.Addr().String()) }

// served returns the sequence numbers of the requests answered on each connection.
func (k *keeper) served() (all [][]uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.conns {
		all = append(all, slices.Clone(c.requests))
	}
	return all
}

// keepConfig returns a load of n attempts, all due at once, that keeps connections.
func keepConfig(k *keeper, n int, keep Keep) Config {
	return Config{
		Processes: 1, Target: k.target(), Timeout: 10 * time.Second, Shape: atOnce(n),
		Connections: vocabulary.ConnectionsReused, Keep: keep,
	}
}

// oneByOne makes the attempts lo to hi−1, each after the end of the one before.
func oneByOne(t *testing.T, tr *transport, lo, hi uint64) {
	t.Helper()
	for i := lo; i < hi; i++ {
		tr.begin(i)
		if err := tr.awaitAttempts(); err != nil {
			t.Fatal(err)
		}
	}
}

func filled(t *testing.T, tr *transport) {
	t.Helper()
	if err := tr.fill(5 * time.Second); err != nil {
		t.Fatal(err)
	}
}

// TestKept checks that three connections that are opened before the first attempt serve all
// attempts in turn, and have their own sources. Without Keep.Count only as many connections are
// opened as are needed.
func TestKept(t *testing.T) {
	for _, tt := range []struct {
		name string
		keep Keep
		want [][]uint64
	}{
		{"three", Keep{Count: 3}, [][]uint64{{0, 3, 6}, {1, 4}, {2, 5}}},
		{"any number", Keep{}, [][]uint64{{0, 1, 2, 3, 4, 5, 6}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := keeping(t, nil)
			tr, finish := newTestTransport(t, keepConfig(k, 7, tt.keep))
			filled(t, tr)
			oneByOne(t, tr, 0, 7)
			samples, _ := finish()
			if diff := cmp.Diff(tt.want, k.served()); diff != "" {
				t.Errorf("requests by connection (-want +got):\n%s", diff)
			}
			for _, s := range samples {
				source := tr.sources.At(0) // of the first attempt, which opened the connection
				if tt.keep.Count > 0 {
					source = tr.sources.At(7 + s.Sequence%3)
				}
				if !s.Served() || s.Source != source {
					t.Errorf("attempt %d: %v from %v, want it served from %v",
						s.Sequence, s.Class, s.Source, source)
				}
			}
		})
	}
}

// TestKeptShared checks that the load processes take turns in opening the kept connections, and
// that the source of each follows from its number.
func TestKeptShared(t *testing.T) {
	all := 0
	for process := range 3 {
		k := keeping(t, nil)
		cfg := keepConfig(k, 6, Keep{Count: 7})
		cfg.Process, cfg.Processes = process, 3
		tr, finish := newTestTransport(t, cfg)
		filled(t, tr)
		if got, want := tr.pool.open, []int{3, 2, 2}[process]; got != want {
			t.Errorf("process %d has %d connections, want %d", process, got, want)
		}
		for i, c := range tr.pool.idle {
			all++
			if want := tr.sources.At(6 + uint64(3*i+process)); c.source != want {
				t.Errorf("process %d, connection %d: from %v, want %v", process, i, c.source, want)
			}
		}
		finish()
	}
	if all != 7 {
		t.Errorf("%d connections in all, want 7", all)
	}
}

// TestKeptWait checks that attempts wait in order while the only connection is in use, and that
// their response time includes the wait.
func TestKeptWait(t *testing.T) {
	const n = 5
	answer := make(chan struct{})
	k := keeping(t, func(*net.TCPConn, uint64) { <-answer })
	tr, finish := newTestTransport(t, keepConfig(k, n, Keep{Count: 1}))
	filled(t, tr)
	for i := range uint64(n) {
		tr.begin(i)
	}
	sent := tr.clock.Now()
	if got := len(tr.pool.waiting); got != n-1 {
		t.Errorf("%d attempts are waiting, want %d", got, n-1)
	}
	close(answer)
	if err := tr.awaitAttempts(); err != nil {
		t.Fatal(err)
	}
	samples, _ := finish()
	if diff := cmp.Diff([][]uint64{{0, 1, 2, 3, 4}}, k.served()); diff != "" {
		t.Errorf("requests by connection (-want +got):\n%s", diff)
	}
	for i, s := range samples {
		if !s.Served() || s.Sent > int64(sent) {
			t.Errorf("attempt %d: %v, sent %d ns too late", s.Sequence, s.Class, s.Sent-int64(sent))
		}
		if i > 0 && s.Connected < samples[i-1].Done {
			t.Errorf("attempt %d got the connection %d ns before the previous attempt ended",
				s.Sequence, samples[i-1].Done-s.Connected)
		}
	}
}

// TestKeptStarved checks that attempts that get no connection before their timeout are lost in
// phase connect, without a source, and that the other attempts continue.
func TestKeptStarved(t *testing.T) {
	answer := make(chan struct{})
	k := keeping(t, func(_ *net.TCPConn, sequence uint64) {
		if sequence == 0 {
			<-answer
		}
	})
	cfg := keepConfig(k, 4, Keep{Count: 1})
	cfg.Retry = Retry{Max: 1, On: safe, ConnectTimeout: time.Millisecond}
	tr, finish := newTestTransport(t, cfg)
	filled(t, tr)
	tr.begin(0)
	tr.cfg.Timeout = 20 * time.Millisecond
	tr.begin(1)
	tr.begin(2)
	for tr.underWay > 1 {
		if _, err := tr.loop.turn(never); err != nil {
			t.Fatal(err)
		}
	}
	tr.cfg.Timeout = cfg.Timeout
	close(answer)
	oneByOne(t, tr, 3, 4)
	samples, _ := finish()
	for _, s := range samples {
		class, phase := results.ClassNone, results.PhaseNone
		starved := s.Sequence == 1 || s.Sequence == 2
		if starved {
			class, phase = results.ClassTimeout, results.PhaseConnect
		}
		again := len(s.Failed) > 0
		if s.Class != class || s.Phase != phase || s.Source.IsValid() == starved || again {
			t.Errorf("attempt %d: %v, %v, from %v, failed tries %v",
				s.Sequence, s.Class, s.Phase, s.Source, s.Failed)
		}
	}
	if len(tr.pool.waiting) > 0 || tr.pool.open > 1 {
		t.Errorf("at the end %d attempts wait for %d connections",
			len(tr.pool.waiting), tr.pool.open)
	}
}

// TestKeptTooLate checks a connection that becomes free after the waiting attempts have timed out,
// but before the loop has noticed that. The attempts do not get the connection, and each ends once.
func TestKeptTooLate(t *testing.T) {
	answer := make(chan struct{})
	k := keeping(t, func(*net.TCPConn, uint64) { <-answer })
	cfg := keepConfig(k, 4, Keep{Count: 1})
	tr, finish := newTestTransport(t, cfg)
	filled(t, tr)
	tr.begin(0)
	const timeout = 5 * time.Millisecond
	tr.cfg.Timeout = timeout
	tr.begin(1)
	tr.begin(2)
	tr.awaitDue(tr.clock.Now().Add(timeout))
	tr.cfg.Timeout = cfg.Timeout
	close(answer)
	wait := []unix.PollFd{{Fd: int32(tr.loop.conns[0].fd), Events: unix.POLLIN}}
	for n := 0; n == 0; {
		n, _ = unix.Poll(wait, -1)
	}
	oneByOne(t, tr, 3, 4)
	samples, _ := finish()
	if diff := cmp.Diff([]uint64{1, 2, 0, 3}, sequences(samples)); diff != "" {
		t.Errorf("attempts in the order they ended (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([][]uint64{{0, 3}}, k.served()); diff != "" || tr.underWay != 0 {
		t.Errorf("%d under way; requests by connection (-want +got):\n%s", tr.underWay, diff)
	}
}

// TestKeptEnds checks that when a kept connection has ended, the waiting attempt opens a new one
// from its own source.
func TestKeptEnds(t *testing.T) {
	k := keeping(t, func(c *net.TCPConn, sequence uint64) {
		if sequence == 0 {
			_ = c.Close()
		}
	})
	tr, finish := newTestTransport(t, keepConfig(k, 3, Keep{Count: 1}))
	filled(t, tr)
	tr.begin(0)
	tr.begin(1)
	if err := tr.awaitAttempts(); err != nil {
		t.Fatal(err)
	}
	oneByOne(t, tr, 2, 3)
	samples, _ := finish()
	second, third, want := samples[1].Source, samples[2].Source, tr.sources.At(1)
	if samples[0].Served() || second != want || third != want {
		t.Errorf("%v, then from %v and %v; want one lost, and the others from %v",
			samples[0].Class, second, third, want)
	}
}

// TestKeptRefused closes the listener. Each waiting attempt opens a connection and is refused at
// once, even if there are many.
func TestKeptRefused(t *testing.T) {
	const n = 3000
	k := keeping(t, func(c *net.TCPConn, sequence uint64) {
		if sequence > 0 {
			_ = c.Close()
		}
	})
	tr, finish := newTestTransport(t, keepConfig(k, n, Keep{Count: 1}))
	filled(t, tr)
	oneByOne(t, tr, 0, 1) // then the server has accepted the connection
	if err := k.at.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range uint64(n - 1) {
		tr.begin(i + 1)
	}
	if err := tr.awaitAttempts(); err != nil {
		t.Fatal(err)
	}
	samples, _ := finish()
	refused := 0
	for _, s := range samples {
		if s.Class == results.ClassRefused {
			refused++
		}
	}
	if refused != n-2 {
		t.Errorf("%d of %d refused, want all but the first two", refused, n)
	}
}

// TestKeptMaxRequests checks that a connection is closed after MaxRequests requests.
func TestKeptMaxRequests(t *testing.T) {
	for _, tt := range []struct {
		name string
		keep Keep
		want [][]uint64
	}{
		{"any number", Keep{MaxRequests: 2}, [][]uint64{{0, 1}, {2, 3}, {4}}},
		// While fewer than two connections are open, an attempt opens a new one.
		{"two", Keep{Count: 2, MaxRequests: 2}, [][]uint64{{0, 2}, {1, 4}, {3}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := keeping(t, nil)
			tr, finish := newTestTransport(t, keepConfig(k, 5, tt.keep))
			filled(t, tr)
			oneByOne(t, tr, 0, 5)
			finish()
			if diff := cmp.Diff(tt.want, k.served()); diff != "" {
				t.Errorf("requests by connection (-want +got):\n%s", diff)
			}
		})
	}
}

// TestKeptExpires checks that the alarm closes idle connections when they are too old or have been
// idle for too long, and not before. A connection in use is closed when its request is answered.
func TestKeptExpires(t *testing.T) {
	const limit = 30 * time.Millisecond
	for name, keep := range map[string]Keep{
		"lifetime": {Count: 3, Lifetime: limit}, "idle": {Count: 3, IdleTimeout: limit},
	} {
		t.Run(name, func(t *testing.T) {
			answer := make(chan struct{})
			k := keeping(t, func(*net.TCPConn, uint64) { <-answer })
			tr, finish := newTestTransport(t, keepConfig(k, 1, keep))
			filled(t, tr)
			opened := tr.pool.idle[0].opened
			tr.begin(0) // on the first connection
			for tr.pool.open > 1 {
				if _, err := tr.loop.turn(never); err != nil {
					t.Fatal(err)
				}
			}
			if age := tr.clock.Now().Sub(opened); age < limit {
				t.Errorf("closed %v after the first was opened, want %v", age, limit)
			}
			close(answer)
			if err := tr.awaitAttempts(); err != nil {
				t.Fatal(err)
			}
			want := map[string]int{"lifetime": 0, "idle": 1}[name] // the last is newly idle
			if tr.pool.open != want {
				t.Errorf("%d connections still open, want %d", tr.pool.open, want)
			}
			finish()
		})
	}
}

// TestKeptUnavailable checks that, if a kept connection cannot be opened, the error says which one.
func TestKeptUnavailable(t *testing.T) {
	k := keeping(t, nil)
	cfg := keepConfig(k, 1, Keep{Count: 2})
	if err := k.at.Close(); err != nil {
		t.Fatal(err)
	}
	refused, finish := newTestTransport(t, cfg)
	err := refused.fill(5 * time.Second)
	const which = "kept connection 1 of 2"
	if !errors.Is(err, unix.ECONNREFUSED) || !strings.Contains(err.Error(), which) {
		t.Errorf("without a listener: %v", err)
	}
	finish()
	cfg.Target = silent(t)
	unanswered, finish := newTestTransport(t, cfg)
	err = unanswered.fill(20 * time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), cfg.Target.String()+": no answer") {
		t.Errorf("without an answer: %v", err)
	}
	finish()
}

// TestKeptByName checks that the name is looked up for each kept connection.
func TestKeptByName(t *testing.T) {
	k := keeping(t, nil)
	name := dns.Name("web", "default")
	server, dnsAt := named(t, name, k.target().Addr())
	cfg := keepConfig(k, 1, Keep{Count: 3})
	cfg.Target = netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), k.target().Port())
	cfg.Lookup = &Lookup{Server: dnsAt, Name: name, Policy: vocabulary.DNSCacheNone, Clients: 2}
	tr, finish := newTestTransport(t, cfg)
	filled(t, tr)
	if q := server.Questions(); q != 3 {
		t.Errorf("%d questions, want 3", q)
	}
	oneByOne(t, tr, 0, 1)
	if samples, _ := finish(); !samples[0].Served() {
		t.Errorf("%v, want it served", samples[0].Class)
	}
}

// TestPoolWake checks that the alarm is set to the earliest instant that was requested.
func TestPoolWake(t *testing.T) {
	k := keeping(t, nil)
	tr, finish := newTestTransport(t, keepConfig(k, 1, Keep{}))
	for _, at := range []clock.Instant{5, never, 3, 4} {
		tr.pool.wakeBy(at)
	}
	if tr.pool.wake != 3 {
		t.Errorf("the alarm is set to %d, want 3", tr.pool.wake)
	}
	finish()
}
