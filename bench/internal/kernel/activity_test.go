package kernel

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseBusy(t *testing.T) {
	const stat = "cpu  1 2 3 4 5 6 7 8 9 10\n" +
		"cpu0 100 20 30 1000 50 6 7 8 40 0\n" +
		"cpu1 1 1 1 1 1 1 1 1 1 1\n" +
		"cpu2 10 0 0 5 5 0 0 2 0 0\nintr 1 2 3\n"
	busy, steal, online, err := parseBusy(strings.NewReader(stat), []int{0, 2}, 100)
	if err != nil || online != 3 || busy != 1730*time.Millisecond || steal != 100*time.Millisecond {
		t.Errorf("busy %v, steal %v, %d online, error %v; want 1.73s, 100ms, 3",
			busy, steal, online, err)
	}
	for _, bad := range []string{"", "cpu0 x 0 0 0 0 0 0 0\n", "cpux 0 0 0 0 0\n"} {
		if _, _, _, err := parseBusy(strings.NewReader(bad), []int{0}, 100); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestParseProcess(t *testing.T) {
	const rest = " S 1 1 1 0 -1 0 0 0 0 0 70 30 5 5 20 0"
	got, err := parseProcess("42 (a ) b)"+rest, 100)
	if err != nil || got != (process{"a ) b", time.Second}) {
		t.Errorf("got %+v, error %v", got, err)
	}
	for _, bad := range []string{"", "1 (x", "1 (x) S 1 2", "1 (x) S 1 1 1 0 -1 0 0 0 0 0 x 30 5"} {
		if _, err := parseProcess(bad, 100); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestParseLoadAverage(t *testing.T) {
	runnable, one, five, err := parseLoadAverage("19.03 12.50 8.01 10/512 4711\n")
	if err != nil || runnable != 9 || one != 19.03 || five != 12.5 {
		t.Errorf("runnable %d, load %v and %v, error %v; want 9, 19.03 and 12.5",
			runnable, one, five, err)
	}
	if _, _, _, err := parseLoadAverage("nonsense"); err == nil {
		t.Error("no error")
	}
}

func TestSince(t *testing.T) {
	before := snapshot{
		busy: 10 * time.Second, own: time.Second,
		processes: map[int]process{7: {"make", time.Second}},
	}
	after := snapshot{
		busy: 11500 * time.Millisecond, own: 1250 * time.Millisecond, steal: 100 * time.Millisecond,
		processes: map[int]process{
			7: {"make", 1250 * time.Millisecond}, 8: {"cc1", time.Second}, 9: {"idle", 0},
		},
	}
	want := Activity{
		Window: time.Second, Others: 1.25, Steal: 0.1,
		Programs: []Program{{"cc1", 1}, {"make", 0.25}},
	}
	if diff := cmp.Diff(after.since(before, time.Second), want); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
	// The kernel may count this process's own time one tick after since subtracts that time.
	if a := before.since(after, time.Second); a.Others != 0 {
		t.Errorf("others use %v CPUs, want 0", a.Others)
	}
}

// TestWatch checks that an interrupted Watch returns the activity until then.
func TestWatch(t *testing.T) {
	cpus, err := UsableCPUs()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	a, err := Watch(ctx, cpus, time.Minute)
	if err != nil || a.CPUs != len(cpus) ||
		a.Window < 50*time.Millisecond || a.Window > 10*time.Second {
		t.Errorf("got %+v, error %v; want %d CPUs and a window of about 50ms", a, err, len(cpus))
	}
	if a.Others > float64(len(cpus))+0.5 {
		t.Errorf("others use %v of %d CPUs, which is more than all", a.Others, len(cpus))
	}
}
