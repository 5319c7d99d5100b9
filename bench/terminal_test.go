package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/harness"
	"reuseport-bench/bench/internal/plan"
	"reuseport-bench/results"
	"reuseport-bench/results/report/document"
	"reuseport-bench/results/report/reporttest"
	"reuseport-bench/scenarios"
)

// A pseudoterminal of so many columns (pty(7)).
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

// during returns what the terminal shows while f runs.
func (p pseudoterminal) during(f func()) string {
	shown := make(chan string)
	go func() {
		var b bytes.Buffer
		_, _ = b.ReadFrom(p.master) // ends with EIO when nobody has the slave any more
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

// What the commands print fits the terminal that they print to. In a file it is as on one of 100
// columns.
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
				_ = c.Run() // the comparison has a status of its own
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

// The bar stays on its line, whatever the variants are called and however narrow the terminal is.
func TestProgressWidth(t *testing.T) {
	t.Setenv("COLUMNS", "")
	long := &plan.Variant{Labels: scenarios.Labels{
		"a": "b\n\x1b[31m", "long": strings.Repeat("漢字x", 30),
	}}
	short := &plan.Variant{Labels: scenarios.Labels{"stop": "close"}}
	for _, width := range reporttest.Widths() {
		terminal := newPseudoterminal(t, width)
		shown := terminal.during(func() {
			p := newProgress(terminal.slave)
			for i, v := range []*plan.Variant{short, long, short} {
				p.show(harness.Progress{
					Done: i, Planned: 9000, Left: time.Hour + time.Second,
					Scenario: "restart-matrix", Variant: v,
				})
			}
			p.show(harness.Progress{
				Done: 3, Planned: 9000, Scenario: "steady", Note: strings.Repeat("note ", 30),
			})
			p.show(harness.Progress{ // all that was planned has ended, and two repeats have not
				Done: 9000, Planned: 9000, Repeated: 7, Repeats: 9, Repeat: true, Invalid: 9, Reason: "late",
				Left: 3 * time.Second, Scenario: "steady", Variant: short,
			})
			p.close()
		})
		for _, line := range regexp.MustCompile("[\r\n]+").Split(shown, -1) {
			if w := document.DisplayWidth(line); w >= width {
				t.Errorf("%d columns: a line of %d: %q", width, w, line)
			}
		}
		for _, want := range []string{"1h0m1s left", "(2/9000)", "3s left", "(9007/9009)"} {
			if !strings.Contains(shown, want) {
				t.Errorf("%d columns: no %q in\n%q", width, want, shown)
			}
		}
	}
}

// Where there is no terminal each trial has a line, in which nothing moves a cursor.
func TestProgressLines(t *testing.T) {
	var out strings.Builder
	p := newProgress(&out)
	v := &plan.Variant{Labels: scenarios.Labels{"a": "b\n\x1b[31m"}}
	trial := &results.Trial{InvalidReasons: []string{"late\r"}}
	at := harness.Progress{Done: 1, Planned: 2, Invalid: 1, Left: time.Second, Scenario: "steady", Repeat: true}
	ended, note := at, at
	ended.Variant, ended.Trial, note.Note = v, trial, "measuring"
	p.show(ended)
	p.show(note)
	p.close()
	const want = "  1/2    0 repeats   1 invalid        1s left  steady a=b \ufffd[31m repeat of block 1: invalid: late \n" +
		"  1/2    0 repeats   1 invalid        1s left  steady: measuring\n"
	if got := out.String(); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
