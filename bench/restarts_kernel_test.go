package main

import (
	"testing"
	"time"
)

const restartScenario = `
name: restarts
about: Every way of stopping, in short.
server: {work: {sleep: 100us}}
load: {rate: 1000/s, duration: 1190ms}
timeline: [{at: 200ms, every: 250ms, do: replace}]
matrix:
  - {sockets: [reuseport], stop: [kill, close, drain, migrate]}
  - {sockets: [shared], stop: [kill, handoff]}
trials: 1
gates: [{when: {}, expect: residual == 0}]
` + lenient

func TestKernelRestartsBalance(t *testing.T) {
	requireLab(t)
	t.Parallel()
	run := carriedOut(t, restartScenario)
	for _, tr := range trials(run, "stop")["handoff"] {
		if tr.LostByCause["reset_at_close"] != 0 || len(tr.Steps) != 4 {
			t.Errorf("handoff: %d reset at close in %d steps", tr.LostByCause["reset_at_close"],
				len(tr.Steps))
		}
	}
	for label, list := range trials(run, "stop") {
		for _, tr := range list {
			if n := tr.LostSentAfterClose; n != nil && *n != 0 {
				t.Errorf("%s: %d attempts were lost that were sent after the close: %+v", label, *n,
					tr.Losses)
			}
			if tr.Kernel["TcpActiveOpens"] != tr.Attempts-tr.LostByCause["client"] {
				t.Errorf("%s: the kernel opened %d connections for %d attempts", label,
					tr.Kernel["TcpActiveOpens"], tr.Attempts)
			}
		}
	}
}

func TestKernelInjectedResets(t *testing.T) {
	requireLab(t)
	const k = 17
	run := carriedOut(t, `
name: resets
about: A worker that answers 17 requests with a reset.
server: {work: {sleep: 50us}, fault: {resets: 17}}
load: {rate: 1000/s, duration: 500ms}
matrix: [{sockets: [shared, reuseport]}]
trials: 1
`+lenient)
	for label, list := range trials(run, "sockets") {
		for _, tr := range list {
			if tr.LostByCause["closed_by_worker"] != k || tr.Lost != k ||
				tr.Evidence.Worker+tr.Evidence.Kernel != k || tr.Kernel["TcpOutRsts"] != k {
				t.Errorf("%s: %d lost, by cause %v, evidence %+v, TcpOutRsts %d; want %d of each",
					label, tr.Lost, tr.LostByCause, tr.Evidence, tr.Kernel["TcpOutRsts"], k)
			}
		}
	}
}

func TestKernelInjectedStall(t *testing.T) {
	requireLab(t)
	run := carriedOut(t, `
name: stalls
about: Every worker is stopped for 200 ms.
server: {work: {sleep: 50us}}
load: {rate: 1000/s, duration: 1s}
timeline: [{at: 300ms, do: stall, for: 200ms}]
matrix: [{sockets: [shared, reuseport]}]
trials: 1
`+lenient)
	for label, list := range trials(run, "sockets") {
		s := list[0].Steps[0]
		if s.StallNS == nil || s.ReadyNS == nil || s.StopNS == nil {
			t.Fatalf("%s: step %+v", label, s)
		}
		// The workers are stopped from the signal until they continue, for at least the 200 ms of
		// the step. The measured stall begins with the first attempt that meets the stopped
		// workers, up to one interval after the signal. The rest of the tolerance allows for a busy
		// machine.
		stopped, stall := *s.ReadyNS-*s.StopNS, *s.StallNS
		if stopped < 200e6 || stall < stopped-*s.ResolutionNS-2e6 || stall > stopped+400e6 {
			t.Errorf("%s: stall %v for workers stopped %v", label, time.Duration(stall),
				time.Duration(stopped))
		}
	}
}
