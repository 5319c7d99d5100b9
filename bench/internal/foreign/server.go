package foreign

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/socket"
)

// A Server is a third-party server in its home. Its methods may be called from several goroutines.
type Server struct {
	cfg    Config
	env    Env
	home   *home
	held   []*os.File // listening sockets that this program passes to every start
	output *output    // of all commands except those of Ready.Run
	probes output     // output of the commands of Ready.Run
	notify *notifier

	listenersMu sync.Mutex
	listeners   *kernel.QueueWatch

	stepping sync.Mutex // held during Start, Restart and Stop

	mu         sync.Mutex // guards the fields below
	generation int
	set        map[string]string // variables that actions have set
	latest     *start
	main       Process
	restarting bool
	lingering  map[id]bool   // Restart.Remaining of the last restart
	over       clock.Instant // when the start or the last restart was over
	atOver     map[id]bool   // the processes at that time
	stopped    bool
	closed     bool
}

// A start is one run of Config.Start.
type start struct {
	generation int
	command    *command
	output     *output
	before     map[id]bool     // processes that ran before it
	line       <-chan struct{} // closed when a line matches Ready.Stdout; nil without Ready.Stdout
	readies    int             // number of READY=1 messages received before it
	began      time.Time
}

// New makes the server's home and opens the sockets to pass. It does not start the server.
func New(ctx context.Context, cfg Config, env Env) (_ *Server, err error) {
	s := &Server{cfg: cfg.withDefaults(), env: env, output: &output{}, set: map[string]string{}}
	if err = cfg.Check(); err == nil {
		s.cfg.Directory, err = s.cfg.workingDirectory()
	}
	if err != nil && env.Adopted != nil {
		err = errors.Join(err, env.Adopted.Close())
	}
	if err != nil {
		return nil, err
	}
	if s.cfg.PIDFile != "" {
		s.cfg.PIDFile = s.absolute(s.cfg.PIDFile)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.home, err = newHome(ctx, s.cfg, env); err != nil {
		return nil, err
	}
	err = env.Do(func() (err error) {
		if s.listeners, err = kernel.NewQueueWatch(unix.AF_INET, unix.AF_INET6); err != nil {
			return err
		}
		return s.listen()
	})
	if err != nil {
		return nil, err
	}
	if s.cfg.Ready.Notify {
		s.notify, err = s.home.newNotifier()
	}
	return s, err
}

// listen opens the sockets to pass.
func (s *Server) listen() error {
	n := 0
	switch s.cfg.Sockets {
	case vocabulary.SocketsShared:
		n = 1
	case vocabulary.SocketsReuseport:
		n = s.cfg.Workers
	}
	for range n {
		fd, err := socket.Listen(s.cfg.Address, socket.ListenOptions{
			Backlog: s.cfg.Backlog, ReusePort: s.cfg.Sockets == vocabulary.SocketsReuseport,
		})
		if err != nil {
			return err
		}
		// Pass blocking sockets, as systemd does by default (systemd.socket(5), NonBlocking=).
		if err := unix.SetNonblock(fd, false); err != nil {
			return errors.Join(err, unix.Close(fd))
		}
		s.held = append(s.held, os.NewFile(uintptr(fd), "listener"))
	}
	return nil
}

// Start starts the server and returns when it is ready. Call it once.
func (s *Server) Start(ctx context.Context) error {
	s.stepping.Lock()
	defer s.stepping.Unlock()
	s.generation = s.cfg.Generation
	if err := s.writeFiles(); err != nil {
		return err
	}
	st, err := s.launch(ctx)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	if err := s.awaitReady(ctx, st); err != nil {
		return s.explain(err)
	}
	if err := s.home.passTo(s.Main(), s.cfg.Stop.Signal); err != nil {
		return err
	}
	all, err := s.home.processes()
	s.over, s.atOver = s.env.Clock.Now(), setOf(all)
	return err
}

// launch runs Config.Start, and does not wait until the server is ready.
func (s *Server) launch(ctx context.Context) (*start, error) {
	vars := s.variables()
	before, err := s.home.processes()
	if err != nil {
		return nil, err
	}
	st := &start{generation: s.generation, before: setOf(before), output: &output{},
		began: time.Now()}
	if pattern := s.cfg.Ready.Stdout; pattern != nil {
		st.line = st.output.watch(pattern)
	}
	if s.notify != nil {
		st.readies = s.notify.readies()
	}
	st.command, err = s.run(ctx, s.cfg.Start, "start", vars, s.held, st.output, s.output)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latest = st
	return st, nil
}

// run starts a command of the server. outputs receive what the command writes.
func (s *Server) run(
	ctx context.Context, c Command, place string, vars Variables, sockets []*os.File,
	outputs ...*output,
) (*command, error) {
	env := s.cfg.environment(vars).passing(len(sockets))
	env["USER"] = cmp.Or(env["USER"], s.home.account.name)
	env["LOGNAME"] = cmp.Or(env["LOGNAME"], s.home.account.name)
	args, err := c.words(vars, env.lookup, place)
	if err != nil {
		return nil, err
	}
	if args[0], err = s.program(args[0]); err != nil {
		return nil, err
	}
	return s.home.start(ctx, launch{
		args: args, env: env, dir: s.cfg.Directory, sockets: sockets, outputs: outputs,
	})
}

// absolute returns the absolute path of a file that is relative to the working directory.
func (s *Server) absolute(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(s.cfg.Directory, path)
}

// program returns the path of a program. A relative path with a slash is looked up in the working
// directory and then in Config.Base. A path in Config.Base is returned as an absolute path, because
// the command starts in another directory.
func (s *Server) program(name string) (string, error) {
	if !strings.Contains(name, "/") || filepath.IsAbs(name) || s.cfg.Base == "" {
		return name, nil
	}
	if f, err := s.home.open(s.absolute(name), unix.O_PATH, 0); err == nil {
		_ = f.Close()
		return name, nil
	}
	return filepath.Abs(filepath.Join(s.cfg.Base, name))
}

// variables returns the current values of the variables.
func (s *Server) variables() Variables {
	s.mu.Lock()
	defer s.mu.Unlock()
	vars := s.cfg.variables(s.generation)
	maps.Copy(vars, s.set)
	return vars
}

// writeFiles renders the files and writes them.
func (s *Server) writeFiles() error {
	vars := s.variables()
	for _, f := range s.cfg.Files {
		text, mode := []byte(nil), fs.FileMode(0o644)
		if f.Copy != "" {
			path := f.Copy
			if !filepath.IsAbs(path) {
				path = filepath.Join(s.cfg.Base, path)
			}
			info, err := os.Stat(path)
			if err != nil {
				return fmt.Errorf("files.%s: %w", f.Name, err)
			}
			if text, err = os.ReadFile(path); err != nil {
				return fmt.Errorf("files.%s: %w", f.Name, err)
			}
			mode |= info.Mode().Perm() & 0o111
		} else {
			rendered, err := vars.render("files."+f.Name, f.Text)
			if err != nil {
				return err
			}
			text = []byte(rendered)
			if strings.HasPrefix(rendered, "#!") {
				mode |= 0o111
			}
		}
		if err := s.home.write(f.Name, text, mode); err != nil {
			return fmt.Errorf("files.%s: %w", f.Name, err)
		}
	}
	return nil
}

// findMain returns the current main process of the server. st must be the latest start, and ready.
func (s *Server) findMain(st *start) (Process, error) {
	if s.cfg.PIDFile != "" {
		p, err := s.home.pidFile(s.cfg.PIDFile)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w; commands run in %s", err,
				cmp.Or(s.cfg.Directory, homeDirectory))
		}
		return p, err
	}
	if s.notify != nil {
		if pid := s.notify.mainPID(); pid != 0 {
			return s.home.process(pid)
		}
	}
	if !s.cfg.Forks {
		return s.home.process(st.command.pid)
	}
	all, err := s.home.processes()
	if err != nil {
		return Process{}, err
	}
	switch mains := roots(without(all, st.before)); len(mains) {
	case 0:
		return Process{}, errors.New("no process of it is left")
	case 1:
		return mains[0], nil
	default:
		return Process{}, fmt.Errorf("the main process may be any of %s; name its pid_file",
			nameList(mains))
	}
}

// pidFile returns the process that a pid file names.
func (h *home) pidFile(name string) (Process, error) {
	const limit = 64 // bytes of a pid file
	text, err := h.read(name, limit)
	if err != nil {
		return Process{}, fmt.Errorf("pid_file: %w", err)
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil {
		return Process{}, fmt.Errorf("pid_file %s: %q is not a number", name, first)
	}
	p, err := h.process(pid)
	if err != nil {
		return Process{}, fmt.Errorf("pid_file %s: %w", name, err)
	}
	return p, nil
}

// Main returns the process that was the main process when the start or the last restart was over.
func (s *Server) Main() Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.main
}

// Processes returns the server's processes, in order of their PIDs.
func (s *Server) Processes() ([]Process, error) { return s.home.processes() }

// Signal sends a signal to processes of the server. It skips processes that have exited.
func (s *Server) Signal(all []Process, signal unix.Signal) error { return signalAll(all, signal) }

// Generation returns the number of the current generation, from 1. Each restart begins one.
func (s *Server) Generation() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.generation
}

// Listeners returns the listening sockets at the server's address. others is the number of sockets
// that listen at other addresses of the server's network namespace.
func (s *Server) Listeners() (at []kernel.Queue, others int, err error) {
	all, err := s.allListeners()
	at = all[:0]
	for _, q := range all {
		if q.Port == s.cfg.Address.Port() &&
			(q.Addr.IsUnspecified() || q.Addr.Unmap() == s.cfg.Address.Addr().Unmap()) {
			at = append(at, q)
		}
	}
	return at, len(all) - len(at), err
}

func (s *Server) allListeners() ([]kernel.Queue, error) {
	s.listenersMu.Lock()
	defer s.listenersMu.Unlock()
	return s.listeners.Read(nil)
}

// Err returns an error if the main process has exited although it was not told to stop, or if the
// agent has exited. Otherwise it returns nil.
func (s *Server) Err() error {
	s.mu.Lock()
	main, st, stopped := s.main, s.latest, s.stopped || s.restarting
	s.mu.Unlock()
	stopped = stopped || s.home.hasPassed()
	if stopped || st == nil || main.PID == 0 {
		return nil
	}
	if err := s.home.lost(); err != nil || main.alive() {
		return err
	}
	how := s.endingOf(main)
	if left, err := s.home.processes(); err == nil && len(left) > 0 && st.command.exitedWell() {
		how += ", but left " + nameList(left) + ": " + inBackground
	}
	return s.explain(fmt.Errorf("the main process %v ended without being told to%s", main, how))
}

// endingOf returns how a process ended, such as ": exit status 1", if this program started it.
func (s *Server) endingOf(p Process) string {
	s.mu.Lock()
	st := s.latest
	s.mu.Unlock()
	if st == nil || st.command.pid != p.PID || !st.command.exitsSoon() {
		return ""
	}
	return ": " + ending(st.command.status)
}

// An Ending lists the processes that did not exit by themselves when the server was stopped.
type Ending struct {
	// Killed are the processes that still ran at the end of the grace period, and were killed.
	Killed []Process
	// Orphans are the processes in Killed that still ran although the main process had exited.
	Orphans []Process
}

// Stop tells the main process to stop and waits until every process of the server is gone. It kills
// the processes that still run at the end of the grace period. Ending lists them.
func (s *Server) Stop(ctx context.Context) (Ending, error) {
	s.stepping.Lock()
	defer s.stepping.Unlock()
	s.mu.Lock()
	s.stopped = true
	main := s.main
	s.mu.Unlock()
	all, err := s.home.processes()
	if err != nil {
		return Ending{}, err
	}
	if main.PID == 0 { // the server was never ready
		return Ending{}, s.home.killAll()
	}
	return s.end(ctx, main, all)
}

// end tells a main process to stop, unless the agent has done so, and waits until all processes in
// the list are gone. It kills those that still run at the end of the grace period.
func (s *Server) end(ctx context.Context, main Process, all []Process) (e Ending, err error) {
	if !s.home.hasPassed() {
		err := main.signal(s.cfg.Stop.Signal)
		if err != nil && !errors.Is(err, os.ErrProcessDone) {
			return e, err
		}
	}
	err = s.home.awaitGone(ctx, all, s.cfg.Stop.Grace)
	if !errors.Is(err, errLimit) {
		return e, err
	}
	if e.Killed = living(all); !main.alive() {
		e.Orphans = e.Killed
	}
	return e, s.home.kill(e.Killed)
}

// killLimit is the maximum time from SIGKILL until the processes are gone.
const killLimit = 5 * time.Second

// kill kills processes and waits until they are gone.
func (h *home) kill(all []Process) error {
	if err := signalAll(all, unix.SIGKILL); err != nil {
		return err
	}
	if err := h.awaitGone(context.Background(), all, killLimit); err != nil {
		return fmt.Errorf("processes %s still exist %v after SIGKILL",
			nameList(living(all)), killLimit)
	}
	return nil
}

// killAll kills every process of the home, including processes that are started during the call.
func (h *home) killAll() error {
	return h.killThose(func(Process) bool { return true })
}

// killSession kills the command's process and its descendants, except those that have moved to a
// session of their own, as daemons do. Each command has its own session (setsid(2)).
func (h *home) killSession(c *command) error {
	return h.killThose(func(p Process) bool { return p.session == c.pid })
}

func (h *home) killThose(chosen func(Process) bool) error {
	err := poll(context.Background(), killLimit, func() (bool, error) {
		all, err := h.processes()
		all = except(all, func(p Process) bool { return !chosen(p) })
		if err != nil || len(all) == 0 {
			return true, err
		}
		return false, signalAll(all, unix.SIGKILL)
	})
	if err != nil {
		return fmt.Errorf("end the server's processes: %w", err)
	}
	return nil
}

// Close kills the server's processes that still run, and removes the home. Further calls do
// nothing.
func (s *Server) Close() error {
	var errs []error
	s.mu.Lock()
	s.stopped = true
	home, closed := s.home, s.closed
	s.closed = true
	s.mu.Unlock()
	if home == nil || closed {
		return nil
	}
	// If the agent has ended, the lab has ended, too, or will soon end all processes in it.
	if err := home.killAll(); !errors.Is(err, errAgent) {
		errs = append(errs, err)
	}
	if s.notify != nil {
		errs = append(errs, s.notify.close())
	}
	errs = append(errs, home.close(), closeAll(s.held))
	if s.listeners != nil {
		errs = append(errs, s.listeners.Close())
	}
	s.output.close()
	s.probes.close()
	return errors.Join(errs...)
}

// errLimit is the error of a poll whose time limit has expired.
var errLimit = errors.New("limit")

// poll calls done until it returns true or an error. It returns errLimit if the limit expires
// first. The interval is a twentieth of the time that has passed, but at least pollEvery and at
// most pollMost: most conditions hold soon, and those that take long would cost more beside the
// load than their exact time is worth.
func poll(ctx context.Context, limit time.Duration, done func() (bool, error)) error {
	return pollBetween(ctx, pollEvery, pollMost, limit, done)
}

// pollBetween is like poll, but with the given shortest and longest intervals.
func pollBetween(
	ctx context.Context, least, most, limit time.Duration, done func() (bool, error),
) error {
	began := time.Now()
	end := time.NewTimer(limit)
	defer end.Stop()
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-next.C:
			if ok, err := done(); ok || err != nil {
				return err
			}
			next.Reset(min(most, max(least, time.Since(began)/20)))
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-end.C:
			if ok, err := done(); ok || err != nil {
				return err
			}
			return errLimit
		}
	}
}
