package kernel

import (
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"reuseport-bench/servers/sys"
)

func TestParseCPUModel(t *testing.T) {
	x86, err := os.ReadFile("testdata/linux-6.18/cpuinfo")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, text, want string }{
		{"x86", string(x86), "Intel(R) Xeon(R) Processor"},
		{"arm64", "processor\t: 0\nBogoMIPS\t: 50.00\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n\nprocessor\t: 1\nCPU part\t: 0xd40\n",
			"implementer 0x41 part 0xd0c"},
		{"POWER", "processor\t: 0\ncpu\t\t: POWER9, altivec supported\n", "POWER9, altivec supported"},
		{"nothing known", "processor\t: 0\n", ""},
	} {
		if got := parseCPUModel(strings.NewReader(test.text)); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

func TestParseCPUList(t *testing.T) {
	for _, test := range []struct {
		text string
		want []int
		bad  bool
	}{
		{text: "0\n", want: []int{0}},
		{text: "0-2,8,10-11\n", want: []int{0, 1, 2, 8, 10, 11}},
		{text: "\n"},
		{text: "2-1", bad: true},
		{text: "-1", bad: true},
		{text: "0,,1", bad: true},
		{text: "a-b", bad: true},
		{text: "0-4000000000", bad: true},
	} {
		got, err := parseCPUList(test.text)
		if (err != nil) != test.bad {
			t.Errorf("%q: error %v, want one: %v", test.text, err, test.bad)
		}
		if diff := cmp.Diff(got, test.want); diff != "" {
			t.Errorf("%q (-got +want):\n%s", test.text, diff)
		}
	}
}

func TestKernelMachine(t *testing.T) {
	text, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := Release(), strings.TrimSpace(string(text)); got != want {
		t.Errorf("release %q, want %q", got, want)
	}
	cpus, err := UsableCPUs()
	if err != nil {
		t.Fatal(err)
	}
	if len(cpus) != runtime.NumCPU() || !slices.IsSorted(cpus) {
		t.Errorf("CPUs %v, want %d in order", cpus, runtime.NumCPU())
	}
	for _, cpu := range cpus {
		if siblings := ThreadSiblings(cpu); !slices.Contains(siblings, cpu) {
			t.Errorf("siblings of %d: %v, want it among them", cpu, siblings)
		}
	}
	if got := ThreadSiblings(1 << 20); !slices.Equal(got, []int{1 << 20}) {
		t.Errorf("siblings of a CPU that is not there: %v", got)
	}
}

func TestKernelAffinityOfThread(t *testing.T) {
	cpus, err := UsableCPUs()
	if err != nil {
		t.Fatal(err)
	}
	last := cpus[len(cpus)-1]
	err = onThrowawayThread(func() error {
		var alone unix.CPUSet
		alone.Set(last)
		if err := unix.SchedSetaffinity(0, &alone); err != nil {
			return err
		}
		got, err := affinity(0)
		if !slices.Equal(got, []int{last}) {
			t.Errorf("pinned thread may use %v, want %d alone", got, last)
		}
		if got, err := UsableCPUs(); err != nil || !slices.Equal(got, cpus) {
			t.Errorf("process may use %v (%v), want %v", got, err, cpus)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Root inside a user namespace holds every capability there, and is not privileged: its word counts for nothing outside.
func TestKernelPrivileged(t *testing.T) {
	report, err := reportOf(t, childAttributes{userNamespace: true})
	if err != nil {
		skip(t, "no user namespace: %v", err)
	}
	if report.NetworkRoot || report.BPFRoot {
		t.Errorf("in a user namespace: privileged %v, for BPF %v, want neither", report.NetworkRoot, report.BPFRoot)
	}
	if os.Geteuid() != 0 {
		return
	}
	if !sys.InInitialUserNamespace() {
		skip(t, "root in a user namespace only")
	}
	if !networkRoot() || !bpfRoot() {
		t.Errorf("root: privileged %v, for BPF %v, want both", networkRoot(), bpfRoot())
	}
}
