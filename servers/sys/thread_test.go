package sys

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// onMainThread is the argument that makes the test binary call startOnMainThread and exit.
const onMainThread = "on-main-thread"

// TestOnOwnThread checks that f never runs on the main thread, which cannot end and stands for the
// whole process in /proc. The child process arranges that the next goroutine would run there.
func TestOnOwnThread(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for range 20 {
		output, err := exec.CommandContext(ctx, "/proc/self/exe", onMainThread).CombinedOutput()
		if err == nil {
			return
		}
		if !strings.Contains(string(output), errNotArranged.Error()) {
			t.Fatalf("%v: %s", err, output)
		}
	}
	t.Fatal(errNotArranged)
}

// errNotArranged reports that the runtime moved the goroutine to another thread, which it may do.
// The child's run then proves nothing.
var errNotArranged = errors.New("no goroutine ran on the main thread")

// startOnMainThread runs in the child process. With GOMAXPROCS(1), a new goroutine takes over the
// thread of the goroutine that waits for it. At the start of a program this is the main thread.
func startOnMainThread() error {
	runtime.GOMAXPROCS(1)
	onMain := func() bool { return unix.Gettid() == os.Getpid() }
	began := make(chan bool)
	go func() { began <- onMain() }()
	if !<-began {
		return errNotArranged
	}
	return OnOwnThread(func() error {
		if onMain() {
			return errors.New("f was called on the main thread")
		}
		return nil
	})
}
