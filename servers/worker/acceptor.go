package worker

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/socket"
)

// acceptor is the process that accepts connections for all workers of a group and passes each of
// them to one worker. It serves no requests itself.
//
// Without acknowledgements it passes connections to the workers strictly in turn, whether or not a
// worker has received its previous connection. This is the textbook alternative to many processes
// on one socket. With acknowledgements a worker gets its next connection only after it has
// acknowledged the previous one, so a stalled worker holds only one. Node's cluster module works
// that way (lib/internal/cluster/round_robin_handle.js). While no worker is free, connections wait
// in the accept queue here; Node keeps them in memory.
type acceptor struct {
	*worker
	epoll        int
	acknowledged bool
	// free has the channels of the workers that may get a connection, in the order of their turns.
	free     []int
	waits    bool // connections may be queued, but no worker is free
	stopping bool
	deadline clock.Instant // for passing on queued connections, once stopping
}

func newAcceptor(w *worker) (*acceptor, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	a := &acceptor{
		worker: w, epoll: epoll,
		acknowledged: w.cfg.Accept == vocabulary.AcceptAcceptorAck,
	}
	for i := range w.cfg.Channels {
		a.free = append(a.free, servers.FDListener+1+i)
	}
	// Edge-triggered: while no worker is free, epoll does not report the listener again and again.
	err = errors.Join(a.watch(w.listener, unix.EPOLLET), a.watch(a.controlFD, 0))
	if a.acknowledged {
		for _, channel := range a.free {
			err = errors.Join(err, a.watch(channel, 0))
		}
	}
	return a, err
}

func (a *acceptor) watch(fd int, flags uint32) error {
	e := unix.EpollEvent{Events: unix.EPOLLIN | flags, Fd: int32(fd)}
	if err := unix.EpollCtl(a.epoll, unix.EPOLL_CTL_ADD, fd, &e); err != nil {
		return fmt.Errorf("epoll_ctl %d: %w", fd, err)
	}
	return nil
}

// run passes connections on until it is told to stop. Then it passes on those in the accept queue,
// for at most half of the grace.
func (a *acceptor) run() error {
	runtime.LockOSThread()
	events := make([]unix.EpollEvent, 64)
	for !a.stopping || a.waits {
		timeout := time.Duration(-1)
		if a.stopping {
			if timeout = a.deadline.Sub(a.clock.Now()); timeout <= 0 {
				break
			}
		}
		n, err := socket.EpollWait(a.epoll, events, timeout)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("worker %d: epoll_pwait2: %w", a.cfg.ID, err)
		}
		for _, e := range events[:max(n, 0)] {
			if err := a.handle(int(e.Fd)); err != nil {
				return err
			}
		}
		if err := a.passAll(); err != nil {
			return err
		}
	}
	return a.closeListener(func() error { return unix.Close(a.listener) })
}

// handle reads a command or an acknowledgement from a descriptor. It does nothing for the listener.
func (a *acceptor) handle(fd int) error {
	switch fd {
	case a.listener:
		return nil
	case a.controlFD:
		return a.stop()
	}
	var acknowledgement [1]byte
	n, err := socket.Recv(fd, acknowledgement[:], unix.MSG_DONTWAIT)
	switch {
	case err == nil && n > 0:
		a.free = append(a.free, fd)
		return nil
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return nil
	}
	// The worker has exited.
	a.free = slices.DeleteFunc(a.free, func(channel int) bool { return channel == fd })
	return unix.EpollCtl(a.epoll, unix.EPOLL_CTL_DEL, fd, nil)
}

// stop carries out all commands that have arrived: to stop, or to stop sooner. It must read them
// all, because epoll does not report commands that the reader has already buffered.
func (a *acceptor) stop() error {
	for a.commandPending() {
		c, err := a.nextCommand()
		if err != nil {
			return err
		}
		deadline := a.clock.Now().Add(cmp.Or(c.Grace, a.cfg.Grace) / 2)
		if a.stopping {
			deadline = min(deadline, a.deadline)
		}
		a.stopping, a.deadline = true, deadline
	}
	return nil
}

// passAll passes on queued connections while workers are free.
func (a *acceptor) passAll() error {
	for len(a.free) > 0 || !a.acknowledged {
		fd, _, err := socket.Accept(a.listener)
		switch {
		case errors.Is(err, unix.EAGAIN):
			a.waits = false
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
	a.waits = true
	return nil
}

// pass gives a connection to the next free worker whose channel has room. If there is none, it
// closes the connection, which the client notices.
func (a *acceptor) pass(fd int) error {
	rights := unix.UnixRights(fd)
	for tries := len(a.free); tries > 0; tries-- {
		channel := a.free[0]
		copy(a.free, a.free[1:])
		a.free = a.free[:len(a.free)-1]
		err := unix.Sendmsg(channel, []byte{0}, rights, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		switch {
		case err == nil:
			if !a.acknowledged {
				a.free = append(a.free, channel)
			}
			return unix.Close(fd)
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ETOOMANYREFS):
			a.free = append(a.free, channel)
		case errors.Is(err, unix.EPIPE), errors.Is(err, unix.ECONNRESET):
			// The worker has exited. The other workers share its turns.
		default:
			return fmt.Errorf("worker %d: pass a connection: %w", a.cfg.ID,
				errors.Join(err, unix.Close(fd)))
		}
	}
	return unix.Close(fd)
}
