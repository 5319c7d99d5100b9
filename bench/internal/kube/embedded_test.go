package kube

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/servers/clock"
)

// A journal records events, each with the time since the journal's start: "30ms endpoint_added a
// web p1".
type journal struct {
	mu    sync.Mutex
	clock *clock.Clock
	start clock.Instant
	lines []string
	then  func(Event) // called for each event; nil: none
}

func newJournal(t *testing.T) *journal {
	c := newClock(t)
	return &journal{clock: c, start: c.Now()}
}

func (j *journal) emit(e Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	line := fmt.Sprint(e.At.Sub(j.start), " ", e.Kind)
	for _, s := range []string{e.Node, e.Service, e.Pod} {
		if s != "" {
			line += " " + s
		}
	}
	for _, x := range e.Endpoints {
		line += fmt.Sprintf(" %s(serving=%v terminating=%v)", x.Pod, x.Serving, x.Terminating)
	}
	j.lines = append(j.lines, line)
	if j.then != nil {
		j.then(e)
	}
}

// of returns the lines whose kind is one of kinds.
func (j *journal) of(kinds ...EventKind) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	got := []string{}
	for _, l := range j.lines {
		for _, k := range kinds {
			if strings.Fields(l)[1] == string(k) {
				got = append(got, l)
			}
		}
	}
	return got
}

func (j *journal) want(t *testing.T, kinds []EventKind, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, j.of(kinds...)); diff != "" {
		t.Errorf("events (-want +got):\n%s\nall events:\n%s", diff, strings.Join(j.lines, "\n"))
	}
}

// A slowSyncer takes some time for each sync, and records the time at which each sync began.
type slowSyncer struct {
	clock *clock.Clock
	takes time.Duration
	fails int // number of syncs that fail, starting with the first
	begun []clock.Instant
}

func (s *slowSyncer) Sync(ctx context.Context, _ []Service) (clock.Instant, error) {
	s.begun = append(s.begun, s.clock.Now())
	select {
	case <-time.After(s.takes):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if len(s.begun) <= s.fails {
		return 0, errors.New("nft failed")
	}
	return s.clock.Now(), nil
}

// A cluster is an Embedded control plane with one node, "a", and the service "web".
type cluster struct {
	*Embedded
	*journal
	syncer *slowSyncer
	t      *testing.T
}

func newCluster(t *testing.T, lags Lags, takes time.Duration) *cluster {
	t.Helper()
	j := newJournal(t)
	c := &cluster{journal: j, syncer: &slowSyncer{clock: j.clock, takes: takes}, t: t}
	var err error
	c.Embedded, err = NewEmbedded(EmbeddedOptions{
		Lags: lags, Seed: 1, Nodes: map[string]Syncer{"a": c.syncer},
		Clock: j.clock, Events: j.emit,
	})
	if err != nil {
		t.Fatal(err)
	}
	c.must(c.CreateService(t.Context(), "web", serviceAddress))
	return c
}

func (c *cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// add adds pods that have started.
func (c *cluster) add(names ...string) {
	c.t.Helper()
	for i, name := range names {
		c.addPod(name, uint16(8001+i))
		c.must(c.MarkStarted(c.t.Context(), name))
	}
}

func (c *cluster) addPod(name string, port uint16) {
	c.t.Helper()
	address := ready(name, port).Address
	pod := Pod{Name: name, Service: "web", Node: "a", Address: address}
	c.must(c.AddPod(c.t.Context(), pod))
}

// restart waits for an hour, after which nothing is pending, and clears the journal.
func (c *cluster) restart() {
	time.Sleep(time.Hour)
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.start, c.lines, c.syncer.begun = c.clock.Now(), nil, nil
}

// bubble runs a test in a synctest bubble, in which all times are exact.
func bubble(t *testing.T, f func(*testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

var pathEvents = []EventKind{EndpointsChanged, RulesCommitted, EndpointAdded, EndpointRemoved}

func TestEmbeddedLife(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t, Lags{
			ReadyToEndpoint:   Fixed(10 * time.Millisecond),
			DeletedToEndpoint: Fixed(30 * time.Millisecond),
			EndpointToRules:   Fixed(20 * time.Millisecond),
		}, 5*time.Millisecond)
		c.restart()
		c.add("p")
		time.Sleep(time.Second)
		c.must(c.MarkReady(t.Context(), "p"))
		c.must(c.MarkReady(t.Context(), "p"))
		time.Sleep(time.Second)
		c.must(c.DeletePod(t.Context(), "p"))
		c.must(c.DeletePod(t.Context(), "p"))
		time.Sleep(time.Second)
		c.must(c.MarkUnready(t.Context(), "p"))
		time.Sleep(time.Second)
		c.must(c.RemovePod(t.Context(), "p"))
		time.Sleep(time.Second)
		c.want(t, append(pathEvents, PodAdded, PodReady, PodUnready, DeletionBegun, PodGone),
			"0s pod_added a web p",
			"10ms endpoints_changed web p(serving=false terminating=false)",
			"35ms rules_committed a",
			"1s pod_ready a web p",
			"1.01s endpoints_changed web p(serving=true terminating=false)",
			"1.035s rules_committed a",
			"1.035s endpoint_added a web p",
			"2s deletion_begun a web p",
			"2.03s endpoints_changed web p(serving=true terminating=true)",
			"2.055s rules_committed a", // the only pod is used even while it is terminating
			"3s pod_unready a web p",
			"3.01s endpoints_changed web p(serving=false terminating=true)",
			"3.035s rules_committed a",
			"3.035s endpoint_removed a web p",
			"4s gone a web p",
			"4.03s endpoints_changed web",
			"4.055s rules_committed a",
		)
		c.must(c.Close())
		c.must(c.Close())
		if err := c.MarkReady(t.Context(), "p"); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v, want %v", err, ErrClosed)
		}
	})
}

// TestEmbeddedCarriesSnapshots checks that a change is delayed by its whole lag even if an earlier
// change has not arrived yet.
func TestEmbeddedCarriesSnapshots(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t, Lags{ReadyToEndpoint: Fixed(100 * time.Millisecond)}, 0)
		defer c.Close()
		c.add("p", "q")
		c.restart()
		c.must(c.MarkReady(t.Context(), "p"))
		time.Sleep(99 * time.Millisecond)
		c.must(c.MarkReady(t.Context(), "q"))
		c.must(c.MarkUnready(t.Context(), "p"))
		time.Sleep(time.Second)
		c.want(t, []EventKind{EndpointAdded, EndpointRemoved},
			"100ms endpoint_added a web p",
			"199ms endpoint_added a web q",
			"199ms endpoint_removed a web p",
		)
	})
}

// TestEmbeddedKeepsOrder checks that changes arrive in order, whatever their lags.
func TestEmbeddedKeepsOrder(t *testing.T) {
	bubble(t, func(t *testing.T) {
		lag := Uniform{0, time.Second}
		c := newCluster(t, Lags{ReadyToEndpoint: lag, EndpointToRules: lag}, 0)
		defer c.Close()
		c.add("p", "q")
		c.restart()
		c.must(c.MarkReady(t.Context(), "q"))
		c.must(c.MarkReady(t.Context(), "p"))
		for range 20 {
			c.must(c.MarkUnready(t.Context(), "p"))
			c.must(c.MarkReady(t.Context(), "p"))
		}
		time.Sleep(time.Hour)
		got := c.of(EndpointsChanged)
		for i, line := range got {
			want := fmt.Sprintf("p(serving=%v", i%2 == 1)
			if !strings.Contains(line, want) || !strings.Contains(line, "q(serving=true") {
				t.Errorf("change %d: %s; want %s and q(serving=true", i, line, want)
			}
		}
		if len(got) != 42 {
			t.Errorf("%d changes, want 42", len(got))
		}
	})
}

// TestEmbeddedMinSyncPeriod checks that the first change is synced at once, and that changes within
// the period are synced together at the period's end. The period starts at the end of a sync.
func TestEmbeddedMinSyncPeriod(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t, Lags{MinSyncPeriod: time.Second}, 50*time.Millisecond)
		defer c.Close()
		c.add("p", "q", "r")
		c.restart()
		c.must(c.MarkReady(t.Context(), "p")) // its sync takes from 0 to 50 ms
		time.Sleep(20 * time.Millisecond)
		c.must(c.MarkReady(t.Context(), "q")) // arrives during that sync; its own begins at 1.05 s
		time.Sleep(300 * time.Millisecond)
		c.must(c.MarkReady(t.Context(), "r"))
		c.must(c.MarkUnready(t.Context(), "p"))
		time.Sleep(1780 * time.Millisecond) // now 2.1 s: the period that began at 1.1 s has ended
		c.must(c.MarkUnready(t.Context(), "q"))
		time.Sleep(time.Hour)
		c.want(t, []EventKind{RulesCommitted, EndpointAdded, EndpointRemoved},
			"50ms rules_committed a", "50ms endpoint_added a web p",
			"1.1s rules_committed a", "1.1s endpoint_removed a web p",
			"1.1s endpoint_added a web q", "1.1s endpoint_added a web r",
			"2.15s rules_committed a", "2.15s endpoint_removed a web q",
		)
		if len(c.syncer.begun) != 3 {
			t.Errorf("%d syncs, want 3", len(c.syncer.begun))
		}
	})
}

// TestEmbeddedWithoutPeriod checks that, even without a period, a sync waits for the end of the
// previous one.
func TestEmbeddedWithoutPeriod(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t, Lags{}, 50*time.Millisecond)
		defer c.Close()
		c.add("p", "q")
		c.restart()
		c.must(c.MarkReady(t.Context(), "p"))
		time.Sleep(time.Millisecond)
		c.must(c.MarkReady(t.Context(), "q"))
		time.Sleep(time.Hour)
		c.want(t, []EventKind{EndpointAdded},
			"50ms endpoint_added a web p", "100ms endpoint_added a web q")
	})
}

// TestEmbeddedNodes checks that each node has its own lag, period and rules.
func TestEmbeddedNodes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		j := newJournal(t)
		e, err := NewEmbedded(EmbeddedOptions{
			Lags: Lags{EndpointToRules: Uniform{0, time.Second}}, Clock: j.clock, Events: j.emit,
			Nodes: map[string]Syncer{
				"a": &slowSyncer{clock: j.clock}, "b": &slowSyncer{clock: j.clock},
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		if err := e.CreateService(t.Context(), "web", serviceAddress); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		at := map[string]string{}
		for _, l := range j.of(RulesCommitted) {
			f := strings.Fields(l)
			at[f[2]] = f[0]
		}
		if len(at) != 2 || at["a"] == at["b"] {
			t.Errorf("commits: %v; want one on each node, at different times", at)
		}
	})
}

// TestEmbeddedSyncFails checks that a failed sync is an event, that the next change is synced, and
// that Close returns the error.
func TestEmbeddedSyncFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t, Lags{}, 0)
		c.restart()
		c.syncer.fails = 1
		c.add("p")
		synctest.Wait()
		c.must(c.MarkReady(t.Context(), "p"))
		synctest.Wait()
		c.want(t, []EventKind{SyncFailed, EndpointAdded},
			"0s sync_failed a", "0s endpoint_added a web p")
		const want = "node a: sync rules: nft failed"
		if err := c.Close(); err == nil || err.Error() != want {
			t.Errorf("Close: %v, want %s", err, want)
		}
	})
}

// TestEmbeddedCloseInterrupts checks that Close does not wait for a sync or a lag.
func TestEmbeddedCloseInterrupts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t, Lags{ReadyToEndpoint: Fixed(time.Hour)}, time.Hour)
		c.add("p")
		synctest.Wait()
		before := time.Now()
		c.must(c.Close())
		if took := time.Since(before); took != 0 {
			t.Errorf("Close took %v, want 0", took)
		}
	})
}

func TestEmbeddedRefuses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t, Lags{}, 0)
		defer c.Close()
		c.add("p")
		ctx := t.Context()
		pod := func(name, service string) Pod {
			return Pod{Name: name, Service: service, Address: serviceAddress}
		}
		remove := func() error { return c.RemovePod(ctx, "p") }
		for name, x := range map[string]struct{ got, want error }{
			"service twice":   {c.CreateService(ctx, "web", serviceAddress), ErrExists},
			"pod twice":       {c.AddPod(ctx, pod("p", "web")), ErrExists},
			"unknown service": {c.AddPod(ctx, pod("q", "wob")), ErrUnknown},
			"unknown pod":     {c.DeletePod(ctx, "q"), ErrUnknown},
			"removed pod":     {errors.Join(remove(), remove()), ErrUnknown},
		} {
			if !errors.Is(x.got, x.want) {
				t.Errorf("%s: %v, want %v", name, x.got, x.want)
			}
		}
		for name, err := range map[string]error{
			"name":        c.CreateService(ctx, "Web", serviceAddress),
			"address":     c.CreateService(ctx, "v6", netip.MustParseAddrPort("[::1]:80")),
			"pod address": c.AddPod(ctx, Pod{Name: "r", Service: "web"}),
		} {
			if err == nil {
				t.Errorf("%s: no error", name)
			}
		}
		if _, err := NewEmbedded(EmbeddedOptions{Lags: Lags{MinSyncPeriod: -1}}); err == nil {
			t.Error("no error for a negative period")
		}
		c.must(c.CreateService(ctx, "headless", netip.AddrPort{}))
	})
}
