package foreign

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A command is a command that the agent was asked to start.
type command struct {
	home    *home
	args    []string
	started chan struct{} // closed when the agent reports the start or its failure
	exited  chan struct{}
	read    <-chan struct{} // closed when EOF of its output was read

	// The following fields are valid once started is closed.
	pid   int
	errno unix.Errno
	path  string
	// The following field is valid once exited is closed.
	status unix.WaitStatus
}

// receive handles a report of the agent. Reports arrive in order.
func (c *command) receive(r report) {
	switch {
	case r.Exited:
		c.status = r.Status
		close(c.exited)
	default:
		c.pid, c.errno, c.path = r.PID, r.Errno, r.Path
		close(c.started)
	}
}

// hasExited reports whether the command's process has exited.
func (c *command) hasExited() bool {
	select {
	case <-c.exited:
		return true
	default:
		return false
	}
}

// awaitOutput waits until the output of a command that has exited has been read to EOF. The
// command's child processes may keep the output open, so the wait has a limit.
func (c *command) awaitOutput() {
	const limit = 200 * time.Millisecond
	if c.hasExited() {
		select {
		case <-c.read:
		case <-time.After(limit):
		}
	}
}

// exitsSoon waits for the agent's report that the process, which is known to be gone, has exited.
// It returns false if no report comes.
func (c *command) exitsSoon() bool {
	const limit = time.Second
	select {
	case <-c.exited:
		return true
	case <-time.After(limit):
		return false
	}
}

// exitedWell reports whether the command exited with status 0.
func (c *command) exitedWell() bool { return c.hasExited() && c.status == 0 }

// failed reports whether the command exited with a status other than 0.
func (c *command) failed() bool { return c.hasExited() && c.status != 0 }

// await waits until the command has exited. It returns an error if the exit status is not want, or
// if the agent ends, the limit expires or the context ends first.
func (c *command) await(ctx context.Context, want int, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	select {
	case <-c.exited:
	case <-c.home.ended:
		return c.home.agentEnded()
	case <-ctx.Done():
		return fmt.Errorf("%s: still runs after %v: %w", c.name(), limit, context.Cause(ctx))
	}
	if c.status.Exited() && c.status.ExitStatus() == want {
		return nil
	}
	c.awaitOutput()
	return fmt.Errorf("%s: %s", c.name(), ending(c.status))
}

// name returns the command's words, shortened.
func (c *command) name() string {
	const limit = 100
	line := strings.Join(c.args, " ")
	if len(line) > limit {
		line = strings.ToValidUTF8(line[:limit], "") + "…"
	}
	return line
}

// ending describes how a process has ended.
func ending(s unix.WaitStatus) string {
	if !s.Signaled() {
		return fmt.Sprintf("exit status %d", s.ExitStatus())
	}
	text := "killed by " + unix.SignalName(s.Signal())
	if s.Signal() == unix.SIGKILL {
		text += ", which this program did not send; has the kernel run out of memory? see dmesg"
	}
	return text
}

// A startError is the error of a command that could not be started.
type startError struct {
	args  []string
	dir   string
	path  string // the file that errno is about
	errno unix.Errno
	user  string
}

func (e *startError) Error() string {
	switch {
	case e.path == e.dir:
		return fmt.Sprintf("working directory %s: %v; user %s must be able to enter it",
			e.dir, e.errno, e.user)
	case errors.Is(e.errno, unix.ENOENT) && e.path == e.args[0] && !strings.Contains(e.path, "/"):
		return fmt.Sprintf("%s: not found in PATH; install it, or give its path", e.path)
	case errors.Is(e.errno, unix.ENOENT) && e.path == e.args[0]:
		return fmt.Sprintf("%s: not found; relative paths start at the working directory, "+
			"then at that of the scenario", e.path)
	case errors.Is(e.errno, unix.ENOENT):
		return fmt.Sprintf("%s: its interpreter or loader is missing "+
			"(the first line of a script, or ldd)", e.path)
	case errors.Is(e.errno, unix.EACCES):
		return fmt.Sprintf("%s: user %s may not execute it or enter its directory: "+
			"chmod o+x, move it, or set the server's user to root", e.path, e.user)
	case errors.Is(e.errno, unix.ENOEXEC):
		return fmt.Sprintf("%s: neither a program for this machine nor a script "+
			"that begins with #!", e.path)
	}
	return fmt.Sprintf("%s: %v", e.path, e.errno)
}

func (e *startError) Unwrap() error { return e.errno }
