package harness

import (
	"math"
	"net/netip"
	"testing"
)

// Where the rules sent a connection decides what its silence, or its refusal, was.
func TestStaleEndpoint(t *testing.T) {
	gone, there := netip.MustParseAddr("198.18.10.1"), netip.MustParseAddr("198.18.20.1")
	source := netip.MustParseAddrPort("198.18.64.1:10000")
	const closed, followed = 1_000_000, 9_000_000
	tests := []struct {
		name   string
		to     netip.Addr // zero: the node remembers nothing
		cause  string
		state  serverState
		sent   int64
		until  int64
		want   string
		source evidence
	}{
		{"silence from a pod that has gone", gone, causeSYNTimeout, neverAccepted, 2e6, followed, causeStaleEndpoint, evidenceKernel},
		{"refused by it", gone, causeRefused, neverAccepted, 2e6, followed, causeStaleEndpoint, evidenceKernel},
		{"no way to it", gone, causeNoRoute, neverAccepted, 2e6, followed, causeStaleEndpoint, evidenceKernel},
		{"reset in its queue", gone, causeResetAtClose, neverAccepted, 1e6, followed, causeResetAtClose, evidenceClient},
		{"it had been accepted", gone, causeTimeout, readPeerGone, 1e6, followed, causeTimeout, evidenceClient},
		{"before it closed", gone, causeSYNTimeout, neverAccepted, 1e5, followed, causeSYNTimeout, evidenceClient},
		{"silence from one that is there", there, causeSYNTimeout, neverAccepted, 2e6, followed, causeSYNTimeout, evidenceClient},
		{"refused, and forgotten", netip.Addr{}, causeRefused, neverAccepted, 2e6, followed, causeStaleEndpoint, evidenceWorker},
		{"refused when the rules had followed", netip.Addr{}, causeRefused, neverAccepted, 1e7, followed, causeRefused, evidenceClient},
		{"refused by one that is known by name", netip.Addr{}, causeRefused, neverAccepted, 1e9, math.MaxInt64 - clockSlack, causeStaleEndpoint, evidenceWorker},
		{"silence, and forgotten", netip.Addr{}, causeSYNTimeout, neverAccepted, 2e6, followed, causeSYNTimeout, evidenceClient},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			j := &judge{stale: map[netip.Addr]staleEndpoint{gone: {worker: 3, from: closed, until: test.until}}, translations: map[netip.AddrPort]netip.Addr{}}
			if test.to.IsValid() {
				j.translations[source] = test.to
			}
			a := &attempt{sent: test.sent, done: test.sent + 200_000, state: test.state}
			got := j.staleEndpoint(source, a, judgement{cause: test.cause, evidence: evidenceClient, worker: -1, explained: true})
			if got.cause != test.want || got.evidence != test.source {
				t.Errorf("%s, known from the %v; want %s, %v", got.cause, got.evidence, test.want, test.source)
			}
			if stale := got.cause == causeStaleEndpoint; stale != (got.worker == 3) {
				t.Errorf("put down to worker %d", got.worker)
			}
		})
	}
	// Without a Service nothing is stale.
	if got := (&judge{}).staleEndpoint(source, &attempt{sent: 2e6, done: 3e6}, judgement{cause: causeRefused}); got.cause != causeRefused {
		t.Errorf("without a Service: %s", got.cause)
	}
}
