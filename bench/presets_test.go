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
	lags                 func(results.Step) []time.Duration
}

func presetSources() []presetSource {
	const (
		idle    = ", one deletion every four seconds."
		rollout = ", in rolling updates."
		busy    = ", in rolling updates, while 100 other objects change per second."

		endpoints  = "From a pod's deletion to the change of its EndpointSlice"
		term       = "From a pod's deletion to SIGTERM"
		ready      = "From a pod's becoming ready to the change of its EndpointSlice"
		controller = "From a new pod's becoming ready to the deletion of an old one"
		rules      = "From the change of an EndpointSlice to the start of kube-proxy's sync " +
			"of the rules on the clients' host (to the commit, less 15 ms)"
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
		{"ready_lag", "idle", ready + idle, "kube-deletion", deletion, readyToEndpoints},
		{"ready_lag", "rollout", ready + rollout, "kube-rolling-update", nil, readyToEndpoints},
		{"ready_lag", "busy", ready + busy, "kube-latency", churn, readyToEndpoints},
		{"controller_lag", "rollout", controller + rollout, "kube-rolling-update", nil,
			readyToDeletion},
		{"controller_lag", "busy", controller + busy, "kube-latency", churn, readyToDeletion},
		{"rules_lag", "idle", rules + idle, "kube-deletion", deletion, toRules},
	}
}

// lagsOf returns a function that returns the lags of the pods that a step deleted or, if started is
// true, of those that it started. The bridge may receive an event of one watch before an earlier
// one of another.
func lagsOf(
	started bool, lag func(results.Pod) (from, to *int64),
) func(results.Step) []time.Duration {
	return func(s results.Step) (lags []time.Duration) {
		for _, p := range s.Pods {
			if from, to := lag(p); p.Started == started && from != nil && to != nil {
				lags = append(lags, max(0, time.Duration(*to-*from)))
			}
		}
		return lags
	}
}

var (
	toEndpoints = lagsOf(false, func(p results.Pod) (from, to *int64) {
		return p.DeletedNS, p.EndpointsNS
	})
	toTerm = lagsOf(false, func(p results.Pod) (from, to *int64) {
		return p.DeletedNS, p.TermNS
	})
	readyToEndpoints = lagsOf(true, func(p results.Pod) (from, to *int64) {
		return p.ReadyNS, p.EndpointsNS
	})
)

// syncTime is the time from the start of kube-proxy's sync to its commit. Two commits in a row are
// minSyncPeriod apart, which is a second, and that time: at least 1012 ms in the committed runs,
// and 1018 ms at the median.
const syncTime = 15 * time.Millisecond

func toRules(s results.Step) (lags []time.Duration) {
	commits := lagsOf(false, func(p results.Pod) (from, to *int64) {
		return p.EndpointsNS, p.RulesNS
	})
	for _, lag := range commits(s) {
		lags = append(lags, max(0, lag-syncTime))
	}
	return lags
}

// readyToDeletion pairs the new pods of a rolling update with the old ones, each in the order of
// events: the first new pod that is ready allows the first deletion.
func readyToDeletion(s results.Step) (lags []time.Duration) {
	var ready, deleted []int64
	for _, p := range s.Pods {
		switch {
		case p.Started && p.ReadyNS != nil:
			ready = append(ready, *p.ReadyNS)
		case !p.Started && p.DeletedNS != nil:
			deleted = append(deleted, *p.DeletedNS)
		}
	}
	slices.Sort(ready)
	slices.Sort(deleted)
	for i := range min(len(ready), len(deleted)) {
		lags = append(lags, max(0, time.Duration(deleted[i]-ready[i])))
	}
	return lags
}

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
			if version != "" && version != trial.ControlPlane {
				t.Fatalf("%s: trials by %s and by %s", s.baseline, version, trial.ControlPlane)
			}
			version = trial.ControlPlane
			for _, step := range trial.Steps {
				lags = append(lags, s.lags(step)...)
			}
		}
	}
	const intervals = 20
	if len(lags) < 2*intervals {
		t.Fatalf("%s %s: %d lags are too few", s.setting, s.name, len(lags))
	}
	slices.Sort(lags)
	var b strings.Builder
	of := "all variants"
	if s.labels != nil {
		of = results.LabelString(s.labels)
	}
	fmt.Fprintf(&b, "about: %s\n", s.about)
	fmt.Fprintf(&b, "source: \"results/baseline/%s: %d pods, %s, by %s\"\nlags: [", s.baseline,
		len(lags), of, version)
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
