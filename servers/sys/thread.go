package sys

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// OnOwnThread calls f on an OS thread that nothing else will ever use: its goroutine ends without
// unlocking it, which ends the thread. So f may change what belongs to a thread, its namespaces or
// its capabilities.
//
// The main thread is the exception: the runtime parks it for good instead, and would keep its
// namespaces, which /proc/self shows as those of the whole process. A goroutine that finds itself
// on the main thread therefore holds it, and lets another goroutine, which is then certain to be
// elsewhere, call f.
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
