package main

import (
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestInitialisation checks that none of this module's packages builds much before main starts:
// every process pays for all of them, a worker that a step starts too. A compiled regular
// expression takes 5 KB or more, so what few processes need is made when it is first used
// (sync.OnceValue).
func TestInitialisation(t *testing.T) {
	const limit = 4 << 10 // bytes, of one package
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(exe, roleInit)
	c.Env = append(os.Environ(), "GODEBUG=inittrace=1") // package runtime: a line for each package
	// The output is the trace, then an error: the process has no pipes.
	out, _ := c.CombinedOutput()
	line := regexp.MustCompile(`(?m)^init (\S+) @.* clock, (\d+) bytes`)
	lines := line.FindAllStringSubmatch(string(out), -1)
	ours := 0
	for _, line := range lines {
		name, found := strings.CutPrefix(line[1], module)
		if !found || name == "bench" { // the tables of its tests are in it
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
