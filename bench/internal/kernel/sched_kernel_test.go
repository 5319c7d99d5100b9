package kernel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/testkit"
)

// TestKernelSchedstat checks that the sum includes the CPU time of threads other than the main one.
func TestKernelSchedstat(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", childBurn)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer in.Close() // ends the child
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	got, err := Schedstat(cmd.Process.Pid)
	if errors.Is(err, ErrNotSupported) {
		testkit.Skip(t, "%v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got.Run < burnedByChild || got.Timeslices == 0 || got.Delay < 0 {
		t.Errorf("got %+v, want a Run of at least %v, and some slices", got, burnedByChild)
	}
}

func TestKernelSchedstatOfNoProcess(t *testing.T) {
	if _, err := Schedstat(math.MaxInt32); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got error %v, want %v", err, fs.ErrNotExist)
	}
}

func TestKernelPressure(t *testing.T) {
	before, err := ReadPressure()
	if errors.Is(err, ErrNotSupported) {
		testkit.Skip(t, "%v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if after, err := ReadPressure(); err != nil || after < before {
		t.Errorf("pressure was %v, then %v (error %v)", before, after, err)
	}
}

func TestKernelSteal(t *testing.T) {
	cpus, err := UsableCPUs()
	if err != nil {
		t.Fatal(err)
	}
	steal, err := ReadSteal(cpus)
	if err != nil {
		t.Fatal(err)
	}
	if len(steal) != len(cpus) {
		t.Errorf("got the steal of %d CPUs, want %d", len(steal), len(cpus))
	}
	all, err := ReadSteal(nil)
	if err != nil || len(all) < len(cpus) {
		t.Errorf("all CPUs: got %d, error %v; want %d or more", len(all), err, len(cpus))
	}
	if _, err := ReadSteal([]int{1 << 20}); err == nil {
		t.Error("no error for a missing CPU")
	}
}

func TestKernelTicksPerSecond(t *testing.T) {
	if got := ticksPerSecond(); got != 100 {
		t.Errorf("got CLK_TCK %d, want 100, as on every architecture that Go supports", got)
	}
}

const burnedByChild = 100 * time.Millisecond

// burnAndWait is the child's side of TestKernelSchedstat.
func burnAndWait() error {
	if err := burn(burnedByChild); err != nil {
		return err
	}
	fmt.Print("\n")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// burn uses CPU time on the calling thread.
func burn(work time.Duration) error {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now); err != nil {
		return err
	}
	for end := now.Nano() + int64(work); now.Nano() < end; {
		if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now); err != nil {
			return err
		}
	}
	return nil
}

// TestKernelSetAffinity restricts a process to a single CPU.
func TestKernelSetAffinity(t *testing.T) {
	cpus, err := UsableCPUs()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command("sleep", "10")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	}()
	last := cpus[len(cpus)-1]
	if err := SetAffinity(child.Process.Pid, []int{last}); err != nil {
		t.Fatal(err)
	}
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(child.Process.Pid, &set); err != nil {
		t.Fatal(err)
	}
	if set.Count() != 1 || !set.IsSet(last) {
		t.Errorf("the process may use %d CPUs, want CPU %d alone", set.Count(), last)
	}
	if err := SetAffinity(1<<30, []int{last}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing process: got error %v, want fs.ErrNotExist", err)
	}
}
