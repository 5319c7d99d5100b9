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

// httpServer is the server kind "http": Go's net/http unchanged, with a goroutine per connection.
// net/http runs on a listener and connections of this package, which write the journal.
type httpServer struct {
	*worker
	server  http.Server
	accepts *httpListener
	changed chan struct{} // gets a value after a connection has closed
	// upgrader, with Tableflip, starts this worker's successor and passes it the listener. failed
	// gets the error of an upgrade.
	upgrader *tableflip.Upgrader
	failed   chan error

	// mu guards the fields below, the journal and works. A goroutine that needs a connection's mu,
	// too, must lock that one first.
	mu         sync.Mutex
	open       map[*httpConn]struct{}
	timers     []*clock.Timer     // timers that are not in use
	closes     vocabulary.Closing // how the worker ends; ClosesNever while it serves
	idleClosed bool               // idle connections are closed, and so is any that becomes idle
}

// errQueueEmpty ends the accept loop of a draining server.
var errQueueEmpty = errors.New("the accept queue is empty")

func newHTTP(w *worker) (*httpServer, error) {
	// Workers start with one P and without garbage collection, for the sake of the loop. net/http
	// should run with all CPUs and garbage collection.
	runtime.GOMAXPROCS(runtime.NumCPU())
	debug.SetGCPercent(100)
	debug.SetMemoryLimit(math.MaxInt64)

	h := &httpServer{
		worker: w, open: map[*httpConn]struct{}{},
		changed: make(chan struct{}, 1), failed: make(chan error, 1),
	}
	l, err := h.listener()
	if err != nil {
		return nil, fmt.Errorf("listener: %w", err)
	}
	h.accepts = &httpListener{TCPListener: l, server: h}
	h.server = http.Server{
		Handler: h,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connContext{}, c)
		},
		ConnState:   h.state,
		IdleTimeout: h.cfg.IdleTimeout,
		ErrorLog:    log.New(io.Discard, "", 0),
	}
	return h, nil
}

// listener returns the worker's listening socket as a net.TCPListener.
func (h *httpServer) listener() (*net.TCPListener, error) {
	if h.cfg.Handover == vocabulary.Tableflip {
		// tableflip starts its children as os.Args[0], which need not be a path.
		os.Args[0] = "/proc/self/exe"
		u, err := tableflip.New(tableflip.Options{UpgradeTimeout: servers.StartLimit})
		if err != nil {
			return nil, err
		}
		h.upgrader = u
	}
	if h.upgrader != nil && h.upgrader.HasParent() {
		l, err := h.upgrader.Listener("tcp", h.cfg.Address.String())
		if err != nil {
			return nil, err
		}
		tcp, ok := l.(*net.TCPListener)
		if !ok {
			return nil, errors.New("the predecessor passed no TCP listener")
		}
		raw, err := tcp.SyscallConn()
		if err != nil {
			return nil, err
		}
		err = raw.Control(func(fd uintptr) { h.listenerInode, err = socket.Inode(int(fd)) })
		return tcp, errors.Join(err, h.upgrader.Ready())
	}
	// FileListener duplicates the descriptor, so close ours. The socket is still the plain TCP
	// socket that listen made: net.Listen would use MPTCP.
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

// upgrade starts the successor, which reports at the address, and returns when it is ready.
func (h *httpServer) upgrade(report string) error {
	ctx, cancel := context.WithTimeout(context.Background(), servers.StartLimit)
	defer cancel()
	if err := h.upgrader.WaitForParent(ctx); err != nil {
		return fmt.Errorf("worker %d: wait for its predecessor to exit: %w", h.cfg.ID, err)
	}
	if err := os.Setenv(servers.EnvAdopt, report); err != nil {
		return err
	}
	for {
		err := h.upgrader.Upgrade()
		// Upgrade may still refuse just after WaitForParent has returned, as it learns of the exit
		// later.
		if err == nil || err.Error() != "parent hasn't exited" || ctx.Err() != nil {
			if err != nil {
				err = fmt.Errorf("worker %d: upgrade: %w", h.cfg.ID, err)
			}
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

// handOverAll gives the listener to every process that asks for it, until the offer is closed.
func (h *httpServer) handOverAll(offer int) {
	raw, err := h.accepts.SyscallConn()
	for err == nil {
		wait := []unix.PollFd{{Fd: int32(offer), Events: unix.POLLIN}}
		_, pollErr := unix.Poll(wait, -1)
		failed := pollErr != nil && !errors.Is(pollErr, unix.EINTR)
		if failed || wait[0].Revents&^unix.POLLIN != 0 {
			return
		}
		var handErr error
		err = raw.Control(func(listener uintptr) {
			handErr = socket.GiveNext(offer, int(listener))
		})
		err = errors.Join(err, handErr) // the process that asked will report its timeout
	}
}

// resize attaches the program of SelectorCPU again, for the given number of sockets.
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
		return nil // this worker was stopped; another one gets the command
	}
	if attachErr != nil {
		return fmt.Errorf("worker %d: %w", h.cfg.ID, attachErr)
	}
	return nil
}

// connContext is the context key for the connection of a request.
type connContext struct{}

// run serves until it has carried out a stop command. Its goroutines run until the process exits.
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
	var deadline, finTime <-chan time.Time
	for !closed || h.count() > 0 {
		select {
		case err := <-control:
			return err
		case err := <-h.failed:
			return err
		case c := <-commands:
			switch {
			case c.BusyLoop > 0:
				return fmt.Errorf("worker %d: net/http has no event loop to keep busy", h.cfg.ID)
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
			case h.closing() != vocabulary.ClosesNever: // already stopping: shorten the grace
				deadline = time.After(c.Grace)
				continue
			}
			grace = cmp.Or(c.Grace, grace)
			deadline = time.After(grace)
			if err := h.stop(c.Stop, grace); err != nil {
				return err
			}
		case err := <-served:
			if h.closing() == vocabulary.ClosesNever || h.accepts.err != nil {
				err = errors.Join(err, h.accepts.err)
				return fmt.Errorf("worker %d: serve: %w", h.cfg.ID, err)
			}
			closed = true
			if h.closing() != vocabulary.ClosesShutdown { // Shutdown closes idle connections itself
				finTime = time.After(finDelay(grace))
			}
		case <-finTime:
			h.closeIdle()
		case <-h.changed:
		case <-deadline:
			return h.abandon()
		}
	}
	return nil
}

// closing returns how the worker ends, or ClosesNever while it serves.
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

// stop starts to end the worker within the grace. run does the rest when Serve returns.
func (h *httpServer) stop(mode vocabulary.StopMode, grace time.Duration) error {
	closes := mode.Row().Closes
	h.mu.Lock()
	h.closes = closes
	h.mu.Unlock()
	switch closes {
	case vocabulary.ClosesAtOnce:
		return h.accepts.Close()
	case vocabulary.ClosesEmpty:
		return h.accepts.SetDeadline(time.Unix(1, 0)) // a past deadline: see Accept
	case vocabulary.ClosesShutdown:
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), grace)
			defer cancel()
			_ = h.server.Shutdown(ctx) // run closes the connections that are left
		}()
		return nil
	}
	return fmt.Errorf("worker %d: unknown stop mode %q", h.cfg.ID, mode)
}

// closeIdle sends a FIN on the connections that are still idle.
func (h *httpServer) closeIdle() {
	h.mu.Lock()
	h.idleClosed = true
	h.mu.Unlock()
	for _, c := range h.connections() {
		c.mu.Lock()
		c.closeIdle()
		c.mu.Unlock()
	}
}

// connections returns the open connections.
func (h *httpServer) connections() []*httpConn {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Keys(h.open))
}

// abandon closes the connections that did not finish in time.
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
	idleClosed := h.idleClosed
	h.mu.Unlock()
	if idleClosed {
		hc.closeIdle() // its last response did not have "Connection: close"
	}
}

// ServeHTTP answers a request.
func (h *httpServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := r.Context().Value(connContext{}).(*httpConn)
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		panic(http.ErrAbortHandler) // ends the connection; its Read has recorded the reason
	}
	c.mu.Lock()
	c.requests++
	request, finSent, last := c.request, c.finSent, c.requests == h.cfg.MaxRequests
	c.handled = !finSent
	c.mu.Unlock()
	if h.faulty(request) {
		c.abort()
	}
	if finSent {
		panic(http.ErrAbortHandler) // the request crossed our FIN, after which nothing can be sent
	}
	if err := h.work(); err != nil {
		panic(http.ErrAbortHandler)
	}
	header := w.Header()
	header["Content-Length"] = []string{strconv.Itoa(len(wire.Body))}
	header["Worker"] = []string{strconv.Itoa(h.cfg.ID)}
	header["Generation"] = []string{strconv.Itoa(h.cfg.Generation)}
	switch h.closing() {
	case vocabulary.ClosesAtOnce, vocabulary.ClosesEmpty: // Shutdown sets the header itself
		last = true
	}
	if last {
		header["Connection"] = []string{"close"}
	}
	c.mu.Lock()
	c.responding = true // net/http writes the response when this returns, in one write
	c.mu.Unlock()
	_, _ = io.WriteString(w, wire.Body) // httpConn.Write records an error
}

// work spends the service time of one request. It waits in the poller, because time.Sleep rounds up
// to a millisecond, and a thread in nanosleep would hold the only P of a process with one CPU.
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

// timer returns a timer that is not in use.
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
