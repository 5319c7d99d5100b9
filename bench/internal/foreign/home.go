package foreign

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/child"
)

// A home is the mount namespace in which the server's processes run. The home's agent starts them.
// The methods may be called from several goroutines.
type home struct {
	account account
	limits  Limits
	agent   *child.Process
	agentID int // the agent's PID in the lab
	mounts  string
	conn    *net.UnixConn
	proc    string   // the lab's /proc, as this program reaches it
	root    *os.File // the home's root directory

	mu       sync.Mutex
	commands map[int]*command // commands that have not exited, by request.ID
	next     int
	ended    chan struct{} // closed when the agent can send no more reports
}

// agentLimit is the maximum time that the start of the agent, or of a command, may take.
const agentLimit = 10 * time.Second

// newHome makes a home. The caller closes it.
func newHome(ctx context.Context, cfg Config, env Env) (_ *home, err error) {
	h := &home{commands: map[int]*command{}, ended: make(chan struct{})}
	if h.account, err = findAccount(cfg.User); err != nil {
		return nil, err
	}
	if h.limits, err = cfg.Limits.withDefaults(); err != nil {
		return nil, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socketpair: %w", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "requests")
	h.conn, err = fileConn(os.NewFile(uintptr(pair[0]), "requests"))
	if err == nil {
		go h.readReports()
		err = h.startAgent(ctx, env, theirs)
	}
	if err := errors.Join(err, theirs.Close()); err != nil {
		return nil, errors.Join(err, h.close())
	}
	return h, nil
}

func (h *home) startAgent(ctx context.Context, env Env, requests *os.File) (err error) {
	cmd := env.Agent()
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	h.agent, err = child.Start(child.Options{
		Command: cmd, Start: func(c *exec.Cmd) error { return env.Start(c) },
		Control: true, Events: true, Files: []*os.File{requests},
	})
	if err != nil {
		return err
	}
	err = h.agent.Send(agentConfig{
		UID: h.account.uid, GID: h.account.gid, Nested: h.account.nested,
		Files: h.limits.Files, Memory: h.limits.Memory,
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, agentLimit)
	defer cancel()
	if err := h.agent.AwaitReady(ctx); err != nil {
		return err
	}
	root := fmt.Sprintf("/proc/%d/root", h.agent.PID())
	if h.root, err = os.OpenFile(root, unix.O_PATH|unix.O_DIRECTORY, 0); err != nil {
		return err
	}
	h.proc = root + "/proc"
	if h.agentID, err = innermostPID(h.agent.PID()); err != nil {
		return err
	}
	h.mounts, err = os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", h.agent.PID()))
	return err
}

// innermostPID returns the PID of a process in its own PID namespace (NSpid in proc_pid_status(5)).
func innermostPID(pid int) (inner int, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if numbers, found := strings.CutPrefix(line, "NSpid:"); found {
			fields := strings.Fields(numbers)
			_, err := fmt.Sscan(fields[len(fields)-1], &inner)
			return inner, err
		}
	}
	return 0, fmt.Errorf("process %d: no NSpid in its status", pid)
}

func (l Limits) withDefaults() (Limits, error) {
	if l.Files == 0 {
		var hard unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &hard); err != nil {
			return l, fmt.Errorf("RLIMIT_NOFILE: %w", err)
		}
		l.Files = min(hard.Max, 65_536)
	}
	if l.Memory == 0 {
		var info unix.Sysinfo_t
		if err := unix.Sysinfo(&info); err != nil {
			return l, fmt.Errorf("sysinfo: %w", err)
		}
		l.Memory = info.Totalram * uint64(info.Unit) / 2
	}
	return l, nil
}

// readReports reads the agent's reports, and passes each to the command that it is about.
func (h *home) readReports() {
	defer close(h.ended)
	buffer := make([]byte, maxMessage)
	for {
		var r report
		files, err := receive(h.conn, buffer, &r)
		if err != nil {
			return
		}
		_ = closeAll(files)
		h.mu.Lock()
		c := h.commands[r.ID]
		if r.Exited || r.Errno != 0 {
			delete(h.commands, r.ID)
		}
		h.mu.Unlock()
		if c != nil {
			c.receive(r)
		}
	}
}

// A launch describes a command to start.
type launch struct {
	args    []string
	env     environment
	dir     string
	sockets []*os.File // listening sockets to pass
	outputs []*output  // receive what the command writes; the last one is the server's
}

// start starts a command. If the command cannot be started, the error is a *startError.
func (h *home) start(ctx context.Context, l launch) (*command, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	c := &command{
		args:    l.args,
		started: make(chan struct{}), exited: make(chan struct{}),
	}
	h.mu.Lock()
	h.next++
	id := h.next
	h.commands[id] = c
	h.mu.Unlock()
	req := request{ID: id, Args: l.args, Env: l.env.list(), Dir: l.dir, Passes: len(l.sockets) > 0}
	err = send(h.conn, req, append([]*os.File{w}, l.sockets...)...)
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	c.read = follow(r, l.outputs)
	ctx, cancel := context.WithTimeout(ctx, agentLimit)
	defer cancel()
	select {
	case <-c.started:
	case <-h.ended:
		return nil, h.agentEnded()
	case <-ctx.Done():
		return nil, fmt.Errorf("start %s: %w", l.args[0], context.Cause(ctx))
	}
	if c.errno != 0 {
		return nil, &startError{args: l.args, dir: l.dir, path: c.path, errno: c.errno,
			user: h.account.name}
	}
	return c, nil
}

// agentEnded returns the error of a home whose agent has exited.
func (h *home) agentEnded() error {
	ended := errors.New("the process that starts the server's commands has ended; " +
		"has the server killed it?")
	return errors.Join(ended, h.agent.Err())
}

// open opens a file of the home. Relative paths start at the home directory. Symbolic links are
// resolved as the server would resolve them (openat2(2)).
func (h *home) open(path string, flags int, mode uint32) (*os.File, error) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(homeDirectory, path)
	}
	fd, err := unix.Openat2(int(h.root.Fd()), path, &unix.OpenHow{
		Flags: uint64(flags | unix.O_CLOEXEC), Mode: uint64(mode),
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// read reads a file of the home, at most its last limit bytes.
func (h *home) read(path string, limit int64) ([]byte, error) {
	f, err := h.open(path, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, cmp.Or(err, fmt.Errorf("%s: not a regular file", path))
	} else if info.Size() > limit {
		if _, err := f.Seek(-limit, io.SeekEnd); err != nil {
			return nil, err
		}
	}
	return io.ReadAll(io.LimitReader(f, limit))
}

// path returns the path by which this program reaches a name below the home directory.
func (h *home) path(name string) string {
	return filepath.Join(filepath.Dir(h.proc), homeDirectory, name)
}

// write writes a file below the home directory. The file belongs to the server's user.
func (h *home) write(name string, text []byte, mode os.FileMode) error {
	path := h.path(name)
	if strings.HasSuffix(name, "/") {
		return h.makeDirectories(name)
	}
	if err := h.makeDirectories(filepath.Dir(name)); err != nil {
		return err
	}
	// Write a new file and rename it: a running program's file cannot be overwritten, and a process
	// that has the old file open keeps reading that one.
	fresh := path + ".new"
	// A child process that is forked while the file is open for writing inherits the descriptor and
	// keeps it until it calls execve(2). Until then, nobody could execute the file (ETXTBSY).
	syscall.ForkLock.RLock()
	err := os.WriteFile(fresh, text, mode)
	syscall.ForkLock.RUnlock()
	if err != nil {
		return err
	}
	return errors.Join(os.Chmod(fresh, mode), h.own(fresh), os.Rename(fresh, path))
}

// makeDirectories makes a directory below the home directory, and its parents.
func (h *home) makeDirectories(name string) error {
	made := ""
	for _, part := range strings.Split(filepath.Clean(name), "/") {
		made = filepath.Join(made, part)
		err := os.Mkdir(h.path(made), 0o755)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err := errors.Join(err, h.own(h.path(made))); err != nil {
			return err
		}
	}
	return nil
}

func (h *home) own(path string) error {
	if h.account.nested {
		return nil
	}
	return os.Lchown(path, h.account.uid, h.account.gid)
}

// close ends the agent, but not the commands. A second call does nothing.
func (h *home) close() error {
	var errs []error
	if h.agent != nil {
		errs = append(errs, h.agent.Close())
	}
	if h.conn != nil {
		errs = append(errs, ignoreClosed(h.conn.Close()))
		<-h.ended
	}
	if h.root != nil {
		errs = append(errs, ignoreClosed(h.root.Close()))
	}
	return errors.Join(errs...)
}

func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
