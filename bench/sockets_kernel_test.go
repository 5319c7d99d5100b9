package main

import (
	"strings"
	"testing"

	"reuseport-bench/results"
)

// Of the sockets bound to a port, the kernel chooses the one with the most specific address, not
// the oldest (compute_score in net/ipv4/inet_hashtables.c). Only sockets bound to the same address
// share connections. For IPv4 connections, dual-stack IPv6 sockets come last.
func TestKernelListen(t *testing.T) {
	requireLab(t)
	t.Parallel()
	run := carriedOut(t, `
name: listen
about: A second worker, at the same port.
workers: 1
load: {rate: 1000/s, duration: 500ms}
timeline: [{at: 100ms, do: add}]
stop: close
matrix: [{server.listen: [dual, any+specific, specific+any, dual+any]}]
trials: 1
`+punctual)
	for what, tr := range byLabels(run) {
		s := tr.Steps[0]
		// At least so many attempts are sent after the second worker is ready.
		after := tr.Attempts - *s.ReadyNS/1e6
		first, second := tr.Workers[0].Accepted, tr.Workers[1].Accepted
		t.Logf("%s: %d and %d, of which %d after the second was ready", what, first, second, after)
		lo, hi := int64(0), int64(0)
		switch strings.TrimPrefix(what, "server.listen=") {
		case "dual": // half of at most 500, whose standard deviation is 11
			lo, hi = after/2-60, tr.Attempts/2+60
		case "any+specific", "dual+any":
			lo, hi = after-10, tr.Attempts
		}
		if second < lo || second > hi || tr.Lost != 0 {
			t.Errorf("%s: the second worker accepted %d, want %d to %d; lost %v", what, second, lo,
				hi, tr.LostByCause)
		}
	}
}

// The kernel lets only sockets of one user share a port. A new generation with another user cannot
// bind the port, so the old generation continues, unless it passes its socket to the new one.
func TestKernelUsers(t *testing.T) {
	requireLab(t)
	t.Parallel()
	run := carriedOut(t, `
name: users
about: Workers of several users.
load: {rate: 500/s, duration: 600ms}
timeline: [{at: 200ms, do: replace}]
matrix:
  - {server.users: [each, other], stop: [close]}
  - {server.users: [other], stop: [handoff]}
trials: 1
`+lenient)
	for _, v := range run.Scenarios[0].Variants {
		if skips(t, v) {
			continue
		}
		tr, what := lastTrial(v), results.LabelString(v.Labels)
		bound, restarts := 4, 1
		switch what {
		case "stop=close server.users=each": // one worker of each generation can bind
			bound = 2
		case "stop=close server.users=other":
			bound, restarts = 2, 0
		}
		for _, w := range tr.Workers {
			if w.BindError != "" {
				bound++
			}
		}
		lostOnlyBy(t, what, tr, "reset_at_close", "reset_half_open", "syn_timeout")
		if bound != 4 || len(tr.Workers) != 4 || len(tr.Restarts()) != restarts ||
			(tr.Steps[0].BindError == "") != (restarts == 1) {
			t.Errorf("%s: %d restarts, workers %+v, step %+v", what, len(tr.Restarts()), tr.Workers,
				tr.Steps[0])
		}
		if restarts == 0 && tr.Lost != 0 {
			t.Errorf("%s: nobody was replaced, and yet %v were lost", what, tr.LostByCause)
		}
	}
}

// With TCP_DEFER_ACCEPT the kernel drops the ACK that ends each handshake. Nothing is lost, so the
// kernel's report of that drop must not count as a loss.
func TestKernelDeferAccept(t *testing.T) {
	requireLab(t)
	t.Parallel()
	run := carriedOut(t, `
name: deferred
about: Connections that are accepted when they have sent something.
server: {defer_accept: 1s}
load: {rate: 1000/s, duration: 300ms}
trials: 1
`+lenient)
	tr := lastTrial(run.Scenarios[0].Variants[0])
	if tr.Lost != 0 || tr.Kernel["TcpExtTCPDeferAcceptDrop"] < tr.Attempts {
		t.Errorf("lost %v; %d ACKs dropped of %d", tr.LostByCause,
			tr.Kernel["TcpExtTCPDeferAcceptDrop"], tr.Attempts)
	}
	if tr.Trace != nil && tr.Trace.Unavailable == "" && tr.Trace.Events > tr.Attempts/10 {
		t.Errorf("%d events of %d connections of which none was lost", tr.Trace.Events, tr.Attempts)
	}
}
