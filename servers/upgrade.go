package servers

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/socket"
)

// process is the parent's handle of a worker's process.
type process interface {
	// Signal does nothing, with os.ErrProcessDone, when the process has ended. It never meets a stranger.
	Signal(os.Signal) error
	// Wait returns when the process has ended, with what it ended by where that can be known.
	Wait() error
	PID() int
}

// adopted is a process that another worker started, so that its exit status is another's to know.
type adopted struct{ *os.Process }

func (a adopted) PID() int { return a.Pid }

func (a adopted) Wait() error {
	var pollErr error
	err := a.WithHandle(func(pidfd uintptr) {
		for {
			// A pidfd is readable when the process has ended (pidfd_open(2)).
			_, pollErr = unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, -1)
			if !errors.Is(pollErr, unix.EINTR) {
				return
			}
		}
	})
	return errors.Join(err, pollErr)
}

// upgrade has a worker start its successor, and takes the successor into the group when it reports.
func (g *Group) upgrade(ctx context.Context, w, from *Worker, cfg workerConfig) (err error) {
	name := g.offerName(w)
	at := -1
	if err := g.env.Do(func() (err error) { at, err = socket.Offer(name); return err }); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Close(at)) }()
	if err := from.tell(command{Upgrade: name}); err != nil {
		return err
	}
	reporting, err := g.awaitReport(ctx, at, from)
	if err != nil {
		return fmt.Errorf("worker %d was not started by worker %d: %w", w.ID, from.ID, err)
	}
	defer func() { err = errors.Join(err, unix.Close(reporting)) }()
	// The kernel translates the PID into the reader's namespace. The process lives: it waits for its descriptors.
	peer, err := unix.GetsockoptUcred(reporting, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return fmt.Errorf("SO_PEERCRED: %w", err)
	}
	handle, err := os.FindProcess(int(peer.Pid))
	if err != nil {
		return fmt.Errorf("worker %d: %w", w.ID, err)
	}
	err = w.connect(cfg, func(theirs []*os.File) error {
		w.stderr, w.process = from.stderr, adopted{handle}
		return socket.Give(reporting, int(theirs[0].Fd()), int(theirs[1].Fd()), int(theirs[2].Fd()))
	})
	if err != nil {
		return fmt.Errorf("worker %d: %w", w.ID, errors.Join(err, ignoreDone(handle.Signal(unix.SIGKILL))))
	}
	g.take(w)
	return nil
}

// awaitReport accepts the successor's connection.
func (g *Group) awaitReport(ctx context.Context, at int, from *Worker) (int, error) {
	for until := g.env.Clock.Now().Add(startLimit); ; {
		fd, _, err := unix.Accept4(at, unix.SOCK_CLOEXEC)
		switch {
		case err == nil:
			return fd, nil
		case !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR):
			return -1, err
		case ctx.Err() != nil:
			return -1, context.Cause(ctx)
		case g.env.Clock.Now() > until:
			return -1, os.ErrDeadlineExceeded
		}
		select {
		case <-from.exited:
			return -1, errors.Join(errors.New("it has exited"), from.failure())
		default:
		}
		// In short turns, so that the end of the context or of the predecessor is noticed.
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(at), Events: unix.POLLIN}}, 10); err != nil && !errors.Is(err, unix.EINTR) {
			return -1, err
		}
	}
}

func ignoreDone(err error) error {
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// adoptive gets the pipes and the journal of a worker that another one started.
func adoptive(name string) (control, events, journal int, err error) {
	fds, err := socket.Ask(name, 3, passTimeout)
	if err != nil {
		return -1, -1, -1, err
	}
	return fds[0], fds[1], fds[2], nil
}
