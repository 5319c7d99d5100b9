package worker

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/socket"
)

// block makes the listener blocking, so that accept(2) waits. O_NONBLOCK belongs to the open file
// description, which is shared with every process that inherited it. So block is called before the
// worker is ready. When a worker is stopped and must empty the queue, stop sets O_NONBLOCK again.
func (w *worker) block() error {
	if err := unix.SetNonblock(w.listener, false); err != nil {
		return fmt.Errorf("listener: %w", err)
	}
	// Go's signal handlers restart the calls that they interrupt, except an accept that has a
	// timeout (signal(7)).
	timeout := &unix.Timeval{Sec: 3600}
	err := unix.SetsockoptTimeval(w.listener, unix.SOL_SOCKET, unix.SO_RCVTIMEO, timeout)
	if err != nil {
		return fmt.Errorf("SO_RCVTIMEO: %w", err)
	}
	return nil
}

// runBlocking serves one connection at a time, each to its end, and waits in accept(2) for the
// next. It returns once it has been told to stop and the listener is closed. If a connection is
// still open at that point, the epoll loop takes it over.
//
// The kernel wakes one of the workers that wait in accept, the longest-waiting first
// (prepare_to_wait_exclusive in inet_csk_wait_for_connect, net/ipv4/inet_connection_sock.c).
func (l *loop) runBlocking() error {
	// A second goroutine watches for commands. It needs a P while this goroutine is in a raw system
	// call.
	runtime.GOMAXPROCS(2)
	interrupt := &interrupter{
		thread: unix.Gettid(), control: l.controlFD, offer: l.offer, listener: l.listener,
	}
	go interrupt.watch()
	for !l.stopping {
		if interrupt.pending.Swap(false) {
			if err := l.commands(); err != nil {
				return err
			}
			continue
		}
		fd, from, err := socket.Accept(l.listener)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ECONNABORTED):
			continue
		case errors.Is(err, unix.EAGAIN):
			// At the end of a trial, another worker has made the shared socket non-blocking.
			clock.BlockUntil(l.clock.Now().Add(time.Millisecond))
			continue
		case err != nil:
			return fmt.Errorf("worker %d: accept: %w", l.cfg.ID, err)
		}
		if err := l.serveToEnd(fd, from, interrupt); err != nil {
			return err
		}
	}
	return nil
}

// serveToEnd serves one connection to its end, and carries out commands meanwhile.
func (l *loop) serveToEnd(fd int, from netip.AddrPort, interrupt *interrupter) error {
	c := l.begin(fd, from)
	for {
		if err := l.read(fd, c); err != nil || l.open[int32(fd)] != c {
			return err
		}
		if interrupt.pending.Swap(false) {
			if err := l.commands(); err != nil {
				return err
			}
			if l.stopping { // the epoll loop serves the rest of the connection
				return l.watch(fd, 0)
			}
		}
		wait := []unix.PollFd{
			{Fd: int32(fd), Events: unix.POLLIN},
			{Fd: int32(l.controlFD), Events: unix.POLLIN},
		}
		if _, err := unix.Poll(wait, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("worker %d: poll: %w", l.cfg.ID, err)
		}
		if wait[1].Revents != 0 {
			interrupt.pending.Store(true)
		}
	}
}

// interrupter interrupts a thread in accept(2) when a command arrives.
type interrupter struct {
	thread  int
	control int
	pending atomic.Bool // a command may be waiting to be read
	// offer is the socket at which a successor asks for the listener, or -1. poll ignores it once
	// the loop has closed it.
	offer, listener int
}

// watch watches for commands until EOF on the control pipe, and gives the listener to the
// successors that ask for it.
func (i *interrupter) watch() {
	wait := []unix.PollFd{
		{Fd: int32(i.control), Events: unix.POLLIN},
		{Fd: int32(i.offer), Events: unix.POLLIN},
	}
	for {
		if _, err := unix.Poll(wait, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return // runBlocking, which reads the pipe, fails too and reports it
		}
		asked := wait[1].Revents
		if asked == unix.POLLIN && socket.GiveNext(i.offer, i.listener) == nil {
			asked = 0
		}
		if asked != 0 {
			wait[1].Fd = -1 // the loop closed it, or the successor will report its timeout
		}
		if wait[0].Revents == 0 {
			continue
		}
		i.pending.Store(true)
		// Go uses SIGURG itself and ignores an unexpected one. The signal may arrive just before
		// the thread enters accept, so it is sent again.
		if err := unix.Tgkill(unix.Getpid(), i.thread, unix.SIGURG); err != nil {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}
