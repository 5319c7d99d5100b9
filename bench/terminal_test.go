package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/harness"
	"reuseport-bench/bench/internal/plan"
	"reuseport-bench/results"
	"reuseport-bench/results/report/document"
	"reuseport-bench/results/report/reporttest"
	"reuseport-bench/scenarios"
)

// A pseudoterminal has a fixed number of columns (pty(7)).
type pseudoterminal struct {
	master, slave *os.File
}

func newPseudoterminal(t *testing.T, columns int) pseudoterminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { master.Close() })
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	size := &unix.Winsize{Row: 24, Col: uint16(columns)}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, size); err != nil {
		t.Fatal(err)
	}
	return pseudoterminal{master, slave}
}

// during returns the terminal's output while f runs.
func (p pseudoterminal) during(f func()) string {
	shown := make(chan string)
	go func() {
		var b bytes.Buffer
		_, _ = b.ReadFrom(p.master) // ends with EIO when no process has the slave open
		shown <- b.String()
	}()
	f()
	p.slave.Close()
	return <-shown
}

func TestTextWidth(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, test := range []struct {
		columns string
		of      *os.File
		want    int
	}{
		{"", file, 100}, {"60", file, 60}, {"0", file, 100}, {"-5", file, 100}, {"x", file, 100},
		{"10", file, 40}, {"99999", file, 160},
		{"", newPseudoterminal(t, 72).slave, 72}, {"60", newPseudoterminal(t, 72).slave, 60},
		{"", newPseudoterminal(t, 20).slave, 40}, {"", newPseudoterminal(t, 200).slave, 160},
		{"", newPseudoterminal(t, 0).slave, 100},
	} {
		t.Setenv("COLUMNS", test.columns)
		if got := textWidth(test.of); got != test.want {
			t.Errorf("COLUMNS=%q, %s: got %d, want %d",
				test.columns, test.of.Name(), got, test.want)
		}
	}
}

// The commands' output fits the width of the terminal. Output to a file has the same lines as
// output to a terminal of 100 columns.
func TestTerminalWidth(t *testing.T) {
	t.Setenv("COLUMNS", "")
	t.Setenv("NO_COLOR", "1")
	p := newProgram(t)
	run, err := filepath.Abs("../results/baseline/ci")
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{
		"list", "run --dry-run --seed 1 steady", "claims RUN", "report RUN", "report RUN --full",
		"report RUN --ledger",
		"report RUN --losses", "compare RUN RUN",
	} {
		args := strings.Fields(strings.ReplaceAll(command, "RUN", run))
		shown := ""
		for _, width := range reporttest.Widths() {
			terminal := newPseudoterminal(t, width)
			shown = terminal.during(func() {
				c := p.command(t.Context(), args...)
				c.Stdout = terminal.slave
				_ = c.Run() // the verdict of compare may be a failure
			})
			shown = strings.ReplaceAll(shown, "\r\n", "\n")
			for line := range strings.Lines(shown) {
				if w := document.DisplayWidth(strings.TrimSuffix(line, "\n")); w > width {
					t.Errorf("%s: %d columns instead of %d: %s", command, w, width, line)
				}
			}
		}
		if file, _ := p.command(t.Context(), args...).Output(); string(file) != shown {
			t.Errorf("%s: in a file it is not what it is on a terminal of 100 columns", command)
		}
	}
}

// planOf returns a plan of a scenario with one variant for each element of labels.
func planOf(name string, labels ...scenarios.Labels) *plan.Plan {
	s := &plan.Scenario{Spec: &scenarios.Scenario{Name: name}}
	for _, l := range labels {
		s.Variants = append(s.Variants, &plan.Variant{Labels: l})
	}
	return &plan.Plan{Scenarios: []*plan.Scenario{s}}
}

// Progress takes one line, however long the variants' names are and however narrow the terminal is.
func TestProgressWidth(t *testing.T) {
	t.Setenv("COLUMNS", "")
	of := planOf("restart-matrix", scenarios.Labels{"stop": "close"},
		scenarios.Labels{"a": "b\n\x1b[31m", "long": strings.Repeat("漢字x", 30)})
	short, long := of.Scenarios[0].Variants[0], of.Scenarios[0].Variants[1]
	for _, width := range reporttest.Widths() {
		terminal := newPseudoterminal(t, width)
		shown := terminal.during(func() {
			p := newProgress(terminal.slave, of)
			for i, v := range []*plan.Variant{short, long, short} {
				p.show(harness.Progress{
					Done: i, Planned: 9000, Left: time.Hour + time.Second,
					Scenario: "restart-matrix", Variant: v, Attempts: 1, Dropped: 12,
				})
			}
			p.show(harness.Progress{
				Done: 3, Planned: 9000, Scenario: "steady", Note: strings.Repeat("note ", 30),
				Left: time.Hour,
			})
			p.show(harness.Progress{ // all planned trials have ended, but not the two repeats
				Done: 9000, Planned: 9000, Repeated: 7, Repeats: 9, Repeat: true, Invalid: 9,
				Reason: strings.Repeat("late ", 30), Scenario: "steady", Variant: short,
			})
			p.close()
		})
		lines := strings.Split(strings.ReplaceAll(shown, eraseLine, ""), "\r")
		for _, line := range lines {
			if w := document.DisplayWidth(line); w >= width || strings.ContainsAny(line, "\x1b\n") {
				t.Errorf("%d columns: a line of %d: %q", width, w, line)
			}
		}
		for _, want := range []string{"1h0m1s left", "   2/9000", "9000/9000", "0s left"} {
			if !strings.Contains(shown, want) {
				t.Errorf("%d columns: no %q in\n%q", width, want, shown)
			}
		}
		column(t, lines, "/9000")
		column(t, lines, " left")
	}
}

// column checks that text starts in the same column on all lines that contain it.
func column(t *testing.T, lines []string, text string) {
	t.Helper()
	first := -1
	for _, line := range lines {
		before, _, found := strings.Cut(line, text)
		switch at := document.DisplayWidth(before); {
		case !found:
		case first < 0:
			first = at
		case at != first:
			t.Errorf("%q is in column %d, and before in %d: %q", text, at, first, line)
		}
	}
}

// On a terminal, progress shows the number of invalid trials and the reason, which trial is being
// repeated and, if there is room, the number of attempts that each variant dropped.
func TestProgressTerminal(t *testing.T) {
	of := planOf("restart", scenarios.Labels{"sockets": "reuseport", "stop": "close"},
		scenarios.Labels{"sockets": "shared", "stop": "handoff"})
	closes, handsOff := of.Scenarios[0].Variants[0], of.Scenarios[0].Variants[1]
	t.Setenv("COLUMNS", "")
	terminal := newPseudoterminal(t, 100)
	states := []harness.Progress{
		{Done: 1, Planned: 4, Left: 2 * time.Minute, Variant: closes, Attempts: 3800, Dropped: 31},
		{Done: 2, Planned: 4, Left: 2 * time.Minute, Variant: handsOff, Attempts: 3800},
		{Done: 4, Planned: 4, Left: 2 * time.Minute, Variant: closes, Attempts: 3800, Dropped: 31,
			Invalid: 1, Reason: "the load generator ran late", Repeats: 1},
		{Done: 4, Planned: 4, Repeated: 1, Repeats: 1, Repeat: true, Variant: closes,
			Attempts: 7600, Dropped: 60, Invalid: 1, Reason: "the load generator ran late"},
	}
	shown := terminal.during(func() {
		p := newProgress(terminal.slave, of)
		for _, s := range states {
			s.Scenario = "restart"
			p.show(s)
		}
		p.close()
	})
	lines := strings.Split(strings.ReplaceAll(shown, eraseLine, ""), "\r")
	want := []string{"",
		"[███·········] 1/4  0 invalid     2m0s left  restart  reuseport · close: 31 dropped",
		"[██████······] 2/4  0 invalid     2m0s left  restart  shared · handoff: 0 dropped",
		"[████████████] 4/4  1 invalid     2m0s left  restart  reuseport · close: 31 dropped",
		"[████████████] 4/4  1 invalid       0s left  repeating 1 of 1: restart  " +
			"reuseport · close: 60 drop…",
		"",
	}
	if diff := cmp.Diff(lines, want); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
	t.Log(strings.ReplaceAll(strings.ReplaceAll(shown, eraseLine, ""), "\r", "\n"))
}

// When the estimate jumps, the time left moves only part of the way. It ends at 0.
func TestCountdown(t *testing.T) {
	var c countdown
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for i, step := range []struct{ estimate, want time.Duration }{
		{100 * time.Second, 100 * time.Second},
		{100 * time.Second, 93 * time.Second}, // 90 s, plus a quarter of the difference
		{200 * time.Second, 112 * time.Second},
		{20 * time.Second, 81 * time.Second},
		{0, 0},
	} {
		c.update(step.estimate, at.Add(time.Duration(i)*10*time.Second))
		if got := c.shown; got.Round(time.Second) != step.want {
			t.Errorf("%d: %v are left, want %v", i, got, step.want)
		}
	}
}

// Without a terminal each trial gets a line, without control sequences.
func TestProgressLines(t *testing.T) {
	var out strings.Builder
	of := planOf("steady", scenarios.Labels{"a": "b\n\x1b[31m"})
	p := newProgress(&out, of)
	trial := &results.Trial{InvalidReasons: []string{"late\r"}}
	at := harness.Progress{
		Done: 1, Planned: 12, Invalid: 1, Left: time.Second, Scenario: "steady", Repeat: true,
	}
	ended, note := at, at
	ended.Variant, ended.Trial, note.Note = of.Scenarios[0].Variants[0], trial, "measuring"
	p.show(ended)
	p.show(note)
	p.close()
	const want = " 1/12   1 invalid       1s left  steady  a=b \ufffd[31m  repeating block 1: " +
		"invalid: late \n" +
		" 1/12   1 invalid       1s left  steady: measuring\n"
	if got := out.String(); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
