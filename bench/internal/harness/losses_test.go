package harness

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/results"
	"reuseport-bench/results/cause"
)

// Numbers of states, as include/net/tcp_states.h has them, and flags of a segment.
const (
	tcpEstablished, tcpListen = 1, 10
	flagSYN, flagACK, flagPSH = 0x02, 0x10, 0x08
)

// A stream is events of a trial, about attempts by number, in the order of time. They are as a kernel 6.18 told them.
func stream(b *books, server netip.AddrPort) []kernel.LossEvent {
	to := func(i int, at int64, e kernel.LossEvent) kernel.LossEvent {
		e.At, e.Source, e.Destination = int64(b.begin)+at, b.connection(i), server
		return e
	}
	drop := func(i int, at int64, flags uint8) kernel.LossEvent {
		return to(i, at, kernel.LossEvent{Kind: kernel.SegmentDropped, Reason: "netfilter_drop", Flags: flags, Sequence: 0xfffffff0})
	}
	return []kernel.LossEvent{
		{At: int64(b.begin) + 90, Kind: kernel.ListenerClosed, Destination: server, Socket: 70, State: tcpListen, PID: 100},
		// 0: queued when its listener was closed, by process 100.
		to(0, 100, kernel.LossEvent{Kind: kernel.ResetSent, Reason: "tcp_state", State: tcpEstablished, PID: 100}),
		// 1: half-open; its data, and the same again, meet another listener of the group, on somebody's time.
		to(1, 210, kernel.LossEvent{Kind: kernel.ResetSent, Reason: "tcp_flags", Flags: flagACK | flagPSH, Sequence: 4294967295, Socket: 71, State: tcpListen, PID: 555}),
		to(1, 230, kernel.LossEvent{Kind: kernel.ResetSent, Reason: "tcp_flags", Flags: flagACK | flagPSH, Sequence: 4294967295, Socket: 71, State: tcpListen, PID: 555}),
		// 2: refused. 3: its SYN was dropped, and again. 4: refused by a firewall. 5: accepted by a process that was killed.
		to(2, 300, kernel.LossEvent{Kind: kernel.ResetSent, Reason: "no_socket", Flags: flagSYN, Sequence: 7}),
		drop(3, 400, flagSYN), drop(3, 450, flagSYN), drop(4, 500, flagSYN),
		to(5, 600, kernel.LossEvent{Kind: kernel.ResetSent, Reason: "tcp_state", State: tcpEstablished, Socket: 90, PID: 101}),
		// 9: accepted by an acceptor, process 100, which found no worker for it.
		to(9, 920, kernel.LossEvent{Kind: kernel.ResetSent, Reason: "tcp_abort_on_close", Socket: 92, PID: 100}),
		// 6 and 7 share a connection, which was reset under 7.
		// 8: the last ACK, and with it the request, met a full queue.
		to(8, 810, kernel.LossEvent{Kind: kernel.SegmentDropped, Reason: reasonQueueFull, Flags: flagACK | flagPSH, Socket: 70, State: tcpListen}),
		to(7, 750, kernel.LossEvent{Kind: kernel.ResetSent, Reason: "tcp_abort_on_close", State: tcpEstablished, Socket: 91, PID: 100}),
	}
}

// lostAttempts are the attempts of the stream as client and worker tell of them, and what was inferred.
func lostAttempts(b *books) (inferred []judgement) {
	b.via = []uint32{0, 1, 2, 3, 4, 5, 6, 6, 8, 9, 10}
	b.attempts = []attempt{
		{sent: 80, done: 120, class: results.ClassReset, phase: results.PhaseWait},
		{sent: 85, done: 220, class: results.ClassReset, phase: results.PhaseWait},
		{sent: 290, done: 310, class: results.ClassRefused, phase: results.PhaseConnect},
		{sent: 390, done: 1000, class: results.ClassTimeout, phase: results.PhaseConnect},
		{sent: 490, done: 510, class: results.ClassRefused, phase: results.PhaseConnect},
		{sent: 590, done: 610, class: results.ClassReset, phase: results.PhaseWait},
		{sent: 640, done: 660, class: results.ClassEOF, phase: results.PhaseWait, state: readUnanswered, server: 0},
		{sent: 740, done: 760, class: results.ClassReset, phase: results.PhaseWait, state: readAborted, server: 0},
		{sent: 800, done: 900, class: results.ClassTimeout, phase: results.PhaseWait},
		{sent: 910, done: 930, class: results.ClassReset, phase: results.PhaseWait},
		{sent: 950, done: 970, class: results.ClassReset, phase: results.PhaseWait},
	}
	for i := range b.attempts { // in µs above, so that clockSlack means something
		b.attempts[i].sent, b.attempts[i].done = b.attempts[i].sent*slackUnit, b.attempts[i].done*slackUnit
	}
	guess := func(name string, worker int) judgement {
		return judgement{cause: name, evidence: evidenceClient, worker: worker, explained: name != cause.Unknown}
	}
	return []judgement{
		guess(cause.ResetAtClose, 1), guess(cause.ResetAtClose, 0), guess(cause.Refused, -1), guess(cause.AcceptOverflow, -1), guess(cause.Refused, -1),
		guess(cause.Unknown, -1), guess(cause.ClosedByWorker, 0), guess(cause.ClosedByWorker, 0), guess(cause.Timeout, -1), guess(cause.Unknown, -1), guess(cause.ResetAtClose, 0),
	}
}

// slackUnit is many times the slack between two clocks.
const slackUnit = 10 * clockSlack

func TestKernelView(t *testing.T) {
	type verdict struct {
		cause    string
		evidence evidence
		worker   int
		reason   string
	}
	want := []verdict{
		{cause.ResetAtClose, evidenceKernel, 0, "tcp_state"}, // process 100 is worker 0, whatever was inferred
		{cause.ResetHalfOpen, evidenceKernel, 0, "tcp_flags"},
		{cause.Refused, evidenceKernel, -1, "no_socket"},
		{cause.SYNTimeout, evidenceKernel, -1, "netfilter_drop"}, // and no full queue
		{cause.Refused, evidenceKernel, -1, "netfilter_drop"},
		{cause.WorkerCrash, evidenceKernel, 1, "tcp_state"},
		{cause.ClosedByWorker, evidenceClient, 0, ""}, // a FIN, of which the kernel says nothing
		{cause.ClosedByWorker, evidenceKernel, 0, "tcp_abort_on_close"},
		{cause.AcceptOverflow, evidenceKernel, -1, reasonQueueFull},
		{cause.ClosedByWorker, evidenceKernel, 0, "tcp_abort_on_close"}, // nobody died
		{cause.ResetAtClose, evidenceClient, 0, ""},                     // missing
	}
	server := netip.MustParseAddrPort("127.0.0.1:8080")
	random := rand.New(rand.NewPCG(1, 2))
	for name, change := range map[string]func([]kernel.LossEvent) []kernel.LossEvent{
		"as they came": func(all []kernel.LossEvent) []kernel.LossEvent { return all },
		"reordered": func(all []kernel.LossEvent) []kernel.LossEvent {
			random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			return all
		},
		"duplicated": func(all []kernel.LossEvent) []kernel.LossEvent { return slices.Concat(all, all) },
		"among strangers": func(all []kernel.LossEvent) []kernel.LossEvent {
			strange := all[1]
			strange.Source = netip.MustParseAddrPort("127.0.0.1:5")
			late := all[1] // the same four-tuple, long after
			late.At, late.PID, late.Reason = late.At+int64(1000*slackUnit), 101, "late"
			early := all[1]
			early.At, early.PID, early.Reason = early.At-int64(1000*slackUnit), 101, "early"
			return slices.Concat([]kernel.LossEvent{strange, late, early}, all)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := testBooks(t, len(want))
			inferred := lostAttempts(b)
			w := &lossWatch{server: server, events: map[netip.AddrPort][]kernel.LossEvent{}, result: &results.Trace{}}
			events := stream(b, server)
			for i := range events {
				events[i].At = int64(b.begin) + (events[i].At-int64(b.begin))*slackUnit
			}
			for _, e := range change(events) {
				w.take(e)
			}
			k := &kernelView{watch: w, books: b, workers: map[int]int{100: 0, 101: 1}, closings: []closing{
				{worker: 0, from: 90 * slackUnit, to: 95 * slackUnit}, {worker: 1, from: 595 * slackUnit, to: 605 * slackUnit, killed: true},
			}}
			for i := range want {
				j, event := k.judge(i, &b.attempts[i], inferred[i])
				got := verdict{j.cause, j.evidence, j.worker, ""}
				if event != nil {
					got.reason = event.Reason
				}
				if got != want[i] || !j.explained {
					t.Errorf("attempt %d: %+v (explained %v), want %+v", i, got, j.explained, want[i])
				}
			}
		})
	}
}

// More events than are kept are counted, not kept.
func TestLossWatchIsBounded(t *testing.T) {
	server := netip.MustParseAddrPort("127.0.0.1:8080")
	w := &lossWatch{server: server, events: map[netip.AddrPort][]kernel.LossEvent{}, result: &results.Trace{Events: maxLossEvents}}
	w.take(kernel.LossEvent{Source: netip.MustParseAddrPort("127.64.0.1:10000"), Destination: server})
	if len(w.events) != 0 || w.result.Dropped != 1 {
		t.Errorf("%d kept, %d dropped; want none and one", len(w.events), w.result.Dropped)
	}
}

// Behind a proxy it was the proxy's connection, whatever the kernel says of it.
func TestKernelViewBehindProxy(t *testing.T) {
	server := netip.MustParseAddrPort("127.0.0.1:8080")
	b := testBooks(t, 11)
	lostAttempts(b)
	b.proxied = true
	w := &lossWatch{server: server, events: map[netip.AddrPort][]kernel.LossEvent{}, result: &results.Trace{}}
	for _, e := range stream(b, server) {
		e.At = int64(b.begin) + (e.At-int64(b.begin))*slackUnit
		w.take(e)
	}
	k := &kernelView{watch: w, books: b}
	want := judgement{cause: cause.ProxyError, evidence: evidenceClient, worker: -1, explained: true}
	if got, _ := k.judge(1, &b.attempts[1], want); got.cause != want.cause {
		t.Errorf("got %+v, want the cause of before", got)
	}
}

// No more attempts are put down to full queues than the kernel has counted, whoever else was dropped meanwhile.
func TestOverflowsAreLimited(t *testing.T) {
	b := testBooks(t, 10)
	for i := range 6 {
		b.sample(&results.Sample{Sequence: uint64(i), Sent: int64(b.begin) + int64(i), Done: int64(b.begin) + int64(i) + 1000, Class: results.ClassTimeout, Phase: results.PhaseConnect})
	}
	b.close()
	m := measure(b, &judge{overflows: 4}, nil, 10*int64(1e6), nil)
	causes := map[string]int{}
	for _, v := range m.verdicts {
		causes[v.cause]++
	}
	if causes[cause.AcceptOverflow] != 4 || causes[cause.SYNTimeout] != 2 {
		t.Errorf("causes %v, want 4 overflows and 2 SYN timeouts", causes)
	}
}
