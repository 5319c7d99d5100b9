//go:build kube

// The tests of this file need the parts of Kubernetes: 'make kube-deps kube'. 'make test-kube' runs
// them.
package main

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"reuseport-bench/bench/internal/kubernetes"
)

// requireKubernetes is requireLab for a test with a real Kubernetes. It tells the program where the
// parts of Kubernetes are.
func requireKubernetes(t *testing.T) {
	t.Helper()
	requireLab(t)
	parts, err := filepath.Abs("../bin/kube")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(kubernetes.PartsVariable, parts)
}

// Every step on pods is carried out by a real Kubernetes. The books of each trial balance, the
// losses are those that the instants of its events predict, and a preStop delay prevents them.
func TestKubernetesSteps(t *testing.T) {
	requireKubernetes(t)
	run := carriedOut(t, `
name: kube-steps
about: Are the steps on pods carried out?
network: cluster
path: service
workers: 2
server: {kind: loop, work: {sleep: 100us}}
stop: close
kube: {control: real}
load: {rate: 300/s, duration: 12s, timeout: 900ms}
timeline:
  - {at: 300ms, do: rolling-update}
  - {at: 400ms, do: scale, replicas: 3}
matrix:
  - kube.pre_stop: [0s, 2s]
  - {kube.proxy_mode: [iptables], kube.pre_stop: [0s]}
trials: 1
min_valid: 1
`)
	for _, v := range run.Scenarios[0].Variants {
		tr := lastTrial(v)
		if len(tr.Steps) != 2 || !strings.HasPrefix(tr.ControlPlane, "Kubernetes v") {
			t.Fatalf("%v: control plane %q, %d steps", v.Labels, tr.ControlPlane, len(tr.Steps))
		}
		update, scale := tr.Steps[0], tr.Steps[1]
		removed, started := podsOf(update)
		if len(removed) != 2 || len(started) != 2 {
			t.Errorf("%v: the update removed %d pods and started %d, want 2 and 2", v.Labels,
				len(removed), len(started))
		}
		if _, started := podsOf(scale); len(started) != 1 {
			t.Errorf("%v: the scale started %d pods, want 1", v.Labels, len(started))
		}
		delayed := v.Labels["kube.pre_stop"] == "2s"
		for _, p := range removed {
			if p.DeletedNS == nil || p.TermNS == nil || p.ClosedNS == nil || p.EndpointsNS == nil ||
				p.RulesNS == nil || len(p.NodeRulesNS) != 2 {
				t.Fatalf("%v: an event of a removed pod is missing: %+v", v.Labels, p)
			}
			// A preStop hook begins once the kubelet knows of the deletion.
			if late := *p.TermNS - *p.DeletedNS; delayed && late < 1.9e9 {
				t.Errorf("SIGTERM came %.0f ms after the deletion, want 2 s", float64(late)/1e6)
			}
		}
		predicted := update.PredictedLost
		switch {
		case delayed && tr.Lost > 0:
			t.Errorf("%d lost with preStop: %v", tr.Lost, tr.LostByCause)
		case delayed:
		case predicted == nil:
			t.Errorf("nothing is predicted: %s", update.Unpredicted)
		// Which of two pods an attempt gets is random: a standard deviation of at most half the
		// square root of the attempts of a second. An attempt may be sent late.
		case math.Abs(float64(tr.Lost)-*predicted) > 4.5*math.Sqrt(300)/2+30:
			t.Errorf("%d lost, predicted %.0f; by cause %v", tr.Lost, *predicted, tr.LostByCause)
		}
	}
}

// A node of a real Kubernetes crashes. Its pods are endpoints until the node controller has missed
// it for the grace period. The next trial has both nodes again.
func TestKubernetesNodeDown(t *testing.T) {
	requireKubernetes(t)
	run := carriedOut(t, `
name: kube-node-down
about: Is a crash of a node noticed?
network: cluster
path: service
workers: 2
server: {kind: loop, work: {sleep: 100us}}
kube: {control: real, node_lag: 8s}
load: {rate: 200/s, duration: 16s, timeout: 900ms}
timeline: [{at: 300ms, do: node-down, target: 1}]
trials: 2
min_valid: 2
`)
	for _, tr := range run.Scenarios[0].Variants[0].ValidTrials() {
		step := tr.Steps[0]
		if step.RulesNS == nil {
			t.Fatalf("the rules did not follow: %+v", step)
		}
		// The last report may be as old as the interval at which the kubelet renews its lease.
		if after := float64(*step.RulesNS-*step.StopNS) / 1e9; after < 4 || after > 14 {
			t.Errorf("the rules followed after %.1f s, want about 8", after)
		}
		if tr.LostByCause["stale_endpoint"] == 0 {
			t.Errorf("nothing was lost to the dead pod: %v", tr.LostByCause)
		}
	}
}

// Workers replace each other inside one pod of a real Kubernetes, in a network of its own and in
// that of its node, and nothing is lost.
func TestKubernetesReplaceInOnePod(t *testing.T) {
	requireKubernetes(t)
	run := carriedOut(t, `
name: kube-one-pod
about: Do workers replace each other in a pod?
network: cluster
path: service
workers: 2
server: {kind: loop, work: {sleep: 100us}}
stop: drain
kube: {control: real}
load: {rate: 300/s, duration: 3200ms, timeout: 900ms}
timeline: [{at: 300ms, every: 500ms, do: replace}]
matrix:
  - kube.placement: [containers, host-containers]
trials: 1
min_valid: 1
`)
	for _, v := range run.Scenarios[0].Variants {
		tr := lastTrial(v)
		if len(tr.Steps) != 6 || len(tr.Workers) != 14 ||
			!strings.HasPrefix(tr.ControlPlane, "Kubernetes v") {
			t.Fatalf("%v: control plane %q, %d steps, %d workers", v.Labels, tr.ControlPlane,
				len(tr.Steps), len(tr.Workers))
		}
		if tr.Lost > 0 {
			t.Errorf("%v: %d lost: %v", v.Labels, tr.Lost, tr.LostByCause)
		}
		for _, w := range tr.Workers[2:] {
			if w.Served == 0 {
				t.Errorf("%v: worker %d served nothing", v.Labels, w.ID)
			}
		}
	}
}

// A server of the user's own runs in pods of a real Kubernetes. The kubelet's SIGTERM reaches it as
// its own signal, the witness balances the books, and a preStop delay prevents the losses.
func TestKubernetesCommand(t *testing.T) {
	requireKubernetes(t)
	installed(t, "/usr/bin/python3")
	const rate = 200
	in := strings.NewReplacer("workers: 1", "network: cluster\npath: service\nworkers: 2")
	run := carriedOut(t, "name: kube-command"+in.Replace(python)+`  ready: {http: /}
  stop: {signal: INT}
kube: {control: real, probe_period: 1s}
load: {rate: 200/s, duration: 12s, timeout: 900ms}
timeline: [{at: 300ms, do: rolling-update}]
matrix:
  - kube.pre_stop: [0s, 2s]
trials: 1
min_valid: 1
`)
	for _, v := range run.Scenarios[0].Variants {
		tr := lastTrial(v)
		t.Logf("%v: %d served, lost by cause %v, %+v, %v", v.Labels, tr.Served, tr.LostByCause,
			tr.Witness, tr.InvalidReasons)
		if tr.Residual != 0 || tr.Witness.ClientOnly != "" {
			t.Errorf("%v: residual %d, %+v", v.Labels, tr.Residual, tr.Witness)
		}
		for _, e := range tr.Equalities {
			if e.Kernel != e.Ledger {
				t.Errorf("%v: %+v", v.Labels, e)
			}
		}
		for _, w := range tr.Workers {
			if w.Served == 0 {
				t.Errorf("%v: a pod served nothing: %+v", v.Labels, w)
			}
		}
		update := tr.Steps[0]
		removed, started := podsOf(update)
		if len(removed) != 2 || len(started) != 2 {
			t.Fatalf("%v: the update removed %d pods and started %d, want 2 and 2", v.Labels,
				len(removed), len(started))
		}
		delayed := v.Labels["kube.pre_stop"] == "2s"
		for _, p := range removed {
			if p.DeletedNS == nil || p.TermNS == nil || p.ClosedNS == nil || p.RulesNS == nil {
				t.Fatalf("%v: an event of a removed pod is missing: %+v", v.Labels, p)
			}
			if late := *p.TermNS - *p.DeletedNS; delayed && late < 1.9e9 {
				t.Errorf("SIGTERM came %.0f ms after the deletion, want 2 s", float64(late)/1e6)
			}
			// Python ends at once.
			if after := float64(*p.ClosedNS-*p.TermNS) / 1e6; after < 0 || after > 500 {
				t.Errorf("%v: the listener closed %.0f ms after SIGTERM", v.Labels, after)
			}
		}
		predicted := update.PredictedLost
		switch {
		case delayed && tr.Lost > 0:
			t.Errorf("%d lost with preStop: %v", tr.Lost, tr.LostByCause)
		case delayed:
		case predicted == nil:
			t.Errorf("nothing is predicted: %s", update.Unpredicted)
		case math.Abs(float64(tr.Lost)-*predicted) > 4.5*math.Sqrt(rate)/2+30:
			t.Errorf("%d lost, predicted %.0f; by cause %v", tr.Lost, *predicted, tr.LostByCause)
		}
	}
}
