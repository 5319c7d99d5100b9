package worker

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/child"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/socket"
)

// block makes the listener one that accept(2) waits for. O_NONBLOCK belongs to the open file, which
// everybody who inherited it shares: so this comes before the worker is ready, and whoever undoes
// it (stop) comes after.
func (w *worker) block() error {
	if err := unix.SetNonblock(w.listener, false); err != nil {
		return fmt.Errorf("listener: %w", err)
	}
	// Go's signal handlers restart what they interrupt, but not an accept that has a timeout
	// (signal(7)).
	if err := unix.SetsockoptTimeval(w.listener, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 3600}); err != nil {
		return fmt.Errorf("SO_RCVTIMEO: %w", err)
	}
	return nil
}

// runBlocking serves as a loop that waits in accept(2): one connection at a time, to its end. It
// returns when it has been told to stop and its listener is closed; a connection that is still open
// then is left to the loop.
//
// Workers that wait in accept are woken one at a time, the one that waits longest first
// (prepare_to_wait_exclusive in inet_csk_wait_for_connect, net/ipv4/inet_connection_sock.c).
func (l *loop) runBlocking() error {
	// A second goroutine watches for commands, and needs a P while this one is in a hidden system
	// call.
	runtime.GOMAXPROCS(2)
	told := &interrupter{thread: unix.Gettid(), offer: l.offer, listener: l.listener}
	go told.watch()
	for !l.stopping {
		if told.pending.Swap(false) {
			if err := l.commands(); err != nil {
				return err
			}
			continue
		}
		fd, from, err := socket.Accept(l.listener)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ECONNABORTED):
			continue
		case errors.Is(err, unix.EAGAIN): // at the end of a trial somebody has made the socket non-blocking
			clock.BlockUntil(l.clock.Now().Add(time.Millisecond))
			continue
		case err != nil:
			return fmt.Errorf("worker %d: accept: %w", l.cfg.ID, err)
		}
		if err := l.serveToEnd(fd, from, told); err != nil {
			return err
		}
	}
	return nil
}

// serveToEnd serves one connection, and obeys commands meanwhile.
func (l *loop) serveToEnd(fd int, from netip.AddrPort, told *interrupter) error {
	c := l.begin(fd, from)
	for {
		if err := l.read(fd, c); err != nil || l.open[int32(fd)] != c {
			return err
		}
		if told.pending.Swap(false) {
			if err := l.commands(); err != nil {
				return err
			}
			if l.stopping { // the rest is the loop's
				return l.watch(fd, 0)
			}
		}
		wait := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: child.ControlFD, Events: unix.POLLIN}}
		if _, err := unix.Poll(wait, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("worker %d: poll: %w", l.cfg.ID, err)
		}
		if wait[1].Revents != 0 {
			told.pending.Store(true)
		}
	}
}

// interrupter gets a thread out of accept(2) when there is a command to read.
type interrupter struct {
	thread  int
	pending atomic.Bool // perhaps there is; it may have been read meanwhile
	// offer, or -1, is where a successor asks for the listener meanwhile. Closed by the loop, it is
	// ignored by poll.
	offer, listener int
}

// watch looks for commands until the control pipe ends, and hands the listener over to who asks for
// it.
func (i *interrupter) watch() {
	wait := []unix.PollFd{{Fd: child.ControlFD, Events: unix.POLLIN}, {Fd: int32(i.offer), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(wait, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return // the other side of the pipe is gone for the reader too, who says so
		}
		if r := wait[1].Revents; r != 0 && (r != unix.POLLIN || socket.GiveNext(i.offer, i.listener) != nil) {
			wait[1].Fd = -1 // the loop has closed it; or whoever asks will say that nobody answered
		}
		if wait[0].Revents == 0 {
			continue
		}
		i.pending.Store(true)
		// Go uses SIGURG for itself and thinks nothing of one too many. It may come just before the
		// accept, so it is sent again.
		if err := unix.Tgkill(unix.Getpid(), i.thread, unix.SIGURG); err != nil {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}
