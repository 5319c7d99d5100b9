package main

import "testing"

// Requests take 600 ms, and a hundred arrive per second, so sixty are in progress at a stop.
// Workers with enough grace finish them. With a grace of 100 ms, fifty are cut off. If a worker of
// kind loop is busy when it is told to stop, the trial is valid all the same.
func TestKernelLongRequests(t *testing.T) {
	requireLab(t)
	t.Parallel()
	run := carriedOut(t, `
name: long-requests
about: Requests that are under way when their worker is replaced.
sockets: shared
stop: inherit
load: {rate: 100/s, duration: 900ms, timeout: 1200ms}
timeline: [{at: 700ms, do: replace}]
matrix:
  - {server.work.sleep: [600ms], server.kind: [http], server.grace: [100ms, 30s]}
  - {server.work.sleep: [600ms], server.kind: [loop], server.grace: [100ms]}
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
			continue // a worker of kind loop serves one request at a time, too slowly for this load
		}
		lostOnlyBy(t, v.Labels["server.grace"], tr, "closed_by_worker")
		// Expect about fifty. If the machine stops the load or the workers for 0.3 s, the number
		// changes by up to thirty.
		if cut && (closed < 15 || closed > 85) || !cut && closed != 0 {
			t.Errorf("%v: %d cut off", v.Labels, closed)
		}
	}
}

// A pod is killed at the end of its grace period, which starts at its deletion, but no sooner than
// two seconds after its SIGTERM.
func TestKernelPodGrace(t *testing.T) {
	requireLab(t)
	t.Parallel()
	run := carriedOut(t, `
name: pod-grace
about: Requests of 4 s, and a pod that is deleted.
network: cluster
stop: shutdown
server: {kind: http, work: {sleep: 4s}}
load: {rate: 50/s, duration: 800ms, timeout: 5s}
timeline: [{at: 500ms, do: delete-pod}]
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
	// Requests take 4 s, so none of those accepted in the 0.5 s before the deletion ends within the
	// 2 s after it. All of them are killed.
	stop, accepted := *tr.Steps[0].StopNS, tr.Workers[0].Accepted
	if killed := tr.LostByCause["worker_crash"]; killed < accepted-1 || killed < 5 ||
		killed > accepted {
		t.Errorf("%d lost to the kill, want all %d that were accepted: %v", killed, accepted,
			tr.LostByCause)
	}
	for _, l := range tr.Losses {
		if l.Cause == "worker_crash" && l.DoneNS < stop+2e9 {
			t.Errorf("killed %d ns after the deletion, want 2 s and some: %+v", l.DoneNS-stop, l)
			break
		}
	}
	if pods := tr.Steps[0].Pods; len(pods) != 1 || pods[0].ClosedNS == nil ||
		*pods[0].ClosedNS > stop+1e9 {
		t.Errorf("its listener was to be closed at once: %+v", pods)
	}
}
