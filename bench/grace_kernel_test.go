package main

import "testing"

// Requests take 400 ms, and a hundred come a second, so forty are in progress at a stop. Workers
// with enough grace finish them. With a grace of 100 ms, thirty are cut off. A loop that is busy
// when it is told to stop does not make the trial invalid.
func TestKernelLongRequests(t *testing.T) {
	requireLab(t)
	t.Parallel()
	run := carriedOut(t, `
name: long-requests
about: Requests that are under way when their worker is replaced.
sockets: shared
stop: inherit
load: {rate: 100/s, duration: 900ms, timeout: 900ms}
timeline: [{at: 600ms, do: replace}]
matrix:
  - {server.work.sleep: [400ms], server.kind: [http], server.grace: [100ms, 30s]}
  - {server.work.sleep: [400ms], server.kind: [loop], server.grace: [100ms]}
trials: 1
`+lenient)
	for _, v := range run.Scenarios[0].Variants {
		tr, cut := lastTrial(v), v.Labels["server.grace"] == "100ms"
		closed := tr.LostByCause["closed_by_worker"]
		t.Logf("%v: %v", v.Labels, tr.LostByCause)
		if !tr.Valid {
			t.Errorf("%v: invalid: %v", v.Labels, tr.InvalidReasons)
		}
		if s := tr.Steps[0]; s.ClosedNS == nil || *s.ClosedNS < *s.StopNS {
			t.Errorf("%v: stopped at %v, closed at %v", v.Labels, s.StopNS, s.ClosedNS)
		}
		if v.Labels["server.kind"] == "loop" {
			continue // a loop is far too slow for this load
		}
		lostOnlyBy(t, v.Labels["server.grace"], tr, "closed_by_worker")
		// The number differs by more only if the worker continues late.
		if cut && (closed < 22 || closed > 38) || !cut && closed != 0 {
			t.Errorf("%v: %d cut off", v.Labels, closed)
		}
	}
}

// A pod's grace starts at its deletion, but lasts at least two seconds from SIGTERM. Then the pod
// is killed.
func TestKernelPodGrace(t *testing.T) {
	requireLab(t)
	t.Parallel()
	run := carriedOut(t, `
name: pod-grace
about: Requests of 2.4 s, and a pod that is deleted.
network: cluster
stop: shutdown
server: {kind: http, work: {sleep: 2400ms}}
load: {rate: 50/s, duration: 700ms, timeout: 4s}
timeline: [{at: 300ms, do: delete-pod}]
path: pod
kube: {grace: 1s}
trials: 1
`+lenient)
	v := run.Scenarios[0].Variants[0]
	if skips(t, v) {
		return
	}
	tr := lastTrial(v)
	lostOnlyBy(t, "pod-grace", tr, "worker_crash", "stale_endpoint", "reset_at_close",
		"closed_by_worker")
	// Of the requests that were sent before the deletion, none ends within 2 s of it.
	sent := 50 * *tr.Steps[0].StopNS / 1e9
	if killed := tr.LostByCause["worker_crash"]; killed < sent-3 || killed > sent+3 {
		t.Errorf("%d lost to the kill, want %d: %v", killed, sent, tr.LostByCause)
	}
	if pods := tr.Steps[0].Pods; len(pods) != 1 || pods[0].ClosedNS == nil ||
		*pods[0].ClosedNS > 1e9 {
		t.Errorf("its listener was to be closed at once: %+v", pods)
	}
}
