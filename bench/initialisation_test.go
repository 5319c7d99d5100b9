package main

import (
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestInitialisation checks that no package of this module allocates much before main starts,
// because that delays every process, including workers that a step starts. A compiled regular
// expression takes 5 KB or more. Data that few processes need is built on first use
// (sync.OnceValue).
func TestInitialisation(t *testing.T) {
	const limit = 4 << 10 // bytes per package
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(exe, roleInit)
	c.Env = append(os.Environ(), "GODEBUG=inittrace=1") // a line per package; see package runtime
	// The output is the trace, then an error: the process has no pipes.
	out, _ := c.CombinedOutput()
	line := regexp.MustCompile(`(?m)^init (\S+) @.* clock, (\d+) bytes`)
	lines := line.FindAllStringSubmatch(string(out), -1)
	ours := 0
	for _, line := range lines {
		name, found := strings.CutPrefix(line[1], module)
		if !found || name == "bench" { // includes the tables of these tests
			continue
		}
		ours++
		bytes, err := strconv.Atoi(line[2])
		if err != nil || bytes > limit {
			t.Errorf("%s allocates %s bytes before main, want at most %d; make it when it is "+
				"first used",
				name, line[2], limit)
		}
	}
	if ours == 0 {
		t.Errorf("no package of %s in the trace:\n%s", module, out)
	}
}
