// Package clock is the clock that all processes of a run share. Its instants are readings of
// CLOCK_MONOTONIC, valid in every process of the machine. It also has ways to wait for an instant.
package clock

import (
	"context"
	"errors"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An Instant is a reading of CLOCK_MONOTONIC, in nanoseconds. All processes of a machine share that
// clock, so they can exchange instants. The monotonic reading in a time.Time means nothing in
// another process.
type Instant int64

// Sub returns i − j.
func (i Instant) Sub(j Instant) time.Duration { return time.Duration(i - j) }

// Add returns i + d.
func (i Instant) Add(d time.Duration) Instant { return i + Instant(d) }

// A Clock reads CLOCK_MONOTONIC without a system call.
//
// Go reads the same clock through the vDSO, but exposes only differences. A Clock takes one raw
// reading at the start, and adds the time that Go has measured since. The raw reading is taken
// between two readings of Go's, and the time between those two limits the error. New takes several
// raw readings and keeps the one with the smallest limit (typically under 200 ns).
type Clock struct {
	start time.Time
	base  Instant
}

// New returns a calibrated clock. It fails only where CLOCK_MONOTONIC does not exist.
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

// Now returns the current instant.
func (c *Clock) Now() Instant { return c.base + Instant(time.Since(c.start)) }

// SleepUntil waits until the instant, with the precision of a Timer, and returns nil. It returns at
// once if the instant has passed. If the context ends first, it returns the context's cause.
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
// time. time.Sleep would go through the poller, which rounds up to whole milliseconds.
//
// Go's scheduler does not see the system call, so the thread keeps its P. If the scheduler saw it,
// sysmon would take the P away after 20 µs, and every sleep would end with several futex calls to
// get it back. Only a process that has no other goroutine to run may call BlockUntil.
func BlockUntil(i Instant) {
	ts := unix.NsecToTimespec(int64(i))
	for {
		_, _, errno := unix.RawSyscall6(unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_MONOTONIC,
			unix.TIMER_ABSTIME, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
		if errno != unix.EINTR {
			return
		}
	}
}
