package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"reuseport-bench/scenarios"
	"reuseport-bench/scenarios/vocabulary"
)

// Needs returns the capabilities without any of which the variant is skipped. It omits netem and
// TUN, because for a round trip one of the two is enough.
func (v *Variant) Needs() []vocabulary.Capability { return needs(v.setup) }

func needs(s scenarios.Setup) []vocabulary.Capability {
	all := slices.Concat(
		s.Stop.Row().Needs, filterNeeds(s.Server.Fault), s.Selector.Row().Needs,
		s.Accept.Row().Needs,
		s.Path.Row().Needs, s.Kube.Control.Row().Needs, s.Kube.Users.Row().Needs,
		s.Server.Users.Row().Needs, s.Network.Row().Needs,
		sysctlNeeds(s.Sysctl),
	)
	if s.InPods() && s.Kube.Control == vocabulary.ControlReal { // its parts have an nft
		all = slices.DeleteFunc(all, func(c vocabulary.Capability) bool {
			return c == vocabulary.NFTablesCommand
		})
	}
	return all
}

// MissingCommand returns the key of Machine.Missing for a program.
func MissingCommand(program string) string { return "command " + program }

// skipped returns the reason why the setup cannot run: a capability or a program that it needs is
// missing. It returns "" if nothing is missing.
func skipped(s scenarios.Setup, m Machine) string {
	for _, c := range needs(s) {
		if why, missing := m.Missing[string(c)]; missing {
			return fmt.Sprintf("%s: %s; see 'doctor'", c, why)
		}
	}
	for _, program := range commands(s) {
		if why, missing := m.Missing[MissingCommand(program)]; missing {
			return fmt.Sprintf("%s: %s", MissingCommand(program), why)
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

// filterNeeds returns the capabilities needed for the faults that are made by firewall rules.
func filterNeeds(f scenarios.Fault) []vocabulary.Capability {
	if f.HalfOpen > 0 || f.DroppedSYNs > 0 || f.RejectedSYNs > 0 {
		return []vocabulary.Capability{vocabulary.NFTables}
	}
	return nil
}

// commands returns the programs that the setup's third-party server needs on PATH: the programs in
// its command lines whose names contain neither a slash nor a variable. It returns nil if the
// server's environment sets PATH.
func commands(s scenarios.Setup) (all []string) {
	if _, own := s.Server.Env["PATH"]; own || !s.ByCommand() {
		return nil
	}
	add := func(c scenarios.Command) {
		if name := c.Program(); name != "" && !strings.ContainsAny(name, `/{}$'"\`) &&
			!slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	add(s.Server.Start.Command)
	add(s.Server.Ready.Run)
	for _, action := range s.Server.Restarts[s.Restart] {
		add(action.Run)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Server.Beside)) {
		add(s.Server.Beside[name].Start)
		add(s.Server.Beside[name].Ready.Run)
	}
	return all
}

// Commands returns the programs that the variant's third-party server needs on PATH. The variant is
// skipped if one of them is in Machine.Missing.
func (v *Variant) Commands() []string { return commands(v.setup) }

// Commands returns the programs that the third-party servers of all variants need on PATH, sorted.
func (p *Plan) Commands() (all []string) {
	for _, s := range p.Scenarios {
		for _, v := range s.Variants {
			all = append(all, v.Commands()...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
