package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/results"
	"reuseport-bench/results/cause"
	"reuseport-bench/results/metrics"
)

const httpScenario = `
name: http
about: Every way of stopping net/http, in short.
server: {kind: http, work: {sleep: 500us}}
load: {rate: 1000/s, duration: 1190ms}
timeline: [{at: 200ms, every: 250ms, do: replace}]
matrix:
  - {sockets: [reuseport], stop: [kill, close, drain, migrate, shutdown]}
  - {sockets: [shared], stop: [kill, handoff, shutdown]}
trials: 1
` + lenient

// lostOnlyBy checks that every lost attempt in a trial has one of these causes.
func lostOnlyBy(t *testing.T, what string, tr *results.Trial, causes ...string) {
	t.Helper()
	lost := tr.Lost
	for _, c := range causes {
		lost -= tr.LostByCause[c]
	}
	if lost != 0 {
		t.Errorf("%s: lost by cause %v, allowed are %v: %+v", what, tr.LostByCause, causes,
			tr.Losses)
	}
}

func TestKernelHTTP(t *testing.T) {
	requireLab(t)
	t.Parallel()
	run := carriedOut(t, httpScenario)
	allowed := map[string][]string{
		"reuseport kill": {resetAtClose, resetHalfOpen, workerCrash}, "shared kill": {workerCrash},
		"reuseport close":   {resetAtClose, resetHalfOpen},
		"reuseport drain":   {resetAtClose, resetHalfOpen},
		"reuseport migrate": {resetAtClose, resetHalfOpen}, "shared handoff": {},
		"reuseport shutdown": {resetAtClose, resetHalfOpen, closedByWorker},
		"shared shutdown":    {closedByWorker},
	}
	for _, v := range run.Scenarios[0].Variants {
		what := v.Labels["sockets"] + " " + v.Labels["stop"]
		for _, tr := range v.Trials {
			t.Logf("%s: %v", what, tr.LostByCause)
			lostOnlyBy(t, what, tr, allowed[what]...)
			if tr.Served == 0 || len(tr.Steps) != 4 || len(tr.Workers) != 10 {
				t.Errorf("%s: %d served, %d steps, %d workers; want 4 steps and 10 workers", what,
					tr.Served, len(tr.Steps), len(tr.Workers))
			}
		}
	}
}

// A stopped worker announces the close of a kept connection in its next response, so no request is
// in flight when it closes the connection. http.Server.Shutdown, in contrast, closes idle
// connections at once.
func TestKernelKeepAlive(t *testing.T) {
	requireLab(t)
	t.Parallel()
	run := carriedOut(t, `
name: keep-alive
about: Workers with connections that are kept alive.
server: {work: {sleep: 500us}}
load: {rate: 1000/s, duration: 1190ms, connections: reused}
timeline: [{at: 200ms, every: 250ms, do: replace}]
matrix:
  - {server.kind: [loop, http], sockets: [reuseport], stop: [close, drain]}
  - {server.kind: [loop, http], sockets: [shared], stop: [handoff]}
  - {server.kind: [http], sockets: [shared], stop: [shutdown]}
trials: 1
`+lenient)
	for _, v := range run.Scenarios[0].Variants {
		for _, tr := range v.Trials {
			what := v.Labels["server.kind"] + " " + v.Labels["sockets"] + " " + v.Labels["stop"]
			t.Logf("%s: %v, %d connections", what, tr.LostByCause, tr.Kernel["TcpActiveOpens"])
			allowed := []string{"reset_at_close", "reset_half_open"}
			if v.Labels["stop"] == "shutdown" {
				allowed = append(allowed, "closed_by_worker")
			}
			lostOnlyBy(t, what, tr, allowed...)
			if tr.Kernel["TcpActiveOpens"] > tr.Attempts/2 {
				t.Errorf("%s: %d connections for %d attempts; they are not kept alive", what,
					tr.Kernel["TcpActiveOpens"], tr.Attempts)
			}
		}
	}
}

func TestKernelInjectedResetsHTTP(t *testing.T) {
	requireLab(t)
	const k = 17
	run := carriedOut(t, fmt.Sprintf(`
name: resets
about: A net/http worker that answers some requests with a reset.
server: {kind: http, fault: {resets: %d}}
load: {rate: 1000/s, duration: 500ms}
trials: 1
`, k)+lenient)
	if tr := run.Scenarios[0].Variants[0].Trials[0]; tr.Lost != k ||
		tr.LostByCause["closed_by_worker"] != k || tr.Kernel["TcpOutRsts"] != k {
		t.Errorf("lost %d, by cause %v, TcpOutRsts %d; want %d", tr.Lost, tr.LostByCause,
			tr.Kernel["TcpOutRsts"], k)
	}
}

// If only one process at a time can bind the address, no socket listens while the process is being
// replaced, and connections are refused.
func TestKernelBindAfterClose(t *testing.T) {
	requireLab(t)
	run := carriedOut(t, `
name: alone
about: One process after the other at one address.
workers: 1
load: {rate: 2000/s, duration: 1s}
timeline: [{at: 200ms, every: 200ms, do: replace}]
matrix:
  - {server.kind: [loop, http], sockets: [exclusive], stop: [bind-after-close]}
trials: 1
`+lenient)
	for _, v := range run.Scenarios[0].Variants {
		tr := v.Trials[0]
		lostOnlyBy(t, v.Labels["server.kind"], tr, "refused", "reset_at_close", "reset_half_open",
			"syn_timeout")
		if tr.LostByCause["refused"] == 0 || len(tr.Steps) != 4 {
			t.Errorf("%s: %d refused in %d steps; want some in each of 4", v.Labels["server.kind"],
				tr.LostByCause["refused"], len(tr.Steps))
		}
		for i, s := range tr.Steps {
			// The new worker can bind as soon as the old worker's close(2) has started. That is
			// after the stop, but perhaps before the old worker reports the close.
			if s.ReadyNS == nil || s.ClosedNS == nil || *s.ReadyNS < *s.StopNS {
				t.Errorf("%s, step %d: the new worker was ready at %v, before the old one was "+
					"stopped at %v", v.Labels["server.kind"], i, s.ReadyNS, s.StopNS)
			}
		}
		livesFollowSteps(t, tr)
		lossesInBins(t, tr)
	}
}

// livesFollowSteps checks the instants of the workers of a trial in which each step replaced the
// only worker.
func livesFollowSteps(t *testing.T, tr *results.Trial) {
	t.Helper()
	const slack = int64(50 * time.Microsecond) // between the clocks of two processes
	if len(tr.Workers) != len(tr.Steps)+1 {
		t.Fatalf("%d workers in %d steps", len(tr.Workers), len(tr.Steps))
	}
	for i, w := range tr.Workers {
		var all []int64
		for _, at := range []*int64{w.StartedNS, w.ReadyNS, w.StopNS, w.ClosedNS, w.GoneNS} {
			if at == nil {
				t.Fatalf("worker %d: an instant is unknown: %+v", i, w)
			}
			if n := len(all); n > 0 && *at < all[n-1]-slack {
				t.Errorf("worker %d: instant %d is %d, after %v", i, n, *at, all)
			}
			all = append(all, *at)
		}
		if i > 0 && all[1] != *tr.Steps[i-1].ReadyNS {
			t.Errorf("worker %d was ready at %d, and step %d was at %d", i, all[1], i-1,
				*tr.Steps[i-1].ReadyNS)
		}
		if i == len(tr.Steps) {
			continue
		}
		if s := tr.Steps[i]; all[2] < *s.StopNS || all[3] != *s.ClosedNS {
			t.Errorf("worker %d: stopped at %d, closed at %d; its step: %d, %d", i, all[2], all[3],
				*s.StopNS, *s.ClosedNS)
		}
	}
}

// lossesInBins checks that the losses around the stops are the listed ones of the steps, that the
// windows have all of them, and that some refused attempts were due after the stop.
func lossesInBins(t *testing.T, tr *results.Trial) {
	t.Helper()
	want := results.NewAroundStops()
	want.Stops = int64(len(tr.Steps))
	for _, l := range tr.Losses {
		if l.Step == nil {
			continue
		}
		stop := *tr.Steps[*l.Step].StopNS
		want.Add(l.Cause, time.Duration(l.ScheduledNS-stop))
	}
	if diff := cmp.Diff(tr.AroundStops, want); diff != "" || tr.LossesOmitted > 0 {
		t.Errorf("around the stops, and listed, of which %d are omitted (-got +want):\n%s",
			tr.LossesOmitted, diff)
	}
	after := tr.AroundStops.After[cause.Refused]
	for bin, n := range tr.AroundStops.Lost[cause.Refused] {
		if bin >= 0 {
			after += n
		}
	}
	if after == 0 || tr.Windows.Lost.Total() != tr.Lost {
		t.Errorf("%d refused were due after a stop, and %d of %d losses are in windows: %+v", after,
			tr.Windows.Lost.Total(), tr.Lost, tr.AroundStops)
	}
}

// A crash removes one worker, and a supervisor starts another in its place.
func TestKernelCrash(t *testing.T) {
	requireLab(t)
	run := carriedOut(t, `
name: crash
about: One of three workers, killed and started again.
workers: 3
load: {rate: 1500/s, duration: 1s}
timeline: [{at: 200ms, every: 300ms, do: crash, for: 100ms, target: 1}]
matrix: [{sockets: [shared, reuseport]}]
trials: 1
`+lenient)
	for _, v := range run.Scenarios[0].Variants {
		tr := v.Trials[0]
		if len(tr.Steps) != 3 || len(tr.Workers) != 6 {
			t.Fatalf("%s: %d steps, %d workers; want 3 and 6", v.Labels["sockets"], len(tr.Steps),
				len(tr.Workers))
		}
		for i, s := range tr.Steps {
			if s.ReadyNS == nil || *s.ReadyNS-*s.StopNS < int64(100*time.Millisecond) {
				t.Errorf("%s, step %d: ready %v, killed %v; want 100 ms between",
					v.Labels["sockets"], i, s.ReadyNS, s.StopNS)
			}
		}
		for _, w := range tr.Workers[3:] {
			if w.Accepted == 0 && w.ID != 5 { // worker 5, the last, may have started too late
				t.Errorf("%s: worker %d, started after a crash, got nothing", v.Labels["sockets"],
					w.ID)
			}
		}
	}
}

func TestKernelSteps(t *testing.T) {
	requireLab(t)
	t.Parallel()
	run := carriedOut(t, `
name: steps
about: Every step that is for some workers only.
workers: 3
server: {work: {sleep: 200us}}
load: {rate: 1000/s, duration: 1500ms}
timeline:
  - {at: 200ms, do: add}
  - {at: 400ms, do: remove, target: 1}
  - {at: 600ms, do: kill, target: 2}
  - {at: 800ms, do: stall, target: 0, for: 100ms}
  - {at: 1100ms, do: roll}
matrix:
  - {sockets: [reuseport], stop: [drain]}
  - {sockets: [shared], stop: [handoff]}
trials: 1
`+lenient)
	for _, v := range run.Scenarios[0].Variants {
		for _, metric := range []string{metrics.Takeover, metrics.LostPerRestart} {
			if _, ok := v.Summary[metric]; !ok {
				t.Errorf("%v has no %s", v.Labels, metric)
			}
		}
	}
	for label, list := range trials(run, "stop") {
		tr := list[0]
		lostOnlyBy(t, label, tr, "reset_at_close", "reset_half_open", "worker_crash")
		// The first workers are 0, 1 and 2. The steps add worker 3, remove 1, kill 3, stall 0, and
		// replace 0 and 2 by 4 and 5.
		var got []string
		for _, s := range tr.Steps {
			got = append(got, string(s.Do)+" "+s.Target)
		}
		want := []string{"add worker 3", "remove worker 1", "kill worker 3", "stall worker 0",
			"roll generation 0"}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("%s: steps %v, want %v", label, got, want)
		}
		if len(tr.Workers) != 6 || tr.Workers[3].Generation != 0 || tr.Workers[5].Generation != 1 {
			t.Errorf("%s: workers %+v", label, tr.Workers)
		}
		for _, w := range tr.Workers {
			if w.Served == 0 && label != "handoff" { // a shared queue may skip a worker
				t.Errorf("%s: worker %d served nothing", label, w.ID)
			}
		}
		add, remove, kill := tr.Steps[0], tr.Steps[1], tr.Steps[2]
		stall, roll := tr.Steps[3], tr.Steps[4]
		if add.StopNS != nil || add.ClosedNS != nil || add.TailNS != nil || add.ReadyNS == nil {
			t.Errorf("%s: add %+v", label, add)
		}
		for _, s := range []results.Step{remove, kill} {
			if s.ReadyNS != nil || s.StopNS == nil || s.ClosedNS == nil || s.TailNS == nil ||
				s.TakeoverNS != nil {
				t.Errorf("%s: %+v", label, s)
			}
		}
		if *remove.LostShare == 1 && *remove.GapNS > int64(100*time.Millisecond) {
			t.Errorf("%s: nobody served for %v while one worker was removed", label,
				time.Duration(*remove.GapNS))
		}
		if stalled := *stall.ReadyNS - *stall.StopNS; stalled < 100e6 {
			t.Errorf("%s: worker 0 was stopped for %v", label, time.Duration(stalled))
		}
		if roll.ReadyNS == nil || roll.ClosedNS == nil || roll.TailNS == nil ||
			*roll.ReadyNS < *roll.StopNS {
			t.Errorf("%s: roll %+v; the second new worker is ready after the first old one is "+
				"stopped", label, roll)
		}
	}
}
