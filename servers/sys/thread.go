package sys

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// OnOwnThread calls f on an OS thread that nothing else will use, and returns f's error. The
// goroutine ends without unlocking the thread, which ends the thread. So f may change what belongs
// to a thread, such as its namespaces or its capabilities.
//
// The main thread is the exception: the runtime parks it instead of ending it. It would keep its
// namespaces, which /proc/self shows as those of the whole process. A goroutine that finds itself
// on the main thread therefore keeps it occupied and calls f from another goroutine, which must
// then be on another thread.
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
