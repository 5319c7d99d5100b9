package plan

import (
	"fmt"

	"reuseport-bench/bench/internal/doctor"
	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/scenarios"
	"reuseport-bench/servers"
)

// skipped says which capability that the setup needs is missing; "": none.
func skipped(s scenarios.Setup, m Machine) string {
	var needed []string
	if s.Stop == string(servers.Migrate) {
		needed = append(needed, doctor.TCPMigrateReq)
	}
	switch servers.StopMode(s.Stop) {
	case servers.BPFMigrate:
		needed = append(needed, doctor.SKMigrate, doctor.SockArray)
	case servers.BPFDrain:
		needed = append(needed, doctor.SKReuseport, doctor.SockArray, doctor.TraceIterTCP)
	}
	if s.Path == string(ByHAProxy) {
		needed = append(needed, doctor.HAProxyCommand)
	}
	if f := s.Server.Fault; f.HalfOpen > 0 || f.DroppedSYNs > 0 || f.RejectedSYNs > 0 {
		needed = append(needed, doctor.NFTables)
	}
	if servers.Selection(s.Selector).ByBPF() {
		needed = append(needed, doctor.SKReuseport, doctor.SockArray)
	}
	if s.Accept == string(servers.EpollExclusive) {
		needed = append(needed, doctor.EpollExclusive)
	}
	if s.Selector == string(servers.IncomingCPU) {
		needed = append(needed, doctor.IncomingCPU)
	}
	if s.InPods() {
		needed = append(needed, doctor.NFTables, doctor.Conntrack, doctor.NFTablesCommand)
	}
	if s.Kube.Users == usersEach {
		needed = append(needed, doctor.UserIDs)
	}
	if s.Network == string(netlab.Veth) || s.Network == string(netlab.Cluster) {
		needed = append(needed, doctor.Veth)
	}
	for _, probe := range needed {
		if why, missing := m.Missing[probe]; missing {
			return fmt.Sprintf("%s: %s; see 'doctor'", probe, why)
		}
	}
	return ""
}
