package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"reuseport-bench/results"
	"reuseport-bench/servers/testkit"
)

const (
	resetAtClose   = "reset_at_close"
	resetHalfOpen  = "reset_half_open"
	closedByWorker = "closed_by_worker"
	workerCrash    = "worker_crash"
	synTimeout     = "syn_timeout"
)

// way names a variant by the way its workers are replaced.
func way(v *results.Variant) string {
	var words []string
	for _, label := range []string{"server.kind", "sockets", "stop", "load.connections"} {
		if value := v.Labels[label]; value != "" {
			words = append(words, value)
		}
	}
	return strings.Join(words, " ")
}

// skips reports whether a variant was skipped, and logs it. Under REQUIRE_KERNEL that is an error.
func skips(t *testing.T, v *results.Variant) bool {
	t.Helper()
	if v.SkippedReason == nil {
		return false
	}
	if testkit.Required() {
		t.Errorf("%s: skipped: %s", way(v), *v.SkippedReason)
	}
	return true
}

// Stop modes that keep the listening socket open lose nothing. Nor do those in which the selector
// sends no more connections to a socket, so that its queue is empty at the close. The requests have
// a body and so must not be retried. None is lost on a kept connection, because workers announce
// the close in time.
func TestKernelPassedOn(t *testing.T) {
	requireLab(t)
	t.Parallel()
	run := carriedOut(t, `
name: passed-on
about: Every way of passing a socket on, in short.
server: {work: {sleep: 200us}}
load: {rate: 1000/s, duration: 1s, body: 64}
timeline: [{at: 150ms, every: 300ms, do: replace}]
matrix:
  - {server.kind: [loop, http], sockets: [shared, reuseport], stop: [inherit, handoff], load.connections: [new, reused]}
  - {server.kind: [http], sockets: [shared, reuseport], stop: [tableflip], load.connections: [new, reused]}
  - {server.kind: [loop, http], sockets: [reuseport], stop: [bpf-drain, bpf-migrate], load.connections: [new, reused]}
trials: 1
`+lenient)
	for _, v := range run.Scenarios[0].Variants {
		if skips(t, v) {
			continue
		}
		var allowed []string
		switch v.Labels["stop"] {
		case "tableflip":
			allowed = []string{closedByWorker}
		case "bpf-migrate":
			allowed = []string{resetAtClose, resetHalfOpen, synTimeout}
		}
		tr := v.Trials[0]
		t.Logf("%s: %v", way(v), tr.LostByCause)
		lostOnlyBy(t, way(v), tr, allowed...)
		for i, s := range tr.Steps {
			// On a busy machine a worker may be ready too late to answer a request.
			late := s.ReadyNS != nil && *s.ReadyNS > int64(900*time.Millisecond)
			if s.Do != "replace" || s.TakeoverNS == nil && !late {
				t.Errorf("%s: step %d: nobody took over: %+v", way(v), i, s)
			}
		}
		if len(tr.Steps) != 3 || len(tr.Workers) != 8 {
			t.Errorf("%s: %d steps and %d workers, want 3 and 8", way(v), len(tr.Steps),
				len(tr.Workers))
		}
		for _, w := range tr.Workers {
			if w.CPUNS == nil {
				t.Errorf("%s: the CPU time of worker %d is unknown", way(v), w.ID)
			}
		}
	}
}

// When a worker closes its listener, the stop mode decides whether all or none of the connections
// that are half-open there are lost.
func TestKernelHalfOpen(t *testing.T) {
	requireLab(t)
	t.Parallel()
	const k = 13
	run := carriedOut(t, `
name: half-open
about: Handshakes under way at every stop.
server: {work: {sleep: 100us}, fault: {half_open: 13}}
load: {rate: 500/s, duration: 2s, timeout: 10s}
timeline: [{at: 100ms, every: 800ms, do: replace}]
matrix:
  - {sockets: [reuseport], stop: [close, drain, migrate, bpf-migrate, bpf-drain, handoff], family: [ipv4, ipv6]}
  - {sockets: [shared], stop: [inherit]}
trials: 1
`+lenient)
	for _, v := range run.Scenarios[0].Variants {
		if skips(t, v) {
			continue
		}
		for _, tr := range v.Trials {
			var held, lost int64
			for _, s := range tr.Steps {
				if s.HalfOpen != nil {
					held, lost = held+s.HalfOpen.Held, lost+s.HalfOpen.Lost
				}
			}
			want := int64(0)
			if stop := v.Labels["stop"]; stop == "close" || stop == "drain" {
				want = 3 * k
			}
			// Besides the injected handshakes, one of the load may be half-open. A handshake takes
			// about ten microseconds, so two of the load are unlikely.
			others := tr.LostByCause[resetHalfOpen] - want
			if held != 3*k || lost != want || others < 0 || others > 2 {
				t.Errorf("%v: %d of %d half-open connections lost, by cause %v; want %d of %d",
					v.Labels, lost, held, tr.LostByCause, want, 3*k)
			}
		}
	}
}

// requireHAProxy skips a test if HAProxy is not installed.
func requireHAProxy(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("haproxy"); err == nil {
		return
	}
	if _, err := os.Stat("/usr/sbin/haproxy"); err == nil {
		return
	}
	testkit.Skip(t, "haproxy is not installed")
}

// Behind HAProxy, draining a worker before its restart loses nothing. A restart that HAProxy is not
// told of loses requests. The ledger balances although it was HAProxy that opened the connections
// to the workers.
func TestKernelLoadBalancer(t *testing.T) {
	requireLab(t)
	t.Parallel()
	requireHAProxy(t)
	run := carriedOut(t, `
name: load-balancer
about: Restarts behind HAProxy.
path: haproxy
haproxy: {checks: fast}
server: {work: {sleep: 100us}}
load: {rate: 500/s, duration: 2s}
timeline: [{at: 300ms, every: 900ms, do: roll}]
matrix:
  - {sockets: [exclusive], stop: [bind-after-close, lb-drain], load.connections: [new, reused]}
  - {sockets: [reuseport], stop: [drain], load.connections: [new, reused]}
trials: 1
`+lenient)
	for _, v := range run.Scenarios[0].Variants {
		tr := v.Trials[0]
		t.Logf("%s: %v", way(v), tr.LostByCause)
		switch v.Labels["stop"] {
		case "lb-drain":
			lostOnlyBy(t, way(v), tr)
		case "drain":
			lostOnlyBy(t, way(v), tr, resetAtClose, "proxy_error", "timeout")
		default:
			lostOnlyBy(t, way(v), tr, resetAtClose, "proxy_error", "timeout")
			if v.Labels["load.connections"] == "new" && tr.Lost == 0 {
				t.Errorf("%s: nothing lost: were the workers restarted at all?", way(v))
			}
		}
		if len(tr.Steps) != 2 || len(tr.Workers) != 6 || tr.CPU.ProxyNS == nil ||
			*tr.CPU.ProxyNS == 0 {
			t.Errorf("%s: %d steps, %d workers, HAProxy's CPU time %v; want 2, 6 and some", way(v),
				len(tr.Steps), len(tr.Workers), tr.CPU.ProxyNS)
		}
	}
}

// The report states how much slower a cold worker's requests are. With the selector slow-start, the
// cold worker gets fewer requests.
func TestKernelColdStart(t *testing.T) {
	requireLab(t)
	run := carriedOut(t, `
name: cold-start
about: One more worker, which is slow at first.
server: {kind: http, work: {sleep: 200us}, cold: 20ms}
load: {rate: 1000/s, duration: 2500ms}
timeline: [{at: 200ms, do: cold-start, for: 1s}]
matrix:
  - {sockets: [reuseport], selector: [hash, slow-start]}
trials: 1
`+lenient)
	// The newcomer's share of the 1000 attempts in the second of the warm-up, ± 4.8 standard
	// deviations. With hash it is a third, with a standard deviation of 0.0149. With slow-start the
	// weight is the part u of the warm-up that is over, so the share is the mean of u/(2+u), which
	// is 1 - 2·ln 1.5 = 0.189. Its variance is that of u/(2+u) · 2/(2+u), on average 0.144, so the
	// standard deviation is 0.0120.
	shares := map[string][2]float64{"hash": {0.262, 0.405}, "slow-start": {0.131, 0.247}}
	for _, v := range run.Scenarios[0].Variants {
		if skips(t, v) {
			continue
		}
		tr, selector := v.Trials[0], v.Labels["selector"]
		c := tr.Steps[0].ColdStart
		if c == nil || c.NewcomerNS == nil || c.OthersNS == nil {
			t.Fatalf("%s: cold start %+v", selector, c)
		}
		slower := time.Duration(c.NewcomerNS.P50 - c.OthersNS.P50)
		t.Logf("%s: share %.3f, slower by %v at the median", selector, c.Share, slower)
		if want := shares[selector]; c.Share < want[0] || c.Share > want[1] {
			t.Errorf("%s: share %.3f, want %.3f to %.3f", selector, c.Share, want[0], want[1])
		}
		if selector == "hash" && c.FairShareNS == nil {
			t.Error("hash: its share never became fair")
		}
		// The extra time falls from 20 ms to 0 during the warm-up, so its median is 10 ms, with a
		// standard deviation of 0.55 ms.
		if selector == "hash" && slower < 6*time.Millisecond {
			t.Errorf("hash: slower by %v at the median; want about 10ms", slower)
		}
		if tr.Steps[0].StopNS != nil || tr.Steps[0].TakeoverNS == nil {
			t.Errorf("%s: step %+v", selector, tr.Steps[0])
		}
		if len(tr.Workers) != 3 {
			t.Errorf("%s: %d workers, want 3", selector, len(tr.Workers))
		}
	}
}

// Workers are removed, added and replaced in any order. No attempt is left in the queue of a socket
// without a worker, and the ledger balances with and without kernel events.
func TestKernelStepsInAnyOrder(t *testing.T) {
	requireLab(t)
	t.Parallel()
	run := carriedOut(t, `
name: any-order
about: Steps in any order, by several ways to pass sockets on.
workers: 3
server: {work: {sleep: 100us}}
load: {rate: 1000/s, duration: 1500ms}
timeline:
  - {at: 100ms, do: remove}
  - {at: 300ms, do: add}
  - {at: 500ms, do: roll}
  - {at: 900ms, do: remove, target: 1}
  - {at: 1100ms, do: replace}
matrix:
  - {sockets: [shared, reuseport], stop: [handoff], trace: [on, off]}
  - {sockets: [shared], stop: [inherit], trace: [on, off]}
  - {sockets: [reuseport], stop: [close, bpf-drain], trace: [on, off]}
trials: 1
`+lenient)
	for _, v := range run.Scenarios[0].Variants {
		if skips(t, v) {
			continue
		}
		var allowed []string
		switch {
		// In these variants no worker takes over the socket of a removed worker, so closing the
		// socket loses connections.
		case v.Labels["stop"] == "close",
			v.Labels["sockets"] == "reuseport" && v.Labels["stop"] == "handoff":
			allowed = []string{resetAtClose, resetHalfOpen, synTimeout}
		}
		t.Logf("%s, trace %s: %v", way(v), v.Labels["trace"], v.Trials[0].LostByCause)
		lostOnlyBy(t, way(v), v.Trials[0], allowed...)
	}
}
