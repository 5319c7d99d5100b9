package main

import (
	"math"
	"strings"
	"testing"

	"reuseport-bench/results"
	"reuseport-bench/servers/testkit"
)

// TestKernelCommandInPods checks a rolling update of a server of the user's own in pods. SIGTERM
// ends the server at once. Until the endpoints follow, the rules send clients to a pod where no
// process listens. A preStop delay that is longer than that prevents the losses.
func TestKernelCommandInPods(t *testing.T) {
	requireLab(t)
	installed(t, "/usr/bin/python3")
	t.Parallel()
	const rate, lag = 200.0, 0.3
	in := strings.NewReplacer("workers: 1", "network: cluster\npath: service\nworkers: 2")
	own := "name: own" + in.Replace(python) + "  ready: {http: /}\n" +
		"load: {rate: 200/s, duration: 5s, timeout: 900ms}\n" +
		"timeline: [{at: 200ms, do: rolling-update}]\ntrials: 1\n" + lenient
	trial := func(t *testing.T, user user, kube string) *results.Trial {
		p := newProgram(t)
		if user.credential != nil {
			p.actAs(t, user.credential)
		}
		run, stderr, status := p.run(t, own+kube)
		if status != exitOK && status != exitNotMeasured || run == nil {
			t.Fatalf("exit status %d:\n%s", status, stderr)
		}
		v := run.Scenarios[0].Variants[0]
		if v.SkippedReason != nil {
			testkit.Skip(t, "%s", *v.SkippedReason)
		}
		tr := lastTrial(v)
		t.Logf("%d served, lost by cause %v, %+v, %v", tr.Served, tr.LostByCause, tr.Witness,
			tr.InvalidReasons)
		if tr.Residual != 0 || tr.Witness.ClientOnly != "" {
			t.Errorf("residual %d, %+v", tr.Residual, tr.Witness)
		}
		for _, e := range tr.Equalities {
			if e.Kernel != e.Ledger {
				t.Errorf("%+v", e)
			}
		}
		return tr
	}
	for _, user := range users(t) {
		t.Run(user.name, func(t *testing.T) {
			t.Parallel()
			tr := trial(t, user, "kube: {probe_period: 20ms, endpoint_lag: 300ms}\n")
			step := tr.Steps[0]
			if step.PredictedLost == nil || len(step.Pods) != 4 {
				t.Fatalf("%+v", step)
			}
			dead := 0.0 // the time during which a deleted pod was in the rules
			for _, pod := range step.Pods {
				if pod.Started {
					continue
				}
				if pod.RulesNS == nil || pod.TermNS == nil || pod.ClosedNS == nil {
					t.Fatalf("a pod was not deleted in time: %+v", pod)
				}
				late := float64(*pod.RulesNS-*pod.ClosedNS) / 1e9
				if late < lag-0.05 || late > lag+1 {
					t.Errorf("the rules followed %.3f s after the close, want %v and some", late,
						lag)
				}
				dead += late
			}
			// While only one of two endpoints is dead, half of the connections are lost, and while
			// both are, all are. So the two pods lose as many as if each were dead alone.
			predicted := *step.PredictedLost
			if want := rate * dead / 2; predicted < 0.9*want || predicted > 1.1*want {
				t.Errorf("predicted %.0f, want about %.0f", predicted, want)
			}
			// Of n connections sent while one pod is dead, each is lost with probability 1/2: a
			// standard deviation of √n/2, where n is at most twice the prediction. Each pod may
			// also lose one request in hand, and the close is known to a few milliseconds.
			lost := float64(tr.LostByCause["stale_endpoint"])
			if most := 4.5*math.Sqrt(predicted/2) + 4; math.Abs(lost-predicted) > most {
				t.Errorf("%.0f lost, predicted %.0f ± %.0f: %v", lost, predicted, most,
					tr.LostByCause)
			}
			lostOnlyBy(t, user.name, tr, "stale_endpoint", resetAtClose, closedByWorker,
				workerCrash, resetHalfOpen)
			for _, w := range tr.Workers {
				if w.Name == "" || w.Served == 0 {
					t.Errorf("a pod served nothing: %+v", w)
				}
			}
		})
	}
	t.Run("a preStop delay", func(t *testing.T) {
		t.Parallel()
		tr := trial(t, user{}, "kube: {probe_period: 20ms, endpoint_lag: 100ms, pre_stop: 900ms}\n")
		lostOnlyBy(t, "with a preStop delay", tr, "untranslated")
	})
}
