package kernel

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/servers/sys"
	"reuseport-bench/servers/testkit"
)

// The test binary plays the children too, told by its first argument.
const (
	childBurn      = "burn"       // uses burnedByChild on a thread other than the main one, says so, and waits for its input to end
	childLoseQueue = "lose-queue" // closes a listener with one connection queued
)

func TestMain(m *testing.M) {
	os.Setenv("GORACE", "atexit_sleep_ms=0") // children built with -race would take a second to exit
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case childBurn:
			exit(sys.OnOwnThread(burnAndWait))
		case childLoseQueue:
			exit(loseQueue())
		}
	}
	goleak.VerifyTestMain(m)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// inNetwork runs f in a private network namespace. f must not call FailNow or Skip: it is not on
// the test's goroutine.
func inNetwork(t *testing.T, f func() error) {
	t.Helper()
	testkit.RequireRoot(t)
	if err := netlab.Private(f); err != nil {
		t.Fatal(err)
	}
}
