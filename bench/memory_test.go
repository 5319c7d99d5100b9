package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// measured is a role of the test binary: it runs the program and then prints the peak memory of the
// process. The parent process cannot measure this: a child's ru_maxrss from wait4(2) includes the
// parent's memory, which the child uses between vfork(2) and execve(2).
const measured = "measured"

// runMeasured runs the program and then writes the peak memory, as in proc_pid_status(5), to
// standard error. It returns the program's exit status.
func runMeasured(args []string) int {
	status := run(args, os.Stdout, os.Stderr)
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		panic(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "VmHWM:") {
			fmt.Fprint(os.Stderr, line)
		}
	}
	return status
}

// The program takes little memory for a scenario file of any size, whether it plans or refuses it.
// (For an ordinary file it takes 20 MB.)
func TestScenarioMemory(t *testing.T) {
	const most = 150 << 10 // kB
	const head = "name: x\nload: {rate: 10/s, duration: 10s}\nstop: close\n"
	numbers := "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16"
	variants := "matrix: [{workers: [" + numbers + "], server.backlog: [" + numbers + "]}]\n"
	gate := func(expect string) string { return head + "gates: [{expect: \"" + expect + "\"}]\n" }
	steps := func(n int) string {
		return "timeline:\n" + repeated("- {at: %dms, every: 10ms, do: replace}\n", n)
	}
	tests := []struct {
		name, text string
		accepted   bool
	}{
		{"many steps of many variants", head + steps(256) + variants, false},
		{"as many as there may be", head + steps(20) + variants, true},
		{"brackets", strings.Repeat("[", 1_000_000), false},
		{"brackets in a file that is not too large", strings.Repeat("[", 130_000), false},
		{"as many values as fit", "name: [" + strings.Repeat(":,", 60_000) + "]\n", false},
		{"as many keys as fit", "{" + strings.Repeat("a,", 60_000) + "}\n", false},
		{"anchors", repeated("k%d: &a x\n", 50_000), false},
		{"anchors in a file that is not too large", repeated("k%d: &a x\n", 9000), false},
		{"a long gate", gate(strings.Repeat("-", 500_000) + "lost == 0"), false},
		{"a gate that is long in a file that is not too large",
			gate(strings.Repeat("(", 60_000) + "lost" + strings.Repeat(")", 60_000) + " == 0"),
			false,
		},
		{"many gates", head + variants + "gates:\n" +
			repeated("- {expect: \"min("+strings.Repeat("lost, ", 60)+"1%d) == 0\"}\n", 256), true},
		{"many random arrivals",
			"name: x\nload: {rate: 1000000/s, duration: 10s, pace: poisson}\n" + variants, true},
		{"many trials", head + "trials: 1000\n" + variants, true},
		{"many mistakes", head + "timeline:\n" +
			repeated("- {at: %ds, do: kill, target: 1023, for: 1s}\n", 256) + variants, false},
	}
	dir := t.TempDir()
	for _, test := range tests {
		file := filepath.Join(dir, "x.yaml")
		if err := os.WriteFile(file, []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, command := range [][]string{{"show"}, {"run", "--dry-run"}} {
			c := exec.Command("/proc/self/exe",
				slices.Concat([]string{measured}, command, []string{file})...)
			var stderr bytes.Buffer
			c.Stderr = &stderr
			err := c.Run()
			_, peak, found := strings.Cut(stderr.String(), "VmHWM:")
			kB := 0
			if _, scanned := fmt.Sscanf(peak, "%d kB", &kB); !found || scanned != nil {
				t.Fatalf("%s of %s: %v, in %q", command, test.name, scanned, stderr.String())
			}
			want := exitUsage
			if test.accepted {
				want = 0
			}
			if c.ProcessState.ExitCode() != want {
				t.Errorf("%s of %s: %v: %s", command, test.name, err, stderr.String())
			}
			if kB > most {
				t.Errorf("%s of %s: %d kB, at most %d", command, test.name, kB, most)
			}
			t.Logf("%s of %s: %d kB", command, test.name, kB)
		}
	}
}

// repeated formats each number from 0 to n-1 and joins the results.
func repeated(format string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}
