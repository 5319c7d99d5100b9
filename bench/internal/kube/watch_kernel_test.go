package kube

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/servers/clock"
)

// A watched is a host whose rules are watched.
type watched struct {
	lab    *netlab.Lab
	host   *netlab.Host
	clock  *clock.Clock
	events chan Event
}

func newWatched(t *testing.T, lab *netlab.Lab) *watched {
	t.Helper()
	w := &watched{
		lab: lab, host: lab.Clients(), clock: newClock(t), events: make(chan Event, 100),
	}
	watch, err := WatchRules(lab, w.host, w.clock, func(e Event) { w.events <- e })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 2 {
			if err := watch.Close(); err != nil {
				t.Error(err)
			}
		}
		if n := len(w.events); n > 0 {
			t.Errorf("%d more events, the first %+v", n, <-w.events)
		}
	})
	return w
}

// nft runs a script of nft on the host.
func (w *watched) nft(t *testing.T, script string) {
	t.Helper()
	err := w.lab.Do(w.host, func() error {
		c := exec.Command("nft", "-f", "-")
		c.Stdin = strings.NewReader(script)
		if text, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("nft: %w: %s", err, text)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// next returns the next event, and its kind and address as a text.
func (w *watched) next(t *testing.T) (Event, string) {
	t.Helper()
	select {
	case e := <-w.events:
		if e.Node != w.host.Name {
			t.Errorf("%+v on node %q, want %q", e, e.Node, w.host.Name)
		}
		if !e.Address.IsValid() {
			return e, string(e.Kind)
		}
		return e, string(e.Kind) + " " + e.Address.String()
	case <-time.After(10 * time.Second):
		t.Fatal("no event within 10 s")
		return Event{}, ""
	}
}

// expect calls change and waits for the events that it must cause, in that order.
func (w *watched) expect(t *testing.T, change func(), want ...string) {
	t.Helper()
	before := w.clock.Now()
	change()
	var got []string
	var at []clock.Instant
	for range want {
		e, text := w.next(t)
		got, at = append(got, text), append(at, e.At)
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("events (-got +want):\n%s", diff)
	}
	if !slices.IsSorted(at) || at[0] < before || at[len(at)-1] > w.clock.Now() {
		t.Errorf("instants %d of %q, want them in order, and not before %d", at, got, before)
	}
}

// TestKernelWatchRules checks the events of a watch of the rules that Rules programs.
func TestKernelWatchRules(t *testing.T) {
	t.Parallel()
	r := newServiceLab(t)
	slices.SortFunc(r.pods, func(a, b Endpoint) int { return a.Address.Compare(b.Address) })
	a, b := r.pods[0], r.pods[1]
	const committed = "rules_committed"
	added := func(e Endpoint) string { return "endpoint_added " + e.Address.String() }
	removed := func(e Endpoint) string { return "endpoint_removed " + e.Address.String() }

	w := newWatched(t, r.lab) // before there is a table
	var rules *Rules
	w.expect(t, func() { rules = r.newRules(t, w.host) }, committed)
	w.expect(t, func() { r.sync(t, rules, a, b) }, committed, added(a), added(b))
	later := newWatched(t, r.lab)
	for _, e := range []Endpoint{a, b} {
		if _, got := later.next(t); got != added(e) {
			t.Errorf("a later watch began with %s, want %s", got, added(e))
		}
	}
	both := func(change func(), want ...string) {
		t.Helper()
		w.expect(t, change, want...)
		for _, text := range want {
			if _, got := later.next(t); got != text {
				t.Errorf("the later watch emitted %s, want %s", got, text)
			}
		}
	}
	both(func() { r.sync(t, rules, b) }, committed, removed(a))
	both(func() {
		// Other tables, and a sync without changes, are not the node's rules.
		w.nft(t, "add table ip other; add chain ip other services")
		w.nft(t, "add table ip6 kube-proxy; add chain ip6 kube-proxy services")
		r.sync(t, rules, b)
		r.sync(t, rules)
	}, committed, removed(b))
	leaving := a
	leaving.Terminating = true
	both(func() { r.sync(t, rules, leaving) }, committed, added(a))
	both(func() { w.nft(t, "delete table ip kube-proxy") }, committed, removed(a))
}

// TestKernelWatchKubeProxy checks the events of a watch of the rules that kube-proxy programs.
func TestKernelWatchKubeProxy(t *testing.T) {
	t.Parallel()
	r := newServiceLab(t)
	w := newWatched(t, r.lab)
	table, err := os.ReadFile("testdata/kube-proxy-1.35.nft")
	if err != nil {
		t.Fatal(err)
	}
	const (
		service = "service-PFISGYVC-default/web/tcp/"
		first   = "endpoint-K6EBIKO2-default/web/tcp/__198.18.10.2/8080"
		second  = "endpoint-GTECF4M2-default/web/tcp/__198.18.20.2/8080"
		third   = "endpoint-NDWGB63O-default/web/tcp/__198.18.10.3/8080"
		in      = " ip kube-proxy "

		affinity = "affinity-GTECF4M2-default/web/tcp/__198.18.20.2/8080"
	)
	w.expect(t, func() { w.nft(t, string(table)) }, "rules_committed",
		"endpoint_added 198.18.10.2:8080", "endpoint_added 198.18.20.2:8080")
	w.expect(t, func() {
		// Only a rule for session affinity leads to the second endpoint.
		w.nft(t, "add chain"+in+third+"\n"+
			"flush chain"+in+service+"\n"+
			"add set"+in+affinity+" { type ipv4_addr; flags dynamic,timeout; timeout 3h; }\n"+
			"add rule"+in+service+" ip saddr @"+affinity+" goto "+second+"\n"+
			"add rule"+in+service+" numgen random mod 1 vmap { 0 : goto "+third+" }\n"+
			"add rule"+in+third+" meta l4proto tcp dnat to 198.18.10.3:8080\n"+
			"flush chain"+in+first+"\n")
	}, "rules_committed", "endpoint_removed 198.18.10.2:8080", "endpoint_added 198.18.10.3:8080")
	w.expect(t, func() { w.nft(t, "delete chain"+in+first+"\n") }, "rules_committed")
	w.expect(t, func() {
		w.nft(t, "delete element"+in+"service-ips { 198.19.0.100 . tcp . 80 }\n"+
			"add element"+in+"no-endpoint-services "+
			"{ 198.19.0.100 . tcp . 80 : goto reject-chain }\n")
	}, "rules_committed", "endpoint_removed 198.18.10.3:8080", "endpoint_removed 198.18.20.2:8080")
}

// TestKernelWatchRulesLost checks that a watch notices what changed while announcements were lost.
func TestKernelWatchRulesLost(t *testing.T) {
	t.Parallel()
	r := newServiceLab(t)
	rules := r.newRules(t, r.lab.Clients())
	var events []Event
	watch, err := WatchRules(r.lab, r.lab.Clients(), newClock(t), func(e Event) {
		events = append(events, e)
	})
	if err != nil {
		t.Fatal(err)
	}
	close(watch.closing) // from here on, nobody else calls update
	<-watch.ended
	r.sync(t, rules, r.pods[0])
	r.sync(t, rules, r.pods[1])
	for _, one := range []struct {
		generation uint32
		want       int // events so far
	}{{1, 0}, {0, 1}} { // a generation that is no longer in force; an unknown one
		if err := watch.update(commit{at: 7, generation: one.generation}); err != nil {
			t.Error(err)
		}
		if len(events) != one.want {
			t.Errorf("after generation %d: %+v, want %d events", one.generation, events, one.want)
		}
	}
	watch.closing = make(chan struct{})
	if err := watch.Close(); err != nil {
		t.Error(err)
	}
}
