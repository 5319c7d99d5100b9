package child

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"reuseport-bench/servers/sys"
)

// The test binary also runs as the children. Its first argument names one of these roles.
var roles = map[string]func() error{
	// refuse writes to standard error and exits with status 3.
	"refuse": func() error {
		fmt.Fprintln(os.Stderr, "no such configuration")
		os.Exit(3)
		return nil
	},
	"succeed": func() error { fmt.Fprintln(os.Stderr, "a warning"); return nil },
	// echo reports that it is ready and copies every line from control to events.
	"echo": func() error {
		events := os.NewFile(EventsFD, "events")
		if _, err := events.Write([]byte{'r'}); err != nil {
			return err
		}
		_, err := io.Copy(events, os.NewFile(ControlFD, "control"))
		return err
	},
	"hang": func() error { time.Sleep(time.Hour); return nil },
	// shout writes more than StderrLimit to standard error. It exits with status 0 if a write fails
	// with EPERM.
	"shout": func() error {
		line := []byte(strings.Repeat("x", 1023) + "\n")
		for range 2 * StderrLimit / len(line) {
			if _, err := os.Stderr.Write(line); errors.Is(err, unix.EPERM) {
				return nil
			}
		}
		return errors.New("no write failed")
	},
	// copy copies its file, which follows the pipes, to standard error.
	"copy": func() error { _, err := io.Copy(os.Stderr, os.NewFile(FilesFD, "file")); return err },
	// parent starts another process and writes its PID to the events pipe.
	"parent": func() error {
		c := exec.Command("/proc/self/exe", "hang")
		c.Stderr = os.Stderr
		if err := c.Start(); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(os.NewFile(EventsFD, "events"), c.Process.Pid); err != nil {
			return err
		}
		return c.Wait()
	},
}

func TestMain(m *testing.M) {
	// Without this variable, children built with -race would take a second to exit.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	if len(os.Args) == 2 && roles[os.Args[1]] != nil {
		if err := roles[os.Args[1]](); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// started starts a child in a role. When the test ends it closes the child and checks that no
// descriptor is left open.
func started(t *testing.T, role string, o Options) *Process {
	t.Helper()
	before := descriptors(t)
	o.Command = exec.Command("/proc/self/exe", role)
	p, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if after := descriptors(t); after != before {
			t.Errorf("%d descriptors are open, want %d as before", after, before)
		}
	})
	return p
}

// descriptors returns the number of descriptors that the test process has open. It omits those of
// the Go runtime's poller, which are opened on first use.
func descriptors(t *testing.T) (n int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		link, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && link != "anon_inode:[eventpoll]" && link != "anon_inode:[eventfd]" {
			n++
		}
	}
	return n
}

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestExitsByItself(t *testing.T) {
	p := started(t, "refuse", Options{})
	err := p.Wait(soon(t))
	var exit *exec.ExitError
	const want = "exit status 3: no such configuration"
	if !errors.As(err, &exit) || exit.ExitCode() != 3 || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	if p.Err() != err || p.Stderr() != "no such configuration" {
		t.Errorf("after exit: error %v, standard error %q", p.Err(), p.Stderr())
	}
	if cpu, ok := p.CPU(); !ok || cpu <= 0 {
		t.Errorf("CPU time %v, known %v", cpu, ok)
	}
	if err := p.Signal(unix.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("signal after exit: error %v, want ErrProcessDone", err)
	}
	if err := p.Kill(); err != nil {
		t.Errorf("kill after exit: %v", err)
	}
}

func TestSucceeds(t *testing.T) {
	p := started(t, "succeed", Options{})
	if err := p.Wait(soon(t)); err != nil {
		t.Error(err)
	}
	if err := p.Explain(errors.New("too early")); err.Error() != "too early: a warning" {
		t.Errorf("error %v", err)
	}
	if err := p.Explain(nil); err != nil {
		t.Errorf("Explain(nil) = %v", err)
	}
}

func TestKill(t *testing.T) {
	p := started(t, "hang", Options{})
	if cpu, ok := p.CPU(); ok || p.Err() != nil {
		t.Errorf("while it runs: CPU time %v, error %v", cpu, p.Err())
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(soon(t)); err != nil {
		t.Errorf("after Kill: error %v, want nil", err)
	}
}

// TestKilledByAnother checks that a SIGKILL that another process sends is reported as an error.
func TestKilledByAnother(t *testing.T) {
	p := started(t, "hang", Options{})
	if err := syscall.Kill(p.PID(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(soon(t)); err == nil || err.Error() != "signal: killed" {
		t.Errorf("error %v", err)
	}
}

// TestKillStopped checks that Kill ends a process that SIGSTOP has suspended.
func TestKillStopped(t *testing.T) {
	p := started(t, "echo", Options{Control: true, Events: true})
	if err := errors.Join(p.AwaitReady(soon(t)), p.Signal(unix.SIGSTOP)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(p.Kill(), p.Wait(soon(t))); err != nil {
		t.Error(err)
	}
}

// TestNoThreadWaits checks that waiting for a process blocks no thread.
func TestNoThreadWaits(t *testing.T) {
	const n = 32
	threads := func() int {
		entries, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before := threads()
	for range n {
		p := started(t, "echo", Options{Control: true, Events: true})
		if err := p.AwaitReady(soon(t)); err != nil {
			t.Fatal(err)
		}
	}
	if more := threads() - before; more >= n/2 {
		t.Errorf("%d more threads for %d processes", more, n)
	}
}

func TestStderrLimit(t *testing.T) {
	p := started(t, "shout", Options{})
	if err := p.Wait(soon(t)); err != nil {
		t.Fatal(err)
	}
	if got, want := len(p.Stderr()), StderrLimit-1; got != want { // the final newline is trimmed
		t.Errorf("kept %d bytes of standard error, want %d", got, want)
	}
}

func TestPipes(t *testing.T) {
	p := started(t, "echo", Options{Control: true, Events: true})
	if err := p.AwaitReady(soon(t)); err != nil {
		t.Fatal(err)
	}
	if err := p.Send(map[string]int{"a": 1}, "b"); err != nil {
		t.Fatal(err)
	}
	if err := p.CloseControl(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(p.Events())
	if want := "{\"a\":1}\n\"b\"\n"; string(got) != want || err != nil {
		t.Errorf("events are %q, error %v; want %q", got, err, want)
	}
	if err := p.Wait(soon(t)); err != nil {
		t.Error(err)
	}
	if err := p.Send("too late"); !errors.Is(err, os.ErrClosed) {
		t.Errorf("send after CloseControl: error %v, want ErrClosed", err)
	}
}

func TestFiles(t *testing.T) {
	f, err := sys.MemoryFile("text", "from the file")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	p := started(t, "copy", Options{Control: true, Events: true, Files: []*os.File{f}})
	if err := p.Wait(soon(t)); err != nil {
		t.Fatal(err)
	}
	if p.Stderr() != "from the file" {
		t.Errorf("the child read %q", p.Stderr())
	}
}

func TestNotReady(t *testing.T) {
	t.Run("ended", func(t *testing.T) {
		p := started(t, "refuse", Options{Events: true})
		const want = "did not become ready: exit status 3: no such configuration"
		if err := p.AwaitReady(soon(t)); err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	})
	t.Run("context", func(t *testing.T) {
		p := started(t, "hang", Options{Events: true})
		cause := errors.New("interrupted")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(20*time.Millisecond, func() { cancel(cause) })
		if err := p.AwaitReady(ctx); !errors.Is(err, cause) {
			t.Errorf("error %v, want the context's cause", err)
		}
	})
}

// TestWaitEnds checks that the end of the context ends the wait, not the process.
func TestWaitEnds(t *testing.T) {
	p := started(t, "hang", Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := p.Wait(ctx)
	pid := fmt.Sprint(p.PID())
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), pid) {
		t.Errorf("error %v, want DeadlineExceeded with PID %s", err, pid)
	}
	select {
	case <-p.Exited():
		t.Error("the process has exited")
	default:
	}
	if err := errors.Join(p.Kill(), p.Wait(soon(t))); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(ctx); err != nil {
		t.Errorf("wait for an exited process with an ended context: %v", err)
	}
}

func TestStartFails(t *testing.T) {
	for _, pipes := range []bool{false, true} {
		before := descriptors(t)
		command := exec.Command("/nonexistent/server")
		p, err := Start(Options{Command: command, Control: pipes, Events: pipes})
		if p != nil || !errors.Is(err, os.ErrNotExist) {
			t.Errorf("got process %v, error %v", p, err)
		}
		if after := descriptors(t); after != before {
			t.Errorf("pipes %v: %d descriptors are open, want %d as before", pipes, after, before)
		}
	}
}

func TestCloseTwice(t *testing.T) {
	p := started(t, "echo", Options{Control: true, Events: true})
	for range 2 {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	select {
	case <-p.Exited():
	default:
		t.Error("the process has not exited")
	}
}

// adopted starts a process through another child and adopts it. It returns the adopted process and
// the descriptors that give passed to it.
func adopted(t *testing.T) (p *Process, control, events *os.File) {
	t.Helper()
	by := started(t, "parent", Options{Control: true, Events: true})
	line, err := bufio.NewReader(by.Events()).ReadString('\n')
	var pid int
	if _, scanErr := fmt.Sscan(line, &pid); err != nil || scanErr != nil {
		t.Fatal(line, err, scanErr)
	}
	p, err = Adopt(pid, by, nil, func(all []*os.File) error {
		// Adopt closes these files when give returns, so keep duplicates, as the process would.
		for i, f := range []**os.File{&control, &events} {
			fd, err := unix.FcntlInt(all[i].Fd(), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				return err
			}
			*f = os.NewFile(uintptr(fd), all[i].Name())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(p.Close(), control.Close(), events.Close()); err != nil {
			t.Error(err)
		}
	})
	return p, control, events
}

func TestAdopt(t *testing.T) {
	p, control, events := adopted(t)
	if err := p.Send("hello"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(control).ReadString('\n'); line != "\"hello\"\n" || err != nil {
		t.Errorf("the process received %q, error %v", line, err)
	}
	if _, err := events.Write([]byte{'r'}); err != nil {
		t.Fatal(err)
	}
	if err := p.AwaitReady(soon(t)); err != nil {
		t.Error(err)
	}
	if err := syscall.Kill(p.PID(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(soon(t)); err != nil {
		t.Errorf("wait: error %v, want nil: the exit status is unknown", err)
	}
	if cpu, ok := p.CPU(); ok {
		t.Errorf("CPU time %v is known, but only its parent can know it", cpu)
	}
	if err := p.Kill(); err != nil {
		t.Errorf("kill: %v", err)
	}
}

func TestKillAdopted(t *testing.T) {
	p, _, _ := adopted(t)
	if err := errors.Join(p.Signal(unix.SIGSTOP), p.Kill(), p.Wait(soon(t))); err != nil {
		t.Error(err)
	}
}

// TestAdoptGone checks that no process is killed if the one to adopt has exited: another process
// may have its PID.
func TestAdoptGone(t *testing.T) {
	other := started(t, "hang", Options{})
	p, err := Adopt(other.PID(), nil, nil, func([]*os.File) error { return os.ErrProcessDone })
	if p != nil || !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("got process %v, error %v", p, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := other.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("wait: %v, want a process that still runs", err)
	}
}

// TestAdoptFails checks that a process is killed if it cannot be given its pipes.
func TestAdoptFails(t *testing.T) {
	by := started(t, "parent", Options{Events: true, Control: true})
	line, err := bufio.NewReader(by.Events()).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(line, &pid); err != nil {
		t.Fatal(err)
	}
	before := descriptors(t)
	cause := errors.New("it hung up")
	p, err := Adopt(pid, by, nil, func([]*os.File) error { return cause })
	if p != nil || !errors.Is(err, cause) {
		t.Errorf("got process %v, error %v", p, err)
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors are open, want %d as before", after, before)
	}
	if err := by.Wait(soon(t)); err == nil || !strings.Contains(err.Error(), "signal: killed") {
		t.Errorf("the process was not killed; its parent exited with %v", err)
	}
}
