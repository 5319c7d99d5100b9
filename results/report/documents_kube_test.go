package report

import (
	"fmt"
	"slices"

	"reuseport-bench/results"
	"reuseport-bench/results/metrics"
	"reuseport-bench/results/summary"
	"reuseport-bench/results/unit"
)

// The tables of docs/kubernetes-real.md.

// deletions returns the pods that the steps of a variant's valid trials deleted.
func deletions(v *results.Variant) (all []results.Pod) {
	for _, t := range v.ValidTrials() {
		for _, s := range t.Steps {
			for _, p := range s.Pods {
				if !p.Started && p.DeletedNS != nil {
					all = append(all, p)
				}
			}
		}
	}
	return all
}

// lagCell returns a column with the minimum, the median and the maximum of the time from a pod's
// deletion to an event.
func lagCell(head string, event func(results.Pod) *int64) documentColumn {
	return documentColumn{head: head, text: func(v *results.Variant) string {
		var lags []int64
		for _, p := range deletions(v) {
			if at := event(p); at != nil {
				// The bridge may receive an event of one watch before an earlier one of another.
				lags = append(lags, max(0, *at-*p.DeletedNS))
			}
		}
		if len(lags) == 0 {
			return missing
		}
		slices.Sort(lags)
		ms := func(ns int64) string { return fmt.Sprintf("%.0f", float64(ns)/1e6) }
		return ms(lags[0]) + " / " + ms(lags[len(lags)/2]) + " / " + ms(lags[len(lags)-1])
	}}
}

func kubeLags() documentTable {
	return documentTable{
		heads: []string{"pods are deleted"},
		rows: slices.Concat(
			rowsOf("kube-deletion",
				"one every 4 s", "kube.pre_stop=0s",
				"one every 4 s, preStop 2 s", "kube.pre_stop=2s"),
			rowsOf("kube-rolling-update",
				"in rolling updates, no probe", "kube.readiness=started",
				"in rolling updates, with a probe", "kube.readiness=probe kube.pre_stop=0s"),
			rowsOf("kube-latency",
				"the same, 100 other changes per second", "kube.churn=100"),
		),
		columns: []documentColumn{
			{head: "deletions", text: func(v *results.Variant) string {
				return fmt.Sprint(len(deletions(v)))
			}},
			lagCell("endpoints [ms]", func(p results.Pod) *int64 { return p.EndpointsNS }),
			lagCell("SIGTERM [ms]", func(p results.Pod) *int64 { return p.TermNS }),
			{head: "SIGTERM first", text: func(v *results.Variant) string {
				first := 0
				for _, p := range deletions(v) {
					if p.TermNS != nil && p.EndpointsNS != nil && *p.TermNS < *p.EndpointsNS {
						first++
					}
				}
				return fmt.Sprint(first)
			}},
			lagCell("last connection [ms]", func(p results.Pod) *int64 { return p.LastAcceptNS }),
			lagCell("rules, clients [ms]", func(p results.Pod) *int64 { return p.RulesNS }),
			lagCell("rules, node A [ms]", nodeRules("node-a")),
			lagCell("rules, node B [ms]", nodeRules("node-b")),
		},
	}
}

func nodeRules(node string) func(results.Pod) *int64 {
	return func(p results.Pod) *int64 {
		if at, ok := p.NodeRulesNS[node]; ok {
			return &at
		}
		return nil
	}
}

// updatesCell is the number of steps that deleted pods.
var updatesCell = documentColumn{head: "steps", text: func(v *results.Variant) string {
	n := 0
	for _, t := range v.ValidTrials() {
		n += len(t.Steps)
	}
	return fmt.Sprint(n)
}}

// predictedSum is the mean of the predicted losses of a variant's steps.
var predictedSum = documentColumn{head: "predicted", text: func(v *results.Variant) string {
	sum, n := 0., 0
	for _, t := range v.ValidTrials() {
		for _, s := range t.Steps {
			if s.PredictedLost != nil {
				sum += *s.PredictedLost
			}
			n++
		}
	}
	if n == 0 {
		return missing
	}
	return unit.Number(sum / float64(n))
}}

func kubeRolling() documentTable {
	return documentTable{
		heads: []string{"setup"},
		rows: rowsOf("kube-rolling-update",
			"no readiness probe", "kube.readiness=started",
			"probe", "kube.readiness=probe kube.pre_stop=0s",
			"probe, preStop 1 s", "kube.pre_stop=1s",
			"probe, preStop 2 s", "kube.pre_stop=2s stop=close",
			"probe, preStop 2 s, drain on SIGTERM", "kube.pre_stop=2s stop=drain",
		),
		columns: []documentColumn{updatesCell, perRestartCell, predictedSum, outageCell},
	}
}

// kubeAgreement splits the updates of each control plane by the time between the moments at which
// the two new pods were ready. kube-proxy writes rules at most once a second.
func (b baselines) kubeAgreement() documentTable {
	t := documentTable{
		heads:   []string{"preStop", "second pod ready after", "control plane"},
		columns: []documentColumn{updatesCell, perRestartCell, predictedSum},
	}
	for _, hook := range []struct{ name, label string }{{"none", "0s"}, {"1 s", "1s"}} {
		for _, late := range []bool{false, true} {
			for _, control := range []string{"real", "embedded"} {
				v := &results.Variant{}
				labels := map[string]string{"kube.pre_stop": hook.label, "kube.control": control}
				for _, of := range b.variants("kube-agreement") {
					if results.Includes(of.Labels, labels) {
						v.Trials = append(v.Trials, updates(of, late)...)
					}
				}
				summary.Fill(v)
				after := map[bool]string{false: "0.5–1 s or 1.5–2 s", true: "1–1.5 s"}[late]
				t.rows = append(t.rows, documentRow{
					names: []string{hook.name, after, control}, variant: v,
				})
			}
		}
	}
	return t
}

// updates returns the valid trials of a variant, with those updates of two pods whose second new
// pod was ready in the first half of a second after a whole number of seconds since the first (if
// late is true), or in the second half. It omits an update that the end of the load cut off.
func updates(v *results.Variant, late bool) (all []*results.Trial) {
	for _, t := range v.ValidTrials() {
		some := *t
		some.Steps = nil
		for _, s := range t.Steps {
			var ready []int64
			whole := true
			for _, p := range s.Pods {
				if p.Started && p.ReadyNS != nil {
					ready = append(ready, *p.ReadyNS)
				}
				whole = whole && p.RulesNS != nil
			}
			slices.Sort(ready)
			if len(ready) == 2 && whole && ((ready[1]-ready[0])%1e9 < 5e8) == late {
				some.Steps = append(some.Steps, s)
			}
		}
		all = append(all, &some)
	}
	return all
}

func podRestart() documentTable {
	return documentTable{
		heads: []string{"what replaces the processes", "network", "stop"},
		rows: rowsOf("pod-restart",
			"`SO_REUSEPORT` inside a pod | the pod's | close",
			"kube.placement=containers stop=close",
			"`SO_REUSEPORT` inside a pod | the pod's | drain",
			"kube.placement=containers stop=drain",
			"`SO_REUSEPORT` inside a pod | the pod's | handoff",
			"kube.placement=containers stop=handoff",
			"`SO_REUSEPORT` inside a pod | the node's | close",
			"kube.placement=host-containers stop=close",
			"`SO_REUSEPORT` inside a pod | the node's | drain",
			"kube.placement=host-containers stop=drain",
			"`SO_REUSEPORT` inside a pod | the node's | handoff",
			"kube.placement=host-containers stop=handoff",
			"a rolling update | the pods' | close",
			"kube.placement=pods kube.pre_stop=0s",
			"a rolling update, preStop 2 s | the pods' | close",
			"kube.placement=pods kube.pre_stop=2s",
		),
		columns: []documentColumn{updatesCell, perRestartCell, outageCell,
			{head: "takeover", metric: metrics.Takeover}, {head: "p99", metric: metrics.ResponseP99}},
	}
}

func kubeMoves() documentTable {
	return documentTable{
		heads: []string{"change"},
		rows: slices.Concat(
			rowsOf("kube-drain",
				"drain, two pods", "workers=2 kube.pre_stop=0s",
				"drain, two pods, preStop 2 s", "workers=2 kube.pre_stop=2s",
				"drain, one pod", "workers=1 kube.pre_stop=0s",
				"drain, one pod, preStop 2 s", "workers=1 kube.pre_stop=2s",
				"drain, one pod, preStop 4 s", "workers=1 kube.pre_stop=4s"),
			rowsOf("kube-pod-move",
				"move, two pods", "workers=2 kube.pre_stop=0s",
				"move, two pods, preStop 2 s", "workers=2 kube.pre_stop=2s",
				"move, one pod", "workers=1 kube.pre_stop=0s",
				"move, one pod, preStop 2 s", "workers=1 kube.pre_stop=2s"),
			rowsOf("kube-node-down",
				"node dies, node-monitor-grace-period 8 s", "kube.node_lag=8s",
				"node dies, Kubernetes' default (50 s)", "kube.node_lag=0s"),
		),
		columns: []documentColumn{updatesCell, outageCell, perStepCell, predictedSum},
	}
}
