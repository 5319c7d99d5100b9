package kernel

import (
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"math/bits"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// A Topology describes which CPUs share a core or a memory node, and the share of the CPUs' time
// that this process may use.
type Topology struct {
	CPUs []CPU // the requested CPUs, ascending
	// Quota is the CPU time that this process may use, as a number of CPUs: the smallest quota
	// among its cgroup and that cgroup's ancestors. 0 means no quota.
	Quota float64
	// Governors are the CPU frequency governors in use, sorted. There are none in most virtual
	// machines.
	Governors []string
	// Virtual names the kind of virtual machine, or is "yes" if the kind is unknown. It is "" on
	// bare metal, and if the kernel does not report it.
	Virtual string
}

// A CPU is a hardware thread, which the kernel numbers as a CPU.
type CPU struct {
	Number int
	Core   int // the lowest number of the CPUs that share its physical core
	Node   int // memory node (NUMA)
	// Capacity is the CPU's speed relative to the machine's fastest CPUs, which have 1024
	// (Documentation/scheduler/sched-capacity.rst). It is 1024 if the kernel does not report it.
	Capacity int
}

// slowCapacity is the capacity that this program assumes for Intel's efficiency cores. The kernel
// reports that they are slower than the other cores, but not by how much.
const slowCapacity = 512

// ReadTopology reads the topology of the given CPUs. Where the kernel does not report something, it
// assumes the simplest machine: each CPU is a core of its own, all are equally fast, there is one
// node, and there is no quota.
func ReadTopology(cpus []int) Topology { return TopologyOf(os.DirFS("/"), cpus) }

// TopologyOf is like ReadTopology, for a machine whose /proc and /sys are below root.
func TopologyOf(root fs.FS, cpus []int) Topology {
	t := Topology{Quota: quota(root), Virtual: virtual(root)}
	nodes, slow := nodesOf(root), map[int]bool{}
	// On Intel's hybrid processors each kind of core has a performance-monitoring unit of its own.
	if atoms, err := parseCPUList(text(root, "sys/devices/cpu_atom/cpus")); err == nil {
		for _, cpu := range atoms {
			slow[cpu] = true
		}
	}
	for _, number := range cpus {
		dir := fmt.Sprintf("sys/devices/system/cpu/cpu%d", number)
		c := CPU{Number: number, Core: number, Node: nodes[number], Capacity: 1024}
		siblings, err := parseCPUList(text(root, dir+"/topology/thread_siblings_list"))
		if err == nil && len(siblings) > 0 {
			c.Core = siblings[0]
		}
		if n, err := strconv.Atoi(text(root, dir+"/cpu_capacity")); err == nil && n > 0 {
			c.Capacity = n
		} else if slow[number] {
			c.Capacity = slowCapacity
		}
		t.CPUs = append(t.CPUs, c)
	}
	slices.SortFunc(t.CPUs, func(a, b CPU) int { return cmp.Compare(a.Number, b.Number) })
	for _, pattern := range []string{"cpu[0-9]*/cpufreq", "cpufreq/policy*"} {
		files, err := fs.Glob(root, "sys/devices/system/cpu/"+pattern+"/scaling_governor")
		if err != nil {
			panic(err) // the patterns are constant
		}
		for _, file := range files {
			t.Governors = append(t.Governors, text(root, file))
		}
	}
	slices.Sort(t.Governors)
	t.Governors = slices.Compact(t.Governors)
	return t
}

// Count returns the numbers of physical cores and memory nodes that the CPUs belong to, and the
// distinct capacities of the CPUs, ascending.
func (t Topology) Count() (cores, nodes int, capacities []int) {
	core, node, capacity := map[int]bool{}, map[int]bool{}, map[int]bool{}
	for _, c := range t.CPUs {
		core[c.Core], node[c.Node], capacity[c.Capacity] = true, true, true
	}
	return len(core), len(node), slices.Sorted(maps.Keys(capacity))
}

// text returns the content of a file, without surrounding space, or "" if it cannot be read.
func text(root fs.FS, name string) string {
	content, err := fs.ReadFile(root, name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(content))
}

// nodesOf returns the memory node of each CPU. A CPU that is in no node's list is missing from the
// map, so its node is 0.
func nodesOf(root fs.FS) map[int]int {
	nodes := map[int]int{}
	maps, err := fs.Glob(root, "sys/devices/system/node/node[0-9]*/cpumap")
	if err != nil {
		panic(err) // the pattern is constant
	}
	for _, file := range maps {
		node, err := strconv.Atoi(strings.TrimPrefix(path.Base(path.Dir(file)), "node"))
		if err != nil {
			continue
		}
		for _, cpu := range parseCPUMask(text(root, file)) {
			nodes[cpu] = node
		}
	}
	return nodes
}

// parseCPUMask parses a mask such as "0000,00000003": words of 32 bits, the last of which is for
// CPUs 0 to 31. It returns no CPU for a malformed mask.
func parseCPUMask(mask string) (cpus []int) {
	words := strings.Split(mask, ",")
	slices.Reverse(words)
	for i, word := range words {
		w, err := strconv.ParseUint(word, 16, 32)
		if err != nil {
			return nil
		}
		for ; w != 0; w &= w - 1 {
			cpus = append(cpus, 32*i+bits.TrailingZeros64(w))
		}
	}
	return cpus
}

// quota returns the CPU time that the process's cgroups allow, as a number of CPUs, or 0 if none of
// them has a quota.
func quota(root fs.FS) (cpus float64) {
	least := func(runtime, period string) {
		r, errRuntime := strconv.ParseFloat(runtime, 64) // "max", or -1 in version 1: no limit
		p, errPeriod := strconv.ParseFloat(period, 64)
		if errRuntime == nil && errPeriod == nil && r > 0 && p > 0 && (cpus == 0 || r/p < cpus) {
			cpus = r / p
		}
	}
	for dir := range cgroups(root) {
		if runtime, period, ok := strings.Cut(text(root, dir+"/cpu.max"), " "); ok {
			least(runtime, period)
		}
		least(text(root, dir+"/cpu.cfs_quota_us"), text(root, dir+"/cpu.cfs_period_us"))
	}
	return cpus
}

// cgroups yields the directories of the process's cgroups for CPU time, in version 1 or 2. Each is
// followed by the directories of its ancestors, innermost first (cgroups(7)).
func cgroups(root fs.FS) func(yield func(dir string) bool) {
	return func(yield func(string) bool) {
		for line := range strings.Lines(text(root, "proc/self/cgroup")) {
			fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
			if len(fields) < 3 {
				continue
			}
			mount := ""
			switch controllers := strings.Split(fields[1], ","); {
			case fields[0] == "0":
				mount = firstOf(root, "sys/fs/cgroup/unified", "sys/fs/cgroup")
			case slices.Contains(controllers, "cpu"):
				mount = firstOf(root, "sys/fs/cgroup/"+fields[1], "sys/fs/cgroup/cpu")
			}
			if mount == "" {
				continue
			}
			// If the path comes from another cgroup namespace, it is not below the mount. The mount
			// itself is then the process's own cgroup.
			for at := path.Clean("/" + fields[2]); ; at = path.Dir(at) {
				if !yield(path.Join(mount, at)) {
					return
				}
				if at == "/" {
					break
				}
			}
		}
	}
}

// firstOf returns the first of the names that exists, or "".
func firstOf(root fs.FS, names ...string) string {
	for _, name := range names {
		if _, err := fs.Stat(root, name); err == nil {
			return name
		}
	}
	return ""
}

// Throttled returns the total time, in ns and summed over CPUs, for which this process's cgroups
// have been throttled for exhausting their CPU quotas since they were created. known is false if
// the kernel does not report it.
func Throttled() (ns int64, known bool) { return throttled(os.DirFS("/")) }

func throttled(root fs.FS) (ns int64, known bool) {
	for dir := range cgroups(root) {
		for line := range strings.Lines(text(root, dir+"/cpu.stat")) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			unit := map[string]int64{"throttled_usec": 1000, "throttled_time": 1}[key]
			if n, err := strconv.ParseInt(value, 10, 64); err == nil && unit > 0 {
				ns, known = ns+n*unit, true
			}
		}
	}
	return ns, known
}

// virtual returns the value of Topology.Virtual. On x86 every hypervisor sets a CPU flag for it.
func virtual(root fs.FS) string {
	for line := range strings.Lines(text(root, "proc/cpuinfo")) {
		key, value, _ := strings.Cut(line, ":")
		if strings.TrimSpace(key) != "flags" {
			continue
		}
		if !slices.Contains(strings.Fields(value), "hypervisor") {
			return ""
		}
		vendor := text(root, "sys/class/dmi/id/sys_vendor")
		product := text(root, "sys/class/dmi/id/product_name")
		return cmp.Or(strings.TrimSpace(vendor+" "+product), "yes")
	}
	if kind := text(root, "sys/hypervisor/type"); kind != "" {
		return kind // only Xen has the file /sys/hypervisor/type
	}
	return ""
}
