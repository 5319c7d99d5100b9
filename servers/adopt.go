package servers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/child"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/socket"
)

// An Adopter is a Unix socket at which processes that no Group has started ask to become workers:
// for example, the containers of pods. Such a process runs worker.Main, or calls Apply in another
// way. The caller must call Close.
type Adopter struct{ listener *net.UnixListener }

// NewAdopter makes an Adopter. The path is absolute and at most 107 bytes long (unix(7)). A process
// in any network or PID namespace can use it, if it has the socket's file in its mount namespace
// and may write to it.
func NewAdopter(path string) (*Adopter, error) {
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return nil, err
	}
	return &Adopter{l}, nil
}

// Environment returns the environment of a process that asks at the socket, as "NAME=value". The
// process also needs EnvPod, which only the kubelet knows.
func (a *Adopter) Environment(generation int) []string {
	return []string{
		EnvAdopt + "=" + a.listener.Addr().String(),
		EnvGeneration + "=" + strconv.Itoa(generation),
		"GODEBUG=asyncpreemptoff=1", // the runtime must not interrupt the worker with signals
	}
}

// Close removes the socket. A process that asks afterwards, or that no Accept has returned, exits
// with an error.
func (a *Adopter) Close() error { return a.listener.Close() }

// An Applicant is a process that has asked to become a worker. It waits until the caller passes it
// to Group.AdoptWorker or calls Close, at most for StartLimit.
type Applicant struct {
	PID        int           `json:"-"` // in the caller's PID namespace
	Pod        string        `json:"pod"`
	Generation int           `json:"generation"`
	Asked      clock.Instant `json:"asked"` // when the process asked

	conn *net.UnixConn
}

// applyLimit is the maximum time between a process's connection and its request, which follows at
// once.
const applyLimit = 5 * time.Second

// Accept waits for the next process that asks. If ctx ends first, Accept returns its cause. Only
// one goroutine at a time may call it.
func (a *Adopter) Accept(ctx context.Context) (*Applicant, error) {
	past := time.Unix(1, 0)
	interrupt := context.AfterFunc(ctx, func() { _ = a.listener.SetDeadline(past) })
	defer interrupt()
	for ctx.Err() == nil {
		conn, err := a.listener.AcceptUnix()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			// The deadline may be that of the context of an earlier call.
			err = a.listener.SetDeadline(time.Time{})
			if err == nil {
				continue
			}
		}
		if err != nil {
			return nil, err
		}
		applicant, err := readApplicant(conn)
		if applicant != nil || err != nil {
			return applicant, err
		}
	}
	return nil, context.Cause(ctx)
}

// readApplicant reads a process's request. It returns nil if the process has exited.
func readApplicant(conn *net.UnixConn) (_ *Applicant, err error) {
	a := &Applicant{conn: conn}
	isGone := false
	defer func() {
		if isGone || err != nil {
			err = errors.Join(err, conn.Close())
		}
	}()
	if err := conn.SetReadDeadline(time.Now().Add(applyLimit)); err != nil {
		return nil, err
	}
	request := make([]byte, 4096)
	n, err := conn.Read(request)
	if err != nil {
		isGone = true
		return nil, nil
	}
	if err := json.Unmarshal(request[:n], a); err != nil {
		return nil, fmt.Errorf("a process asked to be adopted with %q: %w", request[:n], err)
	}
	err = a.control(func(fd int) error {
		// SO_PEERCRED gives the number of the process in this process's PID namespace, or 0 if it
		// has none there (pid_vnr in kernel/pid.c).
		peer, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
		switch {
		case err != nil:
			return fmt.Errorf("SO_PEERCRED: %w", err)
		case peer.Pid <= 0:
			return errors.New("its process is not in a PID namespace below this program's")
		}
		a.PID = int(peer.Pid)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("pod %s: %w", a.Pod, err)
	}
	return a, nil
}

// Apply asks the Adopter with that path for the pipes of this process and the file that follows
// them, at most for StartLimit. EnvPod and EnvGeneration say who asks. asked is the current time.
// The caller closes the descriptors.
func Apply(path string, asked clock.Instant) (control, events, file int, err error) {
	generation, err := strconv.Atoi(os.Getenv(EnvGeneration))
	if err != nil {
		return -1, -1, -1, fmt.Errorf("%s: %w", EnvGeneration, err)
	}
	request, err := json.Marshal(Applicant{
		Pod: os.Getenv(EnvPod), Generation: generation, Asked: asked,
	})
	if err != nil {
		return -1, -1, -1, err
	}
	fds, err := socket.Ask(path, request, 3, StartLimit)
	if err != nil {
		return -1, -1, -1, err
	}
	return fds[0], fds[1], fds[2], nil
}

// Adopt returns this program's side of the process. It gives the process its pipes and one more
// file. After an error the process exits. The caller closes the Process, and the Applicant.
func (a *Applicant) Adopt(file *os.File) (*child.Process, error) {
	return child.Adopt(a.PID, nil, []*os.File{file}, func(all []*os.File) error {
		return a.control(func(fd int) error { return give(fd, all) })
	})
}

// control calls f with the descriptor of the connection to the process.
func (a *Applicant) control(f func(fd int) error) error {
	raw, err := a.conn.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	err = raw.Control(func(fd uintptr) { result = f(int(fd)) })
	return errors.Join(err, result)
}

// Close refuses the process, which then exits with an error.
func (a *Applicant) Close() error { return a.conn.Close() }

// AdoptWorker makes a worker of a process that the group did not start, and does not wait until the
// worker is ready. The caller must call AwaitWorker, and must not use the applicant afterwards.
// After an error the process exits. If it had exited before, the error is os.ErrProcessDone.
//
// With Env.ThirdParty, a third-party server takes the place of the worker. Env.ThirdParty must call
// Adopt of the placement's applicant, or the process exits. Its owner calls Terminated.
//
// generation and index are those of LaunchWorker. at.Address is the address at which the worker
// listens, in the network of its process, and at.Do runs a function there; the other fields of at
// have no effect. Config.Pin and Config.Users have no effect either. The worker inherits nothing,
// so there can be no eBPF selector, no handover, no shared socket and no acceptor.
//
// When the process gets SIGTERM, the worker is stopped with Config.TermMode and Config.Grace; see
// TermAt. The caller calls Expect before others kill the process. If others start it again, it is a
// new applicant.
//
// Calls must not overlap with each other or with the start of a worker.
func (g *Group) AdoptWorker(
	ctx context.Context, generation, index int, a *Applicant, at Placement,
) (_ *Worker, err error) {
	defer func() { err = errors.Join(err, a.Close()) }()
	if err := errors.Join(context.Cause(ctx), context.Cause(g.ctx)); err != nil {
		return nil, err
	}
	if g.selector != nil || g.cfg.Handover != vocabulary.NoHandover ||
		g.cfg.Sockets == vocabulary.SocketsShared || g.cfg.Accept.Row().Passes {
		return nil, errors.New("an adopted worker inherits nothing, so there can be no eBPF " +
			"selector, no handover, no shared socket and no acceptor")
	}
	g.countStarting(1)
	w := g.newWorker(index)
	g.number(w)
	w.Generation, w.placement, w.startedAt = generation, at, a.Asked
	if g.env.ThirdParty != nil {
		w.placement.Applicant = a
		if err := g.startThirdParty(w); err != nil {
			return nil, fmt.Errorf("server %d in pod %s: %w", w.ID, a.Pod, err)
		}
		return w, nil
	}
	if err = w.begin(a.Adopt); err == nil {
		err = g.configure(w, g.workerConfig(w))
	}
	if err != nil {
		return nil, fmt.Errorf("worker %d in pod %s: %w", w.ID, a.Pod, w.abandon(err))
	}
	return w, nil
}

// Terminated records that the process in the place of an adopted worker got SIGTERM, and tells the
// worker, or its third-party server, to stop. Only the first call for a worker has an effect.
func (w *Worker) Terminated(at clock.Instant) {
	w.mu.Lock()
	if w.termAt != 0 {
		w.mu.Unlock()
		return
	}
	w.termAt = at
	stopped := w.stopped
	w.mu.Unlock()
	if stopped {
		return
	}
	mode, stop := w.group.cfg.TermMode, w.kill
	if mode != vocabulary.StopKill {
		stop = func() error { return w.stopSince(at, mode, w.group.cfg.Grace) }
	}
	if err := stop(); err != nil && !errors.Is(err, unix.EPIPE) { // EPIPE: it has just exited
		w.fail(err)
	}
}

// TermAt returns the time at which the process of an adopted worker got SIGTERM, or 0.
func (w *Worker) TermAt() clock.Instant {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.termAt
}

// Expect announces that others may end the worker's process from now on, without SIGTERM or by
// SIGKILL: for example because its node is about to crash. That is then no error.
func (w *Worker) Expect() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.awaitedAt == 0 {
		w.awaitedAt = w.clock.Now()
	}
}

// isExpected reports whether Expect was called.
func (w *Worker) isExpected() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.awaitedAt != 0
}
