package kernel

import (
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/sys"
)

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
}

func TestKernelAffinityOfThread(t *testing.T) {
	cpus, err := UsableCPUs()
	if err != nil {
		t.Fatal(err)
	}
	last := cpus[len(cpus)-1]
	err = sys.OnOwnThread(func() error {
		var alone unix.CPUSet
		alone.Set(last)
		if err := unix.SchedSetaffinity(0, &alone); err != nil {
			return err
		}
		if got, err := UsableCPUs(); err != nil || !slices.Equal(got, cpus) {
			t.Errorf("with one thread pinned, usable CPUs are %v (%v), want %v", got, err, cpus)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
