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

// onMainThread, as the only argument, makes the test binary run startOnMainThread.
const onMainThread = "on-main-thread"

// The thread is never the main thread, which cannot end and stands for the whole process
// in /proc. The child sees to it that a goroutine would find itself there.
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

// errNotArranged says that the runtime moved the goroutine elsewhere, as it may: then the child
// proves nothing.
var errNotArranged = errors.New("no goroutine came to be on the main thread")

// startOnMainThread is the child's side. On the one processor that it leaves to the runtime, a new
// goroutine takes over the thread of the one that waits for it; at the beginning of a program that
// is the main thread.
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
			return errors.New("on the main thread")
		}
		return nil
	})
}
