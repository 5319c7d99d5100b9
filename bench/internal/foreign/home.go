package foreign

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/child"
	"reuseport-bench/servers/clock"
)

// A home is the mount namespace in which the server's processes run. The home's agent starts them,
// and they are its descendants. The methods may be called from several goroutines.
type home struct {
	account account
	limits  Limits
	agent   *child.Process
	agentID int // the agent's PID in the lab
	conn    *net.UnixConn
	root    *os.File // the home's root directory
	procDir *os.File // the lab's /proc
	proc    string   // a path to procDir

	mu       sync.Mutex
	commands map[int]*command          // commands that have not exited, by request.ID
	watches  map[int]chan<- []*os.File // requests with Watch that have no report yet
	next     int
	ended    chan struct{} // closed when the agent can send no more reports
	passed   bool          // the agent has passed a signal to the main process
	failure  string        // why the agent could not make the home

	adopted    bool                // others have started the agent
	terminated func(clock.Instant) // Env.Terminated
}

// agentLimit is the maximum time that the start of the agent, or of a command, may take.
const agentLimit = 10 * time.Second

// newHome makes a home. The caller closes it.
func newHome(ctx context.Context, cfg Config, env Env) (_ *home, err error) {
	h := &home{
		adopted: env.Adopted != nil, terminated: env.Terminated,
		commands: map[int]*command{}, watches: map[int]chan<- []*os.File{},
		ended: make(chan struct{}),
	}
	h.account, err = findAccount(cfg.User)
	if err == nil {
		h.limits, err = cfg.Limits.withDefaults()
	}
	switch {
	case err == nil && h.adopted:
		err = h.takeOver(ctx, env.Adopted)
	case err == nil:
		err = h.startOwn(ctx, env)
	case h.adopted:
		err = errors.Join(err, env.Adopted.Close())
	}
	if err != nil {
		return nil, errors.Join(err, h.close())
	}
	return h, nil
}

// startOwn starts an agent.
func (h *home) startOwn(ctx context.Context, env Env) error {
	conn, theirs, err := newChannel()
	if err != nil {
		return err
	}
	h.conn = conn
	go h.readReports()
	return errors.Join(h.startAgent(ctx, env, theirs), theirs.Close())
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
	return h.configureAgent(ctx)
}

// configureAgent tells the agent to make the home, and opens the home's directories.
func (h *home) configureAgent(ctx context.Context) error {
	err := h.agent.Send(agentConfig{
		UID: h.account.uid, GID: h.account.gid, Nested: h.account.nested,
		Limits: h.limits,
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
	if h.procDir, err = os.OpenFile(root+"/proc", unix.O_PATH|unix.O_DIRECTORY, 0); err != nil {
		return err
	}
	h.proc = pathOf(h.procDir)
	h.agentID, err = innermostPID(h.agent.PID())
	return err
}

// pathOf returns a path to an open directory. Unlike a path with the PID of a process, it cannot
// come to lead to something else while the directory is open.
func pathOf(dir *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", dir.Fd()) }

// path returns the path by which this program reaches an absolute path of the home.
func (h *home) path(path string) string { return pathOf(h.root) + path }

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
	var hard unix.Rlimit
	if l.Files == 0 {
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &hard); err != nil {
			return l, fmt.Errorf("RLIMIT_NOFILE: %w", err)
		}
		l.Files = min(hard.Max, 65_536)
	}
	if l.Processes == 0 {
		if err := unix.Getrlimit(unix.RLIMIT_NPROC, &hard); err != nil {
			return l, fmt.Errorf("RLIMIT_NPROC: %w", err)
		}
		threads, threadsErr := kernelLimit("threads-max")
		pids, pidsErr := kernelLimit("pid_max")
		if err := errors.Join(threadsErr, pidsErr); err != nil {
			return l, err
		}
		l.Processes = min(hard.Max, max(4096, min(threads, pids)/4))
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

// kernelLimit reads a number from /proc/sys/kernel (proc_sys_kernel(5)).
func kernelLimit(name string) (n uint64, err error) {
	text, err := os.ReadFile("/proc/sys/kernel/" + name)
	if err != nil {
		return 0, err
	}
	if n, err = strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64); err != nil {
		return 0, fmt.Errorf("kernel.%s: %w", name, err)
	}
	return n, nil
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
		if r.Term != 0 {
			h.noteTerm(r)
			continue
		}
		h.mu.Lock()
		h.failure = cmp.Or(h.failure, r.Failure)
		c, w := h.commands[r.ID], h.watches[r.ID]
		delete(h.watches, r.ID)
		if r.Exited || r.Errno != 0 {
			delete(h.commands, r.ID)
		}
		h.mu.Unlock()
		if w != nil {
			w <- files
			continue
		}
		_ = closeAll(files)
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
		home: h, args: l.args,
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
		h.mu.Lock()
		delete(h.commands, id)
		h.mu.Unlock()
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

// pidfds returns a descriptor of each of the processes that still exists. It returns fewer if there
// are too many of them, or if the kernel or the agent's limits do not permit it. The caller closes
// the descriptors.
func (h *home) pidfds(all []Process) []*os.File {
	reply := make(chan []*os.File, 1)
	var r request
	for _, p := range all[:min(len(all), maxFiles)] {
		r.Watch = append(r.Watch, p.PID)
	}
	h.mu.Lock()
	h.next++
	r.ID = h.next
	h.watches[r.ID] = reply
	h.mu.Unlock()
	if len(all) > 0 && send(h.conn, r) == nil {
		select {
		case files := <-reply:
			return files
		case <-h.ended:
		case <-time.After(agentLimit):
		}
	}
	h.mu.Lock()
	delete(h.watches, r.ID)
	h.mu.Unlock()
	select {
	case files := <-reply:
		return files
	default:
		return nil
	}
}

// awaitGone waits until the processes have exited. It returns errLimit if the limit expires first.
func (h *home) awaitGone(ctx context.Context, all []Process, limit time.Duration) error {
	end := time.Now().Add(limit)
	files := h.pidfds(living(all))
	defer func() { _ = closeAll(files) }()
	var fds []unix.PollFd
	for _, f := range files {
		fds = append(fds, unix.PollFd{Fd: int32(f.Fd()), Events: unix.POLLIN})
	}
	for {
		left := time.Until(end)
		switch {
		case len(living(all)) == 0:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case left <= 0:
			return errLimit
		}
		wait := min(left, 50*time.Millisecond) // how often it checks whether ctx has ended
		if len(fds) == 0 {
			wait = min(left, goneEvery) // for processes without a descriptor
		}
		milliseconds := int((wait + time.Millisecond - 1) / time.Millisecond)
		if _, err := unix.Poll(fds, milliseconds); err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		fds = slices.DeleteFunc(fds, func(fd unix.PollFd) bool { return fd.Revents != 0 })
	}
}

// errAgent is the error of a home whose agent has exited.
var errAgent = errors.New("not the server, but this program's process that starts the server's " +
	"commands has ended; was it killed by the kernel, which had run out of memory (see dmesg), " +
	"by an administrator, or by the server?")

// agentEnded returns the error of a home whose agent has exited or is exiting.
func (h *home) agentEnded() error {
	const limit = time.Second // for the rest of its exit
	select {
	case <-h.agent.Exited():
	case <-time.After(limit):
	}
	if err := h.agent.Err(); err != nil {
		return fmt.Errorf("%w (%w)", errAgent, err)
	}
	return errAgent
}

// lost returns an error if the agent has exited. Then the home cannot be used.
func (h *home) lost() error {
	select {
	case <-h.ended:
		return h.agentEnded()
	default:
		return nil
	}
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

// read reads a file of the home, at most its last limit bytes. It refuses files of other users: the
// server may have linked to a file that only this program's user may read.
func (h *home) read(path string, limit int64) ([]byte, error) {
	f, err := h.open(path, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, cmp.Or(err, fmt.Errorf("%s: not a regular file", path))
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || !h.account.nested &&
		int(st.Uid) != h.account.uid {
		return nil, fmt.Errorf("%s: belongs to another user than the server", path)
	}
	if info.Size() > limit {
		if _, err := f.Seek(-limit, io.SeekEnd); err != nil {
			return nil, err
		}
	}
	return io.ReadAll(io.LimitReader(f, limit))
}

// write writes a file below the home directory. The file belongs to the server's user. The home
// directory does, too, so the server can put anything in the way: symbolic links, whose target this
// program might have more rights to than the server, or a FIFO. Therefore no link is followed, and
// only new files are opened.
func (h *home) write(name string, text []byte, mode os.FileMode) (err error) {
	if strings.HasSuffix(name, "/") {
		dir, err := h.makeDirectories(name)
		if err != nil {
			return err
		}
		return dir.Close()
	}
	dir, err := h.makeDirectories(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	// Write a new file and rename it: a running program's file cannot be overwritten, and a process
	// that has the old file open keeps reading that one.
	at, fresh := int(dir.Fd()), ".new-"+rand.Text()
	if err := h.writeNew(at, fresh, text, mode); err != nil {
		return errors.Join(err, ignoreMissing(unix.Unlinkat(at, fresh, 0)))
	}
	return unix.Renameat(at, fresh, at, filepath.Base(name))
}

// writeNew writes a file that does not exist yet in the directory with the descriptor at.
func (h *home) writeNew(at int, name string, text []byte, mode os.FileMode) error {
	// A child process that is forked while the file is open for writing inherits the descriptor and
	// keeps it until it calls execve(2). Meanwhile, an execve(2) of the file fails (ETXTBSY).
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Openat(at, name,
		unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return &os.PathError{Op: "create", Path: name, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	_, err = f.Write(text)
	return errors.Join(err, f.Chmod(mode), h.own(f), f.Close())
}

// makeDirectories makes a directory below the home directory, and its parents. It returns the
// directory, which the caller closes. A symbolic link on the way is an error.
func (h *home) makeDirectories(name string) (*os.File, error) {
	dir, err := openDirectory(int(h.root.Fd()), strings.TrimPrefix(homeDirectory, "/"))
	for part := range strings.SplitSeq(filepath.Clean(name), "/") {
		if err != nil || part == "." {
			continue
		}
		made := unix.Mkdirat(int(dir.Fd()), part, 0o755)
		next, openErr := openDirectory(int(dir.Fd()), part)
		if err = errors.Join(openErr, dir.Close()); err != nil {
			return nil, err
		}
		if dir = next; made == nil {
			err = h.own(dir)
		} else if !errors.Is(made, unix.EEXIST) {
			err = &os.PathError{Op: "mkdir", Path: part, Err: made}
		}
	}
	if err != nil && dir != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return dir, err
}

// openDirectory opens a directory below the one with the descriptor at, without following links.
func openDirectory(at int, name string) (*os.File, error) {
	fd, err := unix.Openat2(at, name, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	})
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// own gives a file to the server's user.
func (h *home) own(f *os.File) error {
	if h.account.nested {
		return nil
	}
	return f.Chown(h.account.uid, h.account.gid)
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
	for _, dir := range []*os.File{h.procDir, h.root} {
		if dir != nil {
			errs = append(errs, ignoreClosed(dir.Close()))
		}
	}
	return errors.Join(errs...)
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
