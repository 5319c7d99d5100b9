// Package child starts child processes, hears them, ends them, and accounts for what they used.
//
// A child may have two pipes: control, on which its parent sends lines of JSON, and events, on
// which it answers in whatever form the two agree on. Its standard error goes to a file in memory
// that holds StderrLimit bytes: no one has to read it meanwhile, it outlives the child, and a child
// that logs without end fills no more.
//
// A process is signalled by its pidfd, which os.Process has, so that a signal never reaches a
// stranger with the number of a process that has ended.
package child

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/sys"
)

// The descriptors of a child that has both pipes. Options.Files follow.
const (
	ControlFD = 3 // to read
	EventsFD  = 4 // to write
	FilesFD   = 5
)

// StderrLimit is how much of a child's standard error is kept, in bytes: the first. A write beyond
// fails with EPERM.
const StderrLimit = 64 << 10

// GoneLimit bounds the time from SIGKILL to the end of a process.
const GoneLimit = 5 * time.Second

// Options describe a child to start.
type Options struct {
	// Command is what to run, not yet started. Start sets its Stderr and ExtraFiles.
	Command *exec.Cmd
	// Start starts the command, in surroundings of the caller's choice. Nil: Command.Start.
	Start func(*exec.Cmd) error
	// Control and Events give the child those pipes, as its first descriptors from 3 on.
	Control, Events bool
	// Files follow the pipes. They stay the caller's, who may close them when Start has returned.
	Files []*os.File
}

// A Process is the parent's side of a child. Close ends it. Its methods may be called from several
// goroutines.
type Process struct {
	handle  *os.Process
	pid     int
	control *os.File // write end, or nil
	events  *os.File // read end, or nil
	stderr  *os.File
	owned   []io.Closer // in the order of their making; closed by release, last first

	killed  atomic.Bool // by Kill or Close
	exited  chan struct{}
	err     error         // valid once exited
	said    string        // on standard error; valid once exited
	cpu     time.Duration // valid once exited
	counted bool          // cpu is known
	reaping time.Duration // valid once exited

	endOnce sync.Once
	endErr  error
}

// Start starts a process. After an error nothing runs, and every descriptor that Start made is
// closed. The caller ends the process with Close, also when it has exited by itself.
func Start(o Options) (*Process, error) {
	stderr, err := sys.SizedMemoryFile("reuseport-bench-stderr", StderrLimit)
	if err != nil {
		return nil, fmt.Errorf("standard error: %w", err)
	}
	cmd, start := o.Command, o.Start
	if start == nil {
		start = (*exec.Cmd).Start
	}
	p, err := connect(stderr, o.Control, o.Events, func(pipes []*os.File) error {
		cmd.Stderr = stderr
		cmd.ExtraFiles = append(pipes, o.Files...)
		if err := start(cmd); err != nil {
			return fmt.Errorf("start: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	p.handle, p.pid = cmd.Process, cmd.Process.Pid
	ended, err := watch(p.handle)
	if err != nil { // a sandbox without pidfds: then a thread waits, in cmd.Wait
		ended = func() error { return nil }
	}
	go p.wait(func() error {
		err := ended()
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		began := sys.ThreadCPU()
		if waitErr := cmd.Wait(); waitErr != nil {
			err = waitErr
		}
		p.reaping = sys.ThreadCPU() - began
		if s := cmd.ProcessState; s != nil {
			p.cpu, p.counted = s.UserTime()+s.SystemTime(), true
		}
		return err
	})
	return p, nil
}

// Adopt takes charge of a process that by has started. Its number is that of the caller's PID
// namespace, and it must be alive, or the number may be a stranger's. give hands it its ends of the
// control and the events pipe and then the files; they stay the caller's. Its standard error is
// by's, its exit status by's to know. After an error the process is killed, and every descriptor
// that Adopt made is closed. The caller ends the process with Close.
func Adopt(pid int, by *Process, files []*os.File, give func([]*os.File) error) (*Process, error) {
	handle, err := os.FindProcess(pid)
	if err != nil {
		return nil, err
	}
	abandon := func(err error) error {
		return errors.Join(err, unlessDone(handle.Kill()), handle.Release())
	}
	fd, err := unix.FcntlInt(by.stderr.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, abandon(fmt.Errorf("standard error: %w", err))
	}
	var ended func() error
	p, err := connect(os.NewFile(uintptr(fd), "stderr"), true, true, func(pipes []*os.File) (err error) {
		if err := give(append(pipes, files...)); err != nil {
			return err
		}
		ended, err = watch(handle)
		return err
	})
	if err != nil {
		return nil, abandon(err)
	}
	p.handle, p.pid = handle, pid
	p.owned = append(p.owned, closer(handle.Release))
	go p.wait(ended)
	return p, nil
}

type closer func() error

func (c closer) Close() error { return c() }

// connect makes the pipes and begins the process with its ends of them. It owns stderr, and what it
// makes, also after an error.
func connect(stderr *os.File, control, events bool, begin func([]*os.File) error) (p *Process, err error) {
	p = &Process{stderr: stderr, owned: []io.Closer{stderr}, exited: make(chan struct{})}
	var theirs []*os.File
	defer func() {
		for _, f := range theirs {
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			err = errors.Join(err, p.release())
		}
	}()
	if control {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, fmt.Errorf("control pipe: %w", err)
		}
		p.control, theirs, p.owned = w, append(theirs, r), append(p.owned, w)
	}
	if events {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, fmt.Errorf("events pipe: %w", err)
		}
		p.events, theirs, p.owned = r, append(theirs, w), append(p.owned, r)
	}
	return p, begin(slices.Clone(theirs))
}

// wait owns the end of the process.
func (p *Process) wait(ended func() error) {
	err := ended()
	p.said = p.read()
	if !p.killed.Load() {
		p.err = explain(err, p.said)
	}
	close(p.exited)
}

// watch returns a function that returns when the process has ended: its pidfd is readable then
// (pidfd_open(2)). The function is to be called once. No thread waits in it, unlike in wait(2).
func watch(handle *os.Process) (ended func() error, err error) {
	fd, dupErr := -1, error(nil)
	err = handle.WithHandle(func(pidfd uintptr) {
		fd, dupErr = unix.FcntlInt(pidfd, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err := errors.Join(err, dupErr); err != nil {
		return nil, fmt.Errorf("pidfd: %w", err)
	}
	err = unix.SetNonblock(fd, true) // or os.File would not use the poller
	pidfd := os.NewFile(uintptr(fd), "pidfd")
	raw, rawErr := pidfd.SyscallConn()
	if err := errors.Join(err, rawErr); err != nil {
		return nil, fmt.Errorf("pidfd: %w", errors.Join(err, pidfd.Close()))
	}
	return func() error {
		var pollErr error
		err := raw.Read(func(fd uintptr) bool {
			for {
				n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
				if !errors.Is(err, unix.EINTR) {
					pollErr = err
					return n > 0 || err != nil
				}
			}
		})
		return errors.Join(err, pollErr, pidfd.Close())
	}, nil
}

// PID returns the number of the process in the caller's PID namespace. Once the process has exited,
// another may have it.
func (p *Process) PID() int { return p.pid }

// Send writes each value as a line of JSON to the control pipe, all at once. It fails if there is
// no such pipe, or if the process has ended or closed its end.
func (p *Process) Send(values ...any) error {
	var lines []byte
	for _, v := range values {
		line, err := json.Marshal(v)
		if err != nil {
			return err
		}
		lines = append(append(lines, line...), '\n')
	}
	_, err := p.control.Write(lines)
	return err
}

// CloseControl closes the control pipe: the process reads what was sent, and then the end. It fails
// if there is no such pipe, or if it is closed already. Close closes it too.
func (p *Process) CloseControl() error { return p.control.Close() }

// Events returns the read end of the events pipe, or nil without one. It ends when the process has
// ended. One goroutine at a time reads it; Close closes it.
func (p *Process) Events() *os.File { return p.events }

// AwaitReady returns when the process has written the first byte to its events pipe, by which it
// says that it is ready. It fails if the process ends before, with its last words, or if the
// context does.
func (p *Process) AwaitReady(ctx context.Context) error {
	interrupt := context.AfterFunc(ctx, func() { _ = p.events.SetReadDeadline(time.Unix(1, 0)) })
	_, err := io.ReadFull(p.events, make([]byte, 1))
	switch {
	case !interrupt():
		err = context.Cause(ctx)
	case errors.Is(err, io.EOF):
		select {
		case <-p.exited:
			err = cmp.Or(p.err, p.Explain(err))
		case <-time.After(time.Second): // it has closed the pipe, and goes on
		}
	}
	if err != nil {
		return fmt.Errorf("was not ready: %w", err)
	}
	return nil
}

// Signal sends a signal. It fails with os.ErrProcessDone if the process has ended.
func (p *Process) Signal(s os.Signal) error { return p.handle.Signal(s) }

// Kill ends the process by SIGKILL, without waiting. That it has ended already is no error.
func (p *Process) Kill() error {
	p.killed.Store(true)
	if err := unlessDone(p.Signal(unix.SIGKILL)); err != nil {
		return fmt.Errorf("kill: %w", err)
	}
	return nil
}

func unlessDone(err error) error {
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// Exited is closed when the process has ended, however it did.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Wait returns when the process has ended, with Err; or with an error when the context ends before.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.exited:
		return p.err
	default:
	}
	select {
	case <-p.exited:
		return p.err
	case <-ctx.Done():
		return fmt.Errorf("process %d has not ended: %w", p.PID(), context.Cause(ctx))
	}
}

// Err returns what the process ended by (*exec.ExitError, which an adopted process does not have),
// with its standard error. It is nil while the process runs, after exit status 0, and after Kill or
// Close.
func (p *Process) Err() error {
	select {
	case <-p.exited:
		return p.err
	default:
		return nil
	}
}

// CPU returns the user and system time of the process. It is false before the process has exited,
// and of an adopted one.
func (p *Process) CPU() (time.Duration, bool) {
	select {
	case <-p.exited:
		return p.cpu, p.counted
	default:
		return 0, false
	}
}

// Reaping returns the CPU time that it took this process to take the child's remains from the
// kernel, as whoever supervises it must (wait(2)); 0 before it has exited.
func (p *Process) Reaping() time.Duration {
	select {
	case <-p.exited:
		return p.reaping
	default:
		return 0
	}
}

// Stderr returns what the process has written to its standard error, up to StderrLimit, without the
// space around it. It is empty before the process has exited.
func (p *Process) Stderr() string {
	select {
	case <-p.exited:
		return p.said
	default:
		return ""
	}
}

// Explain adds Stderr to an error. Of nil it makes nil.
func (p *Process) Explain(err error) error { return explain(err, p.Stderr()) }

func explain(err error, said string) error {
	if err == nil || said == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, said)
}

// read returns what is in the file behind standard error, which is zeros where nothing was written.
func (p *Process) read() string {
	b := make([]byte, StderrLimit)
	n, _ := p.stderr.ReadAt(b, 0) // fails only after a Close that gave the process up
	return strings.TrimSpace(strings.TrimRight(string(b[:n]), "\x00"))
}

// Close kills the process, waits until it is gone, and closes its pipes and its standard error. It
// fails if the process is still there after 5 s. A second call does nothing, and returns the same.
func (p *Process) Close() error {
	p.endOnce.Do(func() { p.endErr = p.end() })
	return p.endErr
}

func (p *Process) end() error {
	err := p.Kill()
	select {
	case <-p.exited:
	case <-time.After(GoneLimit):
		err = errors.Join(err, fmt.Errorf("process %d is still there %v after SIGKILL; see /proc/%[1]d/stack",
			p.pid, GoneLimit))
	}
	return errors.Join(err, p.release())
}

// release closes what the parent has of the process, last first.
func (p *Process) release() error {
	var errs []error
	for _, c := range slices.Backward(p.owned) {
		if err := c.Close(); !errors.Is(err, os.ErrClosed) { // CloseControl may have been first
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
