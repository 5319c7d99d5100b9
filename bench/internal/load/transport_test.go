package load

import (
	"bufio"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"reuseport-bench/results"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/socket"
	"reuseport-bench/servers/wire"
)

// A script has one entry for each connection that the server accepts, in order: what the server
// does with it. On connections after the last entry the server answers every request.
type script []func(*net.TCPConn)

// resets, an entry of a script, reads a request and resets the connection.
func resets(c *net.TCPConn) {
	_, _ = c.Read(make([]byte, wire.MaxHead))
	_ = c.SetLinger(0)
	_ = c.Close()
}

// ends, an entry of a script, reads a request and closes the connection.
func ends(c *net.TCPConn) {
	_, _ = c.Read(make([]byte, wire.MaxHead))
	_ = c.Close()
}

// begins, an entry of a script, reads a request, sends part of a response and closes the
// connection.
func begins(c *net.TCPConn) {
	_, _ = c.Read(make([]byte, wire.MaxHead))
	_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\n"))
	_ = c.Close()
}

// scripted starts a server on a loopback address. seen and from close its listener. seen returns
// the requests that the server answered, and from returns the source of each connection.
func scripted(t *testing.T, s script) (
	at netip.AddrPort, seen func() []wire.Request, from func() []netip.AddrPort,
) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var requests []wire.Request
	var peers []netip.AddrPort
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			peers = append(peers, netip.MustParseAddrPort(c.RemoteAddr().String()))
			if n < len(s) {
				s[n](c.(*net.TCPConn))
				continue
			}
			buf := make([]byte, wire.MaxHead)
			n, _ := c.Read(buf)
			r, _, _ := wire.ParseRequest(buf[:n])
			requests = append(requests, r)
			_, _ = c.Write(wire.AppendResponse(nil, 3, 4, wire.Close))
			_ = c.Close()
		}
	}()
	end := func() {
		_ = l.Close()
		<-done
	}
	t.Cleanup(end)
	at = netip.MustParseAddrPort(l.Addr().String())
	return at, func() []wire.Request { end(); return requests },
		func() []netip.AddrPort { end(); return peers }
}

// newTestTransport makes a transport with sources that are not in use: see unusedSources. finish
// closes the transport and returns all samples and the end line.
func newTestTransport(t *testing.T, cfg Config) (
	tr *transport, finish func() ([]results.Sample, end),
) {
	t.Helper()
	clk, err := clock.New()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	cfg.Sources = unusedSources()
	if tr, err = newTransport(cfg, clk, w); err != nil {
		t.Fatal(err)
	}
	tr.begins = clk.Now()
	p := &Process{cfg: cfg, samples: bufio.NewReader(r)}
	var samples []results.Sample
	read := make(chan error, 1)
	go func() {
		read <- p.Samples(func(s *results.Sample) {
			kept := *s
			kept.Failed = slices.Clone(s.Failed)
			samples = append(samples, kept)
		})
	}()
	return tr, func() ([]results.Sample, end) {
		t.Helper()
		if err := errors.Join(tr.samples.write(), tr.close(), <-read); err != nil {
			t.Fatal(err)
		}
		return samples, p.end
	}
}

// firstRange and takenRanges number the ranges of unusedSources.
var (
	firstRange  = rand.Uint32()
	takenRanges atomic.Uint32
)

// unusedSources returns a range of source addresses that no earlier test of this process has used
// and, very likely, no TIME_WAIT socket of an earlier run.
func unusedSources() netip.Prefix {
	n := (firstRange + takenRanges.Add(1)) % (1 << 14)
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{127, byte(64 + n>>8), byte(n), 0}), 24)
}

// attempts makes the first n of a schedule's two attempts, one after the other, and returns their
// samples.
func attempts(t *testing.T, n uint64, cfg Config) ([]results.Sample, *transport) {
	t.Helper()
	cfg.Processes = 1
	cfg.Shape = Shape{Pace: vocabulary.PaceConstant, Rate: 2, Duration: time.Second}
	tr, finish := newTestTransport(t, cfg)
	for i := range n {
		tr.begin(i)
		if err := tr.awaitAttempts(); err != nil {
			t.Fatal(err)
		}
	}
	samples, _ := finish()
	if uint64(len(samples)) != n {
		t.Fatalf("%d samples, want %d", len(samples), n)
	}
	return samples, tr
}

func oneAttempt(t *testing.T, cfg Config) (results.Sample, *transport) {
	t.Helper()
	samples, tr := attempts(t, 1, cfg)
	return samples[0], tr
}

// safe lists the failures after which a retry is harmless.
var safe = []vocabulary.RetryCause{vocabulary.RetryRefused, vocabulary.RetryUnreachable,
	vocabulary.RetryConnectTimeout, vocabulary.RetryUnsent, vocabulary.RetryUnanswered}

// TestTries makes attempts whose first connections fail, and checks which attempts are retried, how
// the sample describes the tries, and which requests the server answered.
func TestTries(t *testing.T) {
	unanswered := results.FailedTry{Failure: results.FailureUnanswered, Opened: true}
	for _, tt := range []struct {
		name   string
		script script
		body   int
		on     []vocabulary.RetryCause
		max    int
		class  results.Class
		failed []results.FailedTry
		gaveUp results.GaveUp
		tries  []uint8 // try numbers of the answered requests
	}{
		{"nothing fails", nil, 0, safe, 3, results.ClassNone, nil, results.GaveUpNot, []uint8{0}},
		{"no policy", script{resets}, 0, nil, 0, results.ClassReset, nil, results.GaveUpNot, nil},
		{"GET, reset once", script{resets}, 0, safe, 3, results.ClassNone, []results.FailedTry{unanswered}, results.GaveUpNot, []uint8{1}},
		{"GET, reset and closed", script{resets, ends}, 0, safe, 3, results.ClassNone, []results.FailedTry{unanswered, unanswered}, results.GaveUpNot, []uint8{2}},
		{"GET, reset too often", script{resets, resets, resets}, 0, safe, 2, results.ClassReset, []results.FailedTry{unanswered, unanswered}, results.GaveUpExhausted, nil},
		{"GET, a response has begun", script{begins}, 0, safe, 3, results.ClassEOF, nil, results.GaveUpNot, nil},
		{"GET, failure not in the policy", script{resets}, 0,
			[]vocabulary.RetryCause{vocabulary.RetryRefused}, 3,
			results.ClassReset, nil, results.GaveUpNot, nil},
		{"POST, reset once", script{resets}, 10, safe, 3, results.ClassReset, nil, results.GaveUpNot, nil},
		{"POST, non-idempotent allowed", script{resets}, 10,
			append([]vocabulary.RetryCause{vocabulary.RetryNonIdempotent}, safe...), 3,
			results.ClassNone, []results.FailedTry{unanswered}, results.GaveUpNot, []uint8{1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			at, seen, from := scripted(t, tt.script)
			retry := Retry{Max: tt.max, On: tt.on, ConnectTimeout: time.Second}
			s, tr := oneAttempt(t, Config{Target: at, Timeout: 5 * time.Second,
				Connections: vocabulary.ConnectionsNew, Body: tt.body, Retry: retry})
			if s.Class != tt.class || s.GaveUp != tt.gaveUp {
				t.Errorf("class %v, gave up %d; want %v, %d",
					s.Class, s.GaveUp, tt.class, tt.gaveUp)
			}
			if diff := cmp.Diff(tt.failed, s.Failed); diff != "" {
				t.Errorf("failed tries (-want +got):\n%s", diff)
			}
			var tries []uint8
			for _, r := range seen() {
				tries = append(tries, r.Attempt.Try)
			}
			if diff := cmp.Diff(tt.tries, tries); diff != "" {
				t.Errorf("answered tries (-want +got):\n%s", diff)
			}
			// Each connection has its own source. The sample has the source of the last connection.
			for try, peer := range from() {
				if want := tr.sources.At(uint64(2 * try)); peer != want {
					t.Errorf("try %d came from %v, want %v", try, peer, want)
				}
			}
			if want := tr.sources.At(uint64(2 * len(s.Failed))); s.Source != want {
				t.Errorf("the sample's source is %v, want %v", s.Source, want)
			}
			if again := len(s.Failed) > 0; again != (s.LastSent > s.Sent) || s.Done < s.LastSent {
				t.Errorf("sent %d, last %d, done %d", s.Sent, s.LastSent, s.Done)
			}
		})
	}
}

// TestOwnFailures checks that a failed system call of the load gives a class of its own and an
// errno, and that a deliberate abort gives another class.
func TestOwnFailures(t *testing.T) {
	at, _, _ := scripted(t, nil)
	cfg := Config{Target: at, Timeout: 5 * time.Second, Connections: vocabulary.ConnectionsNew}
	t.Run("aborted", func(t *testing.T) {
		cfg := cfg
		cfg.Aborts = 1
		s, _ := oneAttempt(t, cfg)
		if s.Class != results.ClassAborted || s.Phase != results.PhaseWait || s.Errno != 0 {
			t.Errorf("phase %v, class %v, errno %d; want an abort after the request was sent",
				s.Phase, s.Class, s.Errno)
		}
	})
	t.Run("impossible", func(t *testing.T) {
		cfg := cfg
		cfg.Target = netip.MustParseAddrPort("[::1]:1") // the source address is IPv4
		cfg.Retry = Retry{Max: 1, On: safe, ConnectTimeout: time.Second}
		s, _ := oneAttempt(t, cfg)
		errno := unix.Errno(s.Errno)
		if s.Class != results.ClassLocal || s.Phase != results.PhaseConnect ||
			errno != unix.EAFNOSUPPORT || len(s.Failed) != 0 {
			t.Errorf("phase %v, class %v, errno %v, %d failed tries; want %v and none",
				s.Phase, s.Class, errno, len(s.Failed), unix.EAFNOSUPPORT)
		}
	})
}

// TestTriesRefused checks retries when there is no listener: every try is refused, and the waits
// between the tries count as part of the attempt.
func TestTriesRefused(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort(l.Addr().String())
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	refused := results.FailedTry{Failure: results.FailureRefused, Opened: true}
	retry := Retry{Max: 2, Backoff: 20 * time.Millisecond, On: safe, ConnectTimeout: time.Second}
	for _, tt := range []struct {
		timeout time.Duration
		failed  []results.FailedTry
		gaveUp  results.GaveUp
		least   time.Duration
	}{
		{10 * time.Second, []results.FailedTry{refused, refused}, results.GaveUpExhausted, 60 * time.Millisecond},
		{10 * time.Millisecond, nil, results.GaveUpNoTime, 0},
	} {
		s, _ := oneAttempt(t, Config{Target: at, Timeout: tt.timeout,
			Connections: vocabulary.ConnectionsNew, Body: 10, Retry: retry})
		diff := cmp.Diff(tt.failed, s.Failed)
		if diff != "" || s.GaveUp != tt.gaveUp || s.Class != results.ClassRefused {
			t.Errorf("timeout %v: class %v, gave up %d (want %d), failed tries (-want +got):\n%s",
				tt.timeout, s.Class, s.GaveUp, tt.gaveUp, diff)
		}
		if took := time.Duration(s.Done - s.Sent); took < tt.least {
			t.Errorf("timeout %v: it took %v, want at least %v", tt.timeout, took, tt.least)
		}
	}
}

// TestTriesConnectTimeout checks retries when a full accept queue leaves the SYN unanswered: each
// try has its own timeout.
func TestTriesConnectTimeout(t *testing.T) {
	at := silent(t)
	limit := 30 * time.Millisecond
	s, _ := oneAttempt(t, Config{Target: at, Timeout: 10 * time.Second,
		Connections: vocabulary.ConnectionsNew,
		Retry:       Retry{Max: 1, On: safe, ConnectTimeout: limit}})
	want := []results.FailedTry{{Failure: results.FailureConnectTimeout, Opened: true}}
	diff := cmp.Diff(want, s.Failed)
	if diff != "" || s.Class != results.ClassTimeout || s.Phase != results.PhaseConnect ||
		s.GaveUp != results.GaveUpExhausted {
		t.Errorf("phase %v, class %v, gave up %d, failed tries (-want +got):\n%s",
			s.Phase, s.Class, s.GaveUp, diff)
	}
	if took := time.Duration(s.Done - s.Sent); took < 2*limit {
		t.Errorf("two tries took %v, want at least %v", took, 2*limit)
	}
}

// TestTriesTimeout checks that the attempt's timeout covers all its tries. Without that timeout,
// four handshakes would take twice as long.
func TestTriesTimeout(t *testing.T) {
	retry := Retry{Max: 3, On: safe, ConnectTimeout: 200 * time.Millisecond}
	s, _ := oneAttempt(t, Config{Target: silent(t), Timeout: 350 * time.Millisecond,
		Connections: vocabulary.ConnectionsNew, Retry: retry})
	if s.Class != results.ClassTimeout || s.GaveUp != results.GaveUpNoTime || len(s.Failed) > 1 {
		t.Errorf("phase %v, class %v, gave up %d, failed tries %v; "+
			"want the timeout no later than in the second try",
			s.Phase, s.Class, s.GaveUp, s.Failed)
	}
}

// TestTriesReused checks that a request that is reset on a kept connection is retried on a new one.
func TestTriesReused(t *testing.T) {
	at, seen, _ := scripted(t, script{func(c *net.TCPConn) {
		_, _ = c.Read(make([]byte, wire.MaxHead))
		_, _ = c.Write(wire.AppendResponse(nil, 3, 4, wire.KeepAlive))
		resets(c)
	}})
	cfg := Config{Target: at, Timeout: 5 * time.Second, Connections: vocabulary.ConnectionsReused,
		Retry: Retry{Max: 1, On: safe, ConnectTimeout: time.Second}}
	samples, tr := attempts(t, 2, cfg)
	if first := samples[0]; !first.Served() {
		t.Fatalf("first: %v", first.Class)
	}
	second := samples[1]
	want := []results.FailedTry{{Failure: results.FailureUnanswered}}
	diff := cmp.Diff(want, second.Failed)
	if diff != "" || !second.Served() || second.Source != tr.sources.At(3) {
		t.Errorf("second: %v from %v, failed tries (-want +got):\n%s",
			second.Class, second.Source, diff)
	}
	retried := wire.Attempt{Sequence: 1, Try: 1}
	if requests := seen(); len(requests) != 1 || requests[0].Attempt != retried {
		t.Errorf("answered requests: %+v, want one, %+v", requests, retried)
	}
}

// silent returns the address of a listener whose accept queue is full, so the kernel ignores every
// SYN to it (tcp_conn_request in net/ipv4/tcp_input.c).
func silent(t *testing.T) netip.AddrPort {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	local := socket.Sockaddr(netip.MustParseAddrPort("127.0.0.1:0"))
	if err := errors.Join(unix.Bind(fd, local), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	at := socket.AddrPort(name)
	// A backlog of 0 allows one connection in the queue (sk_acceptq_is_full).
	c, err := net.Dial("tcp4", at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return at
}
