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

// upgrade has a worker start its successor, whose process w adopts when it reports.
func (g *Group) upgrade(ctx context.Context, w, from *Worker) (err error) {
	// An upgraded process refuses to be upgraded while its own parent lives.
	if err := g.Finish(ctx); err != nil {
		return err
	}
	name := g.offerName(w)
	at := -1
	if err := g.env.Do(func() (err error) { at, err = socket.Offer(name); return err }); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Close(at)) }()
	if err := from.tell(Command{Upgrade: name}); err != nil {
		return err
	}
	reporting, err := g.awaitReport(ctx, at, from)
	if err != nil {
		return fmt.Errorf("was not started by worker %d: %w", from.ID, err)
	}
	defer func() { err = errors.Join(err, unix.Close(reporting)) }()
	// The kernel translates the PID into the reader's namespace. The process lives: it waits for
	// its descriptors.
	peer, err := unix.GetsockoptUcred(reporting, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return fmt.Errorf("SO_PEERCRED: %w", err)
	}
	return w.begin(func(journal *os.File) (*child.Process, error) {
		return child.Adopt(int(peer.Pid), from.process, []*os.File{journal}, func(all []*os.File) error {
			var fds []int
			for _, f := range all {
				fds = append(fds, int(f.Fd()))
			}
			return socket.Give(reporting, fds...)
		})
	})
}

// awaitReport accepts the successor's connection.
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
			return -1, errors.Join(errors.New("it has exited"), from.failure())
		default:
		}
		// In short turns, so that the end of the context or of the predecessor is noticed.
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(at), Events: unix.POLLIN}}, 10); err != nil && !errors.Is(err, unix.EINTR) {
			return -1, err
		}
	}
}
