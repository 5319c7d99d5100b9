package load

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/wire"
)

// timer is a timerfd in the runtime's poller: a goroutine waits on it as on a socket, with the
// clock's precision.
type timer struct {
	file *os.File
	raw  syscall.RawConn
}

func newTimer() (*timer, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("timerfd_create: %w", err)
	}
	t := &timer{file: os.NewFile(uintptr(fd), "timer")}
	if t.raw, err = t.file.SyscallConn(); err != nil {
		return nil, fmt.Errorf("timerfd: %w", err)
	}
	return t, nil
}

// wait returns at the instant, or at once if it has passed. One goroutine at a time may wait.
func (t *timer) wait(until wire.Instant) error {
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

func (t *timer) close() error { return t.file.Close() }
