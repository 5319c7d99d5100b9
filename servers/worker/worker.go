package worker

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers"
	"reuseport-bench/servers/child"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/journal"
	"reuseport-bench/servers/selector"
	"reuseport-bench/servers/socket"
	"reuseport-bench/servers/sys"
)

// Main runs a worker process, from reading its configuration to its exit. It reports the error that
// it returns to the parent, too.
func Main() error {
	// The loop allocates almost nothing; a garbage collection would count against the socket under
	// test.
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(64 << 20) // collect before memory grows without bound

	w := &worker{listener: -1, offer: -1}
	var err error
	if w.clock, err = clock.New(); err != nil {
		return fmt.Errorf("worker: %w", err)
	}
	if err = w.openPipes(); err == nil {
		err = w.run()
	}
	if err != nil && w.events != nil && !errors.Is(err, errOrphaned) {
		failed := servers.Event{Event: servers.EventFailed, Error: err.Error()}
		if errors.Is(err, unix.EADDRINUSE) {
			failed.Errno = unix.EADDRINUSE
		}
		return errors.Join(err, w.send(failed))
	}
	return err
}

// errOrphaned means EOF on the control pipe: the parent has exited.
var errOrphaned = errors.New("worker: the control pipe has ended")

// worker has the parts that all kinds of server share: configuration, pipes, journal and listener.
type worker struct {
	cfg      servers.WorkerConfig
	control  *os.File
	lines    *bufio.Reader
	events   *os.File
	clock    *clock.Clock
	journal  *journal.Journal
	listener int              // -1 once closed
	offer    int              // socket at which a successor asks for the listener, or -1
	member   *selector.Member // nil without an eBPF selector
	conns    uint32
	works    *works
	readyAt  clock.Instant

	controlFD     int
	journalFD     int
	terms         chan os.Signal // gets SIGTERM; nil unless the process has applied to an Adopter
	inherited     []*os.File     // files that a service manager passed
	listenerInode uint64
}

// openPipes finds the worker's pipes and journal. A worker inherits them at fixed descriptors. If
// the parent did not start this process, openPipes asks the parent for them.
func (w *worker) openPipes() (err error) {
	w.controlFD, w.journalFD = child.ControlFD, servers.FDJournal
	events := child.EventsFD
	switch name := os.Getenv(servers.EnvAdopt); {
	case strings.HasPrefix(name, "/"):
		if w.controlFD, events, w.journalFD, err = w.apply(name); err != nil {
			return err
		}
	case name != "":
		w.controlFD, events, w.journalFD, err = askForPipes(name)
		if err != nil {
			return err
		}
	case os.Getenv(servers.EnvListenFDs) != "" && os.Getenv(servers.EnvListenPID) == "":
		return becomeActivated()
	}
	w.control = os.NewFile(uintptr(w.controlFD), "control")
	w.events = os.NewFile(uintptr(events), "events")
	w.lines = bufio.NewReaderSize(w.control, 4096)
	return nil
}

// askForPipes asks the parent for the pipes and the journal of a worker.
func askForPipes(name string) (control, events, journal int, err error) {
	fds, err := socket.Ask(name, nil, 3, passTimeout)
	if err != nil {
		return -1, -1, -1, err
	}
	return fds[0], fds[1], fds[2], nil
}

func (w *worker) run() (err error) {
	_ = sys.ReleaseProgram() // a failure only costs memory
	if err := w.configure(); err != nil {
		return err
	}
	if w.journal, err = journal.Map(w.journalFD); err != nil {
		return fmt.Errorf("worker %d: %w", w.cfg.ID, err)
	}
	if w.terms != nil {
		go w.reportTerm()
	}
	if w.cfg.Parked {
		if err := w.park(); err != nil {
			return err
		}
	}
	w.works = newWorks(w.cfg.Work, w.cfg.Seed, w.cfg.ID, w.cfg.Generation)
	time.Sleep(w.cfg.Startup) // simulates a program that must load its data first
	if err := w.listen(); err != nil {
		return fmt.Errorf("worker %d: %w", w.cfg.ID, err)
	}
	ready := servers.Event{Event: servers.EventReady}
	s, err := w.server()
	if err != nil {
		return fmt.Errorf("worker %d: %w", w.cfg.ID, err)
	}
	if ready.Listener = w.listenerInode; w.cfg.Sockets == vocabulary.SocketsShared {
		ready.Listener = 0 // the listener is not the worker's own
	}
	ready.At = w.clock.Now()
	w.readyAt = ready.At
	if err := w.send(ready); err != nil {
		return err
	}
	if err := s.run(); err != nil {
		return err
	}
	return w.send(servers.Event{
		Event: servers.EventStopped, At: w.clock.Now(), CPU: sys.ProcessCPU(),
	})
}

// configure reads a configuration from the control pipe.
func (w *worker) configure() error {
	line, err := w.lines.ReadBytes('\n')
	if err != nil {
		return errOrphaned
	}
	w.cfg = servers.WorkerConfig{}
	if err := json.Unmarshal(line, &w.cfg); err != nil {
		return fmt.Errorf("worker configuration: %w", err)
	}
	return nil
}

// park reports that the process is parked, and waits for the configuration of the worker that it
// becomes.
func (w *worker) park() error {
	if err := w.send(servers.Event{Event: servers.EventParked, At: w.clock.Now()}); err != nil {
		return err
	}
	return w.configure()
}

// server returns the worker's kind of server, ready to run.
func (w *worker) server() (interface{ run() error }, error) {
	if w.cfg.Channels > 0 {
		return newAcceptor(w)
	}
	switch w.cfg.Kind {
	case vocabulary.ServerLoop:
		return newLoop(w)
	case vocabulary.ServerHTTP:
		return newHTTP(w)
	}
	return nil, fmt.Errorf("unknown kind of server %q", w.cfg.Kind)
}

// finDelay returns the time for which a stopped worker keeps idle connections. If a request arrives
// meanwhile, the worker answers it with Connection: close. A FIN sent at once would cross requests
// in flight, which the worker could then not answer (RFC 9112, section 9.6). After the delay,
// connections that are still idle get a FIN.
func finDelay(grace time.Duration) time.Duration { return min(250*time.Millisecond, grace/2) }

// linger is the time for which the worker still reads from a connection after it has sent a FIN, so
// that it records a request that crosses the FIN. The time is much longer than a round trip within
// one machine.
const linger = 20 * time.Millisecond

// note appends a record to the journal and asks the parent to read the journal when necessary.
func (w *worker) note(r journal.Record) {
	if w.journal.Append(r) {
		// If this fails, the parent has exited, and the control pipe is at EOF, too.
		_ = w.send(servers.Event{Event: servers.EventJournal})
	}
}

func (w *worker) send(e servers.Event) error {
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if _, err := w.events.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("worker %d: event %s: %w", w.cfg.ID, e.Event, err)
	}
	return nil
}

// commandPending reports whether nextCommand would return at once, with a command or an error.
func (w *worker) commandPending() bool {
	if w.lines.Buffered() > 0 {
		return true // a complete line: the parent writes each line in one call
	}
	control := []unix.PollFd{{Fd: int32(w.controlFD), Events: unix.POLLIN}}
	n, _ := unix.Poll(control, 0) // EINTR: nothing has arrived
	return n > 0
}

// nextCommand reads the next line of the control pipe.
func (w *worker) nextCommand() (servers.Command, error) {
	var c servers.Command
	line, err := w.lines.ReadBytes('\n')
	if errors.Is(err, io.EOF) {
		return c, errOrphaned
	} else if err != nil {
		return c, fmt.Errorf("worker %d: control pipe: %w", w.cfg.ID, err)
	}
	if err := json.Unmarshal(line, &c); err != nil {
		return c, fmt.Errorf("worker %d: command %q: %w", w.cfg.ID, line, err)
	}
	return c, nil
}
