package clock

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An Alarm is a timerfd in the caller's epoll set. It becomes readable at an instant, with
// nanosecond resolution. A timeout of epoll_pwait2(2) is late by the thread's slack, 50 µs by
// default (PR_SET_TIMERSLACK in prctl(2), schedule_hrtimeout_range in fs/eventpoll.c); a timerfd
// has no slack.
//
// If the caller watches it with EPOLLET, it need not be read: Set makes it unreadable again.
type Alarm struct{ fd int }

// NewAlarm returns an alarm that is not set. The caller closes it.
func NewAlarm() (Alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return Alarm{}, fmt.Errorf("timerfd_create: %w", err)
	}
	return Alarm{fd}, nil
}

// FD returns the descriptor, which the caller watches for EPOLLIN. The alarm owns it.
func (a Alarm) FD() int { return a.fd }

// Set sets the alarm to an instant, in place of the previous one. If the instant has passed, the
// alarm becomes readable at once. Go's scheduler does not see the system call; see package socket.
func (a Alarm) Set(at Instant) error {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(at))}
	_, _, errno := unix.RawSyscall6(unix.SYS_TIMERFD_SETTIME, uintptr(a.fd),
		unix.TFD_TIMER_ABSTIME, uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
	if errno != 0 {
		return fmt.Errorf("timerfd_settime: %w", errno)
	}
	return nil
}

// Close frees the alarm and removes it from the epoll set (epoll(7)).
func (a Alarm) Close() error { return unix.Close(a.fd) }
