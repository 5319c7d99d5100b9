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

// A Topology says how the CPUs of a machine belong together, and how much of them this process may
// use.
type Topology struct {
	CPUs []CPU // those that were asked for, ascending
	// Quota is for how many CPUs' worth of time the cgroups leave this process, by the smallest of
	// its own and those around it; 0: as much as there is.
	Quota float64
	// Governors are the CPU frequency governors in use, sorted; none where the kernel has none, as
	// in most virtual machines.
	Governors []string
	// Virtual says what kind of virtual machine this is, or "yes" where that is not known; "" on
	// bare metal, and where the kernel does not say.
	Virtual string
}

// A CPU is one as the kernel numbers them: a hardware thread.
type CPU struct {
	Number int
	Core   int // the lowest number of those that share its physical core
	Node   int // of memory (NUMA)
	// Capacity is how much it gets done beside the others of the machine, of which the fastest have
	// 1024 (Documentation/scheduler/sched-capacity.rst). 1024 where the kernel does not tell.
	Capacity int
}

// slowCapacity is the capacity that stands for "slower than the others": an efficiency core's of
// Intel, of which the kernel tells the kind and not by how much it is slower.
const slowCapacity = 512

// ReadTopology reads the topology of these CPUs. What the kernel does not tell is as on the
// simplest machine: each CPU a core, all alike, one node, no quota.
func ReadTopology(cpus []int) Topology { return TopologyOf(os.DirFS("/"), cpus) }

// TopologyOf is ReadTopology of the machine whose /proc and /sys are in root.
func TopologyOf(root fs.FS, cpus []int) Topology {
	t := Topology{Quota: quota(root), Virtual: virtual(root)}
	nodes, slow := nodesOf(root), map[int]bool{}
	// On hybrid processors of Intel each kind of core is a performance-monitoring unit of its own.
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

// Count returns how many physical cores and memory nodes the CPUs belong to, and the capacities of
// the kinds of cores, ascending.
func (t Topology) Count() (cores, nodes int, capacities []int) {
	core, node, capacity := map[int]bool{}, map[int]bool{}, map[int]bool{}
	for _, c := range t.CPUs {
		core[c.Core], node[c.Node], capacity[c.Capacity] = true, true, true
	}
	return len(core), len(node), slices.Sorted(maps.Keys(capacity))
}

// text is a file's content without the space around it; "" where it cannot be read.
func text(root fs.FS, name string) string {
	content, err := fs.ReadFile(root, name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(content))
}

// nodesOf is the node of each CPU; those that no node has are of node 0.
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

// parseCPUMask reads a mask such as "0000,00000003": words of 32 bits, the last for CPUs 0 to 31.
// It returns no CPU of a mask that is none.
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

// quota is how many CPUs' worth of time the process's cgroups allow; 0: they set no limit.
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

// cgroups yields the directories of the process's cgroups for CPU time, of either version, and of
// those around them, inside out (cgroups(7)).
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
			// Where the cgroup's path is not that of this namespace, what is mounted is its own.
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

// Throttled returns for how long the process's cgroups have been stopped because a quota was used
// up, in nanoseconds since they were made, summed over their CPUs. It returns false where the
// kernel does not say.
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

// virtual is Topology.Virtual. Processors of x86 have a flag for it, which every hypervisor sets.
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
		return cmp.Or(strings.TrimSpace(vendor+" "+text(root, "sys/class/dmi/id/product_name")), "yes")
	}
	if kind := text(root, "sys/hypervisor/type"); kind != "" {
		return kind // Xen's
	}
	return ""
}
