// Package child starts child processes, receives their messages, ends them, and measures their CPU
// time.
//
// A child may have two pipes. On control, its parent sends it lines of JSON. On events, the child
// answers in a form that the two agree on. The child's standard error goes to a memory file of
// StderrLimit bytes. Nothing has to read the file while the child runs, the file outlives the
// child, and a child that logs endlessly cannot fill more.
//
// Signals go through the pidfd that os.Process holds, so a signal never reaches another process
// that reuses the PID.
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

// The descriptors of a child that has both pipes. Options.Files follow them.
const (
	ControlFD = 3 // the child reads it
	EventsFD  = 4 // the child writes it
	FilesFD   = 5
)

// StderrLimit is the number of bytes of a child's standard error that are kept, from its start. A
// write beyond the limit fails with EPERM.
const StderrLimit = 64 << 10

// GoneLimit is the maximum time in which a process must disappear after SIGKILL.
const GoneLimit = 5 * time.Second

// Options describe a child to start.
type Options struct {
	// Command is the command to run, not yet started. Start sets its Stderr and ExtraFiles.
	Command *exec.Cmd
	// Start starts the command, for example on a thread in another namespace. Nil: Command.Start.
	Start func(*exec.Cmd) error
	// Control and Events determine which pipes the child gets, on its descriptors from 3 on.
	Control, Events bool
	// Files are passed after the pipes. The caller still owns them and may close them once Start
	// has returned.
	Files []*os.File
}

// A Process is the parent's side of a child. Its methods may be called from several goroutines. The
// caller must call Close.
type Process struct {
	handle  *os.Process
	pid     int
	control *os.File    // write end, or nil
	events  *os.File    // read end, or nil
	stderr  *os.File    // nil: the process writes elsewhere
	owned   []io.Closer // in order of creation; release closes them in reverse

	killed  atomic.Bool // set by Kill and Close
	exited  chan struct{}
	err     error         // valid once exited
	said    string        // the process's standard error; valid once exited
	cpu     time.Duration // valid once exited
	counted bool          // whether cpu is known
	reaping time.Duration // valid once exited

	endOnce sync.Once
	endErr  error
}

// Start starts a process. After an error no process runs and every descriptor that Start opened is
// closed. The caller ends the process with Close, even if it has exited by itself.
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
	if err != nil { // a sandbox without pidfds: a thread blocks in cmd.Wait instead
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

// Adopt returns the parent's side of a process that another process has started. pid is the number
// of that process in the caller's PID namespace.
//
// Adopt makes the pipes and calls give with the child's ends of control and events, followed by
// files. give passes them to the process and does not keep them. give must return
// os.ErrProcessDone if the process has exited, because another process may have reused pid.
//
// If by is not nil, it is the child that started the process, and the process writes to the same
// standard error file as by. The exit status of the process is unknown. After an error the process
// is killed and every descriptor that Adopt opened is closed. The caller ends the process with
// Close.
func Adopt(pid int, by *Process, files []*os.File, give func([]*os.File) error) (*Process, error) {
	handle, err := os.FindProcess(pid)
	if err != nil {
		return nil, err
	}
	abandon := func(err error) error {
		if !errors.Is(err, os.ErrProcessDone) {
			err = errors.Join(err, unlessDone(handle.Kill()))
		}
		return errors.Join(err, handle.Release())
	}
	var stderr *os.File
	if by != nil {
		fd, err := unix.FcntlInt(by.stderr.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return nil, abandon(fmt.Errorf("standard error: %w", err))
		}
		stderr = os.NewFile(uintptr(fd), "stderr")
	}
	var ended func() error
	p, err := connect(stderr, true, true, func(pipes []*os.File) (err error) {
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

// connect makes the pipes and calls begin with the child's ends. It takes ownership of stderr,
// which may be nil. After an error, it closes stderr and the pipes.
func connect(
	stderr *os.File, control, events bool, begin func([]*os.File) error,
) (p *Process, err error) {
	p = &Process{stderr: stderr, exited: make(chan struct{})}
	if stderr != nil {
		p.owned = append(p.owned, stderr)
	}
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

// wait waits until the process has exited, and records its standard error and its exit error.
func (p *Process) wait(ended func() error) {
	err := ended()
	p.said = p.read()
	if !p.killed.Load() {
		p.err = explain(err, p.said)
	}
	close(p.exited)
}

// watch returns a function that waits until the process has exited. The pidfd becomes readable then
// (pidfd_open(2)). Call the function once. Unlike wait(2), it blocks no thread.
func watch(handle *os.Process) (ended func() error, err error) {
	fd, dupErr := -1, error(nil)
	err = handle.WithHandle(func(pidfd uintptr) {
		fd, dupErr = unix.FcntlInt(pidfd, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err := errors.Join(err, dupErr); err != nil {
		return nil, fmt.Errorf("pidfd: %w", err)
	}
	err = unix.SetNonblock(fd, true) // required for os.File to use the poller
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

// PID returns the number of the process in the caller's PID namespace. The kernel may reuse it once
// the process has exited.
func (p *Process) PID() int { return p.pid }

// Send writes the values to the control pipe in one write, each as a line of JSON. It fails if
// there is no control pipe, or if the process has exited or has closed its end.
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

// CloseControl closes the control pipe: the process reads what was sent before, then EOF. It fails
// if there is no control pipe or if the pipe is already closed. Close closes the pipe, too.
func (p *Process) CloseControl() error { return p.control.Close() }

// Events returns the read end of the events pipe, or nil if there is none. It reaches end of file
// when the process exits. Only one goroutine at a time may read it. Close closes it.
func (p *Process) Events() *os.File { return p.events }

// AwaitReady waits for the first byte on the events pipe, with which the process reports that it is
// ready. It fails if the context ends or the process exits first. In the latter case, the error
// includes the standard error of the process.
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
		case <-time.After(time.Second): // the process has closed the pipe but still runs
		}
	}
	if err != nil {
		return fmt.Errorf("did not become ready: %w", err)
	}
	return nil
}

// Signal sends a signal. It returns os.ErrProcessDone if the process has exited.
func (p *Process) Signal(s os.Signal) error { return p.handle.Signal(s) }

// Kill sends SIGKILL and does not wait. It is no error if the process has already exited.
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

// Exited returns a channel that is closed when the process has exited, for any reason.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Wait waits until the process has exited and returns Err. It returns an error if the context ends
// first.
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

// Err returns the error that the process exited with, including its standard error. It wraps
// *exec.ExitError, except for an adopted process. Err is nil while the process runs, after exit
// status 0, and after Kill or Close.
func (p *Process) Err() error {
	select {
	case <-p.exited:
		return p.err
	default:
		return nil
	}
}

// CPU returns the user and system time of the process. It returns false until the process has
// exited, and always for an adopted process.
func (p *Process) CPU() (time.Duration, bool) {
	select {
	case <-p.exited:
		return p.cpu, p.counted
	default:
		return 0, false
	}
}

// Reaping returns the CPU time that this process spent in wait(2) for the child. It is 0 until the
// child has exited.
func (p *Process) Reaping() time.Duration {
	select {
	case <-p.exited:
		return p.reaping
	default:
		return 0
	}
}

// Stderr returns what the process wrote to its standard error, up to StderrLimit, with surrounding
// space trimmed. It is empty until the process has exited, and for an adopted process that no child
// started.
func (p *Process) Stderr() string {
	select {
	case <-p.exited:
		return p.said
	default:
		return ""
	}
}

// Explain returns err with Stderr appended, or nil if err is nil.
func (p *Process) Explain(err error) error { return explain(err, p.Stderr()) }

func explain(err error, said string) error {
	if err == nil || said == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, said)
}

// read returns what the process wrote to the standard error file, if there is one. The rest of the
// file is zeros.
func (p *Process) read() string {
	if p.stderr == nil {
		return ""
	}
	b := make([]byte, StderrLimit)
	n, _ := p.stderr.ReadAt(b, 0) // fails only after a Close that timed out
	return strings.TrimSpace(strings.TrimRight(string(b[:n]), "\x00"))
}

// Close kills the process, waits until it is gone, and closes its pipes and its standard error
// file. It fails if the process still exists after GoneLimit. Further calls do nothing and return
// the same error.
func (p *Process) Close() error {
	p.endOnce.Do(func() { p.endErr = p.end() })
	return p.endErr
}

func (p *Process) end() error {
	err := p.Kill()
	select {
	case <-p.exited:
	case <-time.After(GoneLimit):
		err = errors.Join(err, fmt.Errorf(
			"process %d still exists %v after SIGKILL; see /proc/%[1]d/stack", p.pid, GoneLimit))
	}
	return errors.Join(err, p.release())
}

// release closes the parent's descriptors for the process, in reverse order of creation.
func (p *Process) release() error {
	var errs []error
	for _, c := range slices.Backward(p.owned) {
		if err := c.Close(); !errors.Is(err, os.ErrClosed) { // CloseControl may have closed c
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
