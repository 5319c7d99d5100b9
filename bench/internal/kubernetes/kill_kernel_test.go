//go:build kube

package kubernetes

import (
	"bufio"
	"math/rand/v2"
	"os/exec"
	"testing"
	"time"

	"reuseport-bench/servers/testkit"
)

// TestKernelKilled kills the program that boots a cluster at random instants, from its start until
// some time after the boot.
func TestKernelKilled(t *testing.T) {
	testkit.RequireRoot(t)
	if _, err := Find(""); err != nil {
		testkit.Skip(t, "%v", err)
	}
	const kills, boot = 10, 9 * time.Second
	for i := range kills {
		before := inventory(t, 0)
		cmd := exec.Command("/proc/self/exe", roleBoot)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		last := make(chan string, 1)
		go func() {
			line := "nothing yet"
			for lines := bufio.NewScanner(out); lines.Scan(); {
				line = lines.Text()
			}
			last <- line
		}()
		at := time.Duration((float64(i) + rand.Float64()) / kills * float64(boot))
		time.Sleep(at) // the instant of the kill
		cmd.Process.Kill()
		killed := time.Now()
		t.Logf("killed after %v: %s", at, <-last)
		cmd.Wait()
		deadline := time.Now().Add(10 * time.Second)
		for time.Now().Before(deadline) && !same(before, inventory(t, cmd.Process.Pid)) {
			time.Sleep(20 * time.Millisecond)
		}
		t.Logf("gone %v later", time.Since(killed))
		compare(t, before, inventory(t, cmd.Process.Pid))
	}
}

func same(before, after map[string][]string) bool {
	for _, kind := range []string{"file", "mount", "cgroup", "process"} {
		if len(before[kind]) != len(after[kind]) {
			return false
		}
	}
	return true
}
