package metrics

import "reuseport-bench/results"

// relayed returns a function that reads a figure from a trial in which a relay delayed packets.
func relayed(
	of func(*results.Trial, *results.Relay) (float64, bool),
) func(*results.Trial) (float64, bool) {
	return func(t *results.Trial) (float64, bool) {
		if t.RoundTrip == nil || t.RoundTrip.Relay == nil {
			return 0, false
		}
		return of(t, t.RoundTrip.Relay)
	}
}

// roundTrip returns the round trip that was added: twice the delay of one direction, including the
// relay's own delays.
func roundTrip(t *results.Trial, r *results.Relay) (float64, bool) {
	wait, known := relayWait(t, r)
	if !known || r.ExcessNS == nil {
		return 0, false
	}
	return float64(t.RoundTrip.AskedNS) + 2*(float64(r.ExcessNS.Mean)+wait), true
}

func relayExcess(_ *results.Trial, r *results.Relay) (float64, bool) {
	return known(p99(r.ExcessNS))
}

func relayWait(_ *results.Trial, r *results.Relay) (float64, bool) { return known(r.WaitNS) }

func relayPackets(t *results.Trial, r *results.Relay) (float64, bool) {
	return float64(r.Packets) / float64(t.Attempts), t.Attempts > 0
}

func relayShare(t *results.Trial, r *results.Relay) (float64, bool) {
	return cpuShare(func(*results.CPU) *int64 { return r.CPUNS })(t)
}
