package main

import (
	"strings"
	"testing"

	"reuseport-bench/results"
)

// listen(2) limits a backlog to net.core.somaxconn, and a queue holds one more than that. While the
// worker is stopped, the kernel silently drops connections that find the queue full.
func TestKernelSomaxconn(t *testing.T) {
	requireLab(t)
	t.Parallel()
	run := carriedOut(t, `
name: somaxconn
about: A worker that stands still, and the backlog that the kernel lets it have.
workers: 1
load: {rate: 1000/s, duration: 700ms}
timeline: [{at: 100ms, do: stall, for: 400ms}]
server: {backlog: 4096}
matrix: [{sysctl.somaxconn: [128, 4096]}]
trials: 1
`+punctual)
	for what, tr := range byLabels(run) {
		s := tr.Steps[0]
		due := (*s.ReadyNS - *s.StopNS) / *s.ResolutionNS
		full := tr.LostByCause["accept_overflow"]
		// Tolerances, in connections: on a busy machine attempts are sent late, and the worker may
		// continue late.
		early := 10 + int64(sentLate(tr, 1000))
		late := early + 50 + max(0, *s.StallNS / *s.ResolutionNS - due)
		longest := int64(0)
		for _, l := range tr.Queues.Listeners {
			longest = max(longest, l.Max)
		}
		t.Logf("%s: %d due, longest queue %d, %v", what, due, longest, tr.LostByCause)
		if strings.Contains(what, "4096") {
			if full != 0 || longest < due-early || longest > due+late {
				t.Errorf("%s: %d of %d in the queue, %d refused", what, longest, due, full)
			}
			continue
		}
		if longest != 129 || full < due-129-early || full > due-129+late {
			t.Errorf("%s: %d of %d in the queue, want 129; %d refused", what, longest, due, full)
		}
	}
	if got := run.Environment.Sysctls["net.core.somaxconn"]; !strings.Contains(got, "128") ||
		!strings.Contains(got, "4096") {
		t.Errorf("the run has net.core.somaxconn=%q", got)
	}
}

// If the accept queue is full when the last ACK of a handshake arrives, the handshake stays
// half-open until there is room. With tcp_abort_on_overflow the kernel resets the connection at
// once, although it is established for the client. Kernel events and counters show the reset.
func TestKernelAbortOnOverflow(t *testing.T) {
	requireLab(t)
	t.Parallel()
	run := carriedOut(t, `
name: abort
about: Handshakes that are held up until the queue is full.
workers: 1
sockets: shared
accept: blocking
stop: handoff
server: {work: {sleep: 40ms}, backlog: 3, fault: {half_open: 6}}
load: {rate: 400/s, duration: 250ms, timeout: 300ms}
timeline: [{at: 0s, do: replace}]
matrix: [{trace: [on, off], sysctl.abort_on_overflow: [0, 1]}]
trials: 1
`+punctual)
	for _, v := range run.Scenarios[0].Variants {
		if skips(t, v) {
			continue
		}
		tr := lastTrial(v)
		what := results.LabelString(v.Labels)
		aborted, evidence := 0, map[string]int{}
		for _, l := range tr.Losses {
			if l.Cause == "accept_overflow" && l.Error == "reset" {
				aborted++
				evidence[l.Evidence]++
			}
		}
		want := "counter"
		if v.Labels["trace"] == "on" && tr.Trace.Unavailable == "" {
			want = "kernel"
		}
		t.Logf("%s: %v; %d reset, known from %v; %d EmbryonicRsts", what, tr.LostByCause, aborted,
			evidence, tr.Kernel["TcpExtEmbryonicRsts"])
		if on := v.Labels["sysctl.abort_on_overflow"] == "1"; (aborted > 0) != on ||
			evidence[want] != aborted {
			t.Errorf("%s: %d reset, known from %v, want %s", what, aborted, evidence, want)
		}
	}
}
