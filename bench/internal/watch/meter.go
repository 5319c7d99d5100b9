package watch

import (
	"runtime"
	"sync/atomic"
	"time"

	"reuseport-bench/servers/sys"
)

// A Meter adds up the CPU time of observing, over all threads that observe. The zero value is ready
// to use. A nil Meter counts nothing.
type Meter struct{ spent atomic.Int64 }

// Do calls f on the calling thread. It counts, and returns, the CPU time that f uses.
func (m *Meter) Do(f func() error) (used time.Duration, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	began := sys.ThreadCPU()
	err = f()
	used = sys.ThreadCPU() - began
	if m != nil {
		m.spent.Add(int64(used))
	}
	return used, err
}

// Uncounted calls f. It returns the CPU time that the whole process uses during the call, without
// the time that the meter counts.
func (m *Meter) Uncounted(f func() error) (used time.Duration, err error) {
	all, counted := sys.ProcessCPU(), m.Spent()
	err = f()
	return max(0, sys.ProcessCPU()-all-(m.Spent()-counted)), err
}

// Spent returns the CPU time counted so far.
func (m *Meter) Spent() time.Duration {
	if m == nil {
		return 0
	}
	return time.Duration(m.spent.Load())
}
