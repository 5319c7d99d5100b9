package plan

import (
	"fmt"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/scenarios"
	"reuseport-bench/servers"
)

// skipped says which capability that the setup needs is missing; "": none.
func skipped(s scenarios.Setup, m Machine) string {
	var needed []string
	if s.Stop == string(servers.Migrate) {
		needed = append(needed, kernel.ProbeTCPMigrateReq)
	}
	switch servers.StopMode(s.Stop) {
	case servers.BPFMigrate:
		needed = append(needed, kernel.ProbeSKMigrate, kernel.ProbeSockArray)
	case servers.BPFDrain:
		needed = append(needed, kernel.ProbeSKReuseport, kernel.ProbeSockArray, kernel.ProbeTraceIterTCP)
	}
	if s.Path == string(ByHAProxy) {
		needed = append(needed, kernel.ProbeHAProxyCommand)
	}
	if f := s.Server.Fault; f.HalfOpen > 0 || f.DroppedSYNs > 0 || f.RejectedSYNs > 0 {
		needed = append(needed, kernel.ProbeNFTables)
	}
	if servers.Selection(s.Selector).ByBPF() {
		needed = append(needed, kernel.ProbeSKReuseport, kernel.ProbeSockArray)
	}
	if s.Accept == string(servers.EpollExclusive) {
		needed = append(needed, kernel.ProbeEpollExclusive)
	}
	if s.Selector == string(servers.IncomingCPU) {
		needed = append(needed, kernel.ProbeIncomingCPU)
	}
	if s.InPods() {
		needed = append(needed, kernel.ProbeNFTables, kernel.ProbeConntrack, kernel.ProbeNFTablesCommand)
	}
	if s.Kube.Users == usersEach {
		needed = append(needed, kernel.ProbeUserIDs)
	}
	if s.Network == string(netlab.Veth) || s.Network == string(netlab.Cluster) {
		needed = append(needed, kernel.ProbeVeth)
	}
	for _, probe := range needed {
		if why, missing := m.Missing[probe]; missing {
			return fmt.Sprintf("%s: %s; see 'doctor'", probe, why)
		}
	}
	return ""
}
