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

// Release returns the kernel's release from uname(2), such as "6.18.44". It returns "" if uname
// fails.
func Release() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return ""
	}
	return unix.ByteSliceToString(name.Release[:])
}

// CPUModel returns the processor's name from /proc/cpuinfo. ARM kernels give numbers instead of a
// name; CPUModel returns them as "implementer 0x41 part 0xd0c". It returns "" if neither is known.
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
		if _, seen := fields[key]; !seen { // take the values of the first processor
			fields[key] = strings.TrimSpace(value)
		}
	}
	if name := fields["model name"]; name != "" {
		return name
	}
	if implementer := fields["CPU implementer"]; implementer != "" {
		return fmt.Sprintf("implementer %s part %s", implementer, fields["CPU part"])
	}
	return fields["cpu"] // the key on POWER
}

// UsableCPUs returns, in ascending order, the CPUs that this process may run on: those in the
// affinity of its main thread, which a cpuset, taskset(1) or a container runtime may have reduced.
// Other threads may be allowed fewer CPUs.
func UsableCPUs() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(os.Getpid(), &set); err != nil {
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

// OnlineCPUs returns the CPUs of the machine that are online, including those that this process may
// not use. Source: Documentation/admin-guide/cputopology.rst.
func OnlineCPUs() ([]int, error) {
	const file = "/sys/devices/system/cpu/online"
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	cpus, err := parseCPUList(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return cpus, nil
}

// parseCPUList reads a list such as "0-2,8", the format of cpuset(7).
func parseCPUList(text string) ([]int, error) {
	// maxCPU is larger than any kernel's limit. It prevents a damaged range from using up memory.
	const maxCPU = 1 << 16
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
		if low < 0 || high < low || high >= maxCPU {
			return nil, fmt.Errorf("CPU list %q: bad range %q", text, part)
		}
		for cpu := low; cpu <= high; cpu++ {
			cpus = append(cpus, cpu)
		}
	}
	return cpus, nil
}
