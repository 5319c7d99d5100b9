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

// A Worker is the parent's side of one worker process.
type Worker struct {
	ID         int // unique in the group, from 0; -1 while its process is parked
	Generation int
	Index      int // in its generation, from 0
	// Acceptor says that it serves nobody and accepts for the others.
	Acceptor bool

	group     *Group
	placement Placement
	slot      int           // in the selector, or -1
	cold      time.Duration // how long it takes to get warm
	clock     *clock.Clock
	process   *child.Process // nil before it is started
	journal   *journal.Journal
	inherits  bool          // the process has inherited a listener
	takenOver clock.Instant // since when the process had been parked; 0: it was not

	parked, ready, closed, exited chan struct{}
	parkedAt                      clock.Instant // valid once parked
	readyAt                       clock.Instant // valid once ready
	listener                      uint64        // valid once ready

	mu      sync.Mutex
	closing Closing
	stopped bool
	asked   vocabulary.StopMode // by the stop command; "": there was none
	overdue *time.Timer         // kills it when it takes too long to stop; nil until it is told to
	missed  uint64
	cpu     time.Duration // as the worker said at its end
	err     error
	unbound unix.Errno // why it could not have its address; 0: it could
}

// Closing is when and how a worker's listener went away.
type Closing struct {
	Mode vocabulary.StopMode
	// From is an instant before the kernel began to close it, To one after it had.
	From, To clock.Instant
}

// start starts the process, with what it inherits beside its pipes and its journal.
func (w *Worker) start(command *exec.Cmd, cpus []int, inherited []*os.File) error {
	return w.begin(func(journal *os.File) (*child.Process, error) {
		return child.Start(child.Options{
			Command: command, Start: func(c *exec.Cmd) error { return w.placement.Start(c, cpus) },
			Control: true, Events: true, Files: append([]*os.File{journal}, inherited...),
		})
	})
}

// begin makes the worker's journal, and has start begin the process with it. After an error nothing
// of the worker is left; without, abandon ends what it has.
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
	go w.listen()
	return nil
}

// configure tells the process which worker it is.
func (w *Worker) configure(cfg WorkerConfig) error {
	if err := w.process.Send(cfg); err != nil {
		return fmt.Errorf("configure: %w", err)
	}
	return nil
}

// abandon ends a process that was started, if one was, and returns the error that it is abandoned
// for, with its last words.
func (w *Worker) abandon(because error) error {
	if w.process == nil {
		return because
	}
	err := errors.Join(w.kill(), w.awaitGone(), w.release())
	return errors.Join(w.process.Explain(because), err)
}

// listen reads events until the process is gone, then waits for it.
func (w *Worker) listen() {
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
		case EventClosed:
			w.mu.Lock()
			w.closing.From, w.closing.To = e.From, e.At
			w.closing.Mode = cmp.Or(w.asked, w.closing.Mode) // it may have been killed since
			w.mu.Unlock()
			isClosed = true
			close(w.closed)
		case EventStopped:
			w.mu.Lock()
			w.cpu = e.CPU
			w.mu.Unlock()
		case EventFailed:
			w.mu.Lock()
			w.unbound = e.Errno
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
	w.group.readEnded(w)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.overdue != nil {
		w.overdue.Stop()
	}
	if !w.stopped && w.err == nil {
		w.err = cmp.Or(w.process.Err(), w.process.Explain(errors.New("exited without being told to")))
	}
	if !isClosed { // the kernel closed the listener when the process died
		if !w.stopped { // nobody knows when it died
			w.closing.From = w.readyAt
		}
		w.closing.Mode, w.closing.To = vocabulary.StopKill, w.clock.Now()
		close(w.closed)
	}
}

// hasExited reports whether the process has ended, its last events read.
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

// awaitReady returns when the worker has said ready.
func (w *Worker) awaitReady(ctx context.Context) error {
	select {
	case <-w.ready:
		return nil
	case <-w.exited:
		return fmt.Errorf("worker %d was not ready: %w", w.ID, w.failure())
	case <-ctx.Done():
		return fmt.Errorf("worker %d was not ready in time: %w", w.ID, context.Cause(ctx))
	}
}

// awaitClosed returns when the worker's listener is closed, or with an error when the context has
// ended before.
func (w *Worker) awaitClosed(ctx context.Context) error {
	select {
	case <-w.closed:
		return nil
	case <-ctx.Done():
	}
	select {
	case <-w.closed: // at the same time
		return nil
	default:
		return fmt.Errorf("worker %d has not closed its listener: %w", w.ID, context.Cause(ctx))
	}
}

// stop tells the worker to end within a grace, without waiting. A little later it is killed, as
// supervisors do.
func (w *Worker) stop(mode vocabulary.StopMode, grace time.Duration) error {
	if mode == vocabulary.StopKill {
		return w.kill()
	}
	w.mu.Lock()
	w.stopped, w.asked = true, mode
	w.closing = Closing{Mode: mode, From: w.clock.Now()}
	w.overdue = time.AfterFunc(grace+graceSlack, func() {
		if err := w.kill(); err != nil {
			w.fail(err)
		}
	})
	w.mu.Unlock()
	return w.tell(Command{Stop: mode, Grace: grace})
}

// hurry leaves a worker that was told to stop no more than that time.
func (w *Worker) hurry(grace time.Duration) {
	w.mu.Lock()
	if w.overdue != nil {
		w.overdue.Reset(grace + graceSlack)
	}
	w.mu.Unlock()
	_ = w.tell(Command{Grace: grace}) // it may just have ended
}

// tell sends the worker a command.
func (w *Worker) tell(c Command) error {
	if err := w.process.Send(c); err != nil {
		line, _ := json.Marshal(c) // it could be sent as one
		return fmt.Errorf("worker %d: command %s: %w", w.ID, line, err)
	}
	return nil
}

// Serves says that the worker is ready and has not been told to stop.
func (w *Worker) Serves() bool {
	select {
	case <-w.exited:
		return false
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

// awaitGone returns when a killed worker has ended, its last events read.
func (w *Worker) awaitGone() error {
	select {
	case <-w.exited:
		return nil
	case <-time.After(child.GoneLimit):
		return fmt.Errorf("%s: process %d is still there %v after SIGKILL; see /proc/%[2]d/stack",
			w.name(), w.PID(), child.GoneLimit)
	}
}

// kill ends the process, without waiting.
func (w *Worker) kill() error {
	w.mu.Lock()
	if w.stopped = true; w.closing.To == 0 { // else its listener had been closed before
		w.closing = Closing{Mode: vocabulary.StopKill, From: w.clock.Now()}
	}
	w.mu.Unlock()
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

// drain hands the journal's new records to account.
func (w *Worker) drain(account func(*Worker, journal.Record)) {
	missed := w.journal.Drain(func(r journal.Record) { account(w, r) })
	w.mu.Lock()
	w.missed = missed
	w.mu.Unlock()
}

// release frees what outlived the process.
func (w *Worker) release() error { return errors.Join(w.process.Close(), w.journal.Close()) }

// Closing is how the worker's listener went away; its Mode is empty while it listens.
func (w *Worker) Closing() Closing {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closing
}

// IsParked reports whether the process has been parked. It says nothing of a worker that has taken
// it over: see ParkedAt.
func (w *Worker) IsParked() bool {
	select {
	case <-w.parked:
		return true
	default:
		return false
	}
}

// ParkedAt is since when the process that the worker has taken over had been parked; 0: it was
// started for this worker, or was not parked yet.
func (w *Worker) ParkedAt() clock.Instant { return w.takenOver }

// ReadyAt is when the worker said ready. It is valid once its generation has been started.
func (w *Worker) ReadyAt() clock.Instant { return w.readyAt }

// Listener is the inode of the worker's own listening socket, or 0 where it shares one. It is valid
// once its generation has been started.
func (w *Worker) Listener() uint64 { return w.listener }

// Ready is closed when the worker has said ready; never, when its process ends before.
func (w *Worker) Ready() <-chan struct{} { return w.ready }

// Exited is closed when the worker's process has ended.
func (w *Worker) Exited() <-chan struct{} { return w.exited }

// PID is the number of the process, as the caller's PID namespace has it. Once the process has
// exited, another may have it.
func (w *Worker) PID() int { return w.process.PID() }

// Err is why the worker ended without being told to, or nil.
func (w *Worker) Err() error { return w.failure() }

// BindError is EADDRINUSE where the worker ended because its address was taken, or 0.
func (w *Worker) BindError() unix.Errno {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.unbound
}

// Missed is how many records the journal had no room for.
func (w *Worker) Missed() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.missed
}

// CPU is the user and system time of the worker once it has exited; before, it is false.
func (w *Worker) CPU() (time.Duration, bool) {
	if !w.hasExited() {
		return 0, false
	}
	if cpu, known := w.process.CPU(); known {
		return cpu, true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cpu, w.cpu > 0
}

// Reaping returns the CPU time that it took this process to reap the worker's; 0 before it has
// exited.
func (w *Worker) Reaping() time.Duration { return w.process.Reaping() }
