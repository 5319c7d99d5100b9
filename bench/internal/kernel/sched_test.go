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
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestParseSchedstat(t *testing.T) {
	got, err := parseSchedstat(strings.NewReader("1119595 93015 2\n"))
	if want := (Sched{Run: 1119595, Delay: 93015, Timeslices: 2}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for _, text := range []string{"", "1 2", "a b c"} {
		if _, err := parseSchedstat(strings.NewReader(text)); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}

func TestParsePressure(t *testing.T) {
	file, err := os.Open("testdata/linux-6.18/pressure_cpu")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if got, err := parsePressure(file); err != nil || got != 70886174*time.Microsecond {
		t.Errorf("got %v, %v, want 1m10.886174s", got, err)
	}
	for name, text := range map[string]string{
		"empty":        "",
		"only full":    "full avg10=0.00 avg60=0.00 avg300=0.00 total=5\n",
		"no total":     "some avg10=0.00\n",
		"not a number": "some total=x\n",
	} {
		if _, err := parsePressure(strings.NewReader(text)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestParseSteal(t *testing.T) {
	file, err := os.Open("testdata/linux-6.18/stat")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	got, err := parseSteal(file, 100)
	if err != nil {
		t.Fatal(err)
	}
	want := map[int]time.Duration{0: 37780 * time.Millisecond, 1: 38700 * time.Millisecond}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("steal (-got +want):\n%s", diff)
	}
	for _, test := range []struct {
		name, text string
		want       error
	}{
		{"no steal column", "cpu  1 2 3 4\ncpu0 1 2 3 4\n", ErrNotSupported},
		{"no CPU", "intr 1\n", nil},
		{"cut short", "cpu0 1 2 3 4 5 6 7", ErrNotSupported},
		{"not a number", "cpu0 1 2 3 4 5 6 7 x 0 0\n", nil},
	} {
		if _, err := parseSteal(strings.NewReader(test.text), 100); err == nil || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%s: error %v, want %v", test.name, err, test.want)
		}
	}
}

func TestTicksToDuration(t *testing.T) {
	for _, test := range []struct {
		ticks, perSecond int64
		want             time.Duration
	}{
		{0, 100, 0},
		{1, 100, 10 * time.Millisecond},
		{12345, 100, 123450 * time.Millisecond},
		{1, 1024, 976562}, // not a divisor of a second
		{100 * 86400 * 365 * 100, 100, 100 * 365 * 24 * time.Hour}, // a century on one CPU
		{math.MaxInt64, 100, math.MaxInt64},
	} {
		if got := ticksToDuration(test.ticks, test.perSecond); got != test.want {
			t.Errorf("%d ticks of 1/%d s: %v, want %v", test.ticks, test.perSecond, got, test.want)
		}
	}
}

func TestAbsent(t *testing.T) {
	for _, cause := range []error{fs.ErrNotExist, unix.EOPNOTSUPP} {
		if err := absent(cause); !errors.Is(err, ErrNotSupported) {
			t.Errorf("%v became %v, want ErrNotSupported", cause, err)
		}
	}
	if err := absent(unix.EACCES); errors.Is(err, ErrNotSupported) {
		t.Errorf("missing permission became %v", err)
	}
}

// A thread that works shows in the sum, although it is not the main thread.
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
	defer in.Close() // ends it
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	got, err := Schedstat(cmd.Process.Pid)
	if errors.Is(err, ErrNotSupported) {
		skip(t, "%v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got.Run < burnedByChild || got.Timeslices == 0 || got.Delay < 0 {
		t.Errorf("%+v, want at least %v on the CPU, in some slices", got, burnedByChild)
	}
}

func TestKernelSchedstatOfNoProcess(t *testing.T) {
	if _, err := Schedstat(math.MaxInt32); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want %v", err, fs.ErrNotExist)
	}
}

func TestKernelPressure(t *testing.T) {
	before, err := ReadPressure()
	if errors.Is(err, ErrNotSupported) {
		skip(t, "%v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if after, err := ReadPressure(); err != nil || after < before {
		t.Errorf("%v, then %v (%v)", before, after, err)
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
		t.Errorf("steal of %d CPUs, want %d", len(steal), len(cpus))
	}
	all, err := ReadSteal(nil)
	if err != nil || len(all) < len(cpus) {
		t.Errorf("all: %d CPUs, %v, want %d or more", len(all), err, len(cpus))
	}
	if _, err := ReadSteal([]int{1 << 20}); err == nil {
		t.Error("no error for a CPU that is not there")
	}
}

func TestKernelTicksPerSecond(t *testing.T) {
	if got := ticksPerSecond(); got != 100 {
		t.Errorf("CLK_TCK %d, want 100, as on every architecture that Go supports", got)
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

// burn uses so much CPU time of the calling thread.
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

// Every thread of this process, and one that it starts afterwards, has the one CPU that it is given.
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
		t.Errorf("%d CPUs, want CPU %d alone", set.Count(), last)
	}
	if err := SetAffinity(1<<30, []int{last}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of no process: %v, want fs.ErrNotExist", err)
	}
}
