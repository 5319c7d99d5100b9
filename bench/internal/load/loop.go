package load

import (
	"container/heap"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/socket"
)

// loop waits on behalf of attempts: for events of their sockets (an epoll set) and for their alarms
// (a heap). The caller of turn runs everything; loop has no goroutine, thread or lock of its own
// (see transport).
//
// loop waits in a system call that Go's scheduler does not notice (package socket). During the wait
// the thread keeps its P, so it need not get one back when it wakes up.
type loop struct {
	clock    *clock.Clock
	epoll    int
	alarm    clock.Alarm
	set      clock.Instant // the instant that alarm is set to; 0: the alarm has gone off
	events   [loopBatch]unix.EpollEvent
	conns    []*conn // every conn ever made, indexed by its name in the epoll set
	free     []*conn
	handlers []func() error // for other descriptors; handler i has the name -1-i
	alarms   alarms
}

const (
	// loopBatch is the maximum number of sockets, and of alarms, that one turn handles.
	loopBatch = 32
	// longestWait is the longest time that one turn waits. During a wait nothing else runs on the
	// thread's P, and the garbage collector has to wait.
	longestWait = 10 * time.Millisecond
	// never is an instant that is never reached.
	never = clock.Instant(math.MaxInt64)
)

// newLoop makes a loop. The caller closes it when no attempt is under way.
func newLoop(clk *clock.Clock) (*loop, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	l := &loop{clock: clk, epoll: epoll}
	if l.alarm, err = clock.NewAlarm(); err != nil {
		return nil, errors.Join(err, unix.Close(epoll))
	}
	err = l.watch(l.alarm.FD(), unix.EPOLLIN, func() error { l.set = 0; return nil })
	if _, waitErr := socket.EpollWait(epoll, l.events[:], 0); waitErr != nil {
		err = errors.Join(err, fmt.Errorf("epoll_pwait2 (since Linux 5.11): %w", waitErr))
	}
	if err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

// close frees the loop's descriptors. turn must not be running.
func (l *loop) close() error { return errors.Join(l.alarm.Close(), unix.Close(l.epoll)) }

// watch makes turn call f at each of the given events (EPOLLET) of a descriptor other than a
// connection.
func (l *loop) watch(fd int, events uint32, f func() error) error {
	l.handlers = append(l.handlers, f)
	err := socket.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, events|edge, -int32(len(l.handlers)))
	if err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// edge is EPOLLET in the type that EpollCtl takes.
const edge = uint32(unix.EPOLLET & 0xffffffff)

// turn advances the attempts whose sockets have events or whose alarms are due, up to loopBatch of
// each, and returns the number of attempts that had events. It waits for the first event or alarm
// until the given instant, but at most for longestWait.
func (l *loop) turn(until clock.Instant) (events int, err error) {
	now := l.clock.Now()
	if len(l.alarms) > 0 {
		until = min(until, l.alarms[0].filed)
	}
	timeout := time.Duration(0)
	if until > now {
		timeout = -1 // wait until the alarm goes off
		if err := l.wakeBy(min(until, now.Add(longestWait)), now); err != nil {
			return 0, err
		}
	}
	n, err := socket.EpollWait(l.epoll, l.events[:], timeout)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return 0, fmt.Errorf("epoll_pwait2: %w", err)
	}
	for _, e := range l.events[:n] {
		if e.Fd < 0 {
			if err := l.handlers[-1-e.Fd](); err != nil {
				return 0, err
			}
		} else if c := l.conns[e.Fd]; c.attempt != nil { // nil: the connection is closed or idle
			c.readable = c.readable || e.Events&^unix.EPOLLOUT != 0
			c.attempt.advance()
			events++
		}
	}
	if len(l.alarms) > 0 {
		now = l.clock.Now()
	}
	for range loopBatch {
		a := l.nextDue(now)
		if a == nil {
			break
		}
		a.alarmed()
	}
	return events, nil
}

// wakeBy sets the alarm to the given instant, unless it is already set to an earlier one.
func (l *loop) wakeBy(at, now clock.Instant) error {
	if now < l.set && l.set <= at {
		return nil
	}
	l.set = at
	return l.alarm.Set(at)
}

// alarms is a heap (container/heap) of attempts, ordered by their field filed.
type alarms []*attempt

func (h alarms) Len() int           { return len(h) }
func (h alarms) Less(i, k int) bool { return h[i].filed < h[k].filed }
func (h alarms) Swap(i, k int) {
	h[i], h[k] = h[k], h[i]
	h[i].place, h[k].place = i+1, k+1
}

func (h *alarms) Push(a any) {
	a.(*attempt).place = len(*h) + 1
	*h = append(*h, a.(*attempt))
}

func (h *alarms) Pop() any {
	last := len(*h) - 1
	a := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	a.place = 0
	return a
}

// setAlarm sets the attempt's only alarm, in place of an earlier one.
//
// Nearly every alarm is cancelled by an answer, and the attempt's next alarm is later. So if an
// alarm is postponed or cancelled, its entry stays in the heap until the instant that it was first
// set to. The heap then changes once per timeout instead of twice per attempt.
func (l *loop) setAlarm(a *attempt, at clock.Instant) {
	a.alarm = at
	switch {
	case a.place == 0:
		a.filed = at
		heap.Push(&l.alarms, a)
	case at < a.filed:
		a.filed = at
		heap.Fix(&l.alarms, a.place-1)
	}
}

// cancel cancels the attempt's alarm, if any.
func (l *loop) cancel(a *attempt) { a.alarm = never }

// nextDue returns the attempt with the earliest alarm that is due now, and clears that alarm. It
// returns nil if none is due.
func (l *loop) nextDue(now clock.Instant) *attempt {
	for len(l.alarms) > 0 && l.alarms[0].filed <= now {
		a := l.alarms[0]
		if a.filed < a.alarm && a.alarm < never {
			a.filed = a.alarm
			heap.Fix(&l.alarms, 0)
			continue
		}
		heap.Pop(&l.alarms)
		if a.alarm < never {
			return a
		}
	}
	return nil
}

// conn is a connection, or a socket that will become one. After close the struct is reused for
// another connection.
type conn struct {
	loop      *loop
	name      int32 // in the epoll set
	fd        int
	source    netip.AddrPort
	target    netip.AddrPort
	release   func() // tells the resolver that the connection has ended; nil without a lookup
	connected bool
	watched   bool
	attempt   *attempt      // to advance at an event; nil: none
	readable  bool          // an event reported input that has not been read to its end
	expires   clock.Instant // when the connection is closed if it is idle
	// Used only if the pool is limited.
	requests int           // number of requests answered
	opened   clock.Instant // when the socket was made
}

// open makes a non-blocking socket bound to the source. The caller closes it.
func (l *loop) open(source netip.AddrPort) (*conn, error) {
	fd, err := socket.Open(source.Addr())
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	if source.Addr().Is6() {
		// A local route makes all addresses of the range local, but without this option IPv6 binds
		// only to an address that is assigned individually (ipv6(7)).
		err = unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_FREEBIND, 1)
	}
	if err == nil {
		err = socket.Bind(fd, source)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("bind %v: %w", source, err), socket.Close(fd))
	}
	c := l.take()
	*c = conn{loop: l, name: c.name, fd: fd, source: source, expires: never}
	return c, nil
}

// take returns an unused conn.
func (l *loop) take() *conn {
	if last := len(l.free) - 1; last >= 0 {
		c := l.free[last]
		l.free = l.free[:last]
		return c
	}
	c := &conn{name: int32(len(l.conns))}
	l.conns = append(l.conns, c)
	return c
}

// close closes the socket, which also removes it from the epoll set (epoll(7)).
func (c *conn) close() {
	if c.release != nil {
		c.release()
	}
	c.attempt = nil
	// An error of close(2) does not matter: the sample is complete.
	_ = socket.Close(c.fd)
	c.loop.free = append(c.loop.free, c)
}

// watch adds the socket to the epoll set. Events that happened before the first call are reported,
// too. Room in the send buffer is reported only until the connection is established. After that,
// the buffer is empty at the start of each request, and has room for most requests: see awaitRoom.
func (c *conn) watch() error {
	if c.watched {
		return nil
	}
	return c.rewatch(!c.connected)
}

// awaitRoom makes the loop report room in the send buffer, too.
func (c *conn) awaitRoom() error { return c.rewatch(true) }

// again asks the loop for another event, because not all input has been read. It returns EAGAIN.
func (c *conn) again() error {
	if err := c.rewatch(true); err != nil {
		return err
	}
	return unix.EAGAIN
}

// rewatch adds the socket to the epoll set, or renews its entry. If the socket is ready at that
// time, the loop gets a new event.
func (c *conn) rewatch(room bool) error {
	op := unix.EPOLL_CTL_ADD
	if c.watched {
		op = unix.EPOLL_CTL_MOD
	}
	c.watched = true
	events := unix.EPOLLIN | unix.EPOLLRDHUP | edge
	if room {
		events |= unix.EPOLLOUT
	}
	if err := socket.EpollCtl(c.loop.epoll, op, c.fd, events, c.name); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// alive reports whether an idle connection is open and has received nothing.
func (c *conn) alive() bool {
	var b [1]byte
	_, err := socket.Recv(c.fd, b[:], unix.MSG_PEEK)
	return errors.Is(err, unix.EAGAIN)
}
