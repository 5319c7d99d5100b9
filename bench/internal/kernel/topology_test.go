package kernel

import (
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/servers/testkit"
)

// recorded returns the /proc and /sys of a machine in testdata/machines.
func recorded(t *testing.T, name string) fstest.MapFS {
	t.Helper()
	return testkit.Tree(t, filepath.Join("testdata/machines", name+".txt"))
}

func add(root fstest.MapFS, path, content string) {
	root[path] = &fstest.MapFile{Data: []byte(content + "\n")}
}

func TestTopologyOfMachines(t *testing.T) {
	tests := []struct {
		machine   string
		cpus      int
		want      map[int]CPU // some of the CPUs
		governors []string
	}{
		{"laptop", 8, map[int]CPU{
			0: {0, 0, 0, 1024}, 4: {4, 0, 0, 1024}, 7: {7, 3, 0, 1024},
		}, []string{"powersave"}},
		{"xeon-x7550", 64, map[int]CPU{
			1: {1, 1, 2, 1024}, 2: {2, 2, 0, 1024}, 33: {33, 1, 2, 1024}, 63: {63, 31, 3, 1024},
		}, []string{"ondemand"}},
		{"epyc-7451", 96, map[int]CPU{
			5: {5, 5, 0, 1024}, 53: {53, 5, 0, 1024}, 47: {47, 47, 7, 1024},
		}, []string{"performance"}},
		{"phone", 8, map[int]CPU{
			0: {0, 0, 0, 280}, 3: {3, 3, 0, 855}, 7: {7, 7, 0, 1024},
		}, []string{"walt"}},
	}
	for _, test := range tests {
		t.Run(test.machine, func(t *testing.T) {
			got := TopologyOf(recorded(t, test.machine), testkit.UpTo(test.cpus))
			if len(got.CPUs) != test.cpus {
				t.Fatalf("%d CPUs, want %d", len(got.CPUs), test.cpus)
			}
			for number, want := range test.want {
				if diff := cmp.Diff(got.CPUs[number], want); diff != "" {
					t.Errorf("CPU %d (-got +want):\n%s", number, diff)
				}
			}
			if diff := cmp.Diff(got.Governors, test.governors); diff != "" {
				t.Errorf("governors (-got +want):\n%s", diff)
			}
			if got.Quota != 0 || got.Virtual != "" {
				t.Errorf("quota %v, virtual %q; want neither", got.Quota, got.Virtual)
			}
		})
	}
}

// TestTopologyHybrid checks Intel's hybrid processors. Since Linux 5.13, cpu_atom lists their
// slower cores.
func TestTopologyHybrid(t *testing.T) {
	root := recorded(t, "laptop")
	add(root, "sys/devices/cpu_core/cpus", "0-3")
	add(root, "sys/devices/cpu_atom/cpus", "4-7")
	for _, c := range TopologyOf(root, testkit.UpTo(8)).CPUs {
		if fast := c.Capacity == 1024; fast != (c.Number < 4) {
			t.Errorf("CPU %d has capacity %d; want 1024 for CPUs 0 to 3", c.Number, c.Capacity)
		}
	}
}

func TestTopologyOfNothing(t *testing.T) {
	got := TopologyOf(fstest.MapFS{}, []int{5, 2})
	want := Topology{CPUs: []CPU{{2, 2, 0, 1024}, {5, 5, 0, 1024}}}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
}

func TestQuotaAndThrottled(t *testing.T) {
	tests := []struct {
		name      string
		files     map[string]string
		quota     float64
		throttled int64
	}{
		{"none", nil, 0, 0},
		{"version 2, a container that sees its own", map[string]string{
			"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "200000 100000",
			"sys/fs/cgroup/cpu.stat": "usage_usec 7\nnr_throttled 2\nthrottled_usec 1500",
		}, 2, 1_500_000},
		{"version 2, the smallest of those around it", map[string]string{
			"proc/self/cgroup":                "0::/a/b",
			"sys/fs/cgroup/a/b/cpu.max":       "max 100000",
			"sys/fs/cgroup/a/cpu.max":         "75000 50000",
			"sys/fs/cgroup/cpu.max":           "400000 100000",
			"sys/fs/cgroup/a/cpu.stat":        "throttled_usec 3",
			"sys/fs/cgroup/unrelated/cpu.max": "1000 100000",
		}, 1.5, 3000},
		{"version 1, the path of another namespace", map[string]string{
			"proc/self/cgroup": "4:memory:/x\n3:cpu,cpuacct:/docker/1f\n0::/",

			"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us":  "50000",
			"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
			"sys/fs/cgroup/cpu,cpuacct/cpu.stat":          "nr_throttled 1\nthrottled_time 42",
		}, 0.5, 42},
		{"version 1, both names of one directory", map[string]string{
			"proc/self/cgroup":                   "3:cpu,cpuacct:/",
			"sys/fs/cgroup/cpu/cpu.stat":         "throttled_time 7",
			"sys/fs/cgroup/cpu,cpuacct/cpu.stat": "throttled_time 7",
		}, 0, 7},
		{"version 1, the controller alone", map[string]string{
			"proc/self/cgroup": "1:cpu:/", "sys/fs/cgroup/cpu/cpu.stat": "throttled_time 9",
		}, 0, 9},
		{"version 1, no limit", map[string]string{
			"proc/self/cgroup":                    "3:cpu:/",
			"sys/fs/cgroup/cpu/cpu.cfs_quota_us":  "-1",
			"sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
		}, 0, 0},
		{"nonsense", map[string]string{
			"proc/self/cgroup": "0\n:\n0::/../..", "sys/fs/cgroup/cpu.max": "many few",
		}, 0, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := fstest.MapFS{}
			for path, content := range test.files {
				add(root, path, content)
			}
			if got := quota(root); got != test.quota {
				t.Errorf("quota %v, want %v", got, test.quota)
			}
			got, known := throttled(root)
			if got != test.throttled || known != (test.throttled > 0) {
				t.Errorf("throttled %d, known %t; want %d", got, known, test.throttled)
			}
		})
	}
}

func TestVirtual(t *testing.T) {
	root := fstest.MapFS{}
	add(root, "proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu sse")
	if got := virtual(root); got != "" {
		t.Errorf("bare metal: got %q, want none", got)
	}
	add(root, "proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu hypervisor sse")
	if got := virtual(root); got != "yes" {
		t.Errorf("unknown hypervisor: got %q, want yes", got)
	}
	add(root, "sys/class/dmi/id/sys_vendor", "QEMU")
	add(root, "sys/class/dmi/id/product_name", "Standard PC")
	if got := virtual(root); got != "QEMU Standard PC" {
		t.Errorf("got %q, want QEMU Standard PC", got)
	}
}

func TestParseCPUMask(t *testing.T) {
	for mask, want := range map[string][]int{
		"0": nil, "3": {0, 1}, "00000001,00000000": {32}, "80000000": {31}, "x": nil, "1,,1": nil,
	} {
		if diff := cmp.Diff(parseCPUMask(mask), want); diff != "" {
			t.Errorf("%q (-got +want):\n%s", mask, diff)
		}
	}
}
