// Package clock is the clock that all processes of a run share: instants of CLOCK_MONOTONIC, which
// may be exchanged between processes, and ways to wait for one.
package clock

import (
	"context"
	"errors"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An Instant is a reading of CLOCK_MONOTONIC in nanoseconds. All processes of one machine share
// that clock, so instants can be exchanged; Go's own monotonic reading cannot leave its process.
type Instant int64

// Sub is i − j.
func (i Instant) Sub(j Instant) time.Duration { return time.Duration(i - j) }

// Add is i + d.
func (i Instant) Add(d time.Duration) Instant { return i + Instant(d) }

// A Clock reads CLOCK_MONOTONIC without a system call.
//
// Go reads the same clock through the vDSO, but shows only differences. The clock takes one raw
// reading at the start and adds Go's difference to it; the two readings are nested, and the
// narrowest of several nestings bounds the error (typically under 200 ns).
type Clock struct {
	start time.Time
	base  Instant
}

// New calibrates a clock. It fails only where CLOCK_MONOTONIC does not exist.
func New() (*Clock, error) {
	var c Clock
	narrowest := time.Duration(1<<63 - 1)
	for range 16 {
		before := time.Now()
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
			return nil, err
		}
		if width := time.Since(before); width < narrowest {
			narrowest = width
			c = Clock{start: before.Add(width / 2), base: Instant(ts.Nano())}
		}
	}
	return &c, nil
}

// Now is the present instant.
func (c *Clock) Now() Instant { return c.base + Instant(time.Since(c.start)) }

// SleepUntil returns nil at the instant, or at once if it has passed, with the precision of a
// Timer. It returns the context's cause if that ends before.
func (c *Clock) SleepUntil(ctx context.Context, i Instant) error {
	if c.Now() >= i {
		return nil
	}
	timer, err := NewTimer()
	if err != nil {
		return err
	}
	interrupt := context.AfterFunc(ctx, timer.interrupt)
	err = timer.Wait(i)
	if !interrupt() && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return errors.Join(err, timer.Close())
}

// BlockUntil blocks the calling thread until the instant, by clock_nanosleep(2) with an absolute
// time. Package time's sleep goes through the poller, which rounds up to whole milliseconds.
//
// The system call is hidden from Go's scheduler, so the thread keeps its P: otherwise sysmon takes
// the P away after 20 µs, and every sleep ends with several futex calls to get it back. Only a
// process that has nothing else to run may call it.
func BlockUntil(i Instant) {
	ts := unix.NsecToTimespec(int64(i))
	for {
		_, _, errno := unix.RawSyscall6(unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
		if errno != unix.EINTR {
			return
		}
	}
}
