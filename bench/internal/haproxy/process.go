package haproxy

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"reuseport-bench/servers/sys"
)

const (
	answerLimit = 10 * time.Second // from a command to its answer; the first comes when HAProxy has started
	goneLimit   = 5 * time.Second  // from SIGKILL to gone
)

// Env is where a HAProxy runs.
type Env struct {
	// Start starts a command in the network namespace, so that it dies with the caller. It sets SysProcAttr.
	Start func(*exec.Cmd) error
	// Do runs f on a thread in that network namespace.
	Do func(f func() error) error
}

// A Process is one running HAProxy. Its methods may be called from several goroutines.
type Process struct {
	env     Env
	cmd     *exec.Cmd
	runtime *net.UnixAddr // abstract, so of the network namespace (unix(7))
	stderr  bytes.Buffer  // cmd's until exited
	closing atomic.Bool
	exited  chan struct{}
	err     error // to be read after exited
}

// Start starts a HAProxy and returns when its frontend accepts connections and its runtime API answers, within ten
// seconds. An error carries what HAProxy has written. The caller ends the process with Close.
func Start(ctx context.Context, cfg Config, env Env) (*Process, error) {
	p := &Process{env: env, exited: make(chan struct{})}
	if err := p.launch(cfg); err != nil {
		return nil, fmt.Errorf("haproxy: %w", err)
	}
	// All listeners are bound before anything is answered.
	if _, err := p.command(ctx, "show version"); err != nil {
		select { // one that refuses its configuration is about to end, and says why
		case <-p.exited:
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
		if closeErr := p.Close(); closeErr != nil {
			return nil, errors.Join(err, closeErr)
		}
		return nil, cmp.Or(p.err, p.told(fmt.Errorf("haproxy: not ready: %w", err)))
	}
	return p, nil
}

// launch starts the process and closes what only the child needs.
func (p *Process) launch(cfg Config) error {
	path, err := find()
	if err != nil {
		return err
	}
	text, err := cfg.text()
	if err != nil {
		return err
	}
	config, err := sys.MemoryFile("haproxy.cfg", text)
	if err != nil {
		return err
	}
	defer config.Close()
	socket, err := p.listen()
	if err != nil {
		return fmt.Errorf("runtime API: %w", err)
	}
	defer socket.Close() // then HAProxy's is the only one, and a call is refused when it has died
	// -db: one process, in the foreground (management manual 3).
	p.cmd = exec.Command(path, "-db", "-f", fmt.Sprintf("/dev/fd/%d", configFD))
	p.cmd.ExtraFiles = []*os.File{config, socket} // configFD, runtimeFD
	p.cmd.Stderr = &p.stderr
	p.cmd.WaitDelay = time.Second
	if err := p.env.Start(p.cmd); err != nil {
		return err
	}
	go p.wait()
	return nil
}

// listen makes the socket of the runtime API. It has no name but the one the kernel chooses (unix(7), "autobind").
func (p *Process) listen() (*os.File, error) {
	var l *net.UnixListener
	err := p.env.Do(func() (err error) {
		l, err = net.ListenUnix("unix", &net.UnixAddr{Net: "unix"})
		return err
	})
	if err != nil {
		return nil, err
	}
	defer l.Close()
	p.runtime = l.Addr().(*net.UnixAddr)
	return l.File()
}

// wait owns the process's end.
func (p *Process) wait() {
	err := p.cmd.Wait()
	if !p.closing.Load() {
		p.err = p.told(fmt.Errorf("haproxy: ended: %w", cmp.Or(err, errors.New("exit status 0"))))
	}
	close(p.exited)
}

// told adds what the ended process has written.
func (p *Process) told(err error) error {
	if s := strings.TrimSpace(p.stderr.String()); s != "" {
		return fmt.Errorf("%w: %s", err, s)
	}
	return err
}

// PID is the number of the process, as the caller's PID namespace has it.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Exited is closed when the process has ended, whatever the reason.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Err says why the process has ended. It is nil while it runs, and if it was Close that ended it.
func (p *Process) Err() error {
	select {
	case <-p.exited:
		return p.err
	default:
		return nil
	}
}

// CPU is the user and system time of a process that has ended.
func (p *Process) CPU() time.Duration {
	<-p.exited
	return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
}

// Close kills the process and waits until it is gone. Calling it again does nothing.
func (p *Process) Close() error {
	p.closing.Store(true)
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("haproxy: kill: %w", err)
	}
	select {
	case <-p.exited:
		return nil
	case <-time.After(goneLimit):
		return fmt.Errorf("haproxy: process %d is still there %v after SIGKILL; see /proc/%[1]d/stack", p.PID(), goneLimit)
	}
}

// find looks for haproxy on PATH, and where distributions put what they think only root wants.
func find() (string, error) {
	for _, name := range []string{"haproxy", "/usr/local/sbin/haproxy", "/usr/sbin/haproxy", "/sbin/haproxy"} {
		if path, err := exec.LookPath(name); err == nil {
			return filepath.Abs(path)
		}
	}
	return "", fmt.Errorf("haproxy: %w; apt-get install haproxy", exec.ErrNotFound)
}

// versionLine is the first line of "haproxy -v"; before 2.4 the name had a hyphen.
var versionLine = regexp.MustCompile(`^HA-?Proxy version (\S+)`)

// Version is that of the haproxy that Start starts, "2.6.12-1+deb12u4" for example.
func Version(ctx context.Context) (string, error) {
	path, err := find()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "-v").Output()
	if err != nil {
		return "", fmt.Errorf("%s -v: %w", path, err)
	}
	m := versionLine.FindSubmatch(out)
	if m == nil {
		return "", fmt.Errorf("%s -v: no version in %q", path, out)
	}
	return string(m[1]), nil
}
