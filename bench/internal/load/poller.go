package load

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/socket"
)

// poller makes the sockets of attempts, and wakes the goroutines that wait for them.
//
// It has an epoll set of its own, which the runtime's poller watches in turn. os.File would do the same with
// fcntl, an early read and EPOLL_CTL_DEL more for each connection, all of them in view of Go's scheduler: see package socket.
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
type conn struct {
	poller    *poller
	name      int32
	fd        int
	source    netip.AddrPort
	target    netip.AddrPort
	release   func() // nil: nobody looked its target up
	connected bool
	watched   bool
	// news holds up to one: that the socket has some, or that time is up. It may be old, even of a connection before.
	news  chan struct{}
	timer *time.Timer
}

// newPoller makes a poller. The caller closes it when no goroutine waits any more.
func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // os.NewFile looks whether to poll it
		return nil, errors.Join(err, unix.Close(fd))
	}
	p := &poller{epoll: os.NewFile(uintptr(fd), "epoll"), fd: fd, ended: make(chan error, 1)}
	set, err := p.epoll.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, p.epoll.Close())
	}
	go func() { p.ended <- p.run(set) }()
	return p, nil
}

// run wakes who waits, until the set is closed.
func (p *poller) run(set syscall.RawConn) error {
	events := make([]unix.EpollEvent, 128)
	for {
		n, fail := 0, error(nil)
		err := set.Read(func(fd uintptr) bool {
			n, fail = socket.EpollWait(int(fd), events, &unix.Timespec{})
			return n > 0 || fail != nil && !errors.Is(fail, unix.EINTR)
		})
		if p.closing.Load() {
			return nil
		}
		if err = errors.Join(err, fail); err != nil {
			return fmt.Errorf("epoll_pwait2: %w", err)
		}
		p.mu.Lock()
		for _, e := range events[:n] {
			p.conns[e.Fd].wake()
		}
		p.mu.Unlock()
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
	c.fd, c.source, c.target, c.release, c.connected, c.watched = fd, source, netip.AddrPort{}, nil, false, false
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
	c := &conn{poller: p, name: int32(len(p.conns)), news: make(chan struct{}, 1)}
	c.timer = time.AfterFunc(time.Hour, c.wake)
	c.timer.Stop()
	p.conns = append(p.conns, c)
	return c
}

// close closes the socket, which ends the watch over it (epoll(7)). Nobody may use the connection then.
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

func (c *conn) wake() {
	select {
	case c.news <- struct{}{}:
	default: // whoever waits will be woken by what is there
	}
}

// wait returns after the socket had news, or the time d was over, or for nothing: the caller looks, and waits again. It fails only where the
// socket cannot be watched.
//
// The watch is edge-triggered. It begins here: what has come before makes the first edge.
func (c *conn) wait(d time.Duration) error {
	if !c.watched {
		events := uint32(unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff)
		if !c.connected {
			events |= unix.EPOLLOUT
		}
		if err := socket.EpollCtl(c.poller.fd, unix.EPOLL_CTL_ADD, c.fd, events, c.name); err != nil {
			return fmt.Errorf("epoll_ctl: %w", err)
		}
		c.watched = true
	}
	c.timer.Reset(d)
	<-c.news
	return nil
}

// alive says that an idle connection has neither been closed nor sent anything unasked.
func (c *conn) alive() bool {
	var b [1]byte
	_, err := socket.Recv(c.fd, b[:], unix.MSG_PEEK)
	return errors.Is(err, unix.EAGAIN)
}
