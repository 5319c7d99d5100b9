package watch

import (
	"runtime"
	"sync/atomic"
	"time"

	"reuseport-bench/servers/sys"
)

// A Meter adds up the CPU time that observing takes, over all threads that do it. The zero value
// has counted nothing; nil counts nothing.
type Meter struct{ spent atomic.Int64 }

// Do calls f on the calling thread, and counts and returns what the thread uses meanwhile.
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

// Beside calls f, and returns what the whole process uses meanwhile beside what is counted.
func (m *Meter) Beside(f func() error) (used time.Duration, err error) {
	all, counted := sys.ProcessCPU(), m.Spent()
	err = f()
	return max(0, sys.ProcessCPU()-all-(m.Spent()-counted)), err
}

// Spent returns what was counted so far.
func (m *Meter) Spent() time.Duration {
	if m == nil {
		return 0
	}
	return time.Duration(m.spent.Load())
}
