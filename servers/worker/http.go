package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"math"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/cloudflare/tableflip"
	"golang.org/x/sys/unix"

	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/selector"
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
	// upgrader, with Tableflip, starts this worker's successor and passes it the listener; failed
	// is its last word.
	upgrader *tableflip.Upgrader
	failed   chan error

	mu     sync.Mutex // guards what follows, the journal and the draws of work; taken after a connection's
	open   map[*httpConn]struct{}
	timers []*clock.Timer     // idle
	closes vocabulary.Closing // how it ends; ClosesNever while it serves
	alone  bool               // idle connections have been dismissed, and whichever becomes idle is too
}

// errQueueEmpty ends the accept loop of a draining server.
var errQueueEmpty = errors.New("the accept queue is empty")

func newHTTP(w *worker) (*httpServer, error) {
	// Workers are started for the loop, with one P and without a collector; net/http is meant to
	// have both.
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
		IdleTimeout: h.cfg.IdleTimeout,
		ErrorLog:    log.New(io.Discard, "", 0),
	}
	return h, nil
}

// listener is the worker's listening socket as net has it.
func (h *httpServer) listener() (*net.TCPListener, error) {
	if h.cfg.Handover == vocabulary.Tableflip {
		// Its children are os.Args[0], which need not be a path.
		os.Args[0] = "/proc/self/exe"
		var err error
		if h.upgrader, err = tableflip.New(tableflip.Options{UpgradeTimeout: servers.StartLimit}); err != nil {
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
	ctx, cancel := context.WithTimeout(context.Background(), servers.StartLimit)
	defer cancel()
	if err := h.upgrader.WaitForParent(ctx); err != nil {
		return fmt.Errorf("worker %d: wait for the process that started this one to exit: %w", h.cfg.ID, err)
	}
	if err := os.Setenv(servers.EnvAdopt, report); err != nil {
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

// resize attaches the program of SelectorCPU for that number of sockets.
func (h *httpServer) resize(members int) error {
	raw, err := h.accepts.SyscallConn()
	if err != nil {
		return fmt.Errorf("worker %d: listener: %w", h.cfg.ID, err)
	}
	var attachErr error
	err = raw.Control(func(listener uintptr) {
		attachErr = selector.AttachCPU(int(listener), members)
	})
	if err != nil {
		return nil // it was told to stop meanwhile, and another worker is told
	}
	if attachErr != nil {
		return fmt.Errorf("worker %d: %w", h.cfg.ID, attachErr)
	}
	return nil
}

// connContext is the key of the connection in its requests' contexts.
type connContext struct{}

// run serves until a stop command has been carried out. The goroutines it leaves end with the
// process.
func (h *httpServer) run() error {
	served := make(chan error, 1)
	go func() { served <- h.server.Serve(h.accepts) }()
	if h.offer >= 0 {
		go h.handOverAll(h.offer)
	}
	commands := make(chan servers.Command)
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
	closed, grace := false, h.cfg.Grace
	var over, quiet <-chan time.Time
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
			case c.Members > 0:
				if err := h.resize(c.Members); err != nil {
					return err
				}
				continue
			case h.closing() != vocabulary.ClosesNever: // it is to hurry
				over = time.After(c.Grace)
				continue
			}
			grace = cmp.Or(c.Grace, grace)
			over = time.After(grace)
			if err := h.stop(c.Stop, grace); err != nil {
				return err
			}
		case err := <-served:
			if h.closing() == vocabulary.ClosesNever || h.accepts.err != nil {
				return fmt.Errorf("worker %d: serve: %w", h.cfg.ID, errors.Join(err, h.accepts.err))
			}
			closed = true
			if h.closing() != vocabulary.ClosesShutdown { // which dismisses by itself, at once
				quiet = time.After(farewell(grace))
			}
		case <-quiet:
			h.dismiss()
		case <-h.changed:
		case <-over:
			return h.abandon()
		}
	}
	return nil
}

// closing returns how the worker ends; ClosesNever while it serves.
func (h *httpServer) closing() vocabulary.Closing {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.closes
}

func (h *httpServer) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.open)
}

// stop begins the end of the worker, which is to be over within a grace. It goes on when Serve
// returns.
func (h *httpServer) stop(mode vocabulary.StopMode, grace time.Duration) error {
	closes := mode.Row().Closes
	h.mu.Lock()
	h.closes = closes
	h.mu.Unlock()
	switch closes {
	case vocabulary.ClosesAtOnce:
		return h.accepts.Close()
	case vocabulary.ClosesEmpty:
		return h.accepts.SetDeadline(time.Unix(1, 0)) // long past: see Accept
	case vocabulary.ClosesShutdown:
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), grace)
			defer cancel()
			_ = h.server.Shutdown(ctx) // run sees to what is left then
		}()
		return nil
	}
	return fmt.Errorf("worker %d: unknown stop mode %q", h.cfg.ID, mode)
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
	c.requests++
	request, leaving, last := c.request, c.leaving, c.requests == h.cfg.MaxRequests
	c.handled = !leaving
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
	switch h.closing() {
	case vocabulary.ClosesAtOnce, vocabulary.ClosesEmpty: // Shutdown sets it itself
		last = true
	}
	if last {
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
