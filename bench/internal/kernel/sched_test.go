package kernel

import (
	"errors"
	"io/fs"
	"math"
	"os"
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

func TestParseProcessor(t *testing.T) {
	// A thread's name may contain spaces and parentheses.
	const rest = " S 1 1 1 0 -1 4194560 1 0 0 0 1 2 0 0 20 0 5 0 99 1000 200 " +
		"18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 "
	got, err := parseProcessor("12 (a) b (c) 9)" + rest + "3 0 0 0 0 0\n")
	if err != nil || got != 3 {
		t.Errorf("got %d, %v, want 3", got, err)
	}
	for _, text := range []string{"", "12 (a)", "12 (a)" + rest, "12 (a)" + rest + "x"} {
		if _, err := parseProcessor(text); err == nil {
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
		_, err := parseSteal(strings.NewReader(test.text), 100)
		if err == nil || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%s: got error %v, want %v", test.name, err, test.want)
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
		{1, 1024, 976562}, // a tick of 976562.5 ns
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
			t.Errorf("absent turned %v into %v, want ErrNotSupported", cause, err)
		}
	}
	if err := absent(unix.EACCES); errors.Is(err, ErrNotSupported) {
		t.Errorf("absent turned missing permission into %v", err)
	}
}
