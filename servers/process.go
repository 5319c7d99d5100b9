package servers

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/child"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/journal"
)

// A Worker is the parent's side of one worker process, or of a third-party server in its place.
type Worker struct {
	ID         int // unique in the group, from 0; -1 while it is parked
	Generation int
	Index      int // in its generation, from 0
	// Acceptor is true if the worker accepts connections for the other workers and serves none
	// itself.
	Acceptor bool

	group     *Group
	placement Placement
	slot      int           // the worker's slot in the selector, or -1
	cold      time.Duration // warm-up time
	clock     *clock.Clock
	process   *child.Process // nil before it is started, and for a third-party server
	journal   *journal.Journal
	inherits  bool // the process has inherited a listener
	// parkedSince is the time at which the process was parked, or 0 if it was not yet parked when
	// it became this worker.
	parkedSince clock.Instant

	server ThirdParty      // nil: the worker has a process
	told   chan struct{}   // closed when the third-party server is told to stop, or killed
	alive  context.Context // ends when the third-party server is killed
	end    context.CancelFunc

	parked, ready, closed, exited chan struct{}
	startedAt                     clock.Instant // see Life
	parkedAt                      clock.Instant // valid once parked
	readyAt                       clock.Instant // valid once ready
	listener                      uint64        // valid once ready

	mu        sync.Mutex
	toldAt    clock.Instant // when it was told to stop, or killed; 0: neither
	termAt    clock.Instant // when it got SIGTERM, if it is adopted; 0: not yet
	awaitedAt clock.Instant // when Expect was called; 0: not yet
	goneAt    clock.Instant // when the exit of its process was noticed; 0: not yet
	closing   Closing
	stopped   bool
	mode      vocabulary.StopMode // mode of the stop command that was sent, or ""
	killTimer *time.Timer         // set by stop; kills a worker that takes too long
	missed    uint64
	cpu       time.Duration // valid once the worker has reported it, at its stop
	err       error
	bindErr   unix.Errno // error of binding its address, or 0
	isTold    bool       // told is closed
}

// Closing describes when and how a worker's listener was closed.
type Closing struct {
	Mode vocabulary.StopMode
	// The kernel began to close it after From, and had closed it by To.
	From, To clock.Instant
}

// start starts the process with its pipes, its journal and the inherited files.
func (w *Worker) start(command *exec.Cmd, cpus []int, inherited []*os.File) error {
	return w.begin(func(journal *os.File) (*child.Process, error) {
		return child.Start(child.Options{
			Command: command, Start: func(c *exec.Cmd) error { return w.placement.Start(c, cpus) },
			Control: true, Events: true, Files: append([]*os.File{journal}, inherited...),
		})
	})
}

// begin creates the worker's journal and calls start, which starts the process with the journal.
// After an error, nothing is left to clean up. After success, abandon cleans up.
func (w *Worker) begin(start func(journal *os.File) (*child.Process, error)) (err error) {
	j, file, err := journal.Create(w.group.mark())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	p, err := start(file)
	if err != nil {
		return errors.Join(err, j.Close())
	}
	w.process, w.journal = p, j
	go w.readEvents()
	return nil
}

// configure sends the process the configuration of the worker that it becomes.
func (w *Worker) configure(cfg WorkerConfig) error {
	if err := w.process.Send(cfg); err != nil {
		return fmt.Errorf("configure: %w", err)
	}
	return nil
}

// abandon kills the process, if there is one, and returns cause with the process's standard error
// appended.
func (w *Worker) abandon(cause error) error {
	if w.process == nil {
		return cause
	}
	err := errors.Join(w.kill(), w.awaitGone(), w.release())
	return errors.Join(w.process.Explain(cause), err)
}

// readEvents reads events until the process has exited, and then records its end.
func (w *Worker) readEvents() {
	defer close(w.exited)
	isClosed := false
	lines := bufio.NewScanner(w.process.Events())
	for lines.Scan() {
		var e Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			w.fail(fmt.Errorf("event %q: %w", lines.Text(), err))
			continue
		}
		switch e.Event {
		case EventParked:
			w.parkedAt = e.At
			close(w.parked)
		case EventReady:
			w.readyAt, w.listener = e.At, e.Listener
			close(w.ready)
		case EventJournal:
			w.group.readEarly(w)
		case EventTerm:
			w.Terminated(e.At)
		case EventClosed:
			w.mu.Lock()
			w.closing.From, w.closing.To = e.From, e.At
			w.closing.Mode = cmp.Or(w.mode, w.closing.Mode) // kill may have overwritten the mode
			w.mu.Unlock()
			isClosed = true
			close(w.closed)
		case EventStopped:
			w.mu.Lock()
			w.cpu = e.CPU
			w.mu.Unlock()
		case EventFailed:
			w.mu.Lock()
			w.bindErr = e.Errno
			w.mu.Unlock()
			w.fail(errors.New(e.Error))
		default:
			w.fail(fmt.Errorf("unknown event %q", e.Event))
		}
	}
	if err := lines.Err(); err != nil {
		w.fail(fmt.Errorf("events: %w", err))
	}
	<-w.process.Exited()
	gone := w.clock.Now()
	w.group.readEnded(w)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.goneAt = gone
	if w.killTimer != nil {
		w.killTimer.Stop()
	}
	if !w.stopped && w.awaitedAt == 0 && w.err == nil {
		unasked := errors.New("exited without being told to")
		w.err = cmp.Or(w.process.Err(), w.process.Explain(unasked))
	}
	if !isClosed { // so the kernel closed it when the process died
		if !w.stopped { // the time of the death is unknown
			w.closing.From = max(w.readyAt, w.awaitedAt)
			w.toldAt = w.awaitedAt
		}
		w.closing.Mode, w.closing.To = vocabulary.StopKill, gone
		close(w.closed)
	}
}

// hasExited reports whether the process has exited and its last events have been read.
func (w *Worker) hasExited() bool {
	select {
	case <-w.exited:
		return true
	default:
		return false
	}
}

func (w *Worker) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
}

func (w *Worker) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// awaitReady returns when the worker has reported that it is ready, even if it has exited since.
func (w *Worker) awaitReady(ctx context.Context) error {
	select {
	case <-w.ready:
		return nil
	case <-w.exited:
		select {
		case <-w.ready:
			return nil
		default:
		}
		err := cmp.Or(w.failure(), errors.New("its process was ended"))
		return fmt.Errorf("worker %d did not become ready: %w", w.ID, err)
	case <-ctx.Done():
		return fmt.Errorf("worker %d was not ready in time: %w", w.ID, context.Cause(ctx))
	}
}

// awaitClosed returns when the worker's listener is closed, or with an error if the context ends
// first.
func (w *Worker) awaitClosed(ctx context.Context) error {
	select {
	case <-w.closed:
		return nil
	case <-ctx.Done():
	}
	select {
	case <-w.closed: // closed and cancelled at the same time
		return nil
	default:
		return fmt.Errorf("worker %d has not closed its listener: %w", w.ID, context.Cause(ctx))
	}
}

// stop tells the worker to finish and exit within the grace, and does not wait. If the worker still
// runs graceSlack after the end of its grace, it is killed, as a supervisor would do.
func (w *Worker) stop(mode vocabulary.StopMode, grace time.Duration) error {
	if mode == vocabulary.StopKill {
		return w.kill()
	}
	err := w.stopSince(w.clock.Now(), mode, grace)
	if errors.Is(err, unix.EPIPE) && w.isExpected() {
		return nil // it has just exited
	}
	return err
}

// stopSince is like stop, for a worker that was told to stop at an earlier instant. The mode is not
// StopKill.
func (w *Worker) stopSince(
	told clock.Instant, mode vocabulary.StopMode, grace time.Duration,
) error {
	w.mu.Lock()
	w.stopped, w.mode = true, mode
	w.toldAt = told
	w.closing = Closing{Mode: mode, From: told}
	w.killTimer = time.AfterFunc(grace+graceSlack, func() {
		if err := w.kill(); err != nil {
			w.fail(err)
		}
	})
	w.mu.Unlock()
	if w.server != nil {
		w.tell(false)
		return nil
	}
	return w.send(Command{Stop: mode, Grace: grace})
}

// shortenGrace tells a stopped worker to exit within the grace, counted from now.
func (w *Worker) shortenGrace(grace time.Duration) {
	w.mu.Lock()
	if w.killTimer != nil {
		w.killTimer.Reset(grace + graceSlack)
	}
	w.mu.Unlock()
	if w.server != nil {
		return
	}
	_ = w.send(Command{Grace: grace}) // fails if the worker has just exited
}

// send sends the worker a command.
func (w *Worker) send(c Command) error {
	if err := w.process.Send(c); err != nil {
		line, _ := json.Marshal(c) // cannot fail: Send has marshalled it
		return fmt.Errorf("worker %d: command %s: %w", w.ID, line, err)
	}
	return nil
}

// Serves reports whether the worker is ready and has not been told to stop.
func (w *Worker) Serves() bool {
	if w.hasExited() {
		return false
	}
	select {
	case <-w.ready:
		return !w.wasStopped()
	default:
		return false
	}
}

// listens reports whether the worker's listener is open.
func (w *Worker) listens() bool {
	select {
	case <-w.closed:
		return false
	default:
	}
	select {
	case <-w.ready:
		return true
	default:
		return false
	}
}

func (w *Worker) wasStopped() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stopped
}

// awaitGone returns when a killed worker has exited and its last events have been read.
func (w *Worker) awaitGone() error {
	select {
	case <-w.exited:
		return nil
	case <-time.After(child.GoneLimit):
		return fmt.Errorf("%s: process %d still exists %v after SIGKILL; see /proc/%[2]d/stack",
			w.name(), w.PID(), child.GoneLimit)
	}
}

// kill kills the process and does not wait.
func (w *Worker) kill() error {
	w.mu.Lock()
	now := w.clock.Now()
	if w.stopped = true; w.closing.To == 0 { // otherwise the listener is already closed
		w.closing = Closing{Mode: vocabulary.StopKill, From: now}
	}
	if w.toldAt == 0 && w.goneAt == 0 {
		w.toldAt = now
	}
	w.mu.Unlock()
	if w.server != nil {
		w.tell(true)
		return nil
	}
	if err := w.process.Kill(); err != nil {
		return fmt.Errorf("%s: %w", w.name(), err)
	}
	return nil
}

func (w *Worker) name() string {
	if w.ID < 0 {
		return fmt.Sprintf("parked process for index %d", w.Index)
	}
	return fmt.Sprintf("worker %d", w.ID)
}

// drain passes the journal's unread records to account.
func (w *Worker) drain(account func(*Worker, journal.Record)) {
	if w.server != nil {
		return
	}
	missed := w.journal.Drain(func(r journal.Record) { account(w, r) })
	w.mu.Lock()
	w.missed = missed
	w.mu.Unlock()
}

// release frees the pipes and the journal of a process that has exited.
func (w *Worker) release() error {
	if w.server != nil {
		return nil
	}
	return errors.Join(w.process.Close(), w.journal.Close())
}

// Closing returns when and how the worker's listener was closed. Mode is empty in the result while
// the worker listens.
func (w *Worker) Closing() Closing {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closing
}

// A Life has the instants of a worker's life. 0 means that it did not happen, or not yet.
type Life struct {
	// Started is just before the worker's process was started or, if the process was parked, just
	// before it became this worker. A process that was adopted asked for it at that time.
	Started clock.Instant
	Ready   clock.Instant
	// Told is just before the worker was told to stop, or killed. If others killed it, Told is the
	// time at which Expect was called.
	Told   clock.Instant
	Closed clock.Instant // its listener was closed
	Gone   clock.Instant // its process had exited
}

// Life returns the instants of the worker's life so far.
func (w *Worker) Life() Life {
	l := Life{Started: w.startedAt}
	select {
	case <-w.ready:
		l.Ready = w.readyAt
	default:
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	l.Told, l.Closed, l.Gone = w.toldAt, w.closing.To, w.goneAt
	return l
}

// IsParked reports whether the process has been parked. It stays true when the process becomes a
// worker; see ParkedAt.
func (w *Worker) IsParked() bool {
	select {
	case <-w.parked:
		return true
	default:
		return false
	}
}

// ParkedAt returns the time at which the process was parked. It is 0 if the process was started for
// this worker, or was not yet parked when it became this worker.
func (w *Worker) ParkedAt() clock.Instant { return w.parkedSince }

// ReadyAt returns the time at which the worker became ready. It is valid once the worker's
// generation has started.
func (w *Worker) ReadyAt() clock.Instant { return w.readyAt }

// Listener returns the inode of the worker's own listening socket, or 0 if the worker shares a
// socket. It is valid once the worker's generation has started.
func (w *Worker) Listener() uint64 { return w.listener }

// Ready returns a channel that is closed when the worker is ready. It stays open if the process
// exits first.
func (w *Worker) Ready() <-chan struct{} { return w.ready }

// Exited returns a channel that is closed when the worker's process has exited.
func (w *Worker) Exited() <-chan struct{} { return w.exited }

// PID returns the process's number in the caller's PID namespace. The kernel may reuse it once the
// process has exited. For a third-party server, which may have several processes, PID returns 0.
func (w *Worker) PID() int {
	if w.server != nil {
		return 0
	}
	return w.process.PID()
}

// Err returns the reason that the worker exited without being told to, or nil.
func (w *Worker) Err() error { return w.failure() }

// BindError returns EADDRINUSE if the worker exited because its address was taken, or 0.
func (w *Worker) BindError() unix.Errno {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.bindErr
}

// Missed returns the number of records for which the journal had no room.
func (w *Worker) Missed() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.missed
}

// CPU returns the user and system time of the worker, and false until the worker has exited. The
// time of a third-party server is not known.
func (w *Worker) CPU() (time.Duration, bool) {
	if w.server != nil || !w.hasExited() {
		return 0, false
	}
	if cpu, known := w.process.CPU(); known {
		return cpu, true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cpu, w.cpu > 0
}

// Reaping returns the CPU time that this process spent in wait(2) for the worker. It is 0 until the
// worker has exited.
func (w *Worker) Reaping() time.Duration {
	if w.server != nil {
		return 0
	}
	return w.process.Reaping()
}
