package kernel

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Release returns the kernel's release as uname(2) gives it, such as "6.18.44", or "" should uname fail.
func Release() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return ""
	}
	return unix.ByteSliceToString(name.Release[:])
}

// CPUModel names the processor as /proc/cpuinfo does. ARM kernels give numbers instead of a name: then it is "implementer
// 0x41 part 0xd0c", which is what other tools look names up by. "" where neither is known.
func CPUModel() string {
	file, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	defer file.Close()
	return parseCPUModel(file)
}

func parseCPUModel(r io.Reader) string {
	fields := make(map[string]string)
	for lines := bufio.NewScanner(r); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), ":")
		key = strings.TrimSpace(key)
		if _, seen := fields[key]; !seen { // the first processor speaks for all
			fields[key] = strings.TrimSpace(value)
		}
	}
	if name := fields["model name"]; name != "" {
		return name
	}
	if implementer := fields["CPU implementer"]; implementer != "" {
		return fmt.Sprintf("implementer %s part %s", implementer, fields["CPU part"])
	}
	return fields["cpu"] // POWER
}

// UsableCPUs returns, in ascending order, the CPUs that this process may run on: the affinity of its main thread, which a
// cpuset, taskset(1) or a container runtime may have narrowed. Other threads may be pinned more narrowly still.
func UsableCPUs() ([]int, error) {
	return affinity(os.Getpid())
}

// affinity returns the CPUs that thread tid may run on; 0 is the calling thread. See sched_getaffinity(2).
func affinity(tid int) ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(tid, &set); err != nil {
		return nil, fmt.Errorf("sched_getaffinity: %w", err)
	}
	cpus := make([]int, 0, set.Count())
	for cpu := 0; len(cpus) < set.Count(); cpu++ {
		if set.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	return cpus, nil
}

// ThreadSiblings returns, in ascending order, the CPUs that share a physical core with cpu, cpu itself among them. Where
// the kernel does not tell, it is cpu alone.
func ThreadSiblings(cpu int) []int {
	text, err := os.ReadFile(fmt.Sprintf("/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu))
	if err != nil {
		return []int{cpu}
	}
	siblings, err := parseCPUList(string(text))
	if err != nil || len(siblings) == 0 {
		return []int{cpu}
	}
	return siblings
}

// parseCPUList reads a list such as "0-2,8", the format of cpuset(7).
func parseCPUList(text string) ([]int, error) {
	const most = 1 << 16 // far more than any kernel supports; keeps a damaged range from eating memory
	var cpus []int
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		first, last, isRange := strings.Cut(part, "-")
		low, err := strconv.Atoi(first)
		if err != nil {
			return nil, fmt.Errorf("CPU list %q: %w", text, err)
		}
		high := low
		if isRange {
			if high, err = strconv.Atoi(last); err != nil {
				return nil, fmt.Errorf("CPU list %q: %w", text, err)
			}
		}
		if low < 0 || high < low || high >= most {
			return nil, fmt.Errorf("CPU list %q: bad range %q", text, part)
		}
		for cpu := low; cpu <= high; cpu++ {
			cpus = append(cpus, cpu)
		}
	}
	return cpus, nil
}

// Privileged reports whether the calling thread is root as far as networks go: CAP_SYS_ADMIN (to make and enter
// namespaces) and CAP_NET_ADMIN (to configure them), both held in the initial user namespace. Root inside a user namespace
// or a container without these is not.
func Privileged() bool {
	return inInitialUserNamespace() && holds(unix.CAP_SYS_ADMIN) && holds(unix.CAP_NET_ADMIN)
}

// PrivilegedBPF reports whether the calling thread may use the bpf(2) system call: CAP_BPF, or CAP_SYS_ADMIN which implies
// it, in the initial user namespace. With CAP_BPF alone, sk_reuseport programs need CAP_NET_ADMIN too, and tracing needs
// CAP_PERFMON (capabilities(7)). Holding it is no promise: security modules and seccomp filters may still refuse.
func PrivilegedBPF() bool {
	return inInitialUserNamespace() && (holds(unix.CAP_BPF) || holds(unix.CAP_SYS_ADMIN))
}

// initialUserNamespace is the fixed inode of the first user namespace: PROC_USER_INIT_INO in include/linux/proc_ns.h.
const initialUserNamespace = 0xEFFFFFFD

func inInitialUserNamespace() bool {
	var stat unix.Stat_t
	return unix.Stat("/proc/thread-self/ns/user", &stat) == nil && stat.Ino == initialUserNamespace
}

// holds reports whether the calling thread has the capability in its effective set.
func holds(capability int) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}
	return data[capability/32].Effective&(1<<(capability%32)) != 0
}
