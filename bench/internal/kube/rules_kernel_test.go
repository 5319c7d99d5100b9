package kube

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/testkit"
)

// A serviceLab is a lab whose clients have a route to the service addresses.
type serviceLab struct {
	lab  *netlab.Lab
	pods []Endpoint
}

// newServiceLab makes a lab with three "pods": listeners on the servers' host that send their name
// and then echo lines. Rules may be made on the clients' host or on the servers' host, where
// connections pass the PREROUTING hook.
func newServiceLab(t testing.TB) *serviceLab {
	t.Helper()
	if _, err := exec.LookPath("nft"); err != nil {
		testkit.Skip(t, "%v", err)
	}
	if !netlab.AsRoot() && !netlab.Entered() {
		testkit.Skip(t, "needs root or a user namespace")
	}
	lab, err := netlab.New(t.Context(), netlab.Options{
		Network: vocabulary.NetworkVeth,
		Init:    func() *exec.Cmd { return exec.Command("/proc/self/exe", roleInit) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &serviceLab{lab: lab}
	servers := netlab.AddressesOf(vocabulary.NetworkVeth, vocabulary.IPv4).Servers
	err = lab.Do(lab.Clients(), func() error {
		return netlink.RouteAdd(&netlink.Route{
			Dst: &net.IPNet{IP: net.IPv4(198, 19, 0, 0), Mask: net.CIDRMask(16, 32)},
			Gw:  servers.AsSlice(),
		})
	})
	if err != nil {
		t.Fatalf("route to the services: %v", err)
	}
	for _, name := range []string{"a", "b", "c"} {
		r.pods = append(r.pods, r.newPod(t, name, servers))
	}
	return r
}

func (r *serviceLab) newPod(t testing.TB, name string, addr netip.Addr) Endpoint {
	t.Helper()
	var l net.Listener
	err := r.lab.Do(r.lab.Servers(), func() (err error) {
		l, err = net.Listen("tcp", netip.AddrPortFrom(addr, 0).String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { // returns when the client closes the connection
				defer c.Close()
				if _, err := fmt.Fprintln(c, name); err == nil {
					_, _ = io.Copy(c, c)
				}
			}()
		}
	}()
	address := netip.MustParseAddrPort(l.Addr().String())
	return Endpoint{Pod: name, Node: "servers", Address: address, Serving: true}
}

func (r *serviceLab) newRules(t testing.TB, host *netlab.Host) *Rules {
	t.Helper()
	rules, err := NewRules(t.Context(), r.lab, host, newClock(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 2 {
			if err := rules.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return rules
}

// A client is one connection to the service.
type client struct {
	net.Conn
	lines *bufio.Reader
	pod   string // the pod that the connection reached
}

func (r *serviceLab) dial() (*client, error) {
	var c net.Conn
	err := r.lab.Do(r.lab.Clients(), func() (err error) {
		c, err = net.DialTimeout("tcp", serviceAddress.String(), 2*time.Second)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return nil, err
	}
	lines := bufio.NewReader(c)
	name, err := lines.ReadString('\n')
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return &client{c, lines, name[:len(name)-1]}, nil
}

// reached opens n connections and returns the number that reached each pod.
func (r *serviceLab) reached(t testing.TB, n int) map[string]int {
	t.Helper()
	got := map[string]int{}
	for range n {
		c, err := r.dial()
		if err != nil {
			t.Fatal(err)
		}
		got[c.pod]++
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	return got
}

func (r *serviceLab) sync(t testing.TB, rules *Rules, endpoints ...Endpoint) clock.Instant {
	t.Helper()
	at, err := rules.Sync(t.Context(), web(endpoints...))
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// A dialed is a connection that watch opened: when dialling began, and the pod that it reached.
type dialed struct {
	began clock.Instant
	pod   string
}

// watch opens connections one after the other until stop is called. stop returns them.
func (r *serviceLab) watch(t testing.TB, clk *clock.Clock) (stop func() []dialed) {
	end, result := make(chan struct{}), make(chan []dialed, 1)
	go func() {
		var all []dialed
		defer func() { result <- all }()
		for {
			select {
			case <-end:
				return
			default:
			}
			began := clk.Now()
			c, err := r.dial()
			if err != nil {
				t.Error(err)
				return
			}
			all = append(all, dialed{began, c.pod})
			_ = c.Close()
		}
	}()
	return func() []dialed {
		close(end)
		return <-result
	}
}

// TestKernelRulesSpread checks that connections reach all endpoints about evenly, from the node
// itself (OUTPUT) and through it (PREROUTING).
func TestKernelRulesSpread(t *testing.T) {
	for _, hook := range []string{"output", "prerouting"} {
		t.Run(hook, func(t *testing.T) {
			r := newServiceLab(t)
			host := r.lab.Clients()
			if hook == "prerouting" {
				host = r.lab.Servers()
			}
			rules := r.newRules(t, host)
			r.sync(t, rules, r.pods...)
			const n = 600
			got := r.reached(t, n)
			var chi2 float64
			for _, p := range r.pods {
				off := float64(got[p.Pod]) - n/3
				chi2 += off * off / (n / 3)
			}
			// With 2 degrees of freedom the probability of more than x is exp(−x/2): here 2·10⁻⁶.
			// With weights 2:1:1, χ² would be about 75.
			if chi2 > 26 || len(got) != 3 {
				t.Errorf("χ² = %.1f for %v, want at most 26, and 3 pods", chi2, got)
			}
		})
	}
}

// TestKernelRulesRemoval checks that no new connection reaches a removed endpoint after the commit,
// and that existing connections continue.
func TestKernelRulesRemoval(t *testing.T) {
	r := newServiceLab(t)
	rules := r.newRules(t, r.lab.Clients())
	r.sync(t, rules, r.pods...)
	old := map[string]*client{}
	for i := 0; len(old) < 3 && i < 200; i++ {
		c, err := r.dial()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		old[c.pod] = c
	}
	if len(old) != 3 {
		t.Fatalf("200 connections reached %d of 3 endpoints", len(old))
	}
	before := rules.clock.Now()
	watch := r.watch(t, rules.clock)
	at := r.sync(t, rules, r.pods[1:]...)
	if after := rules.clock.Now(); at < before || at > after {
		t.Errorf("committed at %d, want between %d and %d", at, before, after)
	}
	for _, d := range watch() {
		if d.pod == "a" && d.began > at {
			t.Errorf("a connection begun %v after the commit reached a", d.began.Sub(at))
		}
	}
	if got := r.reached(t, 60); got["a"] != 0 || got["b"] == 0 || got["c"] == 0 {
		t.Errorf("after the removal of a: %v, want b and c", got)
	}
	for name, c := range old {
		if _, err := fmt.Fprintln(c, "still there"); err != nil {
			t.Fatal(err)
		}
		if line, err := c.lines.ReadString('\n'); err != nil || line != "still there\n" {
			t.Errorf("the old connection to %s: %q, %v; want an echo", name, line, err)
		}
	}
	// Use pod a again; its emptied chain still exists.
	r.sync(t, rules, r.pods...)
	if got := r.reached(t, 60); len(got) != 3 {
		t.Errorf("after a was added again: %v, want all three", got)
	}
}

// TestKernelRulesWithoutEndpoints checks that connections to a service without usable endpoints are
// refused, and that a service with only terminating endpoints uses those.
func TestKernelRulesWithoutEndpoints(t *testing.T) {
	r := newServiceLab(t)
	rules := r.newRules(t, r.lab.Clients())
	leaving := slices.Clone(r.pods)
	for i := range leaving {
		leaving[i].Terminating = true
	}
	for _, step := range []struct {
		name      string
		endpoints []Endpoint
		want      string // the only pod that connections reach; "": refused
	}{
		{"none", nil, ""},
		{"terminating beside ready", []Endpoint{leaving[0], r.pods[1]}, "b"},
		{"terminating alone", leaving[:1], "a"},
		{"terminating and unready",
			[]Endpoint{{Pod: "a", Address: r.pods[0].Address, Terminating: true}}, ""},
		{"ready again", r.pods[2:], "c"},
		{"none again", nil, ""},
	} {
		r.sync(t, rules, step.endpoints...)
		if step.want == "" {
			if c, err := r.dial(); !errors.Is(err, unix.ECONNREFUSED) {
				t.Errorf("%s: %v, %v; want ECONNREFUSED", step.name, c, err)
			}
			continue
		}
		if got := r.reached(t, 20); len(got) != 1 || got[step.want] == 0 {
			t.Errorf("%s: %v, want only %s", step.name, got, step.want)
		}
	}
}

// TestKernelRulesAgain checks that a sync without changes commits nothing, that a sync repairs the
// table after an interrupted sync, that emptied chains are deleted after staleFor, and that new
// Rules replace the table of old ones.
func TestKernelRulesAgain(t *testing.T) {
	r := newServiceLab(t)
	rules := r.newRules(t, r.lab.Clients())
	first := r.sync(t, rules, r.pods...)
	if again := r.sync(t, rules, r.pods...); again != first {
		t.Errorf("the same endpoints again: in force since %d, want %d", again, first)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := rules.Sync(canceled, web(r.pods[0])); !errors.Is(err, context.Canceled) {
		t.Errorf("a sync with an ended context: %v, want %v", err, context.Canceled)
	}
	r.sync(t, rules, r.pods[0])
	r.sync(t, rules, r.pods[1])
	for name := range rules.stale {
		rules.stale[name] = 0 // as if it had been emptied long ago
	}
	if len(rules.stale) != 1 {
		t.Errorf("emptied chains: %v, want one", rules.stale)
	}
	r.sync(t, rules, r.pods[2])
	if len(rules.stale) != 1 {
		t.Errorf("emptied chains after a second: %v, want only the newest", rules.stale)
	}
	for i := range 5 { // each chain is used, emptied and used again
		r.sync(t, rules, r.pods[i%2])
		for name := range rules.stale {
			rules.stale[name] = 0
		}
	}
	r.sync(t, rules, r.pods[2])
	if got := r.reached(t, 10); got["c"] != 10 {
		t.Errorf("reached %v, want only c", got)
	}
	r.sync(t, r.newRules(t, r.lab.Clients()), r.pods[0])
	if got := r.reached(t, 10); got["a"] != 10 {
		t.Errorf("with new rules: reached %v, want only a", got)
	}
}

// TestKernelRulesUnready checks that a sync writes rules, and so takes its time, if the only change
// is an endpoint that is not ready, as kube-proxy's sync does; and that the rules stay the same.
func TestKernelRulesUnready(t *testing.T) {
	r := newServiceLab(t)
	rules := r.newRules(t, r.lab.Clients())
	unready := r.pods[1]
	unready.Serving = false
	for _, before := range [][]Endpoint{{}, {r.pods[0]}} {
		first := r.sync(t, rules, before...)
		after := append(before, unready)
		second := r.sync(t, rules, after...)
		if second <= first {
			t.Errorf("%d endpoints and an unready one: in force since %d, want later than %d",
				len(before), second, first)
		}
		if again := r.sync(t, rules, after...); again != second {
			t.Errorf("the same again: in force since %d, want %d", again, second)
		}
		if len(before) == 0 {
			if c, err := r.dial(); !errors.Is(err, unix.ECONNREFUSED) {
				t.Errorf("no ready endpoint: %v, %v; want ECONNREFUSED", c, err)
			}
		} else if got := r.reached(t, 10); got["a"] != 10 {
			t.Errorf("reached %v, want only a", got)
		}
	}
}

// BenchmarkKernelSync measures a change from two endpoints to one and back: the time until the
// commit and the time until nft exits.
func BenchmarkKernelSync(b *testing.B) {
	r := newServiceLab(b)
	rules := r.newRules(b, r.lab.Clients())
	var commits, ends []time.Duration // times since the start of the sync
	for b.Loop() {
		for _, endpoints := range [][]Endpoint{r.pods[:1], r.pods[:2]} {
			before := rules.clock.Now()
			commits = append(commits, r.sync(b, rules, endpoints...).Sub(before))
			ends = append(ends, rules.clock.Now().Sub(before))
		}
	}
	for unit, all := range map[string][]time.Duration{"commit": commits, "end": ends} {
		slices.Sort(all)
		b.ReportMetric(float64(all[len(all)/2])/1e6, unit+"_median_ms")
		b.ReportMetric(float64(all[len(all)-1])/1e6, unit+"_max_ms")
	}
}
