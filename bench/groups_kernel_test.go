package main

import (
	"slices"
	"testing"
	"time"

	"reuseport-bench/results"
)

const (
	queuedUnaccepted = "queued_unaccepted"
	acceptOverflow   = "accept_overflow"
)

// knownBy checks that every loss with this cause has this evidence and this reason from the kernel.
func knownBy(t *testing.T, what string, tr *results.Trial, cause, evidence, kernel string) {
	t.Helper()
	for _, l := range tr.Losses {
		if l.Cause == cause && (l.Evidence != evidence || l.Kernel != kernel) {
			t.Fatalf("%s: %s: evidence %s %q, want %s %q",
				what, cause, l.Evidence, l.Kernel, evidence, kernel)
		}
	}
}

const stillQueued = "still queued: no process has accepted it"

// One of four workers dies, but its socket is held open, so the kernel keeps giving that socket a
// quarter of the connections. The queue of that socket takes one connection more than the backlog;
// the rest find the queue full. If the socket is closed when its worker dies, it gets no
// connections. If the socket is shared, the surviving workers serve it.
func TestKernelSilentMember(t *testing.T) {
	requireLab(t)
	t.Parallel()
	const backlog, rate = 16, 500
	run := carriedOut(t, `
name: silent-member
about: A worker dies, and its socket is held open by its supervisor.
workers: 4
server: {work: {sleep: 100us}}
load: {rate: 500/s, duration: 1s}
timeline: [{at: 200ms, do: kill, target: 0}]
matrix:
  - {sockets: [reuseport], stop: [inherit], server.backlog: [4096, 16]}
  - {sockets: [shared], stop: [inherit], server.backlog: [4096]}
  - {sockets: [reuseport], stop: [close], server.backlog: [4096]}
trials: 1
`+punctual)
	for _, v := range run.Scenarios[0].Variants {
		what, tr := results.LabelString(v.Labels), lastTrial(v)
		t.Logf("%s: %v", what, tr.LostByCause)
		queued, overflowed := tr.LostByCause[queuedUnaccepted], tr.LostByCause[acceptOverflow]
		if v.Labels["sockets"] == "shared" || v.Labels["stop"] == "close" {
			// Only the connections that the killed worker was serving or had in its own queue may
			// be lost: few, but 40 if the machine stopped the worker for 0.3 s before. An open
			// socket without a worker would lose 100, with a standard deviation of 9.
			lostOnlyBy(t, what, tr, workerCrash, resetAtClose, resetHalfOpen, synTimeout)
			if tr.Lost > 50 {
				t.Errorf("%s: lost by cause %v", what, tr.LostByCause)
			}
			continue
		}
		lostOnlyBy(t, what, tr, queuedUnaccepted, acceptOverflow, workerCrash)
		knownBy(t, what, tr, queuedUnaccepted, "kernel", stillQueued)
		after := float64(tr.Attempts) - rate*float64(*tr.Steps[0].StopNS)/1e9
		late := int64(sentLate(tr, rate)/4) + 2
		lo, hi := binomial(int64(after), 0.25, rare)
		lo, hi = lo-late, hi+late+rate*3/10/4 // the machine may stop the worker before it dies
		if n := queued + overflowed; n < lo || n > hi {
			t.Errorf("%s: %d met the socket, want %d to %d", what, n, lo, hi)
		}
		if v.Labels["server.backlog"] == "4096" {
			if overflowed > 0 {
				t.Errorf("%s: %d met a full queue", what, overflowed)
			}
		} else if queued != backlog+1 {
			t.Errorf("%s: %d left in the queue, want %d", what, queued, backlog+1)
		}
		equal(t, tr, "TcpExtListenOverflows")
	}
}

// A fifth socket joins four others. No process accepts from the fifth, and yet it gets a fifth of
// the connections. When the fifth socket is closed, the clients that still wait on it get a reset.
// Its earlier clients have timed out by then.
func TestKernelJoinedSocket(t *testing.T) {
	requireLab(t)
	t.Parallel()
	const timeout, rate = 500 * time.Millisecond, 500
	run := carriedOut(t, `
name: joined-socket
about: A socket from which nobody accepts, for a second.
workers: 4
server: {work: {sleep: 100us}}
load: {rate: 500/s, duration: 1500ms, timeout: 500ms}
timeline: [{at: 200ms, do: join}, {at: 1200ms, do: drop-socket}]
trials: 1
`+punctual)
	tr := lastTrial(run.Scenarios[0].Variants[0])
	t.Logf("%v", tr.LostByCause)
	lostOnlyBy(t, "joined", tr, queuedUnaccepted, resetAtClose, resetHalfOpen, synTimeout)
	knownBy(t, "joined", tr, queuedUnaccepted, "kernel", stillQueued)
	joined, dropped := tr.Steps[0], tr.Steps[1]
	if joined.Do != "join" || joined.ReadyNS == nil || dropped.Do != "drop-socket" ||
		dropped.ClosedNS == nil {
		t.Fatalf("steps %+v", tr.Steps)
	}
	due := rate * float64(*dropped.StopNS-*joined.ReadyNS) / 1e9
	slack := int64(sentLate(tr, rate)/5) + 2
	lo, hi := binomial(int64(due), 0.2, rare)
	if tr.Lost < lo-slack || tr.Lost > hi+slack {
		t.Errorf("%d lost of %.0f, want %d to %d", tr.Lost, due, lo-slack, hi+slack)
	}
	queued := tr.Lost - tr.LostByCause[resetHalfOpen] - tr.LostByCause[synTimeout]
	if dropped.Queued == nil || *dropped.Queued != queued {
		t.Errorf("%v waited when the socket was dropped; %v", dropped.Queued, tr.LostByCause)
	}
	// A load process on a busy machine may notice a timeout late. An attempt that times out before
	// the drop may get the reset of the drop first.
	const late = 350 * time.Millisecond
	for _, l := range tr.Losses {
		timesOut, gaveUp := l.SentNS+int64(timeout), l.Cause == queuedUnaccepted
		if l.SentNS < joined.AtNS || l.SentNS > *dropped.ClosedNS ||
			gaveUp && timesOut > *dropped.ClosedNS ||
			!gaveUp && timesOut < *dropped.StopNS-int64(late) {
			t.Errorf("%+v; the socket joined at %d and was closed from %d to %d", l,
				joined.AtNS, *dropped.StopNS, *dropped.ClosedNS)
		}
		if step := l.Step; step == nil || (*step == 0) != gaveUp {
			t.Errorf("because of the wrong step: %+v", l)
		}
	}
	equal(t, tr, "TcpPassiveOpens")
}

// One of four workers behind an acceptor stalls for longer than the clients' timeout. With
// accept=acceptor, workers take strict turns, so a quarter of the clients wait for the stalled
// worker and time out. With acceptor-ack, a worker must acknowledge a connection before it gets the
// next, so only one client times out.
func TestKernelAcceptorStuck(t *testing.T) {
	requireLab(t)
	t.Parallel()
	run := carriedOut(t, `
name: acceptor-stuck
about: A worker that stands still, and clients that do not wait as long.
workers: 4
sockets: shared
load: {rate: 400/s, duration: 1200ms, timeout: 500ms}
timeline: [{at: 200ms, do: stall, target: 0, for: 900ms}]
matrix: [{accept: [acceptor, acceptor-ack]}]
trials: 1
`+punctual)
	for accept, list := range trials(run, "accept") {
		tr := list[len(list)-1]
		t.Logf("%s: %v", accept, tr.LostByCause)
		lostOnlyBy(t, accept, tr, "timeout")
		// About 160 attempts are due so early that they would time out before the stall ends. Every
		// fourth of these is the stalled worker's. The worker may continue up to 0.3 s late.
		s := tr.Steps[0]
		early := (*s.ReadyNS - *s.StopNS - tr.TimeoutNS) / *s.ResolutionNS
		late := int64(sentLate(tr, 400)/4) + 2
		lo, hi := early/4-late, early/4+late+30
		if accept == "acceptor-ack" {
			lo, hi = 1, 2 // two if the worker stopped after acknowledging the first
		}
		if tr.Lost < lo || tr.Lost > hi {
			t.Errorf("%s: %d lost, want %d to %d", accept, tr.Lost, lo, hi)
		}
	}
}

// A worker is added to a group of one. With selector hash it gets half of the later connections.
// With cpu it gets those whose SYN is handled on an odd CPU: the CPU's number modulo two selects
// the worker. With cpu-fixed it gets none: the modulus stays one.
func TestKernelStarvedNewcomer(t *testing.T) {
	requireLab(t)
	t.Parallel()
	run := carriedOut(t, `
name: starved-newcomer
about: A worker is added to a group whose selector was made for one.
network: veth
workers: 1
server: {work: {sleep: 100us}}
load: {rate: 500/s, duration: 800ms}
timeline: [{at: 200ms, do: add}]
matrix: [{selector: [hash, cpu, cpu-fixed]}]
trials: 1
`+punctual)
	odd := func(cpu int) bool { return cpu%2 == 1 }
	even := func(cpu int) bool { return !odd(cpu) }
	servers := run.Environment.ServerCPUs
	for selector, list := range trials(run, "selector") {
		tr := list[len(list)-1]
		counts := accepted(tr, 0)
		t.Logf("%s: accepted %v; the servers' CPUs are %v", selector, counts, servers)
		lostOnlyBy(t, selector, tr)
		after := tr.Attempts - *tr.Steps[0].ReadyNS / *tr.Steps[0].ResolutionNS
		// An attempt that is due before the step may be sent after it.
		late := int64(sentLate(tr, 500)) + 5
		lo, hi := binomial(after, 0.5, rare)
		hi += late
		switch {
		case selector == "cpu-fixed", selector == "cpu" && !slices.ContainsFunc(servers, odd):
			lo, hi = 0, 0
		case selector == "cpu" && !slices.ContainsFunc(servers, even):
			lo, hi = after-5, after+late
		case selector == "cpu":
			lo, hi = 1, after+late
		}
		if len(counts) != 2 || counts[1] < lo || counts[1] > hi {
			t.Errorf("%s: accepted %v, want %d to %d by the newcomer", selector, counts, lo, hi)
		}
	}
}
