package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/results"
)

// equal checks that these kernel counters agree with the ledger.
func equal(t *testing.T, tr *results.Trial, counters ...string) {
	t.Helper()
	for _, e := range tr.Equalities {
		for _, counter := range counters {
			if e.Counter == counter && e.Kernel != e.Ledger {
				t.Errorf("%s: the kernel counts %d, the ledger %d %s", counter, e.Kernel, e.Ledger,
					e.What)
			}
		}
	}
}

// Workers read seventeen requests and then reset their connections. Clients retry each request once
// if they may, so workers read it twice. Requests that may not be retried are lost.
func TestKernelRetries(t *testing.T) {
	requireLab(t)
	t.Parallel()
	const k = 17
	run := carriedOut(t, `
name: retries
about: A worker that answers 17 requests with a reset, and clients that try again.
server: {work: {sleep: 50us}, fault: {resets: 17}}
load: {rate: 1000/s, duration: 500ms}
matrix:
  - {load.body: [0, 100], load.connections: [new, reused], load.retry.max: [1]}
  - {load.body: [100], load.retry.max: [1], load.retry.on: [safe+non-idempotent]}
  - {load.body: [0], load.retry.max: [1], load.retry.on: [refused]}
  - {load.body: [0], server.kind: [http], load.retry.max: [1]}
  - {load.body: [0], load.processes: [2], load.retry.max: [3], load.retry.backoff: [5ms], load.retry.jitter: [full]}
trials: 1
gates: [{when: {load.body: 0, server.kind: http}, expect: masked == 17 && repeated == 17}, {when: {load.connections: reused, load.body: 100}, expect: repeated == 0}]
`+lenient)
	for _, v := range run.Scenarios[0].Variants {
		for _, tr := range v.Trials {
			again := int64(k)
			on := v.Labels["load.retry.on"]
			if v.Labels["load.body"] == "100" && on == "" || on == "refused" {
				again = 0
			}
			want := &results.Retries{
				Tries: tr.Attempts + again, TriedAgain: again, Masked: again, Repeated: again,
				RepeatedUnhandled: new(int64(0)),
			}
			if again > 0 {
				want.Failed = map[string]int64{"unanswered": again}
			}
			got := results.Retries{RepeatedUnhandled: new(int64(0))}
			if tr.Retries != nil {
				got = *tr.Retries
			}
			if (got.MaskedNS != nil) != (again > 0) {
				t.Errorf("%v: response times of the masked: %+v", v.Labels, got.MaskedNS)
			}
			got.MaskedNS = nil
			if diff := cmp.Diff(want, &got); diff != "" || tr.Lost != k-again {
				t.Errorf("%v: %d lost %v, want %d; retries (-want +got):\n%s", v.Labels, tr.Lost,
					tr.LostByCause, k-again, diff)
			}
			if n := tr.Kernel["TcpOutRsts"]; n != k {
				t.Errorf("%v: %d resets, want %d", v.Labels, n, k)
			}
			equal(t, tr, "TcpActiveOpens", "TcpPassiveOpens")
		}
	}
}

// Seventeen connections are refused or get no answer. No worker has read their requests, so even a
// POST is retried. With a backoff, a retry comes after all seventeen, so no client fails twice.
// Without a backoff, a client may.
func TestKernelRetriesRefused(t *testing.T) {
	requireLab(t)
	t.Parallel()
	const k = 17
	run := carriedOut(t, `
name: refused
about: The first 17 connections are refused or not answered, and clients try again.
load: {rate: 1000/s, duration: 800ms}
matrix:
  - {load.body: [0, 100], server.fault.rejected_syns: [17], load.retry.max: [1], load.retry.backoff: [400ms]}
  - {load.body: [0], server.fault.rejected_syns: [17], load.retry.max: [10]}
  - {load.body: [0], server.fault.rejected_syns: [17], load.retry.max: [10], load.retry.budget: [10]}
  - {load.body: [100], server.fault.dropped_syns: [17], load.retry.max: [1], load.retry.connect_timeout: [100ms]}
trials: 1
`+lenient)
	for _, v := range run.Scenarios[0].Variants {
		if skips(t, v) {
			return
		}
		for _, tr := range v.Trials {
			r := tr.Retries
			failure := "refused"
			if v.Labels["server.fault.dropped_syns"] != "" {
				failure = "connect-timeout"
			}
			equal(t, tr, "TcpActiveOpens", "TcpPassiveOpens")
			t.Logf("%v: %d lost %v, %+v", v.Labels, tr.Lost, tr.LostByCause, *r)
			switch {
			case v.Labels["load.retry.budget"] != "":
				// Each failure takes one of ten tokens, and retries stop when half are left. So
				// only the first four failures (9, 8, 7 and 6 left) are retried. Successes, which
				// return tokens, come only after all 17 failures.
				if r.Failed[failure] != 4 || r.OverBudget != k-4 || tr.Lost != k-4 {
					t.Errorf("%v: %d lost, %+v", v.Labels, tr.Lost, r)
				}
			case v.Labels["load.retry.max"] == "10":
				if r.Failed[failure]+tr.Lost != k || r.Repeated != 0 || r.Exhausted != tr.Lost {
					t.Errorf("%v: %d lost %v, %+v; want %d tries that failed", v.Labels, tr.Lost,
						tr.LostByCause, r, k)
				}
			default:
				want := &results.Retries{
					Tries: tr.Attempts + k, TriedAgain: k, Masked: k,
					RepeatedUnhandled: new(int64(0)),
					Failed:            map[string]int64{failure: k}, MaskedNS: r.MaskedNS,
				}
				if diff := cmp.Diff(want, r); diff != "" || tr.Lost != 0 {
					t.Errorf("%v: %d lost %v; retries (-want +got):\n%s", v.Labels, tr.Lost,
						tr.LostByCause, diff)
				}
				// The masked attempts waited for load.retry.connect_timeout or for the backoff.
				if r.MaskedNS == nil || r.MaskedNS.P50 < 100e6 || r.MaskedNS.P50 >= 800e6 {
					t.Errorf("%v: the masked took %+v, the wait included", v.Labels, r.MaskedNS)
				}
			}
		}
	}
}

// Workers are replaced under load while clients retry, on new and on kept connections. The ledger
// balances, and requests that must not be retried are not retried.
func TestKernelRetriesOfRestarts(t *testing.T) {
	requireLab(t)
	t.Parallel()
	run := carriedOut(t, `
name: restarts
about: Restarts and clients that try again.
server: {work: {sleep: 600us}}
load: {rate: 1000/s, duration: 1190ms, retry: {max: 3, backoff: 1ms}}
timeline: [{at: 100ms, every: 100ms, do: replace}]
matrix:
  - {stop: [kill, close], load.body: [0, 100], load.connections: [new, reused]}
  - {stop: [close], load.body: [0], trace: ["off"]}
trials: 1
`+lenient)
	for _, v := range run.Scenarios[0].Variants {
		for _, tr := range v.Trials {
			r := tr.Retries
			t.Logf("%v: %d lost %v, %+v", v.Labels, tr.Lost, tr.LostByCause, *r)
			if v.Labels["load.body"] == "100" && (r.Repeated != 0 || r.Failed["unanswered"] != 0) {
				t.Errorf("%v: repeated what must not be: %+v", v.Labels, r)
			}
			if v.Labels["load.body"] == "0" && tr.Lost != 0 {
				t.Errorf("%v: %d lost %v, %+v", v.Labels, tr.Lost, tr.LostByCause, r)
			}
			equal(t, tr, "TcpActiveOpens")
		}
	}
}

// A pod is deleted, and clients still connect to it until the rules or the clients' caches have
// changed. Clients that retry for longer than that reach the other pod. A single immediate retry
// may reach either pod. No worker has read any of the retried requests.
func TestKernelRetriesOfPods(t *testing.T) {
	requireLab(t)
	t.Parallel()
	run := carriedOut(t, `
name: pods
about: A deleted pod and clients that try again.
network: cluster
workers: 2
server: {work: {sleep: 100us}}
load: {rate: 300/s, duration: 2s, timeout: 1500ms, body: 50}
timeline: [{at: 300ms, do: delete-pod}]
stop: close
kube: {endpoint_lag: 400ms}
matrix:
  - {path: [service], load.retry.max: [0, 1]}
  - {path: [service], load.retry.max: [5], load.retry.backoff: [50ms], load.retry.connect_timeout: [300ms]}
  - {path: [dns], dns.cache: [none], load.retry.max: [5], load.retry.backoff: [50ms], load.retry.connect_timeout: [300ms]}
trials: 1
`+lenient)
	for _, v := range run.Scenarios[0].Variants {
		if skips(t, v) {
			return
		}
		tr := lastTrial(v)
		t.Logf("%v: %d lost %v, %+v", v.Labels, tr.Lost, tr.LostByCause, tr.Retries)
		stale := tr.LostByCause["stale_endpoint"]
		if others := tr.Lost - stale - tr.LostByCause["reset_at_close"]; others != 0 {
			t.Errorf("%v: lost by cause %v", v.Labels, tr.LostByCause)
		}
		switch v.Labels["load.retry.max"] {
		// Half of the 120 attempts in 400 ms go to the deleted pod, with a standard deviation of 5.
		case "0":
			if tr.Retries != nil || stale < 8 {
				t.Errorf("%v: %d lost to a stale endpoint, retries %+v", v.Labels, stale,
					tr.Retries)
			}
		case "1":
			if r := tr.Retries; stale == 0 || r.Exhausted != stale || r.Masked == 0 ||
				r.Repeated != 0 {
				t.Errorf("%v: %d lost to a stale endpoint, retries %+v", v.Labels, stale, r)
			}
		case "5": // the waits add up to 50 + 100 + 200 + 400 ms before the last try but one
			if r := tr.Retries; stale != 0 || r.Masked < 8 || r.Repeated != 0 {
				t.Errorf("%v: %d lost to a stale endpoint, retries %+v", v.Labels, stale, r)
			}
		}
	}
}
