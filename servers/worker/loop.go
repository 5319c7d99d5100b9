package worker

import (
	"cmp"
	"container/list"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/journal"
	"reuseport-bench/servers/selector"
	"reuseport-bench/servers/socket"
	"reuseport-bench/servers/wire"
)

// loop is the server kind "loop": one thread with one level-triggered epoll loop that accepts and
// serves, as nginx, Envoy's workers, Redis and Node do. While it serves a request it does nothing
// else.
//
// Like nginx with multi_accept off, it accepts one connection per readiness event of the listener,
// so that requests on accepted connections need not wait for the whole accept queue. An
// edge-triggered loop accepts until the queue is empty, because it would get no second event.
type loop struct {
	*worker
	epoll    int
	source   source
	open     map[int32]*loopConn // by descriptor
	free     []*loopConn
	out      []byte
	waitLong bool // the last wait was long
	stopping bool
	deadline clock.Instant // for finishing requests, once stopping
	// finAt is the time at which idle connections get a FIN; 0: that is done, or the worker is not
	// stopping.
	finAt     clock.Instant
	lingerEnd clock.Instant // when connections are closed after their FIN
	// idle has the connections that were answered, ordered by their last answers, the oldest first.
	// Nil: connections may stay idle without limit.
	idle *list.List
}

type loopConn struct {
	number    uint32
	fd        int
	n         int           // bytes of buf in use
	requests  int           // number of requests answered
	element   *list.Element // in the loop's idle list; nil: not in it
	expires   clock.Instant // the time at which it has been idle too long; valid while in the list
	requested bool          // a request was read and not yet answered
	answered  bool          // at least one response was written
	finSent   bool          // a FIN was sent; a request that crosses it is not answered
	buf       [wire.MaxHead + 1024]byte
}

func newLoop(w *worker) (*loop, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	l := &loop{
		worker: w, epoll: epoll, source: socketSource{},
		open: make(map[int32]*loopConn), out: make([]byte, 0, 512),
	}
	if w.cfg.Accept.Row().Passes {
		l.source = newChannelSource(w.cfg.Accept == vocabulary.AcceptAcceptorAck)
	}
	if w.cfg.IdleTimeout > 0 {
		l.idle = list.New()
	}
	if err := l.watch(l.controlFD, 0); err != nil {
		return nil, err
	}
	if w.cfg.Accept == vocabulary.AcceptBlocking {
		return l, w.block()
	}
	if w.offer >= 0 {
		if err := l.watch(w.offer, 0); err != nil {
			return nil, err
		}
	}
	flags, ok := listenerEvents[w.cfg.Accept]
	if !ok {
		return nil, fmt.Errorf("a loop cannot accept by %q", w.cfg.Accept)
	}
	return l, l.watch(w.listener, flags)
}

// listenerEvents are the flags, besides EPOLLIN, with which the loop watches a listener or the
// channel from an acceptor (epoll_ctl(2)).
var listenerEvents = map[vocabulary.AcceptMode]uint32{
	vocabulary.AcceptEpoll: 0, vocabulary.AcceptEpollExclusive: unix.EPOLLEXCLUSIVE,
	vocabulary.AcceptEpollEdge: unix.EPOLLET, vocabulary.AcceptAcceptor: 0,
	vocabulary.AcceptAcceptorAck: 0,
}

func (l *loop) watch(fd int, flags uint32) error {
	e := unix.EpollEvent{Events: unix.EPOLLIN | flags, Fd: int32(fd)}
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &e); err != nil {
		return fmt.Errorf("epoll_ctl %d: %w", fd, err)
	}
	return nil
}

// run serves until it has carried out a stop command.
func (l *loop) run() error {
	runtime.LockOSThread()
	if l.cfg.Accept == vocabulary.AcceptBlocking {
		if err := l.runBlocking(); err != nil {
			return err
		}
	}
	events := make([]unix.EpollEvent, 64)
	for !l.stopping || len(l.open) > 0 {
		timeout := l.beat()
		if l.stopping {
			now := l.clock.Now()
			if l.finAt != 0 && now >= l.finAt {
				if err := l.closeIdle(); err != nil {
					return err
				}
			}
			left := l.until().Sub(now)
			if left <= 0 {
				return l.abandon()
			}
			timeout = left
		}
		if l.idle != nil {
			timeout = l.untilExpiry(timeout)
		}
		n, err := l.wait(events, timeout)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("worker %d: epoll_pwait2: %w", l.cfg.ID, err)
		}
		l.turn(events[:max(n, 0)])
		for _, e := range events[:max(n, 0)] {
			if err := l.handle(e); err != nil {
				return err
			}
		}
		if l.idle != nil {
			if err := l.expire(); err != nil {
				return err
			}
		}
	}
	return nil
}

// longWait is the length from which Go's scheduler should see a wait. During a wait that it does
// not see, its monitor thread (sysmon) wakes up every 10 ms and uses about 15 µs of CPU time each
// time. A wait that it sees takes about 200 µs to end, because sysmon and a thread that looks for
// work wake up as well.
const longWait = 100 * time.Millisecond

// wait waits for events, at most for the timeout; a negative timeout has no limit. After a long
// wait it expects the next one to be long, too, and lets Go's scheduler see it. So a worker that
// rarely gets connections sleeps, and 1,000 such workers do not keep a CPU busy.
func (l *loop) wait(events []unix.EpollEvent, timeout time.Duration) (n int, err error) {
	if !l.waitLong {
		if timeout >= 0 && timeout <= longWait {
			return socket.EpollWait(l.epoll, events, timeout)
		}
		if n, err = socket.EpollWait(l.epoll, events, longWait); n != 0 || err != nil {
			return n, err
		}
		if timeout > 0 {
			timeout -= longWait
		}
	}
	began := l.clock.Now()
	n, err = socket.EpollSleep(l.epoll, events, timeout)
	l.waitLong = l.clock.Now().Sub(began) >= longWait
	return n, err
}

// untilExpiry returns the smaller of the timeout and the time until the first connection expires. A
// negative timeout means no timeout.
func (l *loop) untilExpiry(timeout time.Duration) time.Duration {
	first := l.idle.Front()
	if first == nil {
		return timeout
	}
	left := max(0, first.Value.(*loopConn).expires.Sub(l.clock.Now()))
	if timeout < 0 {
		return left
	}
	return min(timeout, left)
}

// expire closes the connections that have been idle for too long. As in nginx this happens after a
// batch of events, so a request that arrives after the batch was read is reset.
func (l *loop) expire() error {
	now := l.clock.Now()
	for first := l.idle.Front(); first != nil; first = l.idle.Front() {
		c := first.Value.(*loopConn)
		switch {
		case c.expires > now:
			return nil
		case c.n > 0: // part of a request has arrived
			l.endIdle(c)
			continue
		}
		if err := l.end(c.fd, c, journal.EndServed); err != nil {
			return err
		}
	}
	return nil
}

// startIdle starts the time for which an answered connection may be idle.
func (l *loop) startIdle(c *loopConn) {
	c.expires = l.clock.Now().Add(l.cfg.IdleTimeout)
	if c.element == nil {
		c.element = l.idle.PushBack(c)
	} else {
		l.idle.MoveToBack(c.element)
	}
}

// endIdle removes a connection from the idle list, if the list contains it.
func (l *loop) endIdle(c *loopConn) {
	if c.element != nil {
		l.idle.Remove(c.element)
		c.element = nil
	}
}

// beat returns the maximum time to wait for events: the selector's beat, but at least 1 ms, or -1
// for no limit.
func (l *loop) beat() time.Duration {
	if l.member == nil || l.member.Beat() == 0 {
		return -1
	}
	return max(time.Millisecond, l.member.Beat())
}

// turn reports to the selector that the loop starts a new iteration, and whether the accept queue
// is empty.
func (l *loop) turn(events []unix.EpollEvent) {
	if l.member == nil {
		return
	}
	l.member.Turn(int64(l.clock.Now()))
	if len(events) == cap(events) {
		return // a full batch may lack an event of the listener
	}
	isListener := func(e unix.EpollEvent) bool { return int(e.Fd) == l.listener }
	if !slices.ContainsFunc(events, isListener) {
		l.member.Idle()
	}
}

func (l *loop) handle(e unix.EpollEvent) error {
	switch int(e.Fd) {
	case l.controlFD:
		return l.commands()
	case l.listener:
		more, err := l.accept()
		for more && err == nil && l.cfg.Accept == vocabulary.AcceptEpollEdge {
			more, err = l.accept()
		}
		return err
	case l.offer:
		return socket.GiveNext(l.offer, l.listener)
	}
	if c, ok := l.open[e.Fd]; ok { // otherwise it was closed earlier in this batch
		return l.read(int(e.Fd), c)
	}
	return nil
}

// commands carries out all commands that have arrived. It must read them all, because epoll does
// not report commands that the reader has already buffered.
func (l *loop) commands() error {
	for l.commandPending() {
		c, err := l.nextCommand()
		if err != nil {
			return err
		}
		if err := l.obey(c); err != nil {
			return err
		}
	}
	return nil
}

func (l *loop) obey(c servers.Command) error {
	switch {
	case c.BusyLoop > 0:
		for until := l.clock.Now().Add(c.BusyLoop); l.clock.Now() < until; {
		}
		return nil
	case c.Members > 0:
		if l.listener < 0 {
			return nil // this worker was stopped; another one gets the command
		}
		if err := selector.AttachCPU(l.listener, c.Members); err != nil {
			return fmt.Errorf("worker %d: %w", l.cfg.ID, err)
		}
		return nil
	case l.stopping: // already stopping: shorten the grace
		l.deadline = min(l.deadline, l.clock.Now().Add(c.Grace))
		return nil
	}
	return l.stop(c.Stop, cmp.Or(c.Grace, l.cfg.Grace))
}

// stop closes the listener and starts to end the worker within the grace. If the mode requires it,
// stop empties the accept queue first.
func (l *loop) stop(mode vocabulary.StopMode, grace time.Duration) error {
	deadline := l.clock.Now().Add(grace)
	switch mode.Row().Closes {
	case vocabulary.ClosesAtOnce:
	case vocabulary.ClosesEmpty:
		if l.cfg.Accept == vocabulary.AcceptBlocking {
			if err := unix.SetNonblock(l.listener, true); err != nil {
				return fmt.Errorf("worker %d: listener: %w", l.cfg.ID, err)
			}
		}
		for accepted := true; accepted && l.clock.Now() < deadline; {
			var err error
			if accepted, err = l.accept(); err != nil {
				return err
			}
		}
	default:
		return fmt.Errorf("worker %d: unknown stop mode %q", l.cfg.ID, mode)
	}
	l.stopping, l.deadline = true, deadline
	l.finAt = l.clock.Now().Add(finDelay(grace))
	if l.shared() && l.cfg.Accept != vocabulary.AcceptBlocking {
		// Other processes also have descriptors of this open file, so closing this one does not
		// remove it from the epoll set (epoll(7), questions and answers).
		if err := l.unwatchListener(); err != nil {
			return err
		}
	}
	return l.closeListener(func() error { return unix.Close(l.listener) })
}

// shared reports whether other processes may have descriptors of the listener's open file.
func (l *loop) shared() bool {
	return l.cfg.Sockets == vocabulary.SocketsShared || l.cfg.Handover != vocabulary.NoHandover
}

func (l *loop) unwatchListener() error {
	err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, l.listener, nil)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("worker %d: epoll_ctl del listener: %w", l.cfg.ID, err)
	}
	return nil
}

// closeIdle sends a FIN on the connections that are still idle. It first answers requests that have
// already arrived.
func (l *loop) closeIdle() error {
	l.finAt = 0
	l.lingerEnd = l.clock.Now().Add(linger)
	for fd, c := range l.open {
		if !c.answered || c.n > 0 {
			continue
		}
		if err := l.read(int(fd), c); err != nil {
			return err
		}
		if l.open[fd] != c || c.n > 0 {
			continue
		}
		c.finSent = true
		err := unix.Shutdown(int(fd), unix.SHUT_WR)
		if err != nil && !errors.Is(err, unix.ENOTCONN) {
			return fmt.Errorf("worker %d: shutdown connection: %w", l.cfg.ID, err)
		}
	}
	return nil
}

// until returns the time at which a stopping worker must act without an event: to close idle
// connections, or to give up on open ones.
func (l *loop) until() clock.Instant {
	if l.finAt != 0 {
		return min(l.deadline, l.finAt)
	}
	for _, c := range l.open {
		if !c.finSent {
			return l.deadline
		}
	}
	return min(l.deadline, l.lingerEnd)
}

// accept takes one connection off the queue, if any, and serves the requests that have arrived on
// it.
func (l *loop) accept() (bool, error) {
	fd, from, err := l.source.accept(l.listener)
	switch {
	case errors.Is(err, unix.EAGAIN):
		return false, nil // another worker of a shared socket got it, or the queue is empty
	case errors.Is(err, unix.EINTR), errors.Is(err, unix.ECONNABORTED):
		return true, nil
	case errors.Is(err, errNoMore):
		// The acceptor has closed its end. A stop command will follow.
		return false, l.unwatchListener()
	case err != nil:
		return false, fmt.Errorf("worker %d: accept: %w", l.cfg.ID, err)
	}
	c := l.begin(fd, from)
	if err := l.read(fd, c); err != nil {
		return false, err
	}
	if l.open[int32(fd)] == c {
		return true, l.watch(fd, 0)
	}
	return true, nil
}

// begin registers an accepted connection.
func (l *loop) begin(fd int, from netip.AddrPort) *loopConn {
	c := l.newConn()
	c.fd = fd
	l.note(journal.Record{At: l.clock.Now(), Conn: c.number, Kind: journal.Accepted, Peer: from})
	l.open[int32(fd)] = c
	if l.member != nil {
		l.member.Accepted()
		l.member.Begin()
	}
	return c
}

func (l *loop) newConn() *loopConn {
	var c *loopConn
	if n := len(l.free); n > 0 {
		c, l.free = l.free[n-1], l.free[:n-1]
		c.n, c.requests, c.requested, c.answered, c.finSent = 0, 0, false, false, false
	} else {
		c = new(loopConn)
	}
	c.number = l.conns
	l.conns++
	return c
}

// read reads what has arrived on the connection and answers every complete request in it.
func (l *loop) read(fd int, c *loopConn) error {
	for {
		n, err := unix.Read(fd, c.buf[c.n:])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return nil
		case err != nil:
			return l.failed(fd, c, journal.EndPeerReset, err)
		case n == 0:
			return l.end(fd, c, journal.EndPeer)
		}
		c.n += n
		more, err := l.serve(fd, c)
		if !more || err != nil {
			return err
		}
	}
}

// serve answers the complete requests in the buffer. It returns false if it has ended the
// connection.
func (l *loop) serve(fd int, c *loopConn) (bool, error) {
	for {
		r, n, err := wire.ParseRequest(c.buf[:c.n])
		if err != nil || n+r.BodyLen > len(c.buf) {
			return false, l.end(fd, c, journal.EndUnanswered)
		}
		n += r.BodyLen
		if n == 0 || n > c.n {
			return true, nil // the request is incomplete
		}
		copy(c.buf[:], c.buf[n:c.n])
		c.n -= n
		c.requested = true
		l.noteRequest(journal.Requested, c, r)
		if l.faulty(r) {
			reset := &unix.Linger{Onoff: 1} // a timeout of 0 makes close(2) send a RST
			err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, reset)
			if err != nil {
				return false, fmt.Errorf("worker %d: SO_LINGER: %w", l.cfg.ID, err)
			}
			return false, l.end(fd, c, journal.EndAborted)
		}
		if c.finSent {
			return false, l.end(fd, c, journal.EndUnhandled)
		}
		l.work()
		c.requests++
		closing := wire.KeepAlive
		if r.Close || l.stopping || c.requests == l.cfg.MaxRequests {
			closing = wire.Close
		}
		l.out = wire.AppendResponse(l.out[:0], l.cfg.ID, l.cfg.Generation, closing)
		// A response fits in any socket buffer, so a short write means that the client has closed
		// the connection or stopped reading.
		if n, err := unix.Write(fd, l.out); err != nil || n < len(l.out) {
			return false, l.failed(fd, c, journal.EndWriteError, err)
		}
		c.requested, c.answered = false, true
		l.noteRequest(journal.Answered, c, r)
		if closing == wire.Close {
			return false, l.end(fd, c, journal.EndServed)
		}
		if l.idle != nil {
			l.startIdle(c)
		}
	}
}

// noteRequest writes a record of a request.
func (l *loop) noteRequest(kind journal.Kind, c *loopConn, r wire.Request) {
	l.note(journal.Record{
		At: l.clock.Now(), Conn: c.number, Kind: kind,
		Attempt: r.Attempt, Identified: r.Identified,
	})
}

// work spends the service time of one request.
func (l *loop) work() {
	switch d := l.serviceTime(); {
	case d <= 0:
	case l.works.Burn > 0:
		burn(d)
	default:
		clock.BlockUntil(l.clock.Now().Add(d))
	}
}

func (l *loop) end(fd int, c *loopConn, end journal.End) error { return l.failed(fd, c, end, nil) }

// failed ends a connection and writes a record of the end, with the errno of err, which may be nil.
func (l *loop) failed(fd int, c *loopConn, end journal.End, err error) error {
	var errno unix.Errno
	errors.As(err, &errno) // stays 0 if err has no errno
	delete(l.open, int32(fd))
	l.endIdle(c)
	if err := unix.Close(fd); err != nil {
		return fmt.Errorf("worker %d: close connection: %w", l.cfg.ID, err)
	}
	l.note(journal.Record{
		At: l.clock.Now(), Conn: c.number, Kind: journal.Ended, End: end, Errno: errno,
	})
	if l.member != nil {
		l.member.Done()
	}
	l.free = append(l.free, c)
	return nil
}

// abandon closes the connections that did not finish in time.
func (l *loop) abandon() error {
	var errs []error
	for fd, c := range l.open {
		end := journal.EndUnanswered
		if c.answered && !c.requested && c.n == 0 {
			end = journal.EndServed // the connection is idle between requests
		}
		errs = append(errs, l.end(int(fd), c, end))
	}
	return errors.Join(errs...)
}
