package main

import (
	"slices"
	"testing"

	"reuseport-bench/results"
)

// A pod behind a Service is deleted, updated or moved, or a node falls silent. Losses are
// attributed to the stale endpoint exactly while the control plane lags behind.
func TestKernelService(t *testing.T) {
	requireLab(t)
	t.Parallel()
	const lag = 600e6 // ns
	tests := []struct {
		name, settings string
		stale          bool
	}{
		{"delete-pod", "timeline: [{at: 300ms, do: delete-pod}]\nstop: close\nkube: {endpoint_lag: 600ms}", true},
		{"move-pod", "timeline: [{at: 300ms, do: move-pod}]\nstop: close\nkube: {endpoint_lag: 600ms}", true},
		{"node-down", "timeline: [{at: 300ms, do: node-down}]\nkube: {node_lag: 600ms}", true},
		{"a preStop delay", "timeline: [{at: 300ms, do: rolling-update}]\nstop: drain\nkube: {endpoint_lag: 50ms, pre_stop: 700ms}", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			trial := podTrial(t, "load: {rate: 300/s, duration: 3s, timeout: 900ms}\n"+
				"server: {work: {sleep: 100us}}\n"+test.settings)
			step := trial.Steps[0]
			if trial.ControlPlane != "embedded" || step.Endpoints != 2 || step.RulesNS == nil ||
				step.EndpointsNS == nil {
				t.Fatalf("control plane %q, step %+v", trial.ControlPlane, step)
			}
			if !test.stale {
				if trial.Lost != 0 {
					t.Errorf("%d lost: %v", trial.Lost, trial.LostByCause)
				}
				return
			}
			late := float64(*step.RulesNS - *step.StopNS)
			if late < lag || late > lag+1e9 {
				t.Errorf("the rules followed after %.0f ms, want %.0f and some", late/1e6, lag/1e6)
			}
			// 180 attempts are due in 600 ms, and one of two endpoints gets half of them, with a
			// standard deviation of 7. 30 attempts may be sent late (punctual).
			want := 300 * late / 1e9 / 2
			if stale := float64(trial.LostByCause["stale_endpoint"]); stale < want*0.5 ||
				stale > want*1.5 {
				t.Errorf("%v lost to a stale endpoint, want about %.0f; all by cause %v", stale,
					want, trial.LostByCause)
			}
			// The other losses belong to the stop: resets at the close, and timeouts of requests
			// that a silent node was serving.
			others := slices.DeleteFunc(trial.Losses, func(l results.Loss) bool {
				return l.Cause == "stale_endpoint" || l.Cause == "reset_at_close" ||
					l.Cause == "timeout" && step.Do == "node-down" && l.SentNS < *step.StopNS+100e6
			})
			if trial.LossesOmitted != 0 || len(others) > 0 {
				t.Errorf("%d losses are not listed, and %d have nothing to do with the stop at "+
					"%d ns: %+v", trial.LossesOmitted, len(others), *step.StopNS,
					others[:min(1, len(others))])
			}
			if outage := float64(*step.OutageNS); outage < 0.5*late || outage > late+200e6 {
				t.Errorf("an outage of %.0f ms, want about %.0f", outage/1e6, late/1e6)
			}
		})
	}
}

// While a Service has no endpoint, its rules reject connections. Attempts with a timeout under a
// second are lost. Others send their SYN again after a second and are then served or refused. The
// number of losses predicted from the instants of the rules agrees with the measured number.
func TestKernelNoEndpoint(t *testing.T) {
	requireLab(t)
	const rate = 500.0
	run := carriedOut(t, `
name: no-endpoint
about: The only pod is replaced.
network: cluster
path: service
workers: 1
stop: close
load: {rate: 500/s, duration: 1900ms}
timeline: [{at: 300ms, do: rolling-update}]
kube: {max_unavailable: 1, endpoint_lag: 10ms}
matrix:
  - {server.startup: [600ms], load.timeout: [3s]}
  - {server.startup: [1500ms], load.timeout: [900ms, 3s]}
trials: 1
`+punctual)
	for _, v := range run.Scenarios[0].Variants {
		t.Run(results.LabelString(v.Labels), func(t *testing.T) {
			if skips(t, v) {
				return
			}
			trial := lastTrial(v)
			step, patient := trial.Steps[0], v.Labels["load.timeout"] == "3s"
			if step.DeadNS == nil || step.PredictedLost == nil {
				t.Fatalf("nothing is predicted of %+v", step)
			}
			// The tolerance: the client's kernel sends the SYN again after 1.00 to 1.08 s, and a
			// pause of the machine adds a few losses.
			lost, predicted, late := float64(trial.Lost), *step.PredictedLost, sentLate(trial, rate)
			if lost < predicted-0.08*rate-5-late || lost > predicted+0.1*predicted+25+late {
				t.Errorf("%.0f lost %v, predicted %.0f", lost, trial.LostByCause, predicted)
			}
			window := float64(*step.DeadNS) / 1e9
			least, most := rate*window*0.95, rate*window*1.05
			if patient { // includes 0.1 s for attempts lost to the stale endpoint
				least, most = rate*max(0, window-1.08), rate*(max(0, window-1)+0.1)
			}
			if predicted < least || predicted > most {
				t.Errorf("predicted %.0f in %.3f s, want %.0f to %.0f", predicted, window, least,
					most)
			}
			for _, l := range trial.Losses {
				after := l.DoneNS - l.SentNS
				if l.Cause == "no_endpoint" && patient && (after < 1e9 || after > 1.5e9) {
					t.Errorf("lost after %d ns, want 1 s and some: %+v", after, l)
					break
				}
			}
			if late := trial.ResponseNS.Max; patient != (late > 1e9) {
				t.Errorf("the latest was served after %.3f s", float64(late)/1e9)
			}
		})
	}
}

// When a client reuses a source port, its node's conntrack entry for the earlier connection still
// routes it to the old pod, although no rule leads there. These losses are counted apart from those
// of the switch from the old rules to the new.
func TestKernelStaleConntrack(t *testing.T) {
	requireLab(t)
	t.Parallel()
	const rate, ports, teardown, lag = 300, 300, 0.2, 0.6
	trial := podTrial(t, "load: {rate: 300/s, duration: 3500ms, timeout: 400ms, ports: 300}\n"+
		"server: {work: {sleep: 100us}}\nstop: close\n"+
		"timeline: [{at: 500ms, do: delete-pod}]\n"+
		"kube: {endpoint_lag: 600ms, teardown: 200ms}")
	stale := float64(trial.LostByCause["stale_conntrack"])
	// Entries are left by half of the connections that were opened after the pod's network had been
	// torn down and before the rules changed: 60, with a standard deviation of 5.5. The source
	// ports of these are reused two or three times, after 1 to 3 s. 30 attempts may be sent late
	// (punctual).
	if once := rate * (lag - teardown) / 2; stale < once || stale > 4*once {
		t.Errorf("%v lost to old entries, want two or three times %v: %v", stale, once,
			trial.LostByCause)
	}
	if step := trial.Steps[0]; *step.OutageNS > 1200e6 ||
		step.Lost != trial.LostByCause["stale_endpoint"]+trial.LostByCause["reset_at_close"] {
		t.Errorf("the switch is blamed for %d in %d ms: %v", step.Lost, *step.OutageNS/1e6,
			trial.LostByCause)
	}
}

// Clients that resolve pods by name connect to a deleted pod as long as their caches keep its
// address: forever, until the TTL expires, or hardly at all without a cache.
func TestKernelNames(t *testing.T) {
	requireLab(t)
	t.Parallel()
	run := carriedOut(t, `
name: names
about: Pods known by name.
network: cluster
path: dns
workers: 2
server: {work: {sleep: 100us}}
load: {rate: 300/s, duration: 3500ms, timeout: 400ms}
timeline: [{at: 500ms, do: delete-pod}]
stop: close
matrix:
  - dns.cache: [none, forever]
  - {dns.cache: [ttl], dns.ttl: [1s]}
trials: 1
`+lenient)
	for _, v := range run.Scenarios[0].Variants {
		if skips(t, v) {
			return
		}
		trial := lastTrial(v)
		step := trial.Steps[0]
		t.Logf("%v: %d of %d lost %v, outage %d ms", v.Labels, trial.Lost, trial.Attempts,
			trial.LostByCause, *step.OutageNS/1e6)
		// The bounds of the outage, in ms. With "ttl", at least one of sixteen clients has the
		// deleted pod's address in its cache for a while, and for at most a second. On a busy
		// machine the name may be changed late.
		bounds := map[string][2]int64{
			"none": {0, 800}, "ttl": {300, 1800}, "forever": {2500, 3100},
		}[v.Labels["dns.cache"]]
		least, most := bounds[0], bounds[1]
		if ms := *step.OutageNS / 1e6; ms < least || ms > most {
			t.Errorf("%v: an outage of %d ms, want %d to %d", v.Labels, ms, least, most)
		}
		others := trial.Lost - trial.LostByCause["stale_endpoint"] -
			trial.LostByCause["reset_at_close"]
		if others != 0 {
			t.Errorf("%v: lost by cause %v", v.Labels, trial.LostByCause)
		}
	}
}

// Clients that connect to the address of one pod lose every attempt once that pod is gone. The
// deletion of another pod does not affect them.
func TestKernelPodAddress(t *testing.T) {
	requireLab(t)
	t.Parallel()
	for target, want := range map[string]bool{"0": true, "1": false} {
		t.Run("delete-pod of worker "+target, func(t *testing.T) {
			run := carriedOut(t, `
name: pod-address
about: One pod's own address.
network: cluster
path: pod
workers: 2
server: {work: {sleep: 100us}}
load: {rate: 300/s, duration: 2s, timeout: 400ms}
timeline: [{at: 500ms, do: delete-pod, target: `+target+`}]
stop: close
kube: {endpoint_lag: 100ms}
trials: 1
`+punctual)
			v := run.Scenarios[0].Variants[0]
			if skips(t, v) {
				return
			}
			trial := lastTrial(v)
			step := trial.Steps[0]
			if trial.ControlPlane != "embedded" || trial.Target != "198.18.10.1:8080" ||
				step.EndpointsNS == nil || step.RulesNS != nil {
				t.Errorf("control plane %q, target %s, step %+v", trial.ControlPlane, trial.Target,
					step)
			}
			if other := trial.Workers[1]; trial.Residual != 0 || other.Accepted != 0 {
				t.Errorf("residual %d; worker 1 accepted %d", trial.Residual, other.Accepted)
			}
			if q := trial.Queues; q == nil || q.Source != results.QueuesComputed ||
				len(q.Listeners) != 2 || q.Listeners[1].Max != 0 {
				t.Errorf("queues %+v, want those of two pods, the second one's empty", q)
			}
			if !want {
				if trial.Lost != 0 {
					t.Errorf("%d lost: %v", trial.Lost, trial.LostByCause)
				}
				return
			}
			// All attempts that were due after the close are lost. Those in the queue at the close
			// are reset.
			due := int64(float64(trial.Attempts) * (1 - float64(*step.ClosedNS)/2e9))
			late := 30 + int64(sentLate(trial, 300)) // attempts due before the close and sent later
			stale := trial.LostByCause["stale_endpoint"]
			atClose := trial.LostByCause["reset_at_close"]
			if stale < due-30 || stale > due+late || stale+atClose != trial.Lost || !step.Censored {
				t.Errorf("%d due after the close; lost %v, %+v", due, trial.LostByCause, step)
			}
		})
	}
}

// Workers can share a port only if they are in one network namespace and have the same user id.
func TestKernelSharing(t *testing.T) {
	requireLab(t)
	t.Parallel()
	run := carriedOut(t, `
name: sharing
about: Three workers on one node.
network: cluster
workers: 3
server: {work: {sleep: 100us}}
load: {rate: 800/s, duration: 1s}
matrix:
  - path: [pod]
    kube.placement: [pods, one-node, containers, host-network]
    kube.users: [one]
  - path: [pod]
    kube.placement: [containers, host-network, one-node]
    kube.users: [each]
  - path: [service]
    kube.placement: [containers]
    kube.users: [one]
trials: 1
`+lenient)
	for _, v := range run.Scenarios[0].Variants {
		t.Run(results.LabelString(v.Labels), func(t *testing.T) {
			if skips(t, v) {
				return
			}
			trial := lastTrial(v)
			if trial.Lost != 0 || trial.Residual != 0 || len(trial.Workers) != 3 {
				t.Fatalf("lost %v, residual %d, %d workers", trial.LostByCause, trial.Residual,
					len(trial.Workers))
			}
			network := v.Labels["kube.placement"] == "containers" ||
				v.Labels["kube.placement"] == "host-network"
			for i, w := range trial.Workers {
				// If all three share the port, each gets about a third of 800, which is 267. The
				// bounds are 7 standard deviations of 13 away. Otherwise worker 0 gets all 800.
				least, most, bind := int64(0), int64(0), ""
				switch {
				case network && v.Labels["kube.users"] == "one":
					least, most = 174, 360
				case i == 0:
					least, most = 800, 800
				case network:
					bind = "EADDRINUSE"
				}
				if w.Accepted < least || w.Accepted > most || w.BindError != bind {
					t.Errorf("worker %d accepted %d, want %d to %d; bind error %q, want %q", i,
						w.Accepted, least, most, w.BindError, bind)
				}
			}
		})
	}
}
