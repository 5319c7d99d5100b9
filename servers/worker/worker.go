package worker

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
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

// Main is a worker process, from its configuration on the control pipe to its end. Its error has
// been reported to the parent too.
func Main() error {
	// The loop allocates next to nothing; a collection would be charged to the socket under test.
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(64 << 20) // a collection all the same before anything grows without bound

	w := &worker{listener: -1, offer: -1}
	err := w.introduce()
	if err == nil {
		err = w.run()
	}
	if err != nil && w.events != nil && !errors.Is(err, errOrphaned) {
		failed := servers.Event{Event: servers.EventFailed, Error: err.Error()}
		if errors.Is(err, unix.EADDRINUSE) {
			failed.Errno = unix.EADDRINUSE
		}
		return errors.Join(err, w.say(failed))
	}
	return err
}

// errOrphaned: the control pipe ended, so the parent is gone.
var errOrphaned = errors.New("worker: the control pipe has ended")

// worker is what every kind of server shares: its configuration, its pipes, its journal, its
// listener.
type worker struct {
	cfg      servers.WorkerConfig
	control  *os.File
	lines    *bufio.Reader
	events   *os.File
	clock    *clock.Clock
	journal  *journal.Journal
	listener int              // -1 once closed
	offer    int              // where a successor asks for the listener, or -1
	member   *selector.Member // nil without a selection by eBPF
	conns    uint32
	works    *works
	readyAt  clock.Instant

	journalFD     int
	inherited     []*os.File // from a service manager
	listenerInode uint64
}

// introduce finds the worker's pipes and journal: inherited at fixed places or, when another worker
// started this one, to be asked for.
func (w *worker) introduce() (err error) {
	control, events := child.ControlFD, child.EventsFD
	w.journalFD = servers.FDJournal
	switch name := os.Getenv(servers.EnvAdopt); {
	case name != "":
		if control, events, w.journalFD, err = adoptive(name); err != nil {
			return err
		}
	case os.Getenv(servers.EnvListenFDs) != "" && os.Getenv(servers.EnvListenPID) == "":
		return becomeActivated()
	}
	w.control, w.events = os.NewFile(uintptr(control), "control"), os.NewFile(uintptr(events), "events")
	w.lines = bufio.NewReaderSize(w.control, 4096)
	return nil
}

// adoptive gets the pipes and the journal of a worker that another one started.
func adoptive(name string) (control, events, journal int, err error) {
	fds, err := socket.Ask(name, 3, passTimeout)
	if err != nil {
		return -1, -1, -1, err
	}
	return fds[0], fds[1], fds[2], nil
}

func (w *worker) run() (err error) {
	_ = sys.ReleaseProgram() // without, it has more resident, and serves as well
	if err := w.configure(); err != nil {
		return err
	}
	if w.clock, err = clock.New(); err != nil {
		return fmt.Errorf("worker %d: %w", w.cfg.ID, err)
	}
	if w.journal, err = journal.Map(w.journalFD); err != nil {
		return fmt.Errorf("worker %d: %w", w.cfg.ID, err)
	}
	if w.cfg.Parked {
		if err := w.park(); err != nil {
			return err
		}
	}
	w.works = newWorks(w.cfg.Work, w.cfg.Seed, w.cfg.ID, w.cfg.Generation)
	time.Sleep(w.cfg.Startup) // as a program that loads its data first
	if err := w.listen(); err != nil {
		return fmt.Errorf("worker %d: %w", w.cfg.ID, err)
	}
	ready := servers.Event{Event: servers.EventReady}
	s, err := w.server()
	if err != nil {
		return fmt.Errorf("worker %d: %w", w.cfg.ID, err)
	}
	if ready.Listener = w.listenerInode; w.cfg.Sockets == vocabulary.SocketsShared {
		ready.Listener = 0 // nobody's own
	}
	ready.At = w.clock.Now()
	w.readyAt = ready.At
	if err := w.say(ready); err != nil {
		return err
	}
	if err := s.run(); err != nil {
		return err
	}
	return w.say(servers.Event{Event: servers.EventStopped, At: w.clock.Now(), CPU: sys.ProcessCPU()})
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

// park says that the process is parked, and returns when it has been told which worker it is.
func (w *worker) park() error {
	if err := w.say(servers.Event{Event: servers.EventParked, At: w.clock.Now()}); err != nil {
		return err
	}
	return w.configure()
}

// server is the worker's architecture, ready to run.
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

// farewell is how long a stopped worker keeps idle connections, to tell them with the answer to
// their next request that it was the last (Connection: close). A FIN at once would cross requests
// already under way, which nobody could answer any more (RFC 9112, section 9.6). Whoever is silent
// for longer gets the FIN.
func farewell(grace time.Duration) time.Duration { return min(250*time.Millisecond, grace/2) }

// linger is how long a connection that was told to go by a FIN is still read, so that a request
// that crosses it is known of: far more than a round trip on one machine.
const linger = 20 * time.Millisecond

// note appends to the journal, and asks the parent to read it when it is filling up.
func (w *worker) note(r journal.Record) {
	if w.journal.Append(r) {
		_ = w.say(servers.Event{Event: servers.EventJournal}) // without a parent, the control pipe ends
	}
}

func (w *worker) say(e servers.Event) error {
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if _, err := w.events.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("worker %d: event %s: %w", w.cfg.ID, e.Event, err)
	}
	return nil
}

// told says whether nextCommand would return at once: there is a command, or there will be none.
func (w *worker) told() bool {
	if w.lines.Buffered() > 0 {
		return true // a whole line: the parent writes each at once
	}
	n, _ := unix.Poll([]unix.PollFd{{Fd: child.ControlFD, Events: unix.POLLIN}}, 0) // EINTR: there was nothing
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
