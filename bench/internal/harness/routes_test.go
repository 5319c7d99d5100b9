package harness

import (
	"math"
	"net/netip"
	"testing"

	"reuseport-bench/results"
)

// Where a connection was sent decides what its silence, or its refusal, was.
func TestRouted(t *testing.T) {
	gone, there := netip.MustParseAddr("198.18.10.1"), netip.MustParseAddr("198.18.20.1")
	source := netip.MustParseAddrPort("198.18.64.1:10000")
	// The pod listened from 1 to 5 ms; connections were sent there from 0.5 ms on.
	const never = math.MaxInt64 - clockSlack
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
		{"silence from a pod that has gone", gone, causeSYNTimeout, neverAccepted, false, 6e6, 9e6, causeStaleEndpoint, evidenceKernel},
		{"refused by it", gone, causeRefused, neverAccepted, false, 6e6, 9e6, causeStaleEndpoint, evidenceKernel},
		{"no way to it", gone, causeNoRoute, neverAccepted, false, 6e6, 9e6, causeStaleEndpoint, evidenceKernel},
		{"reset in its queue", gone, causeResetAtClose, neverAccepted, false, 5e6, 9e6, causeResetAtClose, evidenceClient},
		{"it had been accepted", gone, causeTimeout, readPeerGone, false, 5e6, 9e6, causeTimeout, evidenceClient},
		{"before it closed", gone, causeSYNTimeout, neverAccepted, false, 2e6, 9e6, causeSYNTimeout, evidenceClient},
		{"before it listened", gone, causeSYNTimeout, neverAccepted, false, 0.7e6, 9e6, causeEarlyEndpoint, evidenceKernel},
		{"refused before it listened, and forgotten", netip.Addr{}, causeRefused, neverAccepted, false, 0.7e6, 9e6, causeEarlyEndpoint, evidenceWorker},
		{"refused while nobody was sent anywhere", netip.Addr{}, causeRefused, neverAccepted, false, -20e6, 9e6, causeNoEndpoint, evidenceKernel},
		{"silence while nobody was sent anywhere", netip.Addr{}, causeSYNTimeout, neverAccepted, false, -20e6, 9e6, causeNoEndpoint, evidenceKernel},
		{"refused before anybody was sent there", netip.Addr{}, causeRefused, neverAccepted, false, 0.1e6, 9e6, causeRefused, evidenceClient},
		{"silence from one that is there", there, causeSYNTimeout, neverAccepted, false, 6e6, 9e6, causeSYNTimeout, evidenceClient},
		{"refused, and forgotten", netip.Addr{}, causeRefused, neverAccepted, false, 6e6, 9e6, causeStaleEndpoint, evidenceWorker},
		{"refused when the rules had followed", netip.Addr{}, causeRefused, neverAccepted, false, 10e6, 9e6, causeRefused, evidenceClient},
		{"refused by one that is known by name", netip.Addr{}, causeRefused, neverAccepted, false, 1e9, never, causeStaleEndpoint, evidenceWorker},
		{"silence, and forgotten", netip.Addr{}, causeSYNTimeout, neverAccepted, false, 6e6, 9e6, causeSYNTimeout, evidenceClient},
		{"silence from one that no rule leads to", gone, causeSYNTimeout, neverAccepted, false, 10e6, 9e6, causeStaleConntrack, evidenceKernel},
		{"silence on a kept connection", gone, causeTimeout, unreadPeerGone, true, 6e6, 9e6, causeStaleConn, evidenceKernel},
		{"silence on a kept connection, long after", gone, causeTimeout, neverAccepted, true, 1e9, 9e6, causeStaleConn, evidenceKernel},
		{"silence on a kept connection to one that is there", there, causeTimeout, neverAccepted, true, 6e6, 9e6, causeTimeout, evidenceClient},
		{"a kept connection that was closed", gone, causeClosedByWorker, unreadClosed, true, 6e6, 9e6, causeClosedByWorker, evidenceClient},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			j := &judge{routes: &routes{translations: map[netip.AddrPort]netip.Addr{}, pods: []routedPod{
				{addr: there, worker: 2, listens: -9e6, added: -8e6, gone: never, removed: never},
				{addr: gone, worker: 3, listens: 1e6, added: 0.5e6, gone: 5e6, removed: test.removed},
			}}}
			if test.to.IsValid() {
				j.routes.translations[source] = test.to
			}
			a := &attempt{sent: test.sent, done: test.sent + 200_000, state: test.state, class: results.ClassTimeout}
			if test.cause == causeClosedByWorker {
				a.class = results.ClassEOF
			}
			v := judgement{cause: test.cause, evidence: evidenceClient, worker: -1, explained: true}
			got := j.routed(source, a, v, test.reused)
			if got.cause != test.want || got.evidence != test.source {
				t.Errorf("%s, known from the %v; want %s, %v", got.cause, got.evidence, test.want, test.source)
			}
			if changed := got.cause != test.cause && got.cause != causeNoEndpoint; changed != (got.worker == 3) {
				t.Errorf("put down to worker %d", got.worker)
			}
		})
	}
	// Without a Service nothing is stale.
	if got := (&judge{}).routed(source, &attempt{sent: 6e6, done: 7e6}, judgement{cause: causeRefused}, false); got.cause != causeRefused {
		t.Errorf("without a Service: %s", got.cause)
	}
}
