package servers

import (
	"context"
	"time"

	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/clock"
)

// A ThirdParty is a third-party server that takes the place of a worker's process. Its methods may
// be called from several goroutines.
type ThirdParty interface {
	// Start starts the server, and returns when the server is ready. If ctx ends first, it returns
	// an error.
	Start(ctx context.Context) error
	// Stop tells the server to stop, and returns when its processes have exited. If ctx ends first,
	// it returns at once. It returns an error if the server had already exited.
	Stop(ctx context.Context) error
	// Listens reports whether a process of the server listens at the worker's address. It returns
	// false before Start has made the server.
	Listens() bool
	// Gone returns a channel that is closed when nothing of the server can run any more, because
	// others have ended it together with the process that runs it. Start must have returned nil.
	Gone() <-chan struct{}
	// Close kills the server's processes that still run, and waits until they have exited.
	Close() error
}

// The intervals at which a third-party server's listener is looked for: while the server starts,
// when nobody depends on it yet, and while it stops.
const (
	lookStarting = 5 * time.Millisecond
	lookStopping = time.Millisecond
)

// startThirdParty makes a third-party server for the worker, and starts it without waiting.
func (g *Group) startThirdParty(w *Worker) error {
	var err error
	if w.server, err = g.env.ThirdParty(w); err != nil {
		return err
	}
	w.told = make(chan struct{})
	w.alive, w.end = context.WithCancel(context.Background())
	g.add(w)
	go w.runThirdParty()
	return nil
}

// runThirdParty runs the worker's third-party server until it has been told to stop, or killed, and
// all its processes have exited.
func (w *Worker) runThirdParty() {
	defer close(w.exited)
	if err := w.startServer(); err != nil {
		if !w.wasStopped() {
			w.fail(err)
		}
		if err := w.server.Close(); err != nil {
			w.fail(err)
		}
		w.closedBetween(w.clock.Now(), w.clock.Now())
		return
	}
	close(w.ready)
	select {
	case <-w.told:
	case <-w.server.Gone():
		if w.isExpected() {
			w.endGone()
			return
		}
		<-w.told // the server's Stop reports it
	}
	w.stopServer()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.killTimer != nil {
		w.killTimer.Stop()
	}
}

// startServer starts the third-party server. It sets readyAt to the time at which the server was
// first seen to listen or, if it was not seen, to the time at which it was ready.
func (w *Worker) startServer() error {
	started := make(chan error, 1)
	go func() { started <- w.server.Start(w.alive) }()
	tick := time.NewTicker(lookStarting)
	defer tick.Stop()
	for {
		select {
		case err := <-started:
			if w.readyAt == 0 {
				w.readyAt = w.clock.Now()
			}
			return err
		case <-tick.C:
			if w.readyAt == 0 && w.server.Listens() {
				w.readyAt = w.clock.Now()
			}
		}
	}
}

// stopServer stops the third-party server, and kills it when the worker is killed. It records when
// the server's listener was closed.
func (w *Worker) stopServer() {
	gone := make(chan error, 2)
	go func() {
		gone <- w.server.Stop(w.alive)
		gone <- w.server.Close()
	}()
	tick := time.NewTicker(lookStopping)
	defer tick.Stop()
	listened := w.Closing().From
	for isClosed, running := false, 2; running > 0; {
		select {
		case err := <-gone:
			if err != nil && !w.isExpected() {
				w.fail(err)
			}
			running--
		case <-tick.C:
			if isClosed {
				continue
			}
			if now := w.clock.Now(); w.server.Listens() {
				listened = now
			} else {
				isClosed = true
				w.closedBetween(listened, w.clock.Now())
			}
		}
		if running == 0 && !isClosed {
			w.closedBetween(listened, w.clock.Now())
		}
	}
}

// endGone records the end of a third-party server that others have ended, as they were expected to.
// The kernel closed its listener at an unknown time since then.
func (w *Worker) endGone() {
	if err := w.server.Close(); err != nil {
		w.fail(err)
	}
	now := w.clock.Now()
	w.mu.Lock()
	from := max(w.readyAt, w.awaitedAt)
	w.toldAt, w.closing.Mode = w.awaitedAt, vocabulary.StopKill
	w.mu.Unlock()
	w.closedBetween(from, now)
}

// closedBetween records that the listener of the worker's third-party server was closed.
func (w *Worker) closedBetween(from, to clock.Instant) {
	w.mu.Lock()
	w.closing.From, w.closing.To = from, to
	w.mu.Unlock()
	close(w.closed)
}

// tell tells the worker's third-party server to stop. kill ends it if kill is true.
func (w *Worker) tell(kill bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.isTold {
		w.isTold = true
		close(w.told)
	}
	if kill {
		w.end()
	}
}
