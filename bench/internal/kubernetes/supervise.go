package kubernetes

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/child"
)

// Directories of a supervisor's mount namespace. Each is in memory.
const (
	stateDirectory     = "/run/cluster" // files of the parts
	logDirectory       = stateDirectory + "/log"
	temporaryDirectory = stateDirectory + "/tmp"
)

// imageFile is the path of the image archive for a part's standard input: the descriptor that a
// supervisor gets beside its pipes.
var imageFile = fmt.Sprintf("/proc/self/fd/%d", child.FilesFD)

// A superviseConfig is the first message to a supervisor.
type superviseConfig struct {
	// Visible are files and directories of the machine that the parts need.
	Visible []string `json:"visible"`
	// Sysctls are values that the parts read instead of the machine's, and that a write by them
	// changes instead of the machine's. The keys are paths below /proc/sys.
	Sysctls map[string]string `json:"sysctls,omitempty"`
}

// A superviseRequest is any later message to a supervisor. One field is set.
type superviseRequest struct {
	Start *part  `json:"start,omitempty"`
	Kill  string `json:"kill,omitempty"` // the name of a part
}

// A part is a program to run.
type part struct {
	Name string            `json:"name"`
	Args []string          `json:"args"` // Args[0] is the path of the program
	Env  []string          `json:"env"`
	Make map[string]string `json:"make,omitempty"` // files to write before the start, by path
	// Stdin is the file that the part reads; "" means that it reads nothing.
	Stdin string `json:"stdin,omitempty"`
	// Notifies says that the part reports when it is ready (sd_notify(3)).
	Notifies bool `json:"notifies,omitempty"`
}

// A superviseReport is a message of a supervisor. One without a part says that the supervisor is
// ready, or why it cannot be.
type superviseReport struct {
	Part   string `json:"part,omitempty"`
	Ready  bool   `json:"ready,omitempty"`
	Exited bool   `json:"exited,omitempty"`
	Status string `json:"status,omitempty"` // how it exited, or why it did not start; "" is success
}

// Supervise is the main function of a supervisor, the PID 1 of a host. It starts parts when it is
// told to, reports when they exit, and reaps orphans. It exits, and the host ends, when it reads
// EOF from its control pipe. It must be started in a mount namespace of its own.
func Supervise() error {
	if os.Getpid() != 1 {
		return enterPIDNamespace()
	}
	// The parts must not inherit the pipes, nor what this program's parent has left open.
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("close_range: %w", err)
	}
	return supervise()
}

// enterPIDNamespace runs this command again as PID 1 of a PID namespace of its own, and exits when
// that process has. The lab's thread cannot make that namespace: its children are in another than
// itself already (copy_pid_ns in kernel/pid_namespace.c).
func enterPIDNamespace() error {
	runtime.LockOSThread() // Pdeathsig refers to the thread that starts the child
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWPID, Pdeathsig: unix.SIGKILL,
	}
	cmd.Stderr = os.Stderr
	for fd := child.ControlFD; fd <= child.FilesFD; fd++ {
		cmd.ExtraFiles = append(cmd.ExtraFiles, os.NewFile(uintptr(fd), "passed"))
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("PID namespace: %w", err)
	}
	for _, f := range cmd.ExtraFiles {
		f.Close() // the parent waits for the end of the pipes
	}
	_ = cmd.Wait() // ProcessState has what matters
	os.Exit(cmd.ProcessState.ExitCode())
	return nil
}

func supervise() error {
	control := json.NewDecoder(os.NewFile(child.ControlFD, "control"))
	s := &supervisor{
		reports: json.NewEncoder(os.NewFile(child.EventsFD, "events")),
		parts:   map[int]string{}, pids: map[string]int{},
	}
	var c superviseConfig
	if err := control.Decode(&c); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	if err := c.prepare(); err != nil {
		return err
	}
	exits := make(chan os.Signal, 1)
	signal.Notify(exits, unix.SIGCHLD)
	go func() {
		for range exits {
			s.reap()
		}
	}()
	s.report(superviseReport{Ready: true})
	for {
		var r superviseRequest
		err := control.Decode(&r)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("request: %w", err)
		case r.Start != nil:
			s.start(r.Start)
		default:
			s.kill(r.Kill)
		}
	}
}

type supervisor struct {
	mu      sync.Mutex // held while a part is started, and while children are waited for
	reports *json.Encoder
	parts   map[int]string // the parts that run, by PID
	pids    map[string]int
}

// report sends a report. If the parent has closed its end, the control pipe ends, too.
func (s *supervisor) report(r superviseReport) { _ = s.reports.Encode(r) }

func (s *supervisor) start(p *part) {
	s.mu.Lock() // reap must not report the exit before the PID is known
	defer s.mu.Unlock()
	process, err := s.run(p)
	if err != nil {
		s.report(superviseReport{Part: p.Name, Exited: true, Status: err.Error()})
		return
	}
	s.parts[process.Pid], s.pids[p.Name] = p.Name, process.Pid
	_ = process.Release() // reap waits for it
}

func (s *supervisor) run(p *part) (_ *os.Process, err error) {
	for path, text := range p.Make {
		if err := writeFile(path, text); err != nil {
			return nil, err
		}
	}
	stdin := p.Stdin
	if stdin == "" {
		stdin = os.DevNull
	}
	in, err := os.Open(stdin)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	log, err := os.OpenFile(logOf(p.Name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	env := p.Env
	if p.Notifies {
		socket := filepath.Join(stateDirectory, p.Name+".notify")
		if err := s.awaitNotification(p.Name, socket); err != nil {
			return nil, err
		}
		env = append(env, "NOTIFY_SOCKET="+socket)
	}
	return os.StartProcess(p.Args[0], p.Args, &os.ProcAttr{
		Dir: stateDirectory, Env: env, Files: []*os.File{in, log, log},
	})
}

func writeFile(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o600)
}

// logOf returns the path of a part's log in the supervisor's mount namespace.
func logOf(part string) string { return filepath.Join(logDirectory, part+".log") }

// awaitNotification reports that a part is ready when the part says so. A part that is started
// again has the same socket.
func (s *supervisor) awaitNotification(part, path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	go func() {
		defer conn.Close()
		b := make([]byte, 4096)
		for {
			n, err := conn.Read(b)
			if err != nil {
				return
			}
			if isReady(b[:n]) {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.report(superviseReport{Part: part, Ready: true})
				return
			}
		}
	}()
	return nil
}

// isReady reports whether a message of sd_notify(3) says that a service is ready.
func isReady(message []byte) bool {
	for line := range bytes.Lines(message) {
		if string(bytes.TrimSpace(line)) == "READY=1" {
			return true
		}
	}
	return false
}

// kill kills a part. Its exit is reported as any other.
func (s *supervisor) kill(part string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if pid := s.pids[part]; pid != 0 {
		_ = unix.Kill(pid, unix.SIGKILL) // reap has not waited for it, so the PID is still its own
	}
}

// reap waits for every child that has exited, and reports the exits of parts. The other children
// are processes whose parents have exited.
func (s *supervisor) reap() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if pid <= 0 {
			return
		}
		if name, found := s.parts[pid]; found {
			delete(s.parts, pid)
			delete(s.pids, name)
			s.report(superviseReport{Part: name, Exited: true, Status: describe(status)})
		}
	}
}

// describe returns "" for exit status 0.
func describe(status unix.WaitStatus) string {
	switch {
	case status.Signaled():
		return "killed by " + unix.SignalName(status.Signal())
	case status.ExitStatus() != 0:
		return fmt.Sprintf("exit status %d", status.ExitStatus())
	}
	return ""
}

// PauseMain is the main function of a sandbox's first process, which keeps the namespaces of a pod
// and reaps orphans in them. It ends at SIGTERM or SIGINT.
func PauseMain() error {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGCHLD)
	for s := range signals {
		if s != unix.SIGCHLD {
			break
		}
		for {
			if pid, _ := unix.Wait4(-1, nil, unix.WNOHANG, nil); pid <= 0 {
				break
			}
		}
	}
	return nil
}
