package foreign

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A Process is a process of the server.
type Process struct {
	PID  int // in the lab's PID namespace
	Name string
	CPU  time.Duration // user and system time, including that of children it has waited for
	// Path is the directory of the process in the lab's /proc, as this program reaches it.
	Path string

	parent, session int
	threads         uint64
	// clock ticks from boot to its start; identifies the process together with PID
	began  uint64
	reaped time.Duration // CPU time of its children that it has waited for
}

// id identifies a process. Unlike a PID, it is never reused.
type id struct {
	pid   int
	began uint64
}

func (p Process) id() id { return id{p.PID, p.began} }

func (p Process) String() string { return fmt.Sprintf("%d (%s)", p.PID, p.Name) }

// processes returns the processes of the home in order of their PIDs, without the agent and without
// zombies. These are the descendants of the agent, whatever namespaces they have made.
func (h *home) processes() (all []Process, err error) {
	dir, err := os.Open(h.proc)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	f := family{h, map[int]Process{}}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil || pid == 1 || pid == h.agentID {
			continue
		}
		if p, alive := f.read(pid); alive && f.has(p) {
			all = append(all, p)
		}
	}
	// If the agent exited meanwhile, its children have got another parent.
	if _, alive := h.readProcess(h.agentID); !alive {
		return nil, h.agentEnded()
	}
	slices.SortFunc(all, func(a, b Process) int { return a.PID - b.PID })
	return all, nil
}

// A family finds out which processes of the lab are descendants of the home's agent.
type family struct {
	home  *home
	known map[int]Process // processes that have been read
}

// read returns a process of the lab as it was when it was first read.
func (f family) read(pid int) (p Process, alive bool) {
	p, alive = f.known[pid]
	if !alive {
		if p, alive = f.home.readProcess(pid); alive {
			f.known[pid] = p
		}
	}
	return p, alive
}

// has reports whether a process is a descendant of the agent. If a process exits, the kernel gives
// its children to the agent, which is their subreaper (PR_SET_CHILD_SUBREAPER(2const)).
func (f family) has(p Process) bool {
	const tries = 100 // more of its ancestors do not exit during one search
	for range tries {
		for q, alive := p, true; alive; {
			switch q.parent {
			case f.home.agentID:
				return true
			case 0, 1: // in no home
				return false
			}
			child := q.PID
			if q, alive = f.read(q.parent); !alive {
				delete(f.known, child) // it has got another parent
			}
		}
		var alive bool
		if p, alive = f.read(p.PID); !alive {
			return false
		}
	}
	return false
}

// ticks is the number of clock ticks per second in /proc/PID/stat: USER_HZ, 100 on every
// architecture that Go supports.
const ticks = 100

// readProcess reads a process of the lab.
func (h *home) readProcess(pid int) (p Process, alive bool) {
	return readProcess(filepath.Join(h.proc, strconv.Itoa(pid)))
}

// readProcess reads the stat file of a process's directory in /proc. alive is false if the process
// has exited.
func readProcess(path string) (p Process, alive bool) {
	text, err := os.ReadFile(path + "/stat")
	if err != nil {
		return p, false
	}
	return parseStat(path, text)
}

// parseStat parses a stat file (proc_pid_stat(5)). A name may contain spaces and parentheses.
//
// A process with several threads lives until its last thread has exited. If its first thread exits
// before the others, the process has the state of a zombie, but its descriptors stay open,
// including listening sockets.
func parseStat(path string, text []byte) (p Process, alive bool) {
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return p, false
	}
	fields := strings.Fields(string(text[end+1:])) // from field 3 on
	const state, parent, session, threads, starttime = 3, 4, 6, 20, 22
	const utime, cutime, cstime = 14, 16, 17
	if len(fields) <= starttime-3 {
		return p, false
	}
	number := func(field int) (n uint64) {
		n, _ = strconv.ParseUint(fields[field-3], 10, 64)
		return n
	}
	if strings.Contains("ZX", fields[state-3]) && number(threads) <= 1 {
		return p, false
	}
	used, reaped := uint64(0), uint64(0)
	for field := utime; field <= cstime; field++ {
		used += number(field)
		if field >= cutime {
			reaped += number(field)
		}
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text[:open])))
	return Process{
		PID: pid, Name: string(text[open+1 : end]), CPU: time.Duration(used) * time.Second / ticks,
		Path: path, parent: int(number(parent)), session: int(number(session)),
		threads: number(threads), began: number(starttime),
		reaped: time.Duration(reaped) * time.Second / ticks,
	}, err == nil
}

// CPU returns the CPU time that the server's processes have used since the home was made, including
// processes that have exited. The kernel counts in clock ticks, so the CPU time of each process is
// exact to 10 ms. If the agent has exited, nothing knows it.
func (s *Server) CPU() (used time.Duration, err error) {
	if err := s.home.lost(); err != nil {
		return 0, err
	}
	all, err := s.home.processes()
	for _, p := range all {
		used += p.CPU
	}
	// The agent waits for the processes that it started, and for those whose parents exited before
	// them.
	agent, _ := s.home.readProcess(s.home.agentID)
	used += agent.reaped
	return used, err
}

// process returns the process with the given PID in the home.
func (h *home) process(pid int) (Process, error) {
	all, err := h.processes()
	if err != nil {
		return Process{}, err
	}
	for _, p := range all {
		if p.PID == pid {
			return p, nil
		}
	}
	return Process{}, fmt.Errorf("the server has no process %d", pid)
}

// origin reports whether the process with the given PID, which has just answered a request, is old,
// that is in before, or fresh. If the process has exited since and its PID is not in before, it is
// neither.
func (h *home) origin(pid int, before map[id]bool) (old, fresh bool) {
	if p, err := h.process(pid); err == nil {
		return before[p.id()], !before[p.id()]
	}
	for p := range before {
		old = old || p.pid == pid
	}
	return old, false
}

// alive reports whether the process still runs.
func (p Process) alive() bool {
	now, alive := readProcess(p.Path)
	return alive && now.began == p.began
}

// signal sends a signal. It returns os.ErrProcessDone if the process has exited. It sends the
// signal through a descriptor of the process's directory in /proc (pidfd_send_signal(2)), so the
// signal never reaches another process that reuses the PID.
func (p Process) signal(s unix.Signal) error {
	fd, err := unix.Open(p.Path, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return os.ErrProcessDone
	}
	if p.alive() {
		err = unix.PidfdSendSignal(fd, s, nil, 0)
	} else {
		err = unix.ESRCH
	}
	err = errors.Join(err, unix.Close(fd))
	switch {
	case errors.Is(err, unix.ESRCH):
		return os.ErrProcessDone
	case err != nil:
		return fmt.Errorf("process %v: %v: %w", p, s, err)
	}
	return nil
}

// signalAll sends a signal to each of the processes. It skips processes that have exited.
func signalAll(all []Process, s unix.Signal) error {
	var errs []error
	for _, p := range all {
		if err := p.signal(s); !errors.Is(err, os.ErrProcessDone) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// freezeLimit is the maximum time until the processes that Freeze stops must have stopped.
const freezeLimit = time.Second

// Freeze stops all processes of the server, and returns when no thread of them runs: a stop signal
// takes effect only when a thread is next scheduled. Freeze waits at most freezeLimit, because a
// thread in an uninterruptible sleep (state D) stops later. The caller must call thaw, also after
// an error. It continues the processes.
func (s *Server) Freeze() (thaw func(), err error) {
	stopped := map[id]Process{}
	thaw = func() {
		_ = signalAll(slices.Collect(maps.Values(stopped)), unix.SIGCONT)
	}
	stop := func() (bool, error) {
		all, err := s.home.processes()
		if err != nil {
			return false, err
		}
		still := true
		for _, p := range all {
			if _, told := stopped[p.id()]; !told {
				still = false // it may have been started while others were being stopped
				stopped[p.id()] = p
				err = errors.Join(err, signalAll([]Process{p}, unix.SIGSTOP))
			}
			still = still && p.stopped()
		}
		return still, err
	}
	err = pollBetween(context.Background(), goneEvery, goneEvery, freezeLimit, stop)
	if errors.Is(err, errLimit) {
		err = nil
	}
	return thaw, err
}

// stopped reports whether no thread of the process can run: each is stopped, or has exited.
func (p Process) stopped() bool {
	dir, err := os.Open(p.Path + "/task")
	if err != nil {
		return true
	}
	defer dir.Close()
	threads, _ := dir.Readdirnames(-1)
	return !slices.ContainsFunc(threads, func(thread string) bool {
		text, err := os.ReadFile(filepath.Join(dir.Name(), thread, "stat"))
		_, rest, _ := bytes.Cut(text[bytes.LastIndexByte(text, ')')+1:], []byte{' '})
		return err == nil && len(rest) > 0 && !bytes.ContainsRune([]byte("TtZX"), rune(rest[0]))
	})
}

// roots returns the processes in the list whose parents are not in it.
func roots(all []Process) (roots []Process) {
	for _, p := range all {
		ofServer := func(q Process) bool { return q.PID == p.parent }
		if !slices.ContainsFunc(all, ofServer) {
			roots = append(roots, p)
		}
	}
	return roots
}

// without returns the processes in the list that are not in the set.
func without(all []Process, set map[id]bool) (rest []Process) {
	for _, p := range all {
		if !set[p.id()] {
			rest = append(rest, p)
		}
	}
	return rest
}

func setOf(all []Process) map[id]bool {
	set := map[id]bool{}
	for _, p := range all {
		set[p.id()] = true
	}
	return set
}

// living returns the processes in the list that still run.
func living(all []Process) (left []Process) {
	for _, p := range all {
		if p.alive() {
			left = append(left, p)
		}
	}
	return left
}

// sockets returns the inodes of the sockets that a process has open.
func (p Process) sockets() (inodes map[uint64]bool) {
	inodes = map[uint64]bool{}
	dir, err := os.Open(p.Path + "/fd")
	if err != nil {
		return inodes
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		link, err := os.Readlink(filepath.Join(p.Path, "fd", name))
		if inode, found := strings.CutPrefix(link, "socket:["); err == nil && found {
			if n, err := strconv.ParseUint(strings.TrimSuffix(inode, "]"), 10, 64); err == nil {
				inodes[n] = true
			}
		}
	}
	return inodes
}

// nameList returns the processes as text, at most six of them.
func nameList(all []Process) string {
	const limit = 6
	var names []string
	for _, p := range all[:min(len(all), limit)] {
		names = append(names, p.String())
	}
	if len(all) > limit {
		names = append(names, fmt.Sprintf("and %d more", len(all)-limit))
	}
	return strings.Join(names, ", ")
}
