package kernel

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"reuseport-bench/servers/sys"
)

// The test binary plays the children too, told by its first argument.
const (
	childProbeNamespace = "probe-namespace" // what the command gives Options.UserNamespaceChild
	childSelfReport     = "self-report"     // prints a selfReport
	childHang           = "hang"            // never ends
	childSilent         = "silent"          // ends at once, without a word
	childMainThread     = "main-thread"     // runs startOnMainThread
	childBurn           = "burn"            // uses burnedByChild on a thread other than the main one, says so, and waits for its input to end
	childLoseQueue      = "lose-queue"      // closes a listener with one connection queued
)

// selfReport is what a child says of itself.
type selfReport struct {
	NetworkRoot bool
	BPFRoot     bool
	Results     []Result
}

// networkRoot reports whether the calling thread can make and configure any network of the machine.
// Root inside a user namespace cannot.
func networkRoot() bool {
	return sys.InInitialUserNamespace() && sys.Holds(unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN)
}

// bpfRoot reports whether the calling thread may use bpf(2); CAP_SYS_ADMIN implies CAP_BPF.
func bpfRoot() bool {
	return sys.InInitialUserNamespace() && (sys.Holds(unix.CAP_BPF) || sys.Holds(unix.CAP_SYS_ADMIN))
}

func TestMain(m *testing.M) {
	os.Setenv("GORACE", "atexit_sleep_ms=0") // children built with -race would take a second to exit
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case childProbeNamespace:
			exit(ServeNamespace(context.Background(), os.Stdin, os.Stdout))
		case childSelfReport:
			exit(json.NewEncoder(os.Stdout).Encode(selfReport{networkRoot(), bpfRoot(), Probes(context.Background(), withChild())}))
		case childHang:
			time.Sleep(time.Hour) // an empty select is a deadlock, which a program without C notices
		case childSilent:
			exit(nil)
		case childMainThread:
			exit(startOnMainThread())
		case childBurn:
			exit(onThrowawayThread(burnAndWait))
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

// withChild are the options the command uses, but for the time: the race detector multiplies it, and so may the machine.
func withChild() Options {
	return Options{UserNamespaceChild: []string{"/proc/self/exe", childProbeNamespace}, Timeout: time.Minute}
}

// skip skips a test that this machine cannot run, which is a failure where REQUIRE_KERNEL=1 says that it can.
func skip(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("REQUIRE_KERNEL") == "1" {
		t.Fatalf("REQUIRE_KERNEL=1: "+format, args...)
	}
	t.Skipf(format, args...)
}

// inNetwork runs f in a private network namespace. f must not call FailNow or Skip: it is not on the test's goroutine.
func inNetwork(t *testing.T, f func() error) {
	t.Helper()
	if !networkRoot() {
		skip(t, "needs root, for a network namespace")
	}
	if err := inPrivateNetwork(f); err != nil {
		t.Fatal(err)
	}
}
