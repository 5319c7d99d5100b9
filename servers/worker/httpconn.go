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
	"reuseport-bench/servers/socket"
	"reuseport-bench/servers/wire"
)

// httpListener is the listening socket as net/http sees it.
type httpListener struct {
	*net.TCPListener
	server *httpServer
	once   sync.Once
	err    error // of Close; may be read once Serve has returned
}

// Accept implements net.Listener. Once its deadline has passed, it returns the connections that are
// still queued. When the queue is empty, it closes the listener and fails.
func (l *httpListener) Accept() (net.Conn, error) {
	c, err := l.AcceptTCP()
	var from netip.AddrPort
	if err == nil {
		from = c.RemoteAddr().(*net.TCPAddr).AddrPort()
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		// With an expired deadline the runtime does not call accept(2), so call it here.
		if c, from, err = l.acceptQueued(); errors.Is(err, errQueueEmpty) {
			err = errors.Join(err, l.Close()) // resets connections that have arrived since
		}
	}
	if err != nil {
		return nil, err
	}
	return l.server.accepted(c, from)
}

// acceptQueued takes one connection off the accept queue and returns it with its client's address.
// It returns errQueueEmpty if the queue is empty. If the client has reset the connection, the
// connection has no RemoteAddr, because getpeername(2) then fails.
func (l *httpListener) acceptQueued() (c *net.TCPConn, from netip.AddrPort, err error) {
	raw, err := l.SyscallConn()
	if err != nil {
		return nil, from, err
	}
	fd, sa, acceptErr := -1, unix.Sockaddr(nil), error(nil)
	err = raw.Control(func(listener uintptr) {
		for {
			fd, sa, acceptErr = unix.Accept4(int(listener), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			if !errors.Is(acceptErr, unix.EINTR) && !errors.Is(acceptErr, unix.ECONNABORTED) {
				return
			}
		}
	})
	switch {
	case err != nil:
		return nil, from, err
	case errors.Is(acceptErr, unix.EAGAIN):
		return nil, from, errQueueEmpty
	case acceptErr != nil:
		return nil, from, os.NewSyscallError("accept4", acceptErr)
	}
	f := os.NewFile(uintptr(fd), "connection")
	duplicate, err := net.FileConn(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, from, err
	}
	return duplicate.(*net.TCPConn), socket.AddrPort(sa), nil
}

// Close implements net.Listener. net.TCPListener.Close returns after close(2).
func (l *httpListener) Close() error {
	l.once.Do(func() { l.err = l.server.closeListener(l.TCPListener.Close) })
	return l.err
}

// httpConn is a connection as net/http sees it. It writes requests, responses and its end to the
// journal.
type httpConn struct {
	*net.TCPConn
	server *httpServer
	raw    syscall.RawConn
	number uint32

	mu         sync.Mutex   // guards the fields below
	head       []byte       // the head of an incomplete request, as far as it was read
	body       int          // bytes of the request's body still to come
	request    wire.Request // the last complete request
	requests   int          // number of requests given to the handler
	pending    bool         // a complete request was read, but its response not written
	handled    bool         // a handler has the pending request
	responding bool         // the next write is the response
	answered   bool         // at least one response was written
	idle       bool         // between two requests: no byte of the next has arrived
	finSent    bool         // closeIdle has sent a FIN
	ended      bool
	end        journal.End // the way in which the connection failed; 0: it did not fail
	errno      unix.Errno  // errno of that failure
}

func (h *httpServer) accepted(tcp *net.TCPConn, from netip.AddrPort) (*httpConn, error) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, err
	}
	c := &httpConn{TCPConn: tcp, server: h, raw: raw}
	h.mu.Lock()
	defer h.mu.Unlock()
	c.number = h.conns
	h.conns++
	h.open[c] = struct{}{}
	h.worker.note(journal.Record{
		At: h.clock.Now(), Conn: c.number, Kind: journal.Accepted,
		Peer: netip.AddrPortFrom(from.Addr().Unmap(), from.Port()),
	})
	return c, nil
}

// Read implements net.Conn and records every complete request. net/http may read a request and not
// pass it to the handler: it does so after http.Server.Shutdown.
//
// Read does not call net.TCPConn.Read, so that reading and recording are one step for closeIdle.
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
			n, err = 0, &net.OpError{
				Op: "read", Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(),
				Err: os.NewSyscallError("read", err),
			}
		case n == 0:
			c.failed(journal.EndPeer, nil)
			err = io.EOF
		default:
			c.idle = false
			c.parse(b[:n])
		}
		return true
	})
	if waitErr != nil { // closed, or interrupted by net/http's deadline
		n, err = 0, waitErr
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		op.Op = "read" // tells net/http not to send an error response
	}
	return n, err
}

// parse looks for complete requests in the bytes that were read. It leaves requests that it cannot
// parse to net/http, which answers them.
func (c *httpConn) parse(b []byte) {
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
		c.noteRequest(journal.Requested)
	}
}

// Write implements net.Conn and records the response.
func (c *httpConn) Write(b []byte) (int, error) {
	n, err := c.TCPConn.Write(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil:
		c.failed(journal.EndWriteError, err)
	case c.responding:
		c.responding, c.pending, c.handled, c.answered = false, false, false, true
		c.noteRequest(journal.Answered)
	}
	return n, err
}

func (c *httpConn) failed(end journal.End, err error) {
	if c.end == 0 {
		c.end = end
		errors.As(err, &c.errno) // stays 0 if err has no errno
	}
}

// noteRequest writes a record of the last complete request.
func (c *httpConn) noteRequest(kind journal.Kind) {
	c.note(journal.Record{
		Kind: kind, Attempt: c.request.Attempt, Identified: c.request.Identified,
	})
}

func (c *httpConn) note(r journal.Record) {
	h := c.server
	h.mu.Lock()
	defer h.mu.Unlock()
	r.At, r.Conn = h.clock.Now(), c.number
	h.worker.note(r)
}

// abort ends the connection with a RST. It panics, which makes net/http close the connection.
func (c *httpConn) abort() {
	c.mu.Lock()
	c.end = journal.EndAborted
	if err := c.SetLinger(0); err != nil {
		c.end = journal.EndUnanswered // the connection will end with a FIN
	}
	c.mu.Unlock()
	panic(http.ErrAbortHandler)
}

// closeIdle sends a FIN on an idle connection and closes it after linger. If a request has already
// arrived, closeIdle does nothing, and the request is answered. The caller holds c.mu.
func (c *httpConn) closeIdle() {
	if c.finSent || c.ended || !c.idle || c.unread() {
		return
	}
	c.finSent = true
	_ = c.CloseWrite() // fails only if the client has closed the connection
	time.AfterFunc(linger, func() { _ = c.Close() })
}

// unread reports whether bytes have arrived that were not read.
func (c *httpConn) unread() bool {
	n := 0
	err := c.raw.Control(func(fd uintptr) {
		n, _ = unix.IoctlGetInt(int(fd), unix.SIOCINQ) // tcp(7)
	})
	return err == nil && n > 0
}

// Close implements net.Conn. Only the first call has an effect.
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

// ending returns the reason that the connection ended, as far as this worker knows.
func (c *httpConn) ending() journal.End {
	switch {
	case c.end != 0 && !c.finSent:
		return c.end
	case c.pending && !c.handled:
		return journal.EndUnhandled
	case c.pending || !c.answered:
		return journal.EndUnanswered
	}
	return journal.EndServed
}
