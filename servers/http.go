package servers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"math"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/cloudflare/tableflip"
	"golang.org/x/sys/unix"

	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/socket"
	"reuseport-bench/servers/wire"
)

// httpServer is the server kind "http": Go's net/http as it is, a goroutine per connection. What is
// ours is beneath it: a listener and connections that keep the journal.
type httpServer struct {
	*worker
	server  http.Server
	accepts *httpListener
	changed chan struct{} // holds a value when connections may have become fewer
	// upgrader, with Tableflip, starts this worker's successor and passes it the listener; failed is its last word.
	upgrader *tableflip.Upgrader
	failed   chan error

	mu     sync.Mutex // guards what follows, the journal and the draws of work; taken after a connection's
	open   map[*httpConn]struct{}
	timers []*clock.Timer // idle
	mode   StopMode       // "" while it serves
	alone  bool           // idle connections have been dismissed, and whichever becomes idle is too
}

// errQueueEmpty ends the accept loop of a draining server.
var errQueueEmpty = errors.New("the accept queue is empty")

func newHTTP(w *worker) (*httpServer, error) {
	// Workers are started for the loop, with one P and without a collector; net/http is meant to have both.
	runtime.GOMAXPROCS(runtime.NumCPU())
	debug.SetGCPercent(100)
	debug.SetMemoryLimit(math.MaxInt64)

	h := &httpServer{worker: w, open: map[*httpConn]struct{}{}, changed: make(chan struct{}, 1), failed: make(chan error, 1)}
	l, err := h.listener()
	if err != nil {
		return nil, fmt.Errorf("listener: %w", err)
	}
	h.accepts = &httpListener{TCPListener: l, server: h}
	h.server = http.Server{
		Handler:     h,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connContext{}, c) },
		ConnState:   h.state,
		ErrorLog:    log.New(io.Discard, "", 0),
	}
	return h, nil
}

// listener is the worker's listening socket as net has it.
func (h *httpServer) listener() (*net.TCPListener, error) {
	if h.cfg.Handover == Tableflip {
		// Its children are os.Args[0], which need not be a path.
		os.Args[0] = "/proc/self/exe"
		var err error
		if h.upgrader, err = tableflip.New(tableflip.Options{UpgradeTimeout: startLimit}); err != nil {
			return nil, err
		}
	}
	if h.upgrader != nil && h.upgrader.HasParent() {
		l, err := h.upgrader.Listener("tcp", h.cfg.Address.String())
		if err != nil {
			return nil, err
		}
		tcp, ok := l.(*net.TCPListener)
		if !ok {
			return nil, errors.New("the predecessor passed none")
		}
		raw, err := tcp.SyscallConn()
		if err != nil {
			return nil, err
		}
		err = raw.Control(func(fd uintptr) { h.listenerInode, err = socket.Inode(int(fd)) })
		return tcp, errors.Join(err, h.upgrader.Ready())
	}
	// FileListener duplicates the descriptor, so ours is closed. The socket stays the plain TCP one
	// that listen made: net's own listeners would be MPTCP.
	f := os.NewFile(uintptr(h.worker.listener), "listener")
	l, err := net.FileListener(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	tcp := l.(*net.TCPListener)
	if h.upgrader == nil {
		return tcp, nil
	}
	if err := h.upgrader.AddListener("tcp", h.cfg.Address.String(), tcp); err != nil {
		return nil, err
	}
	return tcp, h.upgrader.Ready()
}

// upgrade starts the successor, which is to report at the address; it returns when that is ready.
func (h *httpServer) upgrade(report string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	if err := h.upgrader.WaitForParent(ctx); err != nil {
		return fmt.Errorf("worker %d: wait for the process that started this one to exit: %w", h.cfg.ID, err)
	}
	if err := os.Setenv(envAdopt, report); err != nil {
		return err
	}
	for {
		err := h.upgrader.Upgrade()
		// It takes the upgrader a moment to learn what WaitForParent knows.
		if err == nil || err.Error() != "parent hasn't exited" || ctx.Err() != nil {
			if err != nil {
				err = fmt.Errorf("worker %d: upgrade: %w", h.cfg.ID, err)
			}
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

// handOverAll gives the listener to whoever asks for it, until the offer is closed.
func (h *httpServer) handOverAll(offer int) {
	raw, err := h.accepts.SyscallConn()
	for err == nil {
		wait := []unix.PollFd{{Fd: int32(offer), Events: unix.POLLIN}}
		if _, err := unix.Poll(wait, -1); err != nil && !errors.Is(err, unix.EINTR) || wait[0].Revents&^unix.POLLIN != 0 {
			return
		}
		var handErr error
		err = raw.Control(func(listener uintptr) { handErr = socket.GiveNext(offer, int(listener)) })
		err = errors.Join(err, handErr) // whoever asks will say that nobody answered
	}
}

// connContext is the key of the connection in its requests' contexts.
type connContext struct{}

// run serves until a stop command has been carried out. The goroutines it leaves end with the process.
func (h *httpServer) run() error {
	served := make(chan error, 1)
	go func() { served <- h.server.Serve(h.accepts) }()
	if h.offer >= 0 {
		go h.handOverAll(h.offer)
	}
	commands := make(chan command)
	control := make(chan error, 1)
	go func() {
		for {
			c, err := h.nextCommand()
			if err != nil {
				control <- err
				return
			}
			commands <- c
		}
	}()
	closed := false
	var grace, quiet <-chan time.Time
	for !closed || h.count() > 0 {
		select {
		case err := <-control:
			return err
		case err := <-h.failed:
			return err
		case c := <-commands:
			switch {
			case c.BusyLoop > 0:
				return fmt.Errorf("worker %d: a net/http worker has no one loop that could spin", h.cfg.ID)
			case c.Upgrade != "":
				go func() {
					if err := h.upgrade(c.Upgrade); err != nil {
						h.failed <- err
					}
				}()
				continue
			}
			grace = time.After(h.cfg.Grace)
			if err := h.stop(c.Stop); err != nil {
				return err
			}
		case err := <-served:
			if h.stopped() == "" || h.accepts.err != nil {
				return fmt.Errorf("worker %d: serve: %w", h.cfg.ID, errors.Join(err, h.accepts.err))
			}
			closed = true
			if h.stopped() != Shutdown { // which dismisses by itself, at once
				quiet = time.After(farewell(h.cfg.Grace))
			}
		case <-quiet:
			h.dismiss()
		case <-h.changed:
		case <-grace:
			return h.abandon()
		}
	}
	return nil
}

func (h *httpServer) stopped() StopMode {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.mode
}

func (h *httpServer) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.open)
}

// stop begins the end of the worker. It goes on when Serve returns.
func (h *httpServer) stop(mode StopMode) error {
	if mode == Upgrade {
		mode = Shutdown // as the examples of its documentation have it
	}
	h.mu.Lock()
	h.mode = mode
	h.mu.Unlock()
	switch {
	case mode.ClosesAtOnce():
		return h.accepts.Close()
	case mode.DrainsQueue():
		return h.accepts.SetDeadline(time.Unix(1, 0)) // long past: see Accept
	case mode == Shutdown:
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), h.cfg.Grace)
			defer cancel()
			_ = h.server.Shutdown(ctx) // run sees to what is left then
		}()
		return nil
	}
	return fmt.Errorf("worker %d: unknown way to stop %q", h.cfg.ID, mode)
}

// dismiss tells the connections that are still idle to go, by a FIN.
func (h *httpServer) dismiss() {
	h.mu.Lock()
	h.alone = true
	h.mu.Unlock()
	for _, c := range h.connections() {
		c.mu.Lock()
		c.dismiss()
		c.mu.Unlock()
	}
}

// connections are those that are open.
func (h *httpServer) connections() []*httpConn {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Keys(h.open))
}

// abandon closes what did not finish in time.
func (h *httpServer) abandon() error {
	var errs []error
	for _, c := range h.connections() {
		if err := c.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// state implements http.Server.ConnState.
func (h *httpServer) state(c net.Conn, s http.ConnState) {
	if s != http.StateIdle {
		return
	}
	hc := c.(*httpConn)
	hc.mu.Lock()
	defer hc.mu.Unlock()
	hc.idle = true
	h.mu.Lock()
	alone := h.alone
	h.mu.Unlock()
	if alone {
		hc.dismiss() // it was answered without a "Connection: close", just before the stop
	}
}

// ServeHTTP answers one request.
func (h *httpServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := r.Context().Value(connContext{}).(*httpConn)
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		panic(http.ErrAbortHandler) // ends the connection; its Read has noted why
	}
	c.mu.Lock()
	request, leaving := c.request, c.leaving
	c.mu.Unlock()
	if h.faulty(request) {
		c.abort()
	}
	if leaving {
		panic(http.ErrAbortHandler) // it crossed the FIN, and nothing can be sent behind that
	}
	if err := h.work(); err != nil {
		panic(http.ErrAbortHandler)
	}
	header := w.Header()
	header["Content-Length"] = []string{strconv.Itoa(len(wire.Body))}
	header["Worker"] = []string{strconv.Itoa(h.cfg.ID)}
	header["Generation"] = []string{strconv.Itoa(h.cfg.Generation)}
	if mode := h.stopped(); mode != "" && mode != Shutdown { // Shutdown sets it itself
		header["Connection"] = []string{"close"}
	}
	c.mu.Lock()
	c.responding = true // net/http hands it over when this returns, in one write
	c.mu.Unlock()
	_, _ = io.WriteString(w, wire.Body) // an error is noted where it occurs, in Write below
}

// work spends the service time of one request. It waits in the poller: time.Sleep rounds up to a
// millisecond, and a thread in nanosleep would hold the only P of a process with one CPU.
func (h *httpServer) work() error {
	h.mu.Lock()
	d := h.serviceTime()
	h.mu.Unlock()
	switch {
	case d <= 0:
		return nil
	case h.works.Burn > 0:
		runtime.LockOSThread()
		burn(d)
		runtime.UnlockOSThread()
		return nil
	}
	until := h.clock.Now().Add(d)
	t, err := h.timer()
	if err != nil {
		return err
	}
	err = t.Wait(until)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.timers = append(h.timers, t)
	return err
}

// timer is an idle timer, or a new one.
func (h *httpServer) timer() (*clock.Timer, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.timers); n > 0 {
		t := h.timers[n-1]
		h.timers = h.timers[:n-1]
		return t, nil
	}
	return clock.NewTimer()
}

// httpListener is the listening socket as net/http sees it.
type httpListener struct {
	*net.TCPListener
	server *httpServer
	once   sync.Once
	err    error // of Close; read once Serve has returned
}

// Accept implements net.Listener. When its deadline has passed it takes what is queued, closes, and ends.
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
	pending    bool         // a whole request was read and its response not handed over
	responding bool         // the next write is the response
	answered   bool         // at least one response was handed over
	idle       bool         // between two requests, and not a byte of the next has come
	leaving    bool         // told to go by a FIN
	ended      bool
	end        End // of a connection that failed, with the error; 0: it has not
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
	h.journal.append(Record{At: h.clock.Now(), Conn: c.number, Kind: RecordAccept, Peer: netip.AddrPortFrom(from.Addr().Unmap(), from.Port())})
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
			c.failed(EndPeerReset, err)
			n, err = 0, &net.OpError{Op: "read", Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: os.NewSyscallError("read", err)}
		case n == 0:
			c.failed(EndPeer, nil)
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
		c.note(Record{Kind: RecordRequest, Attempt: c.request.Attempt, Identified: c.request.Identified})
	}
}

// Write implements net.Conn, and notes the response.
func (c *httpConn) Write(b []byte) (int, error) {
	n, err := c.TCPConn.Write(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil:
		c.failed(EndWriteError, err)
	case c.responding:
		c.responding, c.pending, c.answered = false, false, true
		c.note(Record{Kind: RecordResponse, Attempt: c.request.Attempt, Identified: c.request.Identified})
	}
	return n, err
}

func (c *httpConn) failed(end End, err error) {
	if c.end == 0 {
		c.end = end
		errors.As(err, &c.errno) // stays 0 without one
	}
}

func (c *httpConn) note(r Record) {
	h := c.server
	h.mu.Lock()
	defer h.mu.Unlock()
	r.At, r.Conn = h.clock.Now(), c.number
	h.journal.append(r)
}

// abort ends the connection with a RST, by way of the handler.
func (c *httpConn) abort() {
	c.mu.Lock()
	c.end = EndAborted
	if err := c.SetLinger(0); err != nil {
		c.end = EndUnanswered // by a FIN, then
	}
	c.mu.Unlock()
	panic(http.ErrAbortHandler)
}

// dismiss ends the sending side of an idle connection, and the rest a little later. One with a request
// on its way is left to answer it. The connection's mu is held.
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
	c.note(Record{Kind: RecordEnd, End: c.ending(), Errno: c.errno})
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
func (c *httpConn) ending() End {
	switch {
	case c.end != 0 && !c.leaving:
		return c.end
	case c.pending || !c.answered:
		return EndUnanswered
	}
	return EndServed
}
