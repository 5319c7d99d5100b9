package main

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"reuseport-bench/results"
	"reuseport-bench/results/stored"
	"reuseport-bench/servers/testkit"
)

// A presetSource is a set of lags in committed runs of a real Kubernetes, and the preset that is
// made of it.
type presetSource struct {
	setting, name, about string
	baseline             string // with one scenario
	labels               map[string]string
	lag                  func(results.Pod) (from, to *int64)
}

func presetSources() []presetSource {
	const (
		idle    = ", one deletion every four seconds."
		rollout = ", in rolling updates."
		busy    = ", in rolling updates, while 100 other objects change per second."

		endpoints = "From a pod's deletion to the change of its EndpointSlice"
		term      = "From a pod's deletion to SIGTERM"
	)
	deletion := map[string]string{"kube.pre_stop": "0s"}
	churn := map[string]string{"kube.churn": "100"}
	return []presetSource{
		{"endpoint_lag", "idle", endpoints + idle, "kube-deletion", deletion, toEndpoints},
		{"endpoint_lag", "rollout", endpoints + rollout, "kube-rolling-update", deletion,
			toEndpoints},
		{"endpoint_lag", "busy", endpoints + busy, "kube-latency", churn, toEndpoints},
		{"kubelet_lag", "idle", term + idle, "kube-deletion", deletion, toTerm},
		{"kubelet_lag", "rollout", term + rollout, "kube-rolling-update", deletion, toTerm},
		{"kubelet_lag", "busy", term + busy, "kube-latency", churn, toTerm},
		{"rules_lag", "idle", "From the change of an EndpointSlice to the commit of kube-proxy's " +
			"rules on the clients' host" + idle, "kube-deletion", deletion, toRules},
	}
}

func toEndpoints(p results.Pod) (from, to *int64) { return p.DeletedNS, p.EndpointsNS }
func toTerm(p results.Pod) (from, to *int64)      { return p.DeletedNS, p.TermNS }
func toRules(p results.Pod) (from, to *int64)     { return p.EndpointsNS, p.RulesNS }

// The presets in scenarios/measured are those of the committed runs; -update (make generate)
// rewrites them.
func TestPresets(t *testing.T) {
	for _, s := range presetSources() {
		testkit.Golden(t, "../../scenarios/measured/"+s.setting+"/"+s.name+".yaml", s.text(t))
	}
}

// text returns the preset's file: quantiles at equal distances, from the minimum to the maximum.
func (s presetSource) text(t *testing.T) string {
	t.Helper()
	run, err := stored.Load(filepath.Join("../results/baseline", s.baseline))
	if err != nil {
		t.Fatal(err)
	}
	var lags []time.Duration
	version := ""
	for _, v := range run.Scenarios[0].Variants {
		if !results.Includes(v.Labels, s.labels) {
			continue
		}
		for _, trial := range v.ValidTrials() {
			version = trial.ControlPlane
			for _, step := range trial.Steps {
				for _, p := range step.Pods {
					// The bridge may receive an event of one watch before an earlier one of
					// another.
					if from, to := s.lag(p); !p.Started && from != nil && to != nil {
						lags = append(lags, max(0, time.Duration(*to-*from)))
					}
				}
			}
		}
	}
	const intervals = 20
	if len(lags) < 2*intervals {
		t.Fatalf("%s %s: %d lags are too few", s.setting, s.name, len(lags))
	}
	slices.Sort(lags)
	var b strings.Builder
	fmt.Fprintf(&b, "about: %s\n", s.about)
	fmt.Fprintf(&b, "source: \"results/baseline/%s: %d deletions of the variants %s by %s\"\n"+
		"lags: [", s.baseline, len(lags), results.LabelString(s.labels), version)
	for i := range intervals + 1 {
		at := float64(i) / intervals * float64(len(lags)-1)
		below := lags[int(at)]
		above := lags[min(int(at)+1, len(lags)-1)]
		lag := below + time.Duration(float64(above-below)*(at-math.Floor(at)))
		switch i {
		case 0:
		case intervals / 2:
			b.WriteString(",\n  ")
		default:
			b.WriteString(", ")
		}
		b.WriteString(lag.Round(100 * time.Microsecond).String())
	}
	b.WriteString("]\n")
	return b.String()
}
