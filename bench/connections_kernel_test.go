package main

import (
	"math"
	"slices"
	"testing"

	"reuseport-bench/results"
	"reuseport-bench/results/cause"
)

// counted returns the two numbers that the trial compares for this counter: the kernel's and the
// ledger's.
func counted(t *testing.T, tr *results.Trial, counter string) (kernel, ledger int64) {
	t.Helper()
	for _, e := range tr.Equalities {
		if e.Counter == counter {
			return e.Kernel, e.Ledger
		}
	}
	t.Fatalf("no equality of %s", counter)
	return 0, 0
}

// Eight connections, opened before the load and kept, carry the attempts in turn. So a worker's
// requests are proportional to its connections. If client or server closes a connection after ten
// requests, the client opens another: 320 attempts need 32 connections, 24 of them opened while the
// load runs.
func TestKernelKeptConnections(t *testing.T) {
	requireLab(t)
	t.Parallel()
	run := carriedOut(t, `
name: kept
about: Kept connections, and what closes them.
workers: 4
load: {rate: 800/s, duration: 400ms}
matrix:
  - {load.connections: [8], sockets: [shared, reuseport]}
  - {load.connections: [{count: 8}], load.processes: [2]}
  - {load.connections: [8], load.max_requests: [10]}
  - {load.connections: [8], server.max_requests: [10], server.kind: [loop, http]}
trials: 1
`+lenient)
	for _, v := range run.Scenarios[0].Variants {
		t.Run(results.LabelString(v.Labels), func(t *testing.T) {
			tr := lastTrial(v)
			if tr.Attempts != 320 || tr.Lost != 0 {
				t.Fatalf("%d attempts, lost %v", tr.Attempts, tr.LostByCause)
			}
			opened, said := counted(t, tr, "TcpActiveOpens")
			arrived, accepted := counted(t, tr, "TcpPassiveOpens")
			if opened != said || arrived != opened || accepted != opened {
				t.Errorf("%d opened and %d accepted while the load ran; the ledger says %d and %d",
					opened, arrived, said, accepted)
			}
			limited := v.Labels["load.max_requests"]+v.Labels["server.max_requests"] != ""
			if limited && (opened < 24 || opened > 32) || !limited && opened != 0 {
				t.Errorf("%d opened while the load ran", opened)
			}
			waited := 0. // the time, in seconds, that the workers waited for a CPU
			for _, ns := range []*int64{tr.CPU.RunQueueDelayNS, tr.CPU.StealNS} {
				if ns != nil {
					waited += float64(*ns) / 1e9
				}
			}
			var all, requests []int64
			for _, w := range tr.Workers {
				all, requests = append(all, w.Accepted), append(requests, w.Served)
				// Each connection carries about 40 requests, or 10 with max_requests. The numbers
				// differ a little: a connection with a request in flight misses its turn.
				each := map[bool]float64{false: 40, true: 10}[limited]
				// A busy machine may keep a worker from its turns for a while.
				got, want := float64(w.Served), each*float64(w.Accepted)
				if math.Abs(got-want) > 0.25*want+each+800*waited {
					t.Errorf("worker %d answered %v requests on %d connections, want about %v",
						w.ID, got, w.Accepted, want)
				}
			}
			if n := sum(all); n != 8+opened || sum(requests) != 320 {
				t.Errorf("accepted %v, answered %v", all, requests)
			}
			f := tr.Fairness
			if math.Abs(f.Requests.TopShare-float64(slices.Max(requests))/320) > 1e-9 ||
				math.Abs(f.TopShare-float64(slices.Max(all))/float64(sum(all))) > 1e-9 {
				t.Errorf("top shares %v and %v of %v and %v",
					f.TopShare, f.Requests.TopShare, all, requests)
			}
			if f.BusyTime == nil || f.BusyTime.Jain > 1 || f.BusyTime.Jain < 0.25 {
				t.Errorf("busy time: %+v", f.BusyTime)
			}
		})
	}
}

// Client or server closes a connection as soon as it has been idle for 1 ms. So every attempt opens
// a new connection, and no attempt is lost.
func TestKernelIdleConnections(t *testing.T) {
	requireLab(t)
	t.Parallel()
	run := carriedOut(t, `
name: idle
about: Connections that are idle for too long.
workers: 1
load: {rate: 40/s, duration: 500ms, connections: reused}
matrix:
  - {server.idle_timeout: [1ms], server.kind: [loop, http]}
  - {load.idle_timeout: [1ms]}
  - {load.lifetime: [1ms]}
trials: 1
`+lenient)
	for _, v := range run.Scenarios[0].Variants {
		tr := lastTrial(v)
		opened, said := counted(t, tr, "TcpActiveOpens")
		// If the machine pauses for 20 ms, the next attempt may still use the open connection.
		if opened != said || opened < 16 || tr.Lost > tr.Attempts-opened {
			t.Errorf("%s: %d opened for %d attempts, and the ledger says %d; lost %v",
				results.LabelString(v.Labels), opened, tr.Attempts, said, tr.LostByCause)
		}
	}
}

// A server that closes an idle connection while a request is on its way loses the request. If the
// client closes idle connections sooner than the server does, no request is lost.
func TestKernelKeepaliveRace(t *testing.T) {
	requireLab(t)
	t.Parallel()
	run := carriedOut(t, `
name: race
about: A server that closes idle connections.
workers: 1
server: {work: {sleep: 400us}, idle_timeout: 20ms}
load: {rate: 1000/s, duration: 1500ms, pace: poisson, connections: 20}
matrix: [{load.idle_timeout: [0s, 10ms]}]
trials: 1
`+lenient)
	lost, late := map[string]int64{}, false
	for after, list := range trials(run, "load.idle_timeout") {
		// A client that the machine stops for longer than its timeout may use each of its 20
		// connections too late.
		late = late || after == "10ms" && sentLate(list[0], 1000) > 10
		lost[after] = list[0].LostByCause[cause.ClosedByWorker]
		if list[0].Lost != lost[after] {
			t.Errorf("client's timeout %s: lost %v", after, list[0].LostByCause)
		}
	}
	t.Logf("lost: %v", lost)
	if lost["0s"] < 3 || lost["10ms"]*2 > lost["0s"] && !late {
		t.Errorf("lost: %v; want some where the client waits longer than the server", lost)
	}
}

// Kept connections stay with the pods that existed when the connections were opened, however many
// pods are added. New connections go to all pods: when two pods have been added to two, the added
// ones get half of the later attempts.
func TestKernelScaleUpKept(t *testing.T) {
	requireLab(t)
	t.Parallel()
	run := carriedOut(t, `
name: scale
about: Two pods more.
network: cluster
path: service
workers: 2
stop: close
load: {rate: 500/s, duration: 1500ms}
timeline: [{at: 300ms, do: scale, replicas: 4}]
matrix:
  - {load.connections: [new, 8]}
  - {load.connections: [8], load.lifetime: [100ms]}
trials: 1
`+lenient)
	for _, v := range run.Scenarios[0].Variants {
		what := results.LabelString(v.Labels)
		if skips(t, v) {
			continue
		}
		tr := lastTrial(v)
		var routed int64 // the time at which the rules included the last new pod
		for _, p := range tr.Steps[0].Pods {
			if p.RulesNS != nil {
				routed = max(routed, *p.RulesNS)
			}
		}
		var newcomers int64
		for _, w := range tr.Workers[2:] {
			newcomers += w.Served
		}
		after := 500 * (1.5 - float64(routed)/1e9)
		t.Logf("%s: %d of %d at newcomers, %.0f came after them", what, newcomers, tr.Served, after)
		switch kept := v.Labels["load.connections"] == "8"; {
		case tr.Lost != 0 || routed == 0 || len(tr.Workers) != 4:
			t.Errorf("%s: lost %v, routed at %d ns, %d workers",
				what, tr.LostByCause, routed, len(tr.Workers))
		case !kept:
			// Half of the requests, within five standard deviations, and a few that reached one new
			// pod before the rules included the other, or were sent late.
			slack := 5*math.Sqrt(after)/2 + 25 + sentLate(tr, 500)/2
			if got := float64(newcomers); math.Abs(got-after/2) > slack {
				t.Errorf("%s: %v requests at newcomers, want about %.0f", what, got, after/2)
			}
		case v.Labels["load.lifetime"] == "":
			if newcomers != 0 || tr.Fairness.Requests.TopShare < 0.5 {
				t.Errorf("%s: %d requests at newcomers, want none: %+v",
					what, newcomers, tr.Fairness.Requests)
			}
		case newcomers == 0:
			t.Errorf("%s: no requests at newcomers, though connections end", what)
		}
	}
}
