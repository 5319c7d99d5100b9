package foreign

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers"
	"reuseport-bench/servers/clock"
)

// Paths of the home.
const (
	homeDirectory = "/run/server"
	tempDirectory = homeDirectory + "/tmp"
	notifySocket  = homeDirectory + "/tmp/notify"
)

// homeSize is the maximum size of each in-memory file system that the server can write to.
const homeSize = 256 << 20

// closeOnExec marks every descriptor but the standard ones to be closed in the commands that the
// agent starts. They must not inherit its pipes, nor what this program's parent has left open.
func closeOnExec() error {
	err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
	if err == nil || !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	open, err := os.ReadDir("/proc/self/fd") // before Linux 5.11
	for _, entry := range open {
		if fd, err := strconv.Atoi(entry.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	return err
}

// AgentMain is the main function of the agent. It makes the home and then starts commands in it.
// The process exits when it reads EOF from its control pipe. It must be in a mount namespace of its
// own, and in the lab's PID namespace. If others have started the process, as the first of a
// container, it asks for its pipes at the servers.Adopter of its environment.
func AgentMain() error {
	if err := closeOnExec(); err != nil {
		return err
	}
	adopter := os.Getenv(servers.EnvAdopt)
	terms := make(chan os.Signal, 1)
	if adopter != "" { // before it asks, so that no SIGTERM is missed
		signal.Notify(terms, unix.SIGTERM)
	}
	controlFD, eventsFD, requestsFD, err := agentPipes(adopter)
	if err != nil {
		return err
	}
	control := json.NewDecoder(os.NewFile(uintptr(controlFD), "control"))
	var cfg agentConfig
	if err := control.Decode(&cfg); err != nil {
		return fmt.Errorf("the home's configuration: %w", err)
	}
	// prepare sets the timer slack of this thread. Processes that this thread starts inherit it.
	runtime.LockOSThread()
	requests, err := fileConn(os.NewFile(uintptr(requestsFD), "requests"))
	if err != nil {
		return err
	}
	if adopter != "" {
		err = receiveRoot(requests)
	}
	if err == nil {
		err = cfg.prepare()
	}
	if err != nil && adopter != "" { // the parent does not see standard error
		err = errors.Join(err, send(requests, report{Failure: err.Error()}))
	}
	if err != nil {
		return err
	}
	a := &agent{cfg: cfg, requests: requests, commands: map[int]int{}, main: -1}
	if a.clock, err = clock.New(); err != nil {
		return err
	}
	go func() {
		_ = control.Decode(new(struct{})) // returns at EOF
		os.Exit(0)
	}()
	if _, err := os.NewFile(uintptr(eventsFD), "events").Write([]byte{'r'}); err != nil {
		return err
	}
	exits := make(chan os.Signal, 1)
	signal.Notify(exits, unix.SIGCHLD)
	go func() {
		for range exits {
			a.reap()
		}
	}()
	go func() {
		for range terms {
			a.terminate()
		}
	}()
	err = a.serve()
	if errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) {
		return nil // the parent has closed its end of the socket
	}
	return err
}

// prepare makes the home and sets what commands inherit.
func (c agentConfig) prepare() error {
	if err := c.mountAll(); err != nil {
		return fmt.Errorf("the server's home: %w", err)
	}
	// The thread that starts processes in the lab has a slack of 1 ns. A server gets the kernel's
	// default of 50 µs (prctl(2), PR_SET_TIMERSLACK).
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 50_000, 0, 0, 0); err != nil {
		return fmt.Errorf("PR_SET_TIMERSLACK: %w", err)
	}
	// Processes of the server whose parents exit become children of the agent, not of PID 1. So all
	// processes of the server are the agent's descendants (PR_SET_CHILD_SUBREAPER(2const)).
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("PR_SET_CHILD_SUBREAPER: %w", err)
	}
	// If memory runs out, the kernel kills the server rather than this program
	// (proc_pid_oom_score_adj(5)).
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte("500"), 0); err != nil {
		return err
	}
	startThreads()
	for resource, limit := range map[int]uint64{
		syscall.RLIMIT_NOFILE: c.Limits.Files, syscall.RLIMIT_DATA: c.Limits.Memory,
		unix.RLIMIT_NPROC: c.Limits.Processes, syscall.RLIMIT_CORE: 0,
	} {
		// Call package syscall, not unix: if package syscall does not know that the limit was set,
		// it restores the old RLIMIT_NOFILE when it starts a process.
		err := syscall.Setrlimit(resource, &syscall.Rlimit{Cur: limit, Max: limit})
		if err != nil {
			return fmt.Errorf("resource limit %d of %d: %w", resource, limit, err)
		}
	}
	return nil
}

// startThreads starts threads that stay idle until the runtime needs them. The runtime ends the
// process if it cannot start a thread, and the limit on processes and threads, which the server can
// use up, applies to an ordinary user's agent, too.
func startThreads() {
	const n = 8
	var all, last sync.WaitGroup
	all.Add(n)
	for range n {
		last.Go(func() {
			runtime.LockOSThread() // so that each of them needs its own thread
			defer runtime.UnlockOSThread()
			all.Done()
			all.Wait()
		})
	}
	last.Wait()
}

// mountAll mounts the file systems of the home.
func (c agentConfig) mountAll() error {
	// Mounts made in this namespace must not appear in others (mount_namespaces(7)).
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("mount namespace: %w", err)
	}
	// This /proc shows only the processes of the lab's PID namespace, under their PIDs in that
	// namespace.
	const noPrograms = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount("proc", "/proc", "proc", noPrograms, ""); err != nil {
		return fmt.Errorf("mount /proc: %w; in a container, run it with "+
			"--security-opt systempaths=unconfined --security-opt apparmor=unconfined", err)
	}
	for _, dir := range []string{"/run", "/var/log"} {
		if err := c.hide(dir); err != nil {
			return err
		}
	}
	for _, dir := range []string{homeDirectory, tempDirectory} {
		if err := c.mkdir(dir); err != nil {
			return err
		}
	}
	return nil
}

// hide mounts an empty in-memory file system on a directory. In the new file system it makes the
// subdirectories that the directory had, because servers do not make directories such as
// /run/haproxy or /var/log/nginx themselves.
func (c agentConfig) hide(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	options := fmt.Sprintf("mode=0755,size=%d", homeSize)
	err = unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options)
	if err != nil {
		return fmt.Errorf("mount %s: %w", dir, err)
	}
	if err := c.chown(dir); err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := c.mkdir(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c agentConfig) mkdir(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	return c.chown(dir)
}

func (c agentConfig) chown(path string) error {
	if c.Nested { // the agent already runs under the server's user id
		return nil
	}
	return os.Chown(path, c.UID, c.GID)
}

// An agent starts commands.
type agent struct {
	cfg      agentConfig
	requests *net.UnixConn
	clock    *clock.Clock
	mu       sync.Mutex  // held while a command is started, and while children are waited for
	commands map[int]int // request.ID of the commands that run, by PID
	main     int         // descriptor of the process to which SIGTERM is passed, or -1
	signal   unix.Signal // as which it is passed
}

func (a *agent) serve() error {
	buffer := make([]byte, maxMessage)
	for {
		var r request
		files, err := receive(a.requests, buffer, &r)
		if err != nil {
			return err
		}
		switch {
		case r.Main != 0:
			a.setMain(r)
		case len(r.Watch) > 0:
			err = a.watch(r)
		default:
			err = a.start(r, files)
		}
		if err := errors.Join(err, closeAll(files)); err != nil {
			return err
		}
	}
}

// start starts a command and reports the result. It returns an error only if the agent itself
// fails, not if the command cannot be started.
func (a *agent) start(r request, files []*os.File) error {
	a.mu.Lock() // reap must not report the exit before start has reported the start
	defer a.mu.Unlock()
	process, path, err := a.run(r, files)
	var errno unix.Errno
	switch {
	case errors.As(err, &errno):
		return send(a.requests, report{ID: r.ID, Errno: errno, Path: path})
	case err != nil:
		return err
	}
	pid := process.Pid
	a.commands[pid] = r.ID
	err = process.Release() // reap waits for it
	return errors.Join(err, send(a.requests, report{ID: r.ID, PID: pid, Path: path}))
}

// watch reports descriptors of processes.
func (a *agent) watch(r request) error {
	var all []*os.File
	for _, pid := range r.Watch {
		if fd, err := unix.PidfdOpen(pid, 0); err == nil {
			all = append(all, os.NewFile(uintptr(fd), "pidfd"))
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return errors.Join(send(a.requests, report{ID: r.ID}, all...), closeAll(all))
}

// reap waits for every child that has exited, and reports the exits of commands. The other children
// are processes whose parents have exited.
func (a *agent) reap() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if pid <= 0 {
			return
		}
		if id, found := a.commands[pid]; found {
			delete(a.commands, pid)
			// The error is ignored: send fails only if the parent has closed its end.
			_ = send(a.requests, report{ID: id, Exited: true, Status: status})
		}
	}
}

// setListenPID is a shell script that sets LISTEN_PID to the PID of its own process, and then
// executes the command in that process. The agent cannot set LISTEN_PID itself, because it does not
// know the PID before the fork. The script's first argument is the number of candidates, the paths
// that follow it. The script executes the first candidate that the server's user may execute. If
// there is none, it executes the last candidate, and the program reports its error.
var setListenPID = []string{"/bin/sh", "-c", `
	LISTEN_PID=$$; export LISTEN_PID
	n=$1; shift
	while [ "$n" -gt 1 ] && ! [ -x "$1" ]; do n=$((n - 1)); shift; done
	program=$1; shift "$n"
	exec "$program" "$@"`, "sh",
}

// run starts the command of a request. If it fails, path is the program or working directory that
// the error is about.
func (a *agent) run(r request, files []*os.File) (p *os.Process, path string, err error) {
	if len(files) == 0 {
		return nil, "", errors.New("a request without standard output")
	}
	var st unix.Stat_t
	if err := unix.Stat(r.Dir, &st); err != nil {
		return nil, r.Dir, err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, "", err
	}
	defer null.Close()
	attr := &os.ProcAttr{
		Dir: r.Dir, Env: r.Env, Sys: a.cfg.credentials(),
		Files: append([]*os.File{null, files[0], files[0]}, files[1:]...),
	}
	programs := slices.DeleteFunc(candidates(r), func(program string) bool {
		return unix.Stat(program, &st) != nil || st.Mode&unix.S_IFMT == unix.S_IFDIR
	})
	if len(programs) == 0 {
		return nil, r.Args[0], unix.ENOENT
	}
	if r.Passes {
		args := append(slices.Clone(setListenPID), strconv.Itoa(len(programs)))
		args = slices.Concat(args, programs, r.Args[1:])
		p, err = os.StartProcess(args[0], args, attr)
		return p, programs[0], err
	}
	for _, path = range programs {
		// argv[0] is the path, as it is under systemd: nginx executes argv[0] when it upgrades
		// itself.
		args := append([]string{path}, r.Args[1:]...)
		if p, err = os.StartProcess(path, args, attr); !errors.Is(err, unix.EACCES) {
			break
		}
	}
	return p, path, err
}

// candidates returns the paths that a request's program may have. A program without a slash is
// searched for in the PATH of the request's environment. Like execvp(3), the agent tries the next
// path if the server's user may not execute one: root's PATH often begins with directories that
// only root may enter.
func candidates(r request) (all []string) {
	name := r.Args[0]
	switch {
	case filepath.IsAbs(name):
		return []string{name}
	case strings.Contains(name, "/"):
		return []string{filepath.Join(r.Dir, name)}
	}
	for _, variable := range r.Env {
		if list, found := strings.CutPrefix(variable, "PATH="); found {
			for _, dir := range filepath.SplitList(list) {
				if filepath.IsAbs(dir) {
					all = append(all, filepath.Join(dir, name))
				}
			}
		}
	}
	return all
}

// credentials returns the attributes that give a command its user id.
func (c agentConfig) credentials() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setsid: true}
	switch {
	case c.Nested:
		attr.Cloneflags = unix.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: c.UID, HostID: 0, Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: c.GID, HostID: 0, Size: 1}}
	case c.UID != 0:
		attr.Credential = &syscall.Credential{Uid: uint32(c.UID), Gid: uint32(c.GID)}
	}
	return attr
}
