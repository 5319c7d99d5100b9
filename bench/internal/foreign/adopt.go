package foreign

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers"
	"reuseport-bench/servers/child"
	"reuseport-bench/servers/clock"
)

// An Agent is an agent that others have started: the first process of a container. It runs in the
// container's namespaces, but its root directory becomes that of this program, as in every home.
// When it gets SIGTERM, it passes the signal Stop.Signal to the server's main process.
type Agent struct {
	process *child.Process
	conn    *net.UnixConn
}

// AdoptAgent returns the agent in a process that runs AgentMain and has asked to be adopted. adopt
// gives the process its pipes and a file. New takes over the Agent; without New, the caller closes
// it. After an error there is no Agent.
func AdoptAgent(adopt func(*os.File) (*child.Process, error)) (_ *Agent, err error) {
	conn, theirs, err := newChannel()
	if err != nil {
		return nil, err
	}
	a := &Agent{conn: conn}
	a.process, err = adopt(theirs)
	if err = errors.Join(err, theirs.Close()); err == nil {
		err = a.sendRoot()
	}
	if err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

// Close ends the agent, and with it every process of its container.
func (a *Agent) Close() error {
	err := ignoreClosed(a.conn.Close())
	if a.process != nil {
		err = errors.Join(err, a.process.Close())
	}
	return err
}

// sendRoot sends the agent this program's file systems, as a copy that is mounted nowhere yet
// (open_tree(2)).
func (a *Agent) sendRoot() (err error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, "/",
		unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return fmt.Errorf("copy of the root directory: open_tree: %w", err)
	}
	tree := os.NewFile(uintptr(fd), "root")
	err = send(a.conn, struct{}{}, tree)
	if errors.Is(err, unix.EPIPE) {
		err = os.ErrProcessDone
	}
	return errors.Join(err, tree.Close())
}

// newChannel returns both ends of a channel between this program and an agent. The caller closes
// them.
func newChannel() (ours *net.UnixConn, theirs *os.File, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	theirs = os.NewFile(uintptr(pair[1]), "requests")
	if ours, err = fileConn(os.NewFile(uintptr(pair[0]), "requests")); err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return ours, theirs, nil
}

// takeOver makes the agent that others have started the home's own.
func (h *home) takeOver(ctx context.Context, a *Agent) error {
	h.agent, h.conn = a.process, a.conn
	go h.readReports()
	err := h.configureAgent(ctx)
	if err == nil {
		return nil
	}
	select { // the agent says why, and exits
	case <-h.ended:
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.failure != "" {
			return fmt.Errorf("first process of the container: %s", h.failure)
		}
	case <-time.After(time.Second):
	}
	return err
}

// noteTerm handles the agent's report that it got SIGTERM.
func (h *home) noteTerm(r report) {
	h.mu.Lock()
	h.passed = h.passed || r.Passed
	h.mu.Unlock()
	if h.terminated != nil {
		h.terminated(r.Term)
	}
}

// hasPassed reports whether the agent has passed a signal to the main process.
func (h *home) hasPassed() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.passed
}

// passTo tells an agent that others have started to which process it passes SIGTERM, and as which
// signal.
func (h *home) passTo(main Process, signal unix.Signal) error {
	if !h.adopted {
		return nil
	}
	return send(h.conn, request{Main: main.PID, Signal: signal})
}

// Gone returns a channel that is closed when the agent has exited, and the server with it.
func (s *Server) Gone() <-chan struct{} { return s.home.ended }

// ownRoot is where an adopted agent mounts its parent's root directory before it becomes its own.
// Every container has this directory.
const ownRoot = "/proc"

// enterRoot makes a copy of the parent's file systems the root directory of this process and its
// mount namespace.
func enterRoot(tree *os.File) error {
	err := unix.MoveMount(int(tree.Fd()), "", unix.AT_FDCWD, ownRoot, unix.MOVE_MOUNT_F_EMPTY_PATH)
	if err != nil {
		return fmt.Errorf("move_mount: %w", err)
	}
	// What is mounted or unmounted here must not change the mounts of the machine
	// (mount_namespaces(7)), and pivot_root(2) refuses shared mounts.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("mount namespace: %w", err)
	}
	if err := os.Chdir(ownRoot); err != nil {
		return err
	}
	// The old root is then mounted on the new one (NOTES of pivot_root(2)).
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount the root directory of the image: %w", err)
	}
	return os.Chdir("/")
}

// agentPipes returns the descriptors that the agent gets from its parent. If path is not empty, the
// agent asks for them at the Adopter with that path.
func agentPipes(path string) (control, events, requests int, err error) {
	if path == "" {
		return child.ControlFD, child.EventsFD, child.FilesFD, nil
	}
	now, err := clock.New()
	if err != nil {
		return -1, -1, -1, err
	}
	return servers.Apply(path, now.Now())
}

// receiveRoot receives the copy of the parent's file systems, and enters it.
func receiveRoot(requests *net.UnixConn) error {
	files, err := receive(requests, make([]byte, maxMessage), new(struct{}))
	if err == nil && len(files) != 1 {
		err = fmt.Errorf("got %d files for the root directory, want 1", len(files))
	}
	if err == nil {
		err = enterRoot(files[0])
	}
	return errors.Join(err, closeAll(files))
}

// setMain notes the process to which SIGTERM is passed.
func (a *agent) setMain(r request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.main >= 0 {
		_ = unix.Close(a.main)
	}
	var err error
	if a.main, err = unix.PidfdOpen(r.Main, 0); err != nil { // it has just exited
		a.main = -1
	}
	a.signal = r.Signal
}

// terminate passes a SIGTERM on, and reports it. Without a main process, the parent decides.
func (a *agent) terminate() {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := report{Term: a.clock.Now()}
	r.Passed = a.main >= 0 && unix.PidfdSendSignal(a.main, a.signal, nil, 0) == nil
	// The error is ignored: send fails only if the parent has closed its end.
	_ = send(a.requests, r)
}
