package plan

import (
	"fmt"
	"slices"

	"reuseport-bench/scenarios"
	"reuseport-bench/scenarios/vocabulary"
)

// Needs returns the capabilities without which the variant is skipped. It omits those for a round
// trip, because either of two is enough.
func (v *Variant) Needs() []vocabulary.Capability { return needs(v.setup) }

func needs(s scenarios.Setup) []vocabulary.Capability {
	return slices.Concat(
		s.Stop.Row().Needs, filterNeeds(s.Server.Fault), s.Selector.Row().Needs,
		s.Accept.Row().Needs,
		s.Path.Row().Needs, s.Kube.Users.Row().Needs, s.Server.Users.Row().Needs,
		s.Network.Row().Needs,
		sysctlNeeds(s.Sysctl),
	)
}

// skipped returns the reason why the setup cannot run: a capability that it needs is missing. It
// returns "" if none is.
func skipped(s scenarios.Setup, m Machine) string {
	for _, c := range needs(s) {
		if why, missing := m.Missing[string(c)]; missing {
			return fmt.Sprintf("%s: %s; see 'doctor'", c, why)
		}
	}
	noTUN, relays := m.Missing[string(vocabulary.TUN)]
	noNetem, delays := m.Missing[string(vocabulary.Netem)]
	if s.RoundTrip > 0 && relays && delays {
		return fmt.Sprintf("round_trip needs one of two: %s: %s; %s: %s; see 'doctor'",
			vocabulary.Netem, noNetem, vocabulary.TUN, noTUN)
	}
	return ""
}

// sysctlNeeds returns the capabilities that the sysctls need.
func sysctlNeeds(c scenarios.Sysctl) []vocabulary.Capability {
	if c.MigrateReq != nil && *c.MigrateReq > 0 {
		return []vocabulary.Capability{vocabulary.TCPMigrateReq}
	}
	return nil
}

// filterNeeds returns the capabilities needed by faults that the firewall makes.
func filterNeeds(f scenarios.Fault) []vocabulary.Capability {
	if f.HalfOpen > 0 || f.DroppedSYNs > 0 || f.RejectedSYNs > 0 {
		return []vocabulary.Capability{vocabulary.NFTables}
	}
	return nil
}
