package report

import (
	"fmt"
	"slices"

	"reuseport-bench/results"
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

func kubeAgreement() documentTable {
	return documentTable{
		heads: []string{"preStop", "control plane"},
		rows: rowsOf("kube-agreement",
			"none | real", "kube.control=real kube.pre_stop=0s",
			"none | embedded", "kube.control=embedded kube.pre_stop=0s",
			"1 s | real", "kube.control=real kube.pre_stop=1s",
			"1 s | embedded", "kube.control=embedded kube.pre_stop=1s",
		),
		columns: []documentColumn{updatesCell, perRestartCell, predictedSum, outageCell},
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
