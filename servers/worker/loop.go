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
	"reuseport-bench/servers/child"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/journal"
	"reuseport-bench/servers/selector"
	"reuseport-bench/servers/socket"
	"reuseport-bench/servers/wire"
)

// loop is the server kind "loop": one thread, one level-triggered epoll loop that accepts and
// serves in line, as nginx, Envoy's workers, Redis and Node do. While it serves one request it
// does nothing else.
//
// Like nginx with multi_accept off, it accepts one connection per readiness event of the listener,
// so that connections already accepted get their turn; unless it is edge-triggered, and would not
// be told again.
type loop struct {
	*worker
	epoll    int
	source   source
	open     map[int32]*loopConn // by descriptor
	free     []*loopConn
	out      []byte
	idle     bool // the last wait was long
	stopping bool
	deadline clock.Instant // of finishing, once stopping
	farewell clock.Instant // when those still idle are told to go by a FIN; 0: they have been, or nobody stops
	lingered clock.Instant // when those that are leaving have had their time
	// resting has the connections that were answered, the one whose last answer is oldest first.
	// Nil: they may be idle for ever.
	resting *list.List
}

type loopConn struct {
	number    uint32
	fd        int
	n         int           // bytes of buf in use
	requests  int           // that were answered
	place     *list.Element // in the loop's resting; nil: it is not there
	expires   clock.Instant // when it will have been idle for too long, while it is there
	requested bool          // a request was read and not yet answered
	answered  bool          // at least one response was written
	leaving   bool          // told to go by a FIN; a request that crosses it is not answered
	buf       [wire.MaxHead + 1024]byte
}

func newLoop(w *worker) (*loop, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	l := &loop{worker: w, epoll: epoll, source: socketSource{}, open: make(map[int32]*loopConn), out: make([]byte, 0, 512)}
	if w.cfg.Accept.Row().Passes {
		l.source = newChannelSource(w.cfg.Accept == vocabulary.AcceptAcceptorAck)
	}
	if w.cfg.IdleTimeout > 0 {
		l.resting = list.New()
	}
	if err := l.watch(child.ControlFD, 0); err != nil {
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

// listenerEvents are the flags beside EPOLLIN with which a listener, or the channel from an
// acceptor, is watched (epoll_ctl(2)).
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

// run serves until a stop command has been carried out.
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
			if l.farewell != 0 && now >= l.farewell {
				if err := l.dismiss(); err != nil {
					return err
				}
			}
			left := l.until().Sub(now)
			if left <= 0 {
				return l.abandon()
			}
			timeout = left
		}
		if l.resting != nil {
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
		if l.resting != nil {
			if err := l.expire(); err != nil {
				return err
			}
		}
	}
	return nil
}

// longWait is how long a wait must be before Go's scheduler should know of it. While it does not,
// its monitor thread (sysmon) wakes up every 10 ms and uses some 15 µs of CPU time; to end a wait
// that it knows of takes some 200 µs, because that thread and one that looks for work wake up as
// well.
const longWait = 100 * time.Millisecond

// wait waits for events for the timeout, or for ever if that is negative. After a long wait it
// expects another: so a worker that hardly gets a connection sleeps, and 1,000 of them do not use
// more than a CPU for nothing.
func (l *loop) wait(events []unix.EpollEvent, timeout time.Duration) (n int, err error) {
	if !l.idle {
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
	l.idle = l.clock.Now().Sub(began) >= longWait
	return n, err
}

// untilExpiry returns the timeout, negative for none, or less if a connection expires before.
func (l *loop) untilExpiry(timeout time.Duration) time.Duration {
	first := l.resting.Front()
	if first == nil {
		return timeout
	}
	left := max(0, first.Value.(*loopConn).expires.Sub(l.clock.Now()))
	if timeout < 0 {
		return left
	}
	return min(timeout, left)
}

// expire closes the connections that have been idle for too long. As in nginx that is after a batch
// of events: a request that has come since, or comes now, is reset.
func (l *loop) expire() error {
	now := l.clock.Now()
	for first := l.resting.Front(); first != nil; first = l.resting.Front() {
		c := first.Value.(*loopConn)
		switch {
		case c.expires > now:
			return nil
		case c.n > 0: // a part of a request has come
			l.forget(c)
			continue
		}
		if err := l.end(c.fd, c, journal.EndServed); err != nil {
			return err
		}
	}
	return nil
}

// rest begins the time that an answered connection may be idle.
func (l *loop) rest(c *loopConn) {
	c.expires = l.clock.Now().Add(l.cfg.IdleTimeout)
	if c.place == nil {
		c.place = l.resting.PushBack(c)
	} else {
		l.resting.MoveToBack(c.place)
	}
}

// forget lets a connection be idle for any time, if it has been answered at all.
func (l *loop) forget(c *loopConn) {
	if c.place != nil {
		l.resting.Remove(c.place)
		c.place = nil
	}
}

// beat is the timeout of a worker that has nothing to wait for: none, or how often its selector
// wants to hear of it.
func (l *loop) beat() time.Duration {
	if l.member == nil || l.member.Beat() == 0 {
		return -1
	}
	return max(time.Millisecond, l.member.Beat())
}

// turn tells the selector that the loop turns, and whether anything waits to be accepted.
func (l *loop) turn(events []unix.EpollEvent) {
	if l.member == nil {
		return
	}
	l.member.Turn(int64(l.clock.Now()))
	if len(events) == cap(events) {
		return // a full batch may have left the listener out
	}
	if !slices.ContainsFunc(events, func(e unix.EpollEvent) bool { return int(e.Fd) == l.listener }) {
		l.member.Idle()
	}
}

func (l *loop) handle(e unix.EpollEvent) error {
	switch int(e.Fd) {
	case child.ControlFD:
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
	if c, ok := l.open[e.Fd]; ok { // closed earlier in this batch otherwise
		return l.read(int(e.Fd), c)
	}
	return nil
}

// commands obeys all the commands that there are: what the reader has in its buffer, no epoll
// reports again.
func (l *loop) commands() error {
	for l.told() {
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
			return nil // it was told to stop meanwhile, and another worker is told
		}
		if err := selector.AttachCPU(l.listener, c.Members); err != nil {
			return fmt.Errorf("worker %d: %w", l.cfg.ID, err)
		}
		return nil
	case l.stopping: // it is to hurry
		l.deadline = min(l.deadline, l.clock.Now().Add(c.Grace))
		return nil
	}
	return l.stop(c.Stop, cmp.Or(c.Grace, l.cfg.Grace))
}

// stop begins the end of the worker, which is to be over within a grace.
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
	l.farewell = l.clock.Now().Add(farewell(grace))
	if l.shared() && l.cfg.Accept != vocabulary.AcceptBlocking {
		// The open file lives on in other processes, so closing this descriptor does not take it
		// out of the epoll set (epoll(7), questions and answers).
		if err := l.unwatchListener(); err != nil {
			return err
		}
	}
	return l.closeListener(func() error { return unix.Close(l.listener) })
}

// shared says that others may have the listener's open file too.
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

// dismiss tells the connections that are still idle to go, by a FIN. A request that has come
// already is still answered.
func (l *loop) dismiss() error {
	l.farewell = 0
	l.lingered = l.clock.Now().Add(linger)
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
		c.leaving = true
		if err := unix.Shutdown(int(fd), unix.SHUT_WR); err != nil && !errors.Is(err, unix.ENOTCONN) {
			return fmt.Errorf("worker %d: shutdown connection: %w", l.cfg.ID, err)
		}
	}
	return nil
}

// until is when a stopping worker has to act by itself: it dismisses what is idle, or gives up on
// what is open.
func (l *loop) until() clock.Instant {
	if l.farewell != 0 {
		return min(l.deadline, l.farewell)
	}
	for _, c := range l.open {
		if !c.leaving {
			return l.deadline
		}
	}
	return min(l.deadline, l.lingered)
}

// accept takes one connection off the queue, if there is one, and reads what it has sent so far.
func (l *loop) accept() (bool, error) {
	fd, from, err := l.source.accept(l.listener)
	switch {
	case errors.Is(err, unix.EAGAIN):
		return false, nil // another worker of a shared socket was faster, or the queue is empty
	case errors.Is(err, unix.EINTR), errors.Is(err, unix.ECONNABORTED):
		return true, nil
	case errors.Is(err, errNoMore):
		// The acceptor has closed its end. The stop command is on its way.
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

// begin records an accepted connection.
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
		c.n, c.requests, c.requested, c.answered, c.leaving = 0, 0, false, false, false
	} else {
		c = new(loopConn)
	}
	c.number = l.conns
	l.conns++
	return c
}

// read takes what the connection has to say and answers every whole request in it.
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

// serve answers the whole requests in the buffer. It returns false when the connection was ended.
func (l *loop) serve(fd int, c *loopConn) (bool, error) {
	for {
		r, n, err := wire.ParseRequest(c.buf[:c.n])
		if err != nil || n+r.BodyLen > len(c.buf) {
			return false, l.end(fd, c, journal.EndUnanswered)
		}
		n += r.BodyLen
		if n == 0 || n > c.n {
			return true, nil // incomplete
		}
		copy(c.buf[:], c.buf[n:c.n])
		c.n -= n
		c.requested = true
		l.note(journal.Record{At: l.clock.Now(), Conn: c.number, Kind: journal.Requested, Attempt: r.Attempt, Identified: r.Identified})
		if l.faulty(r) {
			if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
				return false, fmt.Errorf("worker %d: SO_LINGER: %w", l.cfg.ID, err)
			}
			return false, l.end(fd, c, journal.EndAborted)
		}
		if c.leaving {
			return false, l.end(fd, c, journal.EndUnhandled)
		}
		l.work()
		c.requests++
		closing := wire.KeepAlive
		if r.Close || l.stopping || c.requests == l.cfg.MaxRequests {
			closing = wire.Close
		}
		l.out = wire.AppendResponse(l.out[:0], l.cfg.ID, l.cfg.Generation, closing)
		// A response fits any socket buffer, so a short write means that the peer is gone or
		// stopped reading.
		if n, err := unix.Write(fd, l.out); err != nil || n < len(l.out) {
			return false, l.failed(fd, c, journal.EndWriteError, err)
		}
		c.requested, c.answered = false, true
		l.note(journal.Record{At: l.clock.Now(), Conn: c.number, Kind: journal.Answered, Attempt: r.Attempt, Identified: r.Identified})
		if closing == wire.Close {
			return false, l.end(fd, c, journal.EndServed)
		}
		if l.resting != nil {
			l.rest(c)
		}
	}
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

// failed ends a connection because of an error, or nil.
func (l *loop) failed(fd int, c *loopConn, end journal.End, why error) error {
	var errno unix.Errno
	errors.As(why, &errno) // 0 without one
	delete(l.open, int32(fd))
	l.forget(c)
	if err := unix.Close(fd); err != nil {
		return fmt.Errorf("worker %d: close connection: %w", l.cfg.ID, err)
	}
	l.note(journal.Record{At: l.clock.Now(), Conn: c.number, Kind: journal.Ended, End: end, Errno: errno})
	if l.member != nil {
		l.member.Done()
	}
	l.free = append(l.free, c)
	return nil
}

// abandon closes what did not finish in time.
func (l *loop) abandon() error {
	var errs []error
	for fd, c := range l.open {
		end := journal.EndUnanswered
		if c.answered && !c.requested && c.n == 0 {
			end = journal.EndServed // idle between requests
		}
		errs = append(errs, l.end(int(fd), c, end))
	}
	return errors.Join(errs...)
}
