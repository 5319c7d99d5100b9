package load

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/socket"
)

// Keep describes how many connections are kept for more than one attempt, and for how long.
type Keep struct {
	// Count, if not 0, is the number of connections that all load processes together keep. Each
	// process keeps at least one. They are opened before the load begins. An attempt opens a new
	// connection if fewer than Count are open. Otherwise it takes the connection that has been idle
	// longest, or waits until one is idle.
	Count int `json:"count,omitzero"`
	// A connection is closed after MaxRequests requests, at the age Lifetime, and after IdleTimeout
	// without a request, but never while an attempt is under way on it. 0 means no limit.
	MaxRequests int           `json:"max_requests,omitzero"`
	Lifetime    time.Duration `json:"lifetime_ns,omitzero"`
	IdleTimeout time.Duration `json:"idle_timeout_ns,omitzero"`
}

// A pool holds the connections of a load process that serve more than one attempt.
type pool struct {
	loop *loop
	keep Keep
	// least is the number of connections that must be open before an attempt reuses one. most is
	// the maximum number of open connections. With Keep.Count both are this process's share of
	// Count.
	least, most int
	open        int     // number of open connections, idle or in use
	idle        []*conn // the connection that has been idle longest first
	waiting     []*attempt
	serving     bool // serve is running
	// limited is set if Keep limits requests, age or idle time. The alarm closes idle connections
	// that expire. It is set to wake.
	limited bool
	alarm   clock.Alarm
	wake    clock.Instant
}

// newPool makes an empty pool. count is this process's share of Keep.Count. The caller closes it.
func newPool(l *loop, keep Keep, count int) (*pool, error) {
	p := &pool{loop: l, keep: keep, most: math.MaxInt, wake: never}
	p.limited = keep.MaxRequests > 0 || keep.Lifetime > 0 || keep.IdleTimeout > 0
	if keep.Count > 0 {
		p.least, p.most = count, count
	}
	var err error
	if p.alarm, err = clock.NewAlarm(); err != nil {
		return nil, err
	}
	if err := l.watch(p.alarm.FD(), unix.EPOLLIN, p.expire); err != nil {
		return nil, errors.Join(err, p.alarm.Close())
	}
	return p, nil
}

// close closes the idle connections. No attempt may be under way.
func (p *pool) close() error {
	for _, c := range p.idle {
		c.close()
	}
	p.idle = nil
	return p.alarm.Close()
}

// take returns a connection for an attempt: an idle one that is still alive, or a new one from the
// source. If the attempt must wait, take returns nil and no error.
func (p *pool) take(source netip.AddrPort) (*conn, error) {
	for p.open >= p.least && len(p.idle) > 0 {
		c := p.next()
		if c.alive() {
			return c, nil
		}
		c.close()
		p.open--
	}
	if p.open >= p.most {
		return nil, nil
	}
	return p.add(source)
}

// next removes and returns an idle connection. With Keep.Count it takes the one that has been idle
// longest, so that all are used in turn. Otherwise it takes the one that was used last, so that few
// are needed.
func (p *pool) next() *conn {
	if p.keep.Count > 0 {
		c := p.idle[0]
		p.idle = p.idle[1:]
		return c
	}
	last := len(p.idle) - 1
	c := p.idle[last]
	p.idle = p.idle[:last]
	return c
}

// add opens a socket for another connection.
func (p *pool) add(source netip.AddrPort) (*conn, error) {
	c, err := p.loop.open(source)
	if err != nil {
		return nil, err
	}
	p.open++
	if p.limited {
		c.opened = p.loop.clock.Now()
	}
	return c, nil
}

// put takes back a connection on which an attempt was answered. timeout is the time for which the
// server keeps an idle connection, or 0 if the server has not announced it.
func (p *pool) put(c *conn, timeout time.Duration) {
	c.attempt = nil
	c.expires = never
	if p.limited || timeout > 0 {
		if c.requests++; !p.rest(c, timeout) {
			p.drop(c)
			return
		}
	}
	p.idle = append(p.idle, c)
	p.serve()
}

// closeEarly is the time by which an idle connection is closed before the server's timeout. If that
// timeout is shorter than 2 s, the connection is closed after half of it. Closing early is
// necessary because a request that crosses the server's FIN would be reset. Servers announce their
// timeout in whole seconds, and their clocks differ from ours.
const closeEarly = time.Second

// rest computes when a connection that becomes idle expires. It reports whether the connection may
// be used for another request. timeout is the same as in put.
func (p *pool) rest(c *conn, timeout time.Duration) bool {
	now := p.loop.clock.Now()
	if timeout > 0 {
		c.expires = now.Add(timeout - min(closeEarly, timeout/2))
	}
	if d := p.keep.IdleTimeout; d > 0 {
		c.expires = min(c.expires, now.Add(d))
	}
	if d := p.keep.Lifetime; d > 0 {
		c.expires = min(c.expires, c.opened.Add(d))
	}
	p.wakeBy(c.expires)
	full := p.keep.MaxRequests > 0 && c.requests >= p.keep.MaxRequests
	return !full && c.expires > now
}

// drop closes a connection that was in use.
func (p *pool) drop(c *conn) {
	c.close()
	p.open--
	p.serve()
}

// enqueue makes an attempt wait for a connection.
func (p *pool) enqueue(a *attempt) { p.waiting = append(p.waiting, a) }

// dequeue removes an attempt from the waiting attempts.
func (p *pool) dequeue(a *attempt) {
	switch i := slices.Index(p.waiting, a); i {
	case -1:
	case 0: // the usual case: the attempt that waits longest gives up first
		p.waiting = p.waiting[1:]
	default:
		p.waiting = slices.Delete(p.waiting, i, i+1)
	}
}

// serve gives free connections to waiting attempts. An attempt that gets one may end at once and
// call serve again. That inner call then returns at once, and the outer call continues.
func (p *pool) serve() {
	if p.serving || len(p.waiting) == 0 {
		return
	}
	p.serving = true
	for len(p.waiting) > 0 {
		a := p.waiting[0]
		if p.loop.clock.Now() >= a.deadline {
			a.starved()
			continue
		}
		c, err := p.take(a.source())
		if c == nil && err == nil {
			break
		}
		p.waiting = p.waiting[1:]
		a.gotConn(c, err)
	}
	p.serving = false
}

// wakeBy sets the alarm to the given instant, unless it is already set to an earlier one.
func (p *pool) wakeBy(at clock.Instant) {
	if at < p.wake {
		p.wake = at
		_ = p.alarm.Set(at) // cannot fail: every instant is valid (timerfd_settime(2))
	}
}

// expire closes the idle connections that have expired.
func (p *pool) expire() error {
	now := p.loop.clock.Now()
	p.wake = never
	p.idle = slices.DeleteFunc(p.idle, func(c *conn) bool {
		if c.expires > now {
			p.wakeBy(c.expires)
			return false
		}
		c.close()
		p.open--
		return true
	})
	return nil
}

// fill opens the connections that are kept from the start. It returns when all are established, or
// with an error after the time limit.
func (t *transport) fill(limit time.Duration) error {
	p := t.pool
	until := t.clock.Now().Add(limit)
	failed := func(k int, err error) error {
		return fmt.Errorf("open kept connection %d of %d: %w",
			t.keptIndex(k)+1, p.keep.Count, err)
	}
	for k := range p.least {
		c, err := p.add(t.keptSource(k))
		if err != nil {
			return failed(k, err)
		}
		p.idle = append(p.idle, c)
		if err := t.dial(c, t.keptIndex(k), until); err != nil {
			return failed(k, err)
		}
	}
	for k, c := range p.idle {
		if err := c.establish(until); err != nil {
			return failed(k, err)
		}
		if p.limited {
			p.rest(c, 0)
		}
	}
	return nil
}

// keptIndex returns the number, among all processes' kept connections, of this process's k-th.
func (t *transport) keptIndex(k int) int { return k*t.cfg.Processes + t.cfg.Process }

// keptSource returns the source of this process's k-th kept connection. Kept connections have the
// sources that follow those of the tries.
func (t *transport) keptSource(k int) netip.AddrPort {
	return t.sources.At(t.schedule.Len()*t.cfg.Retry.Tries() + uint64(t.keptIndex(k)))
}

// dial starts to connect. If there is a Lookup, index selects the DNS client that looks the name
// up, and until is the instant at which that client stops waiting for an answer.
func (t *transport) dial(c *conn, index int, until clock.Instant) error {
	if c.target = t.cfg.Target; t.names != nil {
		found := t.names.ask(uint64(index), max(0, until.Sub(t.clock.Now())))
		if found.err != nil {
			return found.err
		}
		c.target, c.release = found.target, found.release
	}
	if err := socket.Connect(c.fd, c.target); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return fmt.Errorf("connect: %w", err)
	}
	return nil
}

// establish waits until the handshake is complete, but not longer than the given instant.
func (c *conn) establish(until clock.Instant) error {
	for {
		left := until.Sub(c.loop.clock.Now())
		wait := []unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLOUT}}
		n, err := unix.Poll(wait, int(max(0, left.Milliseconds())))
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("poll: %w", err)
		case n == 0:
			return fmt.Errorf("connect %v: no answer", c.target)
		}
		errno, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && errno != 0 {
			err = unix.Errno(errno)
		}
		if err != nil {
			return fmt.Errorf("connect %v: %w", c.target, err)
		}
		c.connected = true
		return nil
	}
}
