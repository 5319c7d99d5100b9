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

// The first argument makes the test binary run as one of these children.
const (
	// childBurn uses burnedByChild of CPU time on a thread other than the main one, prints a line,
	// and waits for EOF on its input.
	childBurn = "burn"
	// childLoseQueue closes a listener that has one connection in its queue.
	childLoseQueue = "lose-queue"
)

func TestMain(m *testing.M) {
	// Without this variable, children built with -race would take a second to exit.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
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

// inNetwork runs f in a private network namespace. f must not call FailNow or Skip, because it does
// not run on the test's goroutine.
func inNetwork(t *testing.T, f func() error) {
	t.Helper()
	testkit.RequireRoot(t)
	if err := netlab.Private(f); err != nil {
		t.Fatal(err)
	}
}
