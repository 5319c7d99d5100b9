package worker

import (
	"errors"
	"fmt"
	"runtime"
	"slices"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers"
	"reuseport-bench/servers/child"
	"reuseport-bench/servers/socket"
)

// acceptor is the process that accepts for all workers of a group and passes each connection to the
// next worker in turn: the textbook's alternative to many processes at one socket. It serves
// nothing itself.
type acceptor struct {
	*worker
	epoll    int
	channels []int
	next     int
	stopping bool
}

func newAcceptor(w *worker) (*acceptor, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	a := &acceptor{worker: w, epoll: epoll}
	for i := range w.cfg.Channels {
		a.channels = append(a.channels, servers.FDListener+1+i)
	}
	for _, fd := range []int{w.listener, child.ControlFD} {
		e := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
		if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &e); err != nil {
			return nil, fmt.Errorf("epoll_ctl %d: %w", fd, err)
		}
	}
	return a, nil
}

// run passes connections on until it is told to stop; what is queued then, it still passes on.
func (a *acceptor) run() error {
	runtime.LockOSThread()
	events := make([]unix.EpollEvent, 2)
	for !a.stopping {
		n, err := socket.EpollWait(a.epoll, events, -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("worker %d: epoll_pwait2: %w", a.cfg.ID, err)
		}
		for _, e := range events[:max(n, 0)] {
			if int(e.Fd) == child.ControlFD {
				if _, err := a.nextCommand(); err != nil {
					return err
				}
				a.stopping = true
			}
		}
		if err := a.passAll(); err != nil {
			return err
		}
	}
	return a.closeListener(func() error { return unix.Close(a.listener) })
}

// passAll empties the accept queue.
func (a *acceptor) passAll() error {
	for {
		fd, _, err := socket.Accept(a.listener)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ECONNABORTED):
			continue
		case err != nil:
			return fmt.Errorf("worker %d: accept: %w", a.cfg.ID, err)
		}
		if err := a.pass(fd); err != nil {
			return err
		}
	}
}

// pass gives a connection to the next worker whose channel has room. Where none has, it is closed,
// which its client will notice.
func (a *acceptor) pass(fd int) error {
	rights := unix.UnixRights(fd)
	for tries := len(a.channels); tries > 0; tries-- {
		a.next %= len(a.channels)
		err := unix.Sendmsg(a.channels[a.next], []byte{0}, rights, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		switch {
		case err == nil:
			a.next++
			return unix.Close(fd)
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ETOOMANYREFS):
			a.next++
		case errors.Is(err, unix.EPIPE), errors.Is(err, unix.ECONNRESET): // the worker is dead; its turns are everybody's
			a.channels = slices.Delete(a.channels, a.next, a.next+1)
		default:
			return fmt.Errorf("worker %d: pass a connection: %w", a.cfg.ID, errors.Join(err, unix.Close(fd)))
		}
	}
	return unix.Close(fd)
}
