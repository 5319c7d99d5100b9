package main

import (
	"strings"
	"testing"

	"reuseport-bench/results"
)

// The losses in a rolling update depend on two instants: when a new pod counts as ready, and when
// an old pod gets its SIGTERM. If neither comes too early, nothing is lost.
func TestKernelRollingUpdate(t *testing.T) {
	requireLab(t)
	t.Parallel()
	tests := []struct {
		name, kube string
		cause      string // the cause of most losses; "" if nothing is lost
		surplus    int    // number of new pods that are ready before an old pod is deleted
	}{
		{"ready before it listens", "readiness: started", "early_endpoint", 1},
		{"ready when it is asked", "readiness: probe, probe_period: 50ms, endpoint_lag: 200ms", "stale_endpoint", 1},
		{"a preStop delay", "readiness: probe, probe_period: 50ms, endpoint_lag: 50ms, pre_stop: 700ms", "", 1},
		{"one too few", "max_unavailable: 1, pre_stop: 500ms", "", 0},
		{"two too many", "max_surge: 2, min_ready: 300ms, pre_stop: 500ms", "", 2},
		{"lags that are drawn", "endpoint_lag: uniform(10ms..100ms), rules_lag: lognormal(10ms..50ms), pre_stop: 900ms", "", 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			trial := podTrial(t,
				"server: {work: {sleep: 100us}, startup: 200ms}\nstop: close\n"+
					"timeline: [{at: 300ms, do: rolling-update}]\nkube: {"+test.kube+"}")
			step := trial.Steps[0]
			if len(step.Pods) != 4 {
				t.Fatalf("%d pods, want two that went and two that came: %+v", len(step.Pods),
					step.Pods)
			}
			if test.cause == "" && trial.Lost != 0 ||
				test.cause != "" && trial.LostByCause[test.cause]*2 <= trial.Lost {
				t.Errorf("%d lost: %v", trial.Lost, trial.LostByCause)
			}
			early := 0 // new pods that were ready before the first old pod was deleted
			for _, p := range step.Pods[2:] {
				if p.ReadyNS != nil && *p.ReadyNS <= *step.Pods[0].DeletedNS {
					early++
				}
			}
			if early != test.surplus {
				t.Errorf("%d pods were ready before the first was deleted, want %d: %+v", early,
					test.surplus, step.Pods)
			}
			if p := step.Pods[2]; test.cause == "early_endpoint" != (*p.ReadyNS < *p.ListenNS) {
				t.Errorf("listened at %d, ready at %d", *p.ListenNS, *p.ReadyNS)
			}
		})
	}
}

// Lags drawn from a distribution differ from block to block, but not within a block.
func TestKernelDrawnLags(t *testing.T) {
	requireLab(t)
	t.Parallel()
	run := carriedOut(t, `
name: lags
about: A deleted pod, and endpoints that follow after a lag that is drawn.
network: cluster
path: service
load: {rate: 100/s, duration: 1500ms, timeout: 300ms}
timeline: [{at: 100ms, do: delete-pod}]
kube: {endpoint_lag: uniform(10ms..1400ms)}
matrix: [{stop: [close, drain]}]
trials: 2
`+lenient, "--seed", "1")
	lag := map[string][]int64{}
	for _, v := range run.Scenarios[0].Variants {
		if skips(t, v) {
			return
		}
		for _, trial := range v.Trials {
			pod := trial.Steps[0].Pods[0]
			lag[v.Labels["stop"]] = append(lag[v.Labels["stop"]], *pod.EndpointsNS-*pod.DeletedNS)
		}
	}
	// With this seed the lags of the two blocks are about 1000 ms and 365 ms. A busy machine may
	// make any of them longer.
	apart := func(a, b int64) bool { return max(a-b, b-a) > 310e6 }
	if c, d := lag["close"], lag["drain"]; len(c) != 2 || len(d) != 2 || !apart(c[0], c[1]) ||
		apart(c[0], d[0]) || apart(c[1], d[1]) {
		t.Errorf("lags in ns, two of each variant: %v", lag)
	}
}

// Pods are added, removed and evicted from a node while other pods serve. With a preStop delay
// nothing is lost.
func TestKernelPods(t *testing.T) {
	requireLab(t)
	t.Parallel()
	const settings = "server: {work: {sleep: 100us}}\nstop: close\n"
	t.Run("scale", func(t *testing.T) {
		trial := podTrial(t,
			settings+"kube: {pre_stop: 300ms}\n"+
				"timeline: [{at: 200ms, do: scale, replicas: 4}, "+
				"{at: 900ms, do: scale, replicas: 1}]")
		up, down := trial.Steps[0], trial.Steps[1]
		if trial.Lost != 0 || len(up.Pods) != 2 || !up.Pods[0].Started || len(down.Pods) != 3 ||
			down.Pods[0].Started || down.Pods[0].Worker != 3 {
			t.Errorf("%d lost %v; pods %+v, then %+v", trial.Lost, trial.LostByCause, up.Pods,
				down.Pods)
		}
	})
	t.Run("drain-node", func(t *testing.T) {
		trial := podTrial(t,
			settings+"workers: 4\nkube: {pre_stop: 300ms, min_available: 3}\n"+
				"timeline: [{at: 200ms, do: drain-node, target: 1}]")
		pods := trial.Steps[0].Pods
		if trial.Lost != 0 || len(pods) != 4 {
			t.Fatalf("%d lost %v; pods %+v", trial.Lost, trial.LostByCause, pods)
		}
		for i, p := range pods {
			if want := map[bool]string{false: "node-b", true: "node-a"}[i >= 2]; p.Node != want ||
				p.Started != (i >= 2) {
				t.Errorf("pod %d: %+v, want it on %s", i, p, want)
			}
		}
		// Three of four pods must be available, so the second pod is evicted only when the
		// successor of the first is ready.
		if *pods[1].DeletedNS < *pods[2].ReadyNS {
			t.Errorf("evicted at %d, while the other's successor was ready at %d",
				*pods[1].DeletedNS, *pods[2].ReadyNS)
		}
	})
	t.Run("cold-start", func(t *testing.T) {
		trial := podTrial(t,
			"server: {work: {sleep: 100us}, cold: 2ms}\nkube: {endpoint_lag: 300ms}\n"+
				"timeline: [{at: 200ms, do: cold-start, for: 200ms}]")
		cold, pod := trial.Steps[0].ColdStart, trial.Steps[0].Pods[0]
		if trial.Lost != 0 || cold.FirstServedNS == nil || *cold.FirstServedNS < 300e6 ||
			*pod.RulesNS-*pod.ListenNS < 300e6 {
			t.Errorf("%d lost; first served after %v ns; pod %+v", trial.Lost, cold.FirstServedNS,
				pod)
		}
	})
	// Attempts on kept connections to a silent node time out. These losses have a cause of their
	// own: only losses on new connections are attributed to stale endpoints.
	t.Run("kept connections", func(t *testing.T) {
		trial := podTrial(t,
			"server: {work: {sleep: 100us}}\nkube: {node_lag: 200ms}\n"+
				"timeline: [{at: 500ms, do: node-down, target: 1}]")
		if n := trial.LostByCause["stale_connection"]; n != 0 {
			t.Errorf("%d lost on kept connections where none is kept", n)
		}
		trial = podTrial(t,
			"load: {rate: 200/s, duration: 2500ms, timeout: 400ms, connections: reused}\n"+
				"server: {kind: http, work: {sleep: 100ms}}\n"+
				"kube: {node_lag: 200ms}\ntimeline: [{at: 500ms, do: node-down, target: 1}]")
		if n := trial.LostByCause["stale_connection"]; n < 3 {
			t.Errorf("%d lost on kept connections, want some: %v", n, trial.LostByCause)
		}
	})
}

// podTrial runs a scenario of two pods behind a Service with the given settings, and returns its
// only trial.
func podTrial(t *testing.T, settings string) *results.Trial {
	t.Helper()
	load := "load: {rate: 300/s, duration: 2500ms}\n"
	if strings.HasPrefix(settings, "load:") {
		load = ""
	}
	run := carriedOut(t, "name: pods\nabout: Pods behind a Service.\nnetwork: cluster\n"+
		"path: service\n"+load+settings+"\ntrials: 1\n"+punctual)
	v := run.Scenarios[0].Variants[0]
	if skips(t, v) {
		t.SkipNow()
	}
	return lastTrial(v)
}

// A kubelet acts on a deletion after kube.kubelet_lag, and the endpoints do not wait for it.
func TestKernelKubeletLag(t *testing.T) {
	requireLab(t)
	t.Parallel()
	const lag = 600e6 // ns
	trial := podTrial(t, "timeline: [{at: 300ms, do: delete-pod}]\nstop: close\n"+
		"kube: {kubelet_lag: 600ms}")
	pod := trial.Steps[0].Pods[0]
	if pod.DeletedNS == nil || pod.TermNS == nil || pod.EndpointsNS == nil {
		t.Fatalf("an event is missing: %+v", pod)
	}
	if late := *pod.TermNS - *pod.DeletedNS; late < lag || late > lag+1e9 {
		t.Errorf("SIGTERM came %.0f ms after the deletion, want %.0f and some", float64(late)/1e6,
			lag/1e6)
	}
	if *pod.EndpointsNS > *pod.TermNS {
		t.Errorf("the endpoints changed at %d ns, after SIGTERM at %d", *pod.EndpointsNS,
			*pod.TermNS)
	}
	if trial.Lost != 0 {
		t.Errorf("%d lost, though the rules changed before SIGTERM: %v", trial.Lost,
			trial.LostByCause)
	}
}

// The controller of a rolling update deletes an old pod kube.controller_lag after a new one is
// ready. A new pod is ready only when its kubelet has looked at its containers.
func TestKernelControllerLag(t *testing.T) {
	requireLab(t)
	t.Parallel()
	trial := podTrial(t, "timeline: [{at: 300ms, do: rolling-update}]\nstop: close\n"+
		"kube: {readiness: probe, controller_lag: 200ms, relist_period: 400ms, "+
		"container_start: 300ms}\nworkers: 1")
	removed, started := podsOf(trial.Steps[0])
	if len(removed) != 1 || len(started) != 1 {
		t.Fatalf("%d pods removed and %d started, want one each", len(removed), len(started))
	}
	began, ready, deleted := trial.Steps[0].AtNS, started[0].ReadyNS, removed[0].DeletedNS
	if ready == nil || deleted == nil {
		t.Fatalf("an event is missing: %+v, %+v", started[0], removed[0])
	}
	if took := *ready - began; took < 300e6 || took > 700e6+1e9 {
		t.Errorf("ready after %.0f ms, want 300 to 700 and at most a second", float64(took)/1e6)
	}
	if lag := *deleted - *ready; lag < 200e6 || lag > 200e6+1e9 {
		t.Errorf("deleted %.0f ms after the new pod was ready, want 200 and some", float64(lag)/1e6)
	}
}

// Inside one pod, workers replace each other as on a host, and nothing is lost. No step changes a
// pod.
func TestKernelReplaceInOnePod(t *testing.T) {
	requireLab(t)
	t.Parallel()
	for _, placement := range []string{"containers", "host-containers"} {
		trial := podTrial(t, "step: replace\ntimeline: [{at: 300ms, every: 500ms}]\nstop: drain\n"+
			"kube: {readiness: probe, placement: "+placement+"}\nworkers: 2")
		if n := len(trial.Steps); n != 5 || len(trial.Workers) != 12 {
			t.Errorf("%s: %d steps and %d workers, want 5 and 12", placement, n,
				len(trial.Workers))
		}
		if trial.Lost != 0 {
			t.Errorf("%s: %d lost: %v", placement, trial.Lost, trial.LostByCause)
		}
		for _, s := range trial.Steps {
			if s.Do != "replace" || len(s.Pods) != 0 {
				t.Errorf("%s: %s changed %d pods", placement, s.Do, len(s.Pods))
			}
		}
	}
}

// podsOf returns the pods that a step removed and started.
func podsOf(s results.Step) (removed, started []results.Pod) {
	for _, p := range s.Pods {
		if p.Started {
			started = append(started, p)
		} else {
			removed = append(removed, p)
		}
	}
	return removed, started
}
