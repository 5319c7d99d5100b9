package sys

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// OnOwnThread calls f on an OS thread that nothing else will use, and returns f's error. f may
// therefore change properties of the thread, such as its namespaces or its capabilities. The
// goroutine that calls f exits without unlocking the thread, so the runtime ends the thread.
//
// The main thread is the exception: the runtime parks it instead of ending it, so it would keep
// changed namespaces, and /proc/self would show them as those of the whole process. A goroutine
// that finds itself on the main thread therefore blocks there and calls f from another goroutine,
// which must then run on another thread.
func OnOwnThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() {
			done <- OnOwnThread(f)
			runtime.UnlockOSThread()
			return
		}
		done <- f()
	}()
	return <-done
}
