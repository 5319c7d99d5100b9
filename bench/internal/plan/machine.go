package plan

import "strconv"

// A Machine is what a plan must know of where it will be carried out.
type Machine struct {
	CPUs []int // usable, ascending
	// Missing says why a capability is not to be had here, by the name of its probe. Nil: all are.
	Missing map[string]string
}

// SplitCPUs gives a quarter of the CPUs, at least one, to the load, the next one to the harness,
// and the rest to the servers. With two CPUs the harness shares the load's, which notices when it
// is disturbed: its schedule lags. A single CPU is everybody's, and the run says so.
func SplitCPUs(cpus []int) (load, harness, servers []int) {
	n := max(1, len(cpus)/4)
	switch len(cpus) {
	case 1:
		return cpus, cpus, cpus
	case 2:
		return cpus[:1], cpus[:1], cpus[1:]
	}
	return cpus[:n], cpus[n : n+1], cpus[n+1:]
}

// describeCPUs writes a list of CPUs as the kernel does: 0-3,8.
func describeCPUs(cpus []int) string {
	s := ""
	for i := 0; i < len(cpus); {
		j := i
		for j+1 < len(cpus) && cpus[j+1] == cpus[j]+1 {
			j++
		}
		if s != "" {
			s += ","
		}
		s += strconv.Itoa(cpus[i])
		if j > i {
			s += "-" + strconv.Itoa(cpus[j])
		}
		i = j + 1
	}
	return s
}
