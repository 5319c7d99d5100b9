package worker

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/journal"
	"reuseport-bench/servers/wire"
)

// httpListener is the listening socket as net/http sees it.
type httpListener struct {
	*net.TCPListener
	server *httpServer
	once   sync.Once
	err    error // of Close; read once Serve has returned
}

// Accept implements net.Listener. When its deadline has passed it takes what is queued, closes, and
// ends.
func (l *httpListener) Accept() (net.Conn, error) {
	c, err := l.AcceptTCP()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		// An expired deadline keeps the runtime from calling accept(2), so this does.
		if c, err = l.acceptQueued(); errors.Is(err, errQueueEmpty) {
			err = errors.Join(err, l.Close()) // at once: what comes in between is reset
		}
	}
	if err != nil {
		return nil, err
	}
	return l.server.accepted(c)
}

// acceptQueued takes one connection off the queue; errQueueEmpty when there is none.
func (l *httpListener) acceptQueued() (*net.TCPConn, error) {
	raw, err := l.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd, acceptErr := -1, error(nil)
	err = raw.Control(func(listener uintptr) {
		for {
			fd, _, acceptErr = unix.Accept4(int(listener), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			if !errors.Is(acceptErr, unix.EINTR) && !errors.Is(acceptErr, unix.ECONNABORTED) {
				return
			}
		}
	})
	switch {
	case err != nil:
		return nil, err
	case errors.Is(acceptErr, unix.EAGAIN):
		return nil, errQueueEmpty
	case acceptErr != nil:
		return nil, os.NewSyscallError("accept4", acceptErr)
	}
	f := os.NewFile(uintptr(fd), "connection")
	c, err := net.FileConn(f) // a duplicate
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// Close implements net.Listener. net.TCPListener's returns when close(2) has.
func (l *httpListener) Close() error {
	l.once.Do(func() { l.err = l.server.closeListener(l.TCPListener.Close) })
	return l.err
}

// httpConn is a connection as net/http sees it: it notes in the journal what passes.
type httpConn struct {
	*net.TCPConn
	server *httpServer
	raw    syscall.RawConn
	number uint32

	mu         sync.Mutex   // guards what follows
	head       []byte       // of a request that has not come in full
	body       int          // bytes of a request's body still to come
	request    wire.Request // the last whole one
	requests   int          // that the handler was given
	pending    bool         // a whole request was read and its response not handed over
	handled    bool         // … and a handler has it
	responding bool         // the next write is the response
	answered   bool         // at least one response was handed over
	idle       bool         // between two requests, and not a byte of the next has come
	leaving    bool         // told to go by a FIN
	ended      bool
	end        journal.End // of a connection that failed, with the error; 0: it has not
	errno      unix.Errno
}

func (h *httpServer) accepted(tcp *net.TCPConn) (*httpConn, error) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, err
	}
	c := &httpConn{TCPConn: tcp, server: h, raw: raw}
	from := tcp.RemoteAddr().(*net.TCPAddr).AddrPort()
	h.mu.Lock()
	defer h.mu.Unlock()
	c.number = h.conns
	h.conns++
	h.open[c] = struct{}{}
	h.worker.note(journal.Record{At: h.clock.Now(), Conn: c.number, Kind: journal.Accepted, Peer: netip.AddrPortFrom(from.Addr().Unmap(), from.Port())})
	return c, nil
}

// Read implements net.Conn, and notes every whole request. That net/http has read one does not
// mean that its handler will see it: after http.Server.Shutdown it will not.
//
// It does by itself what net.TCPConn's Read does, so that reading and noting are one to dismiss.
func (c *httpConn) Read(b []byte) (n int, err error) {
	if len(b) == 0 {
		return 0, nil
	}
	waitErr := c.raw.Read(func(fd uintptr) bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for {
			if n, err = unix.Read(int(fd), b); !errors.Is(err, unix.EINTR) {
				break
			}
		}
		switch {
		case errors.Is(err, unix.EAGAIN):
			return false
		case err != nil:
			c.failed(journal.EndPeerReset, err)
			n, err = 0, &net.OpError{Op: "read", Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: os.NewSyscallError("read", err)}
		case n == 0:
			c.failed(journal.EndPeer, nil)
			err = io.EOF
		default:
			c.idle = false
			c.hear(b[:n])
		}
		return true
	})
	if waitErr != nil { // closed, or interrupted by net/http's deadline
		n, err = 0, waitErr
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		op.Op = "read" // net/http tells by it that there is nobody to answer
	}
	return n, err
}

// hear goes through what was read. What cannot be parsed is net/http's to answer.
func (c *httpConn) hear(b []byte) {
	c.head = append(c.head, b...)
	drop := func(n int) { c.head = c.head[:copy(c.head, c.head[n:])] }
	for {
		if c.body == 0 {
			r, n, err := wire.ParseRequest(c.head)
			if n == 0 || err != nil {
				return
			}
			drop(n)
			c.request, c.body = r, r.BodyLen
		}
		n := min(c.body, len(c.head))
		drop(n)
		if c.body -= n; c.body > 0 {
			return
		}
		c.pending = true
		c.note(journal.Record{Kind: journal.Requested, Attempt: c.request.Attempt, Identified: c.request.Identified})
	}
}

// Write implements net.Conn, and notes the response.
func (c *httpConn) Write(b []byte) (int, error) {
	n, err := c.TCPConn.Write(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil:
		c.failed(journal.EndWriteError, err)
	case c.responding:
		c.responding, c.pending, c.handled, c.answered = false, false, false, true
		c.note(journal.Record{Kind: journal.Answered, Attempt: c.request.Attempt, Identified: c.request.Identified})
	}
	return n, err
}

func (c *httpConn) failed(end journal.End, err error) {
	if c.end == 0 {
		c.end = end
		errors.As(err, &c.errno) // stays 0 without one
	}
}

func (c *httpConn) note(r journal.Record) {
	h := c.server
	h.mu.Lock()
	defer h.mu.Unlock()
	r.At, r.Conn = h.clock.Now(), c.number
	h.worker.note(r)
}

// abort ends the connection with a RST, by way of the handler.
func (c *httpConn) abort() {
	c.mu.Lock()
	c.end = journal.EndAborted
	if err := c.SetLinger(0); err != nil {
		c.end = journal.EndUnanswered // by a FIN, then
	}
	c.mu.Unlock()
	panic(http.ErrAbortHandler)
}

// dismiss ends the sending side of an idle connection, and the rest a little later. One with a
// request on its way is left to answer it. The connection's mu is held.
func (c *httpConn) dismiss() {
	if c.leaving || c.ended || !c.idle || c.unread() {
		return
	}
	c.leaving = true
	_ = c.CloseWrite() // an error is that of a connection that has gone
	time.AfterFunc(linger, func() { _ = c.Close() })
}

// unread reports whether something has come that was not read yet.
func (c *httpConn) unread() bool {
	n := 0
	err := c.raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.SIOCINQ) }) // tcp(7)
	return err == nil && n > 0
}

// Close implements net.Conn. Only the first call does anything.
func (c *httpConn) Close() error {
	c.mu.Lock()
	ended := c.ended
	c.ended = true
	c.mu.Unlock()
	if ended {
		return net.ErrClosed
	}
	err := c.TCPConn.Close()
	c.mu.Lock()
	c.note(journal.Record{Kind: journal.Ended, End: c.ending(), Errno: c.errno})
	c.mu.Unlock()
	h := c.server
	h.mu.Lock()
	delete(h.open, c)
	h.mu.Unlock()
	select {
	case h.changed <- struct{}{}:
	default:
	}
	return err
}

// ending is how the connection ended, as this worker sees it.
func (c *httpConn) ending() journal.End {
	switch {
	case c.end != 0 && !c.leaving:
		return c.end
	case c.pending && !c.handled:
		return journal.EndUnhandled
	case c.pending || !c.answered:
		return journal.EndUnanswered
	}
	return journal.EndServed
}
