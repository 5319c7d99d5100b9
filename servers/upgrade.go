package servers

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/child"
	"reuseport-bench/servers/socket"
)

// upgrade tells the predecessor, from, to start its successor. When the successor reports to the
// parent, w adopts the successor's process.
func (g *Group) upgrade(ctx context.Context, w, from *Worker) (err error) {
	// Wait for stopped workers: one started by an upgrade cannot be upgraded while its parent runs.
	if err := g.Finish(ctx); err != nil {
		return err
	}
	name := g.offerName(w)
	at := -1
	err = g.env.Do(func() (err error) {
		at, err = socket.Offer(name)
		return err
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Close(at)) }()
	if err := from.send(Command{Upgrade: name}); err != nil {
		return err
	}
	reporting, err := g.awaitReport(ctx, at, from)
	if err != nil {
		return fmt.Errorf("its predecessor, worker %d, did not start it: %w", from.ID, err)
	}
	defer func() { err = errors.Join(err, unix.Close(reporting)) }()
	// SO_PEERCRED gives the successor's PID in this process's PID namespace. The PID cannot have
	// been reused, because the successor is still alive: it is waiting for its descriptors.
	peer, err := unix.GetsockoptUcred(reporting, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return fmt.Errorf("SO_PEERCRED: %w", err)
	}
	give := func(all []*os.File) error { return give(reporting, all) }
	return w.begin(func(journal *os.File) (*child.Process, error) {
		return child.Adopt(int(peer.Pid), from.process, []*os.File{journal}, give)
	})
}

// awaitReport accepts the connection on which the successor reports.
func (g *Group) awaitReport(ctx context.Context, at int, from *Worker) (int, error) {
	for until := g.env.Clock.Now().Add(StartLimit); ; {
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
			return -1, errors.Join(errors.New("the predecessor has exited"), from.failure())
		default:
		}
		// Poll with a short timeout, to notice the end of the context or the exit of the
		// predecessor.
		_, err = unix.Poll([]unix.PollFd{{Fd: int32(at), Events: unix.POLLIN}}, 10)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return -1, err
		}
	}
}

// give sends files to the process at the other end of a Unix socket. It returns os.ErrProcessDone
// if that process has exited.
func give(to int, files []*os.File) error {
	var fds []int
	for _, f := range files {
		fds = append(fds, int(f.Fd()))
	}
	err := socket.Give(to, fds...)
	if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
		return fmt.Errorf("hand over: %w", os.ErrProcessDone)
	}
	return err
}
