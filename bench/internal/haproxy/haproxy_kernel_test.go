package haproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/testkit"
)

// newLab makes a lab as root. Tests of the whole program cover ordinary users.
func newLab(t *testing.T) *netlab.Lab {
	t.Helper()
	testkit.RequireRoot(t)
	l, err := netlab.New(t.Context(), netlab.Options{
		Init: func() *exec.Cmd { return exec.Command("/proc/self/exe", roleInit) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func envOf(l *netlab.Lab) Env {
	return Env{
		Start: func(c *exec.Cmd) error { return l.Start(l.Servers(), c, nil) },
		Do:    func(f func() error) error { return l.Do(l.Servers(), f) },
	}
}

// A backend answers every request with its name. When a request for /slow arrives, the backend
// sends its name to the channel slow, and answers when it is released.
type backend struct {
	Backend
	lab     *netlab.Lab
	server  *http.Server
	served  atomic.Int64
	slow    chan string // receives Name for each slow request
	release chan struct{}
}

func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.served.Add(1)
	if r.URL.Path == "/slow" {
		b.slow <- b.Name
		<-b.release
	}
	_, _ = io.WriteString(w, b.Name)
}

// serve listens at the backend's address, on a port that the first call chooses.
func (b *backend) serve(t *testing.T) {
	t.Helper()
	var l net.Listener
	err := b.lab.Do(b.lab.Servers(), func() (err error) {
		l, err = net.Listen("tcp", b.Address.String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	b.Address = netip.MustParseAddrPort(l.Addr().String())
	b.server = &http.Server{Handler: b}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = b.server.Serve(l)
	}()
	t.Cleanup(func() {
		b.stop()
		<-done
	})
}

func (b *backend) stop() { _ = b.server.Close() }

// A site is two backends behind a HAProxy, in a lab.
type site struct {
	*Process
	lab      *netlab.Lab
	backends map[string]*backend
	slow     chan string
	release  func() // answers the slow requests
	config   Config
}

// newSite starts a site in a new lab. It adds the addresses to the configuration.
func newSite(t *testing.T, family vocabulary.Family, c Config) *site {
	t.Helper()
	requireHAProxy(t)
	s := &site{lab: newLab(t), backends: map[string]*backend{}, slow: make(chan string, 1)}
	release := make(chan struct{})
	s.release = sync.OnceFunc(func() { close(release) })
	address := netlab.AddressesOf(vocabulary.NetworkLoopback, family).Servers
	s.config = c
	s.config.Listen, s.config.Threads = netip.AddrPortFrom(address, 8080), 1
	for _, name := range []string{"one", "two"} {
		b := &backend{
			Backend: Backend{Name: name, Address: netip.AddrPortFrom(address, 0)},
			lab:     s.lab, slow: s.slow, release: release,
		}
		b.serve(t)
		s.backends[name] = b
		s.config.Backends = append(s.config.Backends, b.Backend)
	}
	t.Cleanup(s.release)
	p, err := Start(t.Context(), s.config, envOf(s.lab))
	if err != nil {
		t.Fatal(err)
	}
	s.Process = p
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// client returns a client that opens its connections in the lab.
func (s *site) client(t *testing.T, connections string) *http.Client {
	var dialer net.Dialer
	transport := &http.Transport{
		DisableKeepAlives: connections == "close",
		DialContext: func(ctx context.Context, network, address string) (c net.Conn, err error) {
			err = s.lab.Do(s.lab.Clients(), func() (err error) {
				c, err = dialer.DialContext(ctx, network, address)
				return err
			})
			return c, err
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

func (s *site) get(c *http.Client, path string) (status int, body string, err error) {
	r, err := c.Get("http://" + s.config.Listen.String() + path)
	if err != nil {
		return 0, "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	return r.StatusCode, string(b), err
}

// answers sends requests and counts the answers by backend.
func (s *site) answers(t *testing.T, c *http.Client, requests int) map[string]int {
	t.Helper()
	got := map[string]int{}
	for range requests {
		status, body, err := s.get(c, "/")
		if err != nil || status != http.StatusOK {
			t.Fatalf("status %d, %q, %v", status, body, err)
		}
		got[body]++
	}
	return got
}

func (s *site) stats(t *testing.T) map[string]ServerStats {
	t.Helper()
	stats, err := s.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]ServerStats{}
	for _, b := range stats {
		got[b.Name] = b
	}
	return got
}

// eventually waits until wanted returns true for a backend's statistics.
func (s *site) eventually(t *testing.T, name, what string, wanted func(ServerStats) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := s.until(ctx, name, wanted); err != nil {
		t.Fatalf("%s never %s: %v", name, what, err)
	}
}

func TestKernelReachesAllBackends(t *testing.T) {
	for _, family := range []vocabulary.Family{vocabulary.IPv4, vocabulary.IPv6} {
		for _, connections := range []string{"keep-alive", "close"} {
			t.Run(string(family)+" "+connections, func(t *testing.T) {
				s := newSite(t, family, Config{Checks: vocabulary.ChecksDefault})
				want := map[string]int{"one": 10, "two": 10}
				if diff := cmp.Diff(want, s.answers(t, s.client(t, connections), 20)); diff != "" {
					t.Errorf("answers by backend (-want +got):\n%s", diff)
				}
				for name, b := range s.stats(t) {
					if !b.Up() || b.Sessions != 10 || b.CurrentSessions != 0 {
						t.Errorf("%s: %+v; want up, 10 sessions, 0 current", name, b)
					}
				}
			})
		}
	}
}

func TestKernelDrainWaitsForRequests(t *testing.T) {
	for _, checks := range []vocabulary.HealthChecks{
		vocabulary.ChecksDefault, vocabulary.ChecksFast, vocabulary.ChecksOff,
	} {
		t.Run(string(checks), func(t *testing.T) {
			s := newSite(t, vocabulary.IPv4, Config{Checks: checks})
			status := s.stats(t)["one"].Status
			if (status == "no check") != (checks == vocabulary.ChecksOff) {
				t.Errorf("status %q with checks %s", status, checks)
			}
			testDrain(t, s)
		})
	}
}

func testDrain(t *testing.T, s *site) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c := s.client(t, "keep-alive")
	s.answers(t, c, 4)
	slow := make(chan string, 1)
	go func() {
		_, body, err := s.get(c, "/slow")
		slow <- fmt.Sprint(body, err)
	}()
	name := <-s.slow
	other := map[string]string{"one": "two", "two": "one"}[name]

	short, cancelShort := context.WithTimeout(ctx, 350*time.Millisecond)
	defer cancelShort()
	err := s.Drain(short, name)
	if !errors.Is(err, context.DeadlineExceeded) ||
		!strings.Contains(err.Error(), "DRAIN with 1 sessions") {
		t.Errorf("with a request in progress: %v; want the deadline and the state", err)
	}
	drained := make(chan error, 1)
	go func() { drained <- s.Drain(ctx, name) }()
	if diff := cmp.Diff(map[string]int{other: 20}, s.answers(t, c, 20)); diff != "" {
		t.Errorf("while %s is draining (-want +got):\n%s", name, diff)
	}
	select {
	case err := <-drained:
		t.Fatalf("drained with a request in progress: %v", err)
	default:
	}
	s.release()
	if got, want := <-slow, name+"<nil>"; got != want {
		t.Errorf("the slow request: %s, want %s", got, want)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(map[string]int{other: 20}, s.answers(t, c, 20)); diff != "" {
		t.Errorf("after %s was drained (-want +got):\n%s", name, diff)
	}
	if err := s.Ready(ctx, name); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(map[string]int{name: 10, other: 10}, s.answers(t, c, 20)); diff != "" {
		t.Errorf("after %s was ready again (-want +got):\n%s", name, diff)
	}
	err = s.Drain(ctx, "three")
	if err == nil || !strings.Contains(err.Error(), "No such server") {
		t.Errorf("an unknown backend: error %v, want one with \"No such server\"", err)
	}
}

// TestKernelChecksNotice checks three things: a backend goes down when it stops, and comes back up;
// the client gets a 503 if no backend is up; and Ready waits for a backend that went down while it
// was drained.
func TestKernelChecksNotice(t *testing.T) {
	s := newSite(t, vocabulary.IPv4, Config{Checks: vocabulary.ChecksFast})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c := s.client(t, "close")
	one, two := s.backends["one"], s.backends["two"]
	down := func(b ServerStats) bool { return !b.Up() }
	for name := range s.backends {
		s.eventually(t, name, "checked", func(b ServerStats) bool { return b.Status == "UP" })
	}
	one.stop()
	s.eventually(t, "one", "down", down)
	if diff := cmp.Diff(map[string]int{"two": 6}, s.answers(t, c, 6)); diff != "" {
		t.Errorf("answers while one is down (-want +got):\n%s", diff)
	}
	two.stop()
	s.eventually(t, "two", "down", down)
	if status, body, err := s.get(c, "/"); status != http.StatusServiceUnavailable || err != nil {
		t.Errorf("all down: status %d, %q, %v; want 503", status, body, err)
	}
	if b := s.stats(t)["one"]; b.Downs != 1 || b.FailedChecks != 2 {
		t.Errorf("one: %+v; want 2 failed checks and 1 change to down", b)
	}
	one.serve(t)
	s.eventually(t, "one", "up", ServerStats.Up)
	if diff := cmp.Diff(map[string]int{"one": 6}, s.answers(t, c, 6)); diff != "" {
		t.Errorf("answers after one is back (-want +got):\n%s", diff)
	}

	if err := s.Drain(ctx, "two"); err != nil {
		t.Fatal(err)
	}
	short, cancelShort := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancelShort()
	if err := s.Ready(short, "two"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Ready of a backend that is down: %v; want the deadline", err)
	}
	two.serve(t)
	if err := s.Ready(ctx, "two"); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(map[string]int{"one": 3, "two": 3}, s.answers(t, c, 6)); diff != "" {
		t.Errorf("answers after both are back (-want +got):\n%s", diff)
	}
}

// TestKernelRedispatch checks what happens to a connection that a backend refuses. With redispatch
// it goes to the other backend at once. Otherwise the client gets a 503 after three retries. There
// are no checks, so HAProxy does not know that the backend is down.
func TestKernelRedispatch(t *testing.T) {
	for _, redispatch := range []bool{false, true} {
		t.Run(fmt.Sprint(redispatch), func(t *testing.T) {
			s := newSite(t, vocabulary.IPv4,
				Config{Checks: vocabulary.ChecksOff, Redispatch: redispatch})
			c := s.client(t, "close")
			s.backends["one"].stop()
			var slowest time.Duration
			statuses := map[int]int{}
			for range 2 { // backends alternate, so one request goes to the stopped backend first
				began := time.Now()
				status, _, err := s.get(c, "/")
				if err != nil {
					t.Fatal(err)
				}
				statuses[status]++
				slowest = max(slowest, time.Since(began))
			}
			one := s.stats(t)["one"]
			ok, unavailable := statuses[http.StatusOK], statuses[http.StatusServiceUnavailable]
			if !redispatch {
				if ok != 1 || unavailable != 1 || slowest < 3*time.Second ||
					one.Redispatches != 0 || one.Retries != 3 {
					t.Errorf("statuses %v, the slowest after %v; %+v; "+
						"want a 503 after three retries, a second apart", statuses, slowest, one)
				}
				return
			}
			// With a retry, the answer would have taken a second longer.
			if ok != 2 || slowest > 900*time.Millisecond ||
				one.Redispatches == 0 || one.Retries != 0 {
				t.Errorf("statuses %v, the slowest after %v; %+v; want 200 at once, from the other",
					statuses, slowest, one)
			}
		})
	}
}

func TestKernelStartFails(t *testing.T) {
	requireHAProxy(t)
	l := newLab(t)
	listen := netip.MustParseAddrPort("127.0.0.1:8080")
	for _, test := range []struct {
		name   string
		config Config
		want   string
	}{
		{"an unassigned address", Config{Listen: netip.MustParseAddrPort("192.0.2.1:80")}, "cannot bind socket"},
		{"a bad name", Config{Listen: listen, Backends: []Backend{{Name: "a/b", Address: listen}}}, "character '/' is not permitted in server name"},
		{"a bad check", Config{Listen: listen, Checks: "often"}, `checks "often": want default, fast or off`},
	} {
		t.Run(test.name, func(t *testing.T) {
			begin := time.Now()
			p, err := Start(t.Context(), test.config, envOf(l))
			if err == nil {
				t.Fatalf("no error; close: %v", p.Close())
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q in it", err, test.want)
			}
			if d := time.Since(begin); d >= answerLimit {
				t.Errorf("Start failed after %v, want it within %v", d, answerLimit)
			}
		})
	}
}

// TestKernelStartIsBounded checks that Start returns when its context ends, even if HAProxy never
// answers.
func TestKernelStartIsBounded(t *testing.T) {
	requireHAProxy(t)
	l := newLab(t)
	env := envOf(l)
	env.Start = func(c *exec.Cmd) error {
		c.Path, c.Args = "/bin/sleep", []string{"sleep", "60"}
		return l.Start(l.Servers(), c, nil)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begin := time.Now()
	config := Config{Listen: netip.MustParseAddrPort("127.0.0.1:8080")}
	if _, err := Start(ctx, config, env); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want %v", err, context.DeadlineExceeded)
	}
	if d := time.Since(begin); d >= answerLimit {
		t.Errorf("Start returned after %v, want it within %v", d, answerLimit)
	}
}

func TestKernelDeath(t *testing.T) {
	s := newSite(t, vocabulary.IPv4, Config{Checks: vocabulary.ChecksOff})
	if err := s.Err(); err != nil {
		t.Errorf("while it runs: %v", err)
	}
	if err := unix.Kill(s.PID(), unix.SIGSEGV); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.Exited():
	case <-time.After(5 * time.Second):
		t.Fatal("Exited is open 5 s after the death")
	}
	if err := s.Err(); err == nil || !strings.Contains(err.Error(), "segmentation fault") {
		t.Errorf("error %v, want the signal in it", err)
	}
	_, err := s.Stats(t.Context())
	if !errors.Is(err, unix.ECONNREFUSED) || !strings.Contains(err.Error(), "segmentation fault") {
		t.Errorf("Stats after the death: %v; want ECONNREFUSED and the signal", err)
	}
	if s.CPU() <= 0 {
		t.Error("CPU time 0, want more")
	}
}

func TestKernelCloseLeavesNothing(t *testing.T) {
	s := newSite(t, vocabulary.IPv4, Config{Checks: vocabulary.ChecksFast})
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := unix.Kill(s.PID(), 0); !errors.Is(err, unix.ESRCH) {
			t.Errorf("process %d: %v, want ESRCH", s.PID(), err)
		}
		if err := s.Err(); err != nil {
			t.Errorf("after Close: %v", err)
		}
	}
}
