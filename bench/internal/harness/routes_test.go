package harness

import (
	"net/netip"
	"testing"

	"reuseport-bench/results"
	"reuseport-bench/results/cause"
)

// Where a connection was sent decides what its silence, or its refusal, was.
func TestRouted(t *testing.T) {
	gone, there := netip.MustParseAddr("198.18.10.1"), netip.MustParseAddr("198.18.20.1")
	source := netip.MustParseAddrPort("198.18.64.1:10000")
	// The pod listened from 1 to 5 ms; connections were sent there from 0.5 ms on.
	tests := []struct {
		name    string
		to      netip.Addr // zero: the node remembers nothing
		cause   string
		state   serverState
		reused  bool
		sent    int64
		removed int64 // connections were sent there no more
		want    string
		source  evidence
	}{
		{"silence from a pod that has gone", gone, cause.SYNTimeout, neverAccepted, false, 6e6, 9e6, cause.StaleEndpoint, evidenceKernel},
		{"refused by it", gone, cause.Refused, neverAccepted, false, 6e6, 9e6, cause.StaleEndpoint, evidenceKernel},
		{"no way to it", gone, cause.NoRoute, neverAccepted, false, 6e6, 9e6, cause.StaleEndpoint, evidenceKernel},
		{"reset in its queue", gone, cause.ResetAtClose, neverAccepted, false, 5e6, 9e6, cause.ResetAtClose, evidenceClient},
		{"it had been accepted", gone, cause.Timeout, readPeerGone, false, 5e6, 9e6, cause.Timeout, evidenceClient},
		{"before it closed", gone, cause.SYNTimeout, neverAccepted, false, 2e6, 9e6, cause.SYNTimeout, evidenceClient},
		{"before it listened", gone, cause.SYNTimeout, neverAccepted, false, 0.7e6, 9e6, cause.EarlyEndpoint, evidenceKernel},
		{"refused before it listened, and forgotten", netip.Addr{}, cause.Refused, neverAccepted, false, 0.7e6, 9e6, cause.EarlyEndpoint, evidenceWorker},
		{"refused while nobody was sent anywhere", netip.Addr{}, cause.Refused, neverAccepted, false, -20e6, 9e6, cause.NoEndpoint, evidenceKernel},
		{"silence at the Service's own address", netip.MustParseAddr("198.19.0.1"), cause.SYNTimeout, neverAccepted, false, 6e6, 9e6, cause.Untranslated, evidenceKernel},
		{"silence while nobody was sent anywhere", netip.Addr{}, cause.SYNTimeout, neverAccepted, false, -20e6, 9e6, cause.NoEndpoint, evidenceKernel},
		{"refused before anybody was sent there", netip.Addr{}, cause.Refused, neverAccepted, false, 0.1e6, 9e6, cause.Refused, evidenceClient},
		{"silence from one that is there", there, cause.SYNTimeout, neverAccepted, false, 6e6, 9e6, cause.SYNTimeout, evidenceClient},
		{"refused, and forgotten", netip.Addr{}, cause.Refused, neverAccepted, false, 6e6, 9e6, cause.StaleEndpoint, evidenceWorker},
		{"refused when the rules had followed", netip.Addr{}, cause.Refused, neverAccepted, false, 10e6, 9e6, cause.Refused, evidenceClient},
		{"refused by one that is known by name", netip.Addr{}, cause.Refused, neverAccepted, false, 1e9, never, cause.StaleEndpoint, evidenceWorker},
		{"silence, and forgotten", netip.Addr{}, cause.SYNTimeout, neverAccepted, false, 6e6, 9e6, cause.SYNTimeout, evidenceClient},
		{"silence from one that no rule leads to", gone, cause.SYNTimeout, neverAccepted, false, 10e6, 9e6, cause.StaleConntrack, evidenceKernel},
		{"silence while the queues of others overflow", gone, cause.AcceptOverflow, neverAccepted, false, 6e6, 9e6, cause.StaleEndpoint, evidenceKernel},
		{"silence at a full queue", there, cause.AcceptOverflow, neverAccepted, false, 6e6, 9e6, cause.AcceptOverflow, evidenceClient},
		{"silence on a kept connection", gone, cause.Timeout, unreadPeerGone, true, 6e6, 9e6, cause.StaleConnection, evidenceKernel},
		{"silence on a kept connection, long after", gone, cause.Timeout, neverAccepted, true, 1e9, 9e6, cause.StaleConnection, evidenceKernel},
		{"silence on a kept connection to one that is there", there, cause.Timeout, neverAccepted, true, 6e6, 9e6, cause.Timeout, evidenceClient},
		{"a kept connection that was closed", gone, cause.ClosedByWorker, unreadClosed, true, 6e6, 9e6, cause.ClosedByWorker, evidenceClient},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			j := &judge{routes: &routes{service: netip.MustParseAddr("198.19.0.1"), translations: map[netip.AddrPort]netip.Addr{}, pods: []routedPod{
				{addr: there, worker: 2, listens: -9e6, routed: []span{{-8e6, never}}, gone: never, silent: never},
				{addr: gone, worker: 3, listens: 1e6, routed: []span{{0.5e6, test.removed}}, gone: 5e6, silent: 5e6},
			}}}
			if test.to.IsValid() {
				j.routes.translations[source] = test.to
			}
			a := &attempt{sent: test.sent, done: test.sent + 200_000, state: test.state, class: results.ClassTimeout}
			if test.cause == cause.ClosedByWorker {
				a.class = results.ClassEOF
			}
			v := judgement{cause: test.cause, evidence: evidenceClient, worker: -1, explained: true}
			got := j.routed(source, a, v, test.reused)
			if got.cause != test.want || got.evidence != test.source {
				t.Errorf("%s, known from the %v; want %s, %v", got.cause, got.evidence, test.want, test.source)
			}
			if changed := got.cause != test.cause && got.cause != cause.NoEndpoint && got.cause != cause.Untranslated; changed != (got.worker == 3) {
				t.Errorf("put down to worker %d", got.worker)
			}
		})
	}
	// Without a Service nothing is stale.
	if got := (&judge{}).routed(source, &attempt{sent: 6e6, done: 7e6}, judgement{cause: cause.Refused}, false); got.cause != cause.Refused {
		t.Errorf("without a Service: %s", got.cause)
	}
}

// Rules that have left a pod out may come back to it, where nothing else is left: what is sent there then is no old entry's doing.
func TestRoutedAgain(t *testing.T) {
	pod := netip.MustParseAddr("198.18.10.1")
	source := netip.MustParseAddrPort("198.18.64.1:10000")
	j := &judge{routes: &routes{translations: map[netip.AddrPort]netip.Addr{source: pod}, pods: []routedPod{
		{addr: pod, worker: 3, listens: -9e6, gone: 30e6, silent: never, routed: []span{{-8e6, 10e6}, {20e6, 50e6}}},
	}}}
	v := judgement{cause: cause.SYNTimeout, worker: -1, explained: true}
	for sent, want := range map[int64]string{15e6: cause.StaleConntrack, 25e6: cause.SYNTimeout, 40e6: cause.StaleEndpoint, 60e6: cause.StaleConntrack} {
		if got := j.routed(source, &attempt{sent: sent, done: sent + 1e6}, v, false); got.cause != want {
			t.Errorf("sent at %d ms: %s, want %s", sent/1e6, got.cause, want)
		}
	}
}

// Where attempts take ports in turn, what is remembered of a port may be of a later one.
func TestRoutedSharedPorts(t *testing.T) {
	first, second := netip.MustParseAddr("198.18.10.1"), netip.MustParseAddr("198.18.20.1")
	source := netip.MustParseAddrPort("198.18.64.1:10000")
	j := &judge{routes: &routes{shared: true, translations: map[netip.AddrPort]netip.Addr{source: second}, pods: []routedPod{
		{addr: first, worker: 1, listens: -9e6, gone: 1e6, silent: never, routed: []span{{-8e6, 150e6}}},
		{addr: second, worker: 2, listens: 300e6, gone: never, silent: never, routed: []span{{300e6, never}}},
	}}}
	refused := j.routed(source, &attempt{sent: 100e6, done: 100.1e6}, judgement{cause: cause.Refused}, false)
	if refused.cause != cause.StaleEndpoint || refused.worker != 1 {
		t.Errorf("refused by the first: %s of worker %d", refused.cause, refused.worker)
	}
	silent := j.routed(source, &attempt{sent: 200e6, done: 900e6, class: results.ClassTimeout}, judgement{cause: cause.SYNTimeout}, false)
	if silent.cause != cause.NoEndpoint {
		t.Errorf("silence while no rule led anywhere: %s", silent.cause)
	}
}
