package load

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/socket"
)

// poller makes the sockets of attempts, and goes on with those whose sockets have news.
//
// It has an epoll set of its own, which the runtime's poller watches in turn. os.File would need fcntl, an early read and EPOLL_CTL_DEL more
// for each connection, all of them in view of Go's scheduler (see package socket), and a goroutine that waits.
type poller struct {
	epoll   *os.File
	fd      int // of the set, which epoll owns
	closing atomic.Bool
	ended   chan error

	mu    sync.Mutex
	conns []*conn // all there ever were; a place here is the name of a socket in the set
	free  []*conn
}

// conn is a connection, or a socket about to be one. It is used again for another once it is closed.
//
// It belongs to whoever took it or opened it, until wait hands it to whoever has the next news.
type conn struct {
	poller    *poller
	name      int32
	fd        int
	source    netip.AddrPort
	target    netip.AddrPort
	release   func() // nil: nobody looked its target up
	connected bool
	watched   bool
	alarm     clock.Instant // of the timer
	timer     *time.Timer
	attempt   *attempt // that goes on when there is news, or had it last

	mu      sync.Mutex
	waiting bool // it belongs to nobody: the attempt is to go on
	news    bool // there was some that nobody waited for. It may be old, even of a connection before
}

// newPoller makes a poller. The caller closes it when no attempt is under way any more.
func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // os.NewFile looks whether to poll it
		return nil, errors.Join(err, unix.Close(fd))
	}
	if _, err := socket.EpollWait(fd, make([]unix.EpollEvent, 1), 0); err != nil {
		return nil, errors.Join(fmt.Errorf("epoll_pwait2 (since Linux 5.11): %w", err), unix.Close(fd))
	}
	p := &poller{epoll: os.NewFile(uintptr(fd), "epoll"), fd: fd, ended: make(chan error, 1)}
	set, err := p.epoll.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, p.epoll.Close())
	}
	go func() { p.ended <- p.run(set) }()
	return p, nil
}

// pollBatch is how many sockets are gone on with before whatever else is due has its turn.
const pollBatch = 32

// look is what a call of poll needs.
type look struct {
	events [pollBatch]unix.EpollEvent
	conns  [pollBatch]*conn
}

// poll goes on with those that have news now, pollBatch at most, and returns how many they were. Several may call it: each event is told to one.
func (p *poller) poll(l *look) (int, error) {
	n, err := socket.EpollWait(p.fd, l.events[:], 0)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return 0, fmt.Errorf("epoll_pwait2: %w", err)
	}
	p.mu.Lock()
	for i, e := range l.events[:n] {
		l.conns[i] = p.conns[e.Fd]
	}
	p.mu.Unlock()
	for _, c := range l.conns[:n] {
		c.wake()
	}
	return n, nil
}

// run goes on with what has news, until the set is closed.
func (p *poller) run(set syscall.RawConn) error {
	var l look
	for {
		var fail error
		err := set.Read(func(uintptr) bool {
			n, err := p.poll(&l)
			fail = err
			return n == pollBatch || err != nil // all have been gone on with otherwise
		})
		if p.closing.Load() {
			return nil
		}
		if err = errors.Join(err, fail); err != nil {
			return err
		}
		runtime.Gosched()
	}
}

// close frees the set, and returns the error that ended its watch early.
func (p *poller) close() error {
	p.closing.Store(true)
	err := p.epoll.Close()
	return errors.Join(err, <-p.ended)
}

// open makes a non-blocking socket bound to the source. The caller closes it.
func (p *poller) open(source netip.AddrPort) (*conn, error) {
	fd, err := socket.Open(source.Addr())
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	if source.Addr().Is6() {
		// A local route makes the range ours, but an IPv6 bind wants the very address assigned (ipv6(7)).
		err = unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_FREEBIND, 1)
	}
	if err == nil {
		err = socket.Bind(fd, source)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("bind %v: %w", source, err), socket.Close(fd))
	}
	c := p.take()
	c.fd, c.source, c.target, c.release, c.connected, c.watched, c.alarm = fd, source, netip.AddrPort{}, nil, false, false, 0
	return c, nil
}

// take is a conn that nobody uses.
func (p *poller) take() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if last := len(p.free) - 1; last >= 0 {
		c := p.free[last]
		p.free = p.free[:last]
		return c
	}
	c := &conn{poller: p, name: int32(len(p.conns))}
	c.timer = time.AfterFunc(time.Hour, c.wake)
	c.timer.Stop()
	p.conns = append(p.conns, c)
	return c
}

// close closes the socket, which ends the watch over it (epoll(7)).
func (c *conn) close() {
	if c.release != nil {
		c.release()
	}
	c.timer.Stop()
	// close(2) of a socket that has seen an error gives nothing to act upon: the sample is complete.
	_ = socket.Close(c.fd)
	c.poller.mu.Lock()
	defer c.poller.mu.Unlock()
	c.poller.free = append(c.poller.free, c)
}

// wake goes on with the attempt that waits for the connection, if there is one.
func (c *conn) wake() {
	c.mu.Lock()
	mine := c.waiting
	c.waiting, c.news = false, !mine
	c.mu.Unlock()
	if mine {
		c.attempt.goOn()
	}
}

// wait hands the connection, and its attempt, to whoever has the next news of the socket, or that it is until. handed is false where
// there has been news already: then the caller looks once more, perhaps for nothing.
//
// The watch is edge-triggered. It begins here: what has come before makes the first edge. Of a connection that is there it does not say when there is room
// to send: a request meets an empty buffer, and has room.
func (c *conn) wait(now, until clock.Instant) (handed bool, err error) {
	if c.alarm != until {
		c.alarm = until
		c.timer.Reset(until.Sub(now))
	}
	if !c.watched {
		c.watched = true
		events := uint32(unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff)
		if !c.connected {
			events |= unix.EPOLLOUT
		}
		if err := socket.EpollCtl(c.poller.fd, unix.EPOLL_CTL_ADD, c.fd, events, c.name); err != nil {
			return false, fmt.Errorf("epoll_ctl: %w", err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.news {
		c.news = false
		return false, nil
	}
	c.waiting = true
	return true, nil
}

// alive says that an idle connection has neither been closed nor sent anything unasked.
func (c *conn) alive() bool {
	var b [1]byte
	_, err := socket.Recv(c.fd, b[:], unix.MSG_PEEK)
	return errors.Is(err, unix.EAGAIN)
}
