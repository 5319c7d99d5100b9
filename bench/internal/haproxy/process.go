package haproxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"reuseport-bench/servers/child"
	"reuseport-bench/servers/sys"
)

// answerLimit bounds the time from a command to its answer. For the first command, this includes
// the start of HAProxy.
const answerLimit = 10 * time.Second

// Env is the environment in which a HAProxy runs.
type Env struct {
	// Start starts a command in the network namespace, so that it dies with the caller. It sets
	// SysProcAttr.
	Start func(*exec.Cmd) error
	// Do runs f on a thread in that network namespace.
	Do func(f func() error) error
}

// A Process is a running HAProxy. Its methods may be called by several goroutines.
type Process struct {
	env     Env
	process *child.Process
	runtime *net.UnixAddr // abstract, so it belongs to the network namespace (unix(7))
	closing atomic.Bool   // Close is ending the process
}

// Start starts a HAProxy and returns when its frontend accepts connections and its runtime API
// answers. It waits at most ten seconds. An error includes HAProxy's output. The caller ends the
// process with Close.
func Start(ctx context.Context, cfg Config, env Env) (*Process, error) {
	p := &Process{env: env}
	if err := p.launch(cfg); err != nil {
		return nil, fmt.Errorf("haproxy: %w", err)
	}
	// HAProxy binds all listeners before it answers a command.
	if _, err := p.command(ctx, "show version"); err != nil {
		select { // if the configuration is wrong, HAProxy soon exits with a message
		case <-p.Exited():
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
		ended := p.Err()
		if closeErr := p.Close(); closeErr != nil {
			return nil, errors.Join(err, closeErr)
		}
		return nil, cmp.Or(ended, p.process.Explain(fmt.Errorf("haproxy: not ready: %w", err)))
	}
	return p, nil
}

// launch starts the process and closes the descriptors that only the child needs.
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
	defer socket.Close() // only HAProxy keeps it, so connections are refused once HAProxy is dead
	// -db: one process, in the foreground (management manual 3).
	p.process, err = child.Start(child.Options{
		Command: exec.Command(path, "-db", "-f", fmt.Sprintf("/dev/fd/%d", configFD)),
		Start:   p.env.Start,
		Files:   []*os.File{config, socket}, // configFD, runtimeFD
	})
	return err
}

// listen makes the socket of the runtime API. The kernel chooses its name (unix(7), "autobind").
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

// PID returns the process ID in the caller's PID namespace.
func (p *Process) PID() int { return p.process.PID() }

// Exited returns a channel that is closed when the process has ended for any reason.
func (p *Process) Exited() <-chan struct{} { return p.process.Exited() }

// Err returns the reason why the process has ended. It returns nil while the process runs, and if
// Close ended the process.
func (p *Process) Err() error {
	select {
	case <-p.Exited():
	default:
		return nil
	}
	switch err := p.process.Err(); {
	case err != nil:
		return fmt.Errorf("haproxy: ended: %w", err)
	case p.closing.Load():
		return nil
	}
	return p.process.Explain(errors.New("haproxy: ended: exit status 0"))
}

// CPU waits for the process to end and returns its user and system time.
func (p *Process) CPU() time.Duration {
	<-p.Exited()
	cpu, _ := p.process.CPU()
	return cpu
}

// Close kills the process and waits until it is gone. Calling it again does nothing.
func (p *Process) Close() error {
	select {
	case <-p.Exited(): // it ended without Close; Err returns the reason
	default:
		p.closing.Store(true)
	}
	if err := p.process.Close(); err != nil {
		return fmt.Errorf("haproxy: %w", err)
	}
	return nil
}

// find looks for haproxy on PATH and in the directories where distributions put it, which are often
// only on root's PATH.
func find() (string, error) {
	for _, name := range []string{
		"haproxy", "/usr/local/sbin/haproxy", "/usr/sbin/haproxy", "/sbin/haproxy",
	} {
		if path, err := exec.LookPath(name); err == nil {
			return filepath.Abs(path)
		}
	}
	return "", fmt.Errorf("haproxy: %w: install it, for example with apt-get install haproxy",
		exec.ErrNotFound)
}

// versionLine is the first line of "haproxy -v"; before 2.4 the name had a hyphen.
var versionLine = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^HA-?Proxy version (\S+)`)
})

// Version returns the version of the haproxy that Start starts, "2.6.12-1+deb12u4" for example.
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
	m := versionLine().FindSubmatch(out)
	if m == nil {
		return "", fmt.Errorf("%s -v: no version in %q", path, out)
	}
	return string(m[1]), nil
}
