package servers

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/clock"
)

// A Worker is the parent's side of one worker process.
type Worker struct {
	ID         int // unique in the group, from 0
	Generation int
	Place      int // in its generation, from 0
	// Acceptor says that it serves nobody and accepts for the others; see ByAcceptor.
	Acceptor bool

	home    Home
	slot    int           // in the selector, or -1
	cold    time.Duration // how long it takes to get warm
	clock   *clock.Clock
	process process
	control *os.File // write end
	journal *journal
	stderr  *os.File // a memfd; of a worker that another one started, that one's

	ready, closed, exited chan struct{}
	readyAt               clock.Instant // valid once ready
	listener              uint64        // valid once ready

	mu      sync.Mutex
	closing Closing
	stopped bool
	missed  uint64
	cpu     time.Duration // as the worker said at its end
	err     error
	unbound unix.Errno // why it could not have its address; 0: it could
}

// Closing is when and how a worker's listener went away.
type Closing struct {
	Way Way
	// From is an instant before the kernel began to close it, To one after it had.
	From, To clock.Instant
}

// start starts the process.
func (w *Worker) start(env Env, cfg workerConfig, inherited []*os.File, cpus []int) error {
	return w.connect(cfg, func(theirs []*os.File) (err error) {
		// A file, not a pipe: nobody has to read it, and Wait need not wait for all who have it.
		if w.stderr, err = createStderr(); err != nil {
			return err
		}
		cmd := env.Command()
		cmd.ExtraFiles = append(slices.Clone(theirs), inherited...)
		cmd.Stderr = w.stderr
		if cfg.Passing == ByActivation {
			cmd.Env = append(cmd.Environ(), activationEnvironment()...)
		}
		w.process = child{cmd}
		if err := w.home.Start(cmd, cpus); err != nil {
			return fmt.Errorf("start: %w", joinClose(err, w.stderr))
		}
		return nil
	})
}

// child is a process that this one started.
type child struct{ *exec.Cmd }

func (c child) Signal(s os.Signal) error { return c.Process.Signal(s) }
func (c child) PID() int                 { return c.Process.Pid }

// connect makes the worker's pipes and its journal, has the process get its ends of them (control, events, journal)
// from begin, and configures it. It owns every descriptor it makes until the worker is released.
func (w *Worker) connect(cfg workerConfig, begin func(theirs []*os.File) error) (err error) {
	var theirs []*os.File // closed here once the child has them
	defer func() {
		for _, f := range theirs {
			err = errors.Join(err, f.Close())
		}
	}()
	controlR, controlW, err := os.Pipe()
	if err != nil {
		return err
	}
	w.control, theirs = controlW, append(theirs, controlR)
	eventsR, eventsW, err := os.Pipe()
	if err != nil {
		return joinClose(err, controlW)
	}
	theirs = append(theirs, eventsW)
	var memfd *os.File
	if w.journal, memfd, err = createJournal(); err != nil {
		return errors.Join(err, controlW.Close(), eventsR.Close())
	}
	theirs = append(theirs, memfd)
	if err := begin(theirs); err != nil {
		return errors.Join(err, controlW.Close(), eventsR.Close(), w.journal.close())
	}
	go w.listen(eventsR)
	line, err := json.Marshal(cfg)
	if err != nil {
		panic(err) // plain data
	}
	if _, err := controlW.Write(append(line, '\n')); err != nil {
		return errors.Join(fmt.Errorf("configure: %w", err), w.kill())
	}
	return nil
}

// listen reads events until the process is gone, then waits for it.
func (w *Worker) listen(events *os.File) {
	defer close(w.exited)
	isClosed := false
	lines := bufio.NewScanner(events)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			w.fail(fmt.Errorf("event %q: %w", lines.Text(), err))
			continue
		}
		switch e.Event {
		case eventReady:
			w.readyAt, w.listener = e.At, e.Listener
			close(w.ready)
		case eventClosed:
			w.mu.Lock()
			w.closing.From, w.closing.To = e.From, e.At
			w.mu.Unlock()
			isClosed = true
			close(w.closed)
		case eventStopped:
			w.mu.Lock()
			w.cpu = e.CPU
			w.mu.Unlock()
		case eventFailed:
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
	err := errors.Join(w.process.Wait(), events.Close())
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopped && w.err == nil {
		if err == nil {
			err = errors.New("exited without being told to")
		}
		if s := readStderr(w.stderr); s != "" {
			err = fmt.Errorf("%w: %s", err, s)
		}
		w.err = err
	}
	if !isClosed { // the kernel closed the listener when the process died
		if !w.stopped { // nobody knows when it died
			w.closing.From = w.readyAt
		}
		w.closing.Way, w.closing.To = Kill, w.clock.Now()
		close(w.closed)
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

// stop tells the worker to end, without waiting.
func (w *Worker) stop(way Way) error {
	w.mu.Lock()
	w.stopped = true
	w.closing = Closing{Way: way, From: w.clock.Now()}
	w.mu.Unlock()
	if way == Kill {
		return w.kill()
	}
	return w.tell(command{Stop: way})
}

// tell sends the worker a command.
func (w *Worker) tell(c command) error {
	line, err := json.Marshal(c)
	if err != nil {
		panic(err) // plain data
	}
	if _, err := w.control.Write(append(line, '\n')); err != nil {
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

func (w *Worker) wasStopped() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stopped
}

// kill ends the process by its handle (a pidfd, so never a stranger with the same number).
func (w *Worker) kill() error {
	w.mu.Lock()
	if !w.stopped {
		w.stopped, w.closing = true, Closing{Way: Kill, From: w.clock.Now()}
	}
	w.mu.Unlock()
	if err := ignoreDone(w.process.Signal(unix.SIGKILL)); err != nil {
		return fmt.Errorf("worker %d: kill: %w", w.ID, err)
	}
	return nil
}

// drain hands the journal's new records to account.
func (w *Worker) drain(account func(*Worker, Record)) {
	missed := w.journal.drain(func(r Record) { account(w, r) })
	w.mu.Lock()
	w.missed = missed
	w.mu.Unlock()
}

// release frees what outlived the process.
func (w *Worker) release() error {
	err := errors.Join(w.control.Close(), w.journal.close())
	switch p := w.process.(type) {
	case child:
		err = errors.Join(err, w.stderr.Close())
	case adopted:
		err = errors.Join(err, p.Release())
	}
	return err
}

// Closing is how the worker's listener went away; its Way is empty while it listens.
func (w *Worker) Closing() Closing {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closing
}

// ReadyAt is when the worker said ready. It is valid once its generation has been started.
func (w *Worker) ReadyAt() clock.Instant { return w.readyAt }

// Listener is the inode of the worker's own listening socket, or 0 where it shares one. It is valid once its
// generation has been started.
func (w *Worker) Listener() uint64 { return w.listener }

// Ready is closed when the worker has said ready; never, when its process ends before.
func (w *Worker) Ready() <-chan struct{} { return w.ready }

// Exited is closed when the worker's process has ended.
func (w *Worker) Exited() <-chan struct{} { return w.exited }

// PID is the number of the process, as the caller's PID namespace has it. Once the process has exited, another
// may have it.
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
	select {
	case <-w.exited:
	default:
		return 0, false
	}
	if c, own := w.process.(child); own {
		return c.ProcessState.UserTime() + c.ProcessState.SystemTime(), true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cpu, w.cpu > 0
}

// stderrSize is how much a worker may write to its standard error.
const stderrSize = 64 << 10

// createStderr makes a file in memory that takes stderrSize bytes and no more: it is sealed against growing.
func createStderr() (*os.File, error) {
	fd, err := unix.MemfdCreate("reuseport-bench-stderr", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("stderr: memfd_create: %w", err)
	}
	f := os.NewFile(uintptr(fd), "stderr")
	err = f.Truncate(stderrSize)
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_GROW)
	}
	if err != nil {
		return nil, fmt.Errorf("stderr: %w", joinClose(err, f))
	}
	return f, nil
}

// readStderr is what was written to it.
func readStderr(f *os.File) string {
	b := make([]byte, stderrSize)
	n, _ := f.ReadAt(b, 0) // what cannot be read is not there
	return strings.TrimSpace(string(bytes.TrimRight(b[:n], "\x00")))
}
