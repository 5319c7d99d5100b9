package clock

import (
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Timer is a timerfd in the runtime's poller: a goroutine waits on it as on a socket, with the
// clock's precision and without a thread of its own.
type Timer struct {
	file *os.File
	raw  syscall.RawConn
}

// NewTimer returns a timer. The caller closes it.
func NewTimer() (*Timer, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("timerfd_create: %w", err)
	}
	t := &Timer{file: os.NewFile(uintptr(fd), "timer")}
	if t.raw, err = t.file.SyscallConn(); err != nil {
		return nil, fmt.Errorf("timerfd: %w", err)
	}
	return t, nil
}

// Wait waits until the instant. It returns at once if the instant has passed. Only one goroutine at
// a time may wait.
func (t *Timer) Wait(until Instant) error {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(until))}
	var fail error
	armed := false
	err := t.raw.Read(func(fd uintptr) bool {
		if !armed {
			armed = true
			fail = unix.TimerfdSettime(int(fd), unix.TFD_TIMER_ABSTIME, &spec, nil)
			return fail != nil
		}
		var expirations [8]byte
		_, fail = unix.Read(int(fd), expirations[:])
		return fail != unix.EAGAIN
	})
	if err == nil {
		err = fail
	}
	if err != nil {
		return fmt.Errorf("timerfd: %w", err)
	}
	return nil
}

// interrupt ends the current or the next Wait with os.ErrDeadlineExceeded.
func (t *Timer) interrupt() { _ = t.file.SetReadDeadline(time.Unix(1, 0)) } // a past deadline

// Close frees the timer. It must not be called during a Wait.
func (t *Timer) Close() error { return t.file.Close() }
