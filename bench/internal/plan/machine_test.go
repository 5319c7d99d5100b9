package plan

import (
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/results"
	"reuseport-bench/scenarios"
	"reuseport-bench/servers/testkit"
)

// tree returns the recorded /proc and /sys of the named machine.
func tree(t *testing.T, name string) fstest.MapFS {
	t.Helper()
	return testkit.Tree(t, filepath.Join("../kernel/testdata/machines", name+".txt"))
}

// Place chooses CPUs on machines whose /proc and /sys are in testdata. Some of these trees were
// recorded, and some were made up because no such machine was available; the files say which.
func TestPlaceOnMachines(t *testing.T) {
	file := func(root fstest.MapFS, path, content string) {
		root[path] = &fstest.MapFile{Data: []byte(content + "\n")}
	}
	const sharesCPU = "this program shares the load's CPU: " +
		"with a third it would have one of its own"
	for _, tt := range []struct {
		name, machine          string
		cpus                   []int
		change                 func(fstest.MapFS)
		load, harness, servers string
		notes                  string
	}{
		{"a laptop, four cores with two threads each", "laptop", testkit.UpTo(8), nil,
			"0", "1", "2-3,6-7", ""},
		{"a laptop, its cores 2 and 3 slower", "laptop", testkit.UpTo(8), func(root fstest.MapFS) {
			file(root, "sys/devices/cpu_core/cpus", "0-1,4-5")
			file(root, "sys/devices/cpu_atom/cpus", "2-3,6-7")
		}, "0", "1", "2-3,6-7",
			"cores of 2 kinds: latency depends on which of them a worker runs on"},
		{"a laptop with many slower cores", "hybrid", testkit.UpTo(12), nil, "4-5", "6", "7-11",
			"8 of 10 cores: the fastest kind with at least 3"},
		{"a phone, three kinds of cores", "phone", testkit.UpTo(8), nil, "3", "4", "5-6",
			"4 of 8 cores: the fastest kind with at least 3"},
		{"64 CPUs on three nodes, half of them on one", "xeon-x7550", testkit.UpTo(64), nil,
			"0,2,4,6", "8", "10,12,14,16,18,20,22,24,26,28,30,42,44,46,48,50,52,54,56,58,60,62",
			"16 of 32 cores: those of memory node 0; --cpus chooses others"},
		{"64 cores on two nodes", "two-nodes", testkit.UpTo(128), nil, "0-7", "8", "9-31,73-95",
			"32 of 64 cores: those of memory node 0; --cpus chooses others"},
		{"96 CPUs on eight nodes", "epyc-7451", testkit.UpTo(96), nil, "0", "1", "2-5,50-53",
			"6 of 48 cores: those of memory node 0; --cpus chooses others"},
		{"2 of 64 CPUs by quota", "two-nodes", testkit.UpTo(128), func(root fstest.MapFS) {
			file(root, "proc/self/cgroup", "0::/")
			file(root, "sys/fs/cgroup/cpu.max", "200000 100000")
		}, "0", "0", "1", "32 of 64 cores: those of memory node 0; --cpus chooses others\n" +
			"2 of 32 cores: the CPU quota is 2 CPUs\n" + sharesCPU},
		{"4.5 of 64 CPUs by quota", "two-nodes", testkit.UpTo(128), func(root fstest.MapFS) {
			file(root, "proc/self/cgroup", "0::/")
			file(root, "sys/fs/cgroup/cpu.max", "450000 100000")
		}, "0", "1", "2-3", "32 of 64 cores: those of memory node 0; --cpus chooses others\n" +
			"4 of 32 cores: the CPU quota is 4.5 CPUs"},
		{"4 of 8 threads by quota, cgroup v1", "laptop", testkit.UpTo(8), func(root fstest.MapFS) {
			file(root, "proc/self/cgroup", "3:cpu,cpuacct:/docker/1f")
			file(root, "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "400000")
			file(root, "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000")
		}, "0", "1", "2-3", "one thread of each core: the CPU quota is 4 CPUs"},
		{"1.5 of 2 CPUs by quota", "laptop", []int{0, 1}, func(root fstest.MapFS) {
			file(root, "proc/self/cgroup", "0::/../..")
			file(root, "sys/fs/cgroup/cpu.max", "150000 100000")
		}, "0", "0", "1", "trials that use more than 1.5 CPUs are stopped by the quota, " +
			"and invalid\n" + sharesCPU},
		{"a quota that cannot be used up", "laptop", []int{0, 1}, func(root fstest.MapFS) {
			file(root, "proc/self/cgroup", "0::/")
			file(root, "sys/fs/cgroup/cpu.max", "200000 100000")
		}, "0", "0", "1", sharesCPU},
		{"2 of 64 CPUs by cpuset, two cores", "two-nodes", []int{17, 40}, nil, "17", "17", "40",
			"cores of 2 nodes of memory\n" + sharesCPU},
		{"2 of 64 CPUs by cpuset, one core", "two-nodes", []int{17, 81}, nil, "17", "17", "81",
			"load and servers are threads of one core: they slow each other down\n" +
				"this program shares the load's CPU"},
		{"two cores of two threads", "laptop", []int{1, 2, 5, 6}, nil, "1", "5", "2,6",
			"this program has the second thread of the load's core: " +
				"with a third core it would have one of its own"},
		{"one CPU", "laptop", []int{3}, nil, "3", "3", "3",
			"load and servers share the only CPU: they disturb each other"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := tree(t, tt.machine)
			if tt.change != nil {
				tt.change(root)
			}
			p := Machine{CPUs: tt.cpus, Topology: kernel.TopologyOf(root, tt.cpus)}.Place()
			got := []string{describeCPUs(p.Load), describeCPUs(p.Harness), describeCPUs(p.Servers)}
			if diff := cmp.Diff(got, []string{tt.load, tt.harness, tt.servers}); diff != "" {
				t.Errorf("load, harness, servers (-got +want):\n%s", diff)
			}
			if diff := cmp.Diff(strings.Join(p.Notes, "\n"), tt.notes); diff != "" {
				t.Errorf("notes (-got +want):\n%s", diff)
			}
		})
	}
}

// Without a topology, each CPU counts as a core of its own.
func TestPlaceByNumber(t *testing.T) {
	for _, tt := range []struct {
		n                      int
		load, harness, servers string
	}{
		{1, "0", "0", "0"},
		{2, "0", "0", "1"},
		{3, "0", "1", "2"},
		{4, "0", "1", "2-3"},
		{8, "0-1", "2", "3-7"},
		{64, "0-15", "16", "17-63"},
	} {
		p := Machine{CPUs: testkit.UpTo(tt.n)}.Place()
		got := [3]string{describeCPUs(p.Load), describeCPUs(p.Harness), describeCPUs(p.Servers)}
		if want := [3]string{tt.load, tt.harness, tt.servers}; got != want {
			t.Errorf("%d CPUs: load, harness, servers on %q, want %q", tt.n, got, want)
		}
	}
}

func TestParsePlacement(t *testing.T) {
	for _, tt := range []struct{ text, load, servers, harness, problem string }{
		{"load=0,servers=1-3", "0", "1-3", "4", ""},
		{"servers=3,1-2,load=0,harness=7", "0", "1-3", "7", ""},
		{"load=0-3,servers=4-7", "0-3", "4-7", "0", ""},
		{"load=0,servers=1-2,harness=2", "0", "1-2", "2", ""},
		{"load=0", "", "", "", "load and servers both need CPUs"},
		{"", "", "", "", "say whose CPUs these are"},
		{"0,1", "", "", "", "say whose CPUs these are"},
		{"load=0,server=1", "", "", "", `"server": want load, servers or harness`},
		{"load=0,load=1,servers=2", "", "", "", "load is given twice"},
		{"load=0,servers=8", "", "", "", "CPU 8 cannot be used; usable are 0-7"},
		{"load=0-1,servers=1-2", "", "", "", "CPU 1 is the load's and the servers'"},
		{"load=3-1,servers=0", "", "", "", `"load=3-1": the range ends before it begins; write 1-3`},
		{"load=0,,servers=1", "", "", "", `"load=0,,servers=1" has an empty element`},
		{"load=0, servers=1", "", "", "", `" servers=1" has a blank in it`},
		{"load=0,servers=1,x", "", "", "", `"x" is not a CPU or a range`},
		{"load=-1,servers=0", "", "", "", `"-1" is not a CPU or a range`},
		{"load=0-99999999,servers=0", "", "", "", "is not a CPU or a range"},
		{"load=,servers=0", "", "", "", `"load=": no CPU is named`},
	} {
		m := Machine{CPUs: testkit.UpTo(8)}
		p, err := ParsePlacement(tt.text, m.CPUs)
		if tt.problem != "" {
			if err == nil || !strings.Contains(err.Error(), tt.problem) {
				t.Errorf("%q: got error %v, want %q in it", tt.text, err, tt.problem)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", tt.text, err)
			continue
		}
		m.Wanted = p
		p = m.Place()
		got := [3]string{describeCPUs(p.Load), describeCPUs(p.Servers), describeCPUs(p.Harness)}
		if want := [3]string{tt.load, tt.servers, tt.harness}; got != want {
			t.Errorf("%q: load, servers, harness on %q, want %q", tt.text, got, want)
		}
	}
}

// A resumed run uses the same CPUs as before the interruption.
func TestPlaceOfResumed(t *testing.T) {
	s, err := scenarios.Load("steady")
	if err != nil {
		t.Fatal(err)
	}
	began := &results.Run{Environment: results.Environment{
		LoadCPUs: []int{2}, ServerCPUs: []int{0, 1}, HarnessCPUs: []int{3},
	}}
	stored := &results.Scenario{Name: s.Name, SHA256: s.SHA256, Trials: 1, MinValid: 1}
	for _, v := range s.Variants {
		stored.Variants = append(stored.Variants, &results.Variant{Labels: v.Labels})
	}
	began.Scenarios = []*results.Scenario{stored}
	all, resume := []*scenarios.Scenario{s}, Options{Resume: began}
	p, err := New(all, 1, Machine{CPUs: testkit.UpTo(8)}, resume)
	if err != nil {
		t.Fatal(err)
	}
	if got := describeCPUs(p.CPUs.Load) + " " + describeCPUs(p.CPUs.Servers); got != "2 0-1" {
		t.Errorf("load and servers on %s, want 2 0-1", got)
	}
	_, err = New(all, 1, Machine{CPUs: testkit.UpTo(2)}, resume)
	if err == nil || !strings.Contains(err.Error(), "began on CPU 2") {
		t.Errorf("without CPU 2: got error %v, want that the run began there", err)
	}
}

func TestDescribeCPUs(t *testing.T) {
	if got, want := describeCPUs([]int{0, 1, 2, 5, 7, 8}), "0-2,5,7-8"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
