package servers

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

	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/selector"
	"reuseport-bench/servers/socket"
	"reuseport-bench/servers/sys"
	"reuseport-bench/servers/wire"
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
		failed := event{Event: eventFailed, Error: err.Error()}
		if errors.Is(err, unix.EADDRINUSE) {
			failed.Errno = unix.EADDRINUSE
		}
		return errors.Join(err, w.say(failed))
	}
	return err
}

// errOrphaned: the control pipe ended, so the parent is gone.
var errOrphaned = errors.New("worker: the control pipe has ended")

// worker is what every kind of server shares: its configuration, its pipes, its journal, its listener.
type worker struct {
	cfg      workerConfig
	control  *os.File
	lines    *bufio.Reader
	events   *os.File
	clock    *clock.Clock
	journal  *journal
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

// introduce finds the worker's pipes and journal: inherited at fixed places or, when another worker started this
// one, to be asked for.
func (w *worker) introduce() (err error) {
	control, events := fdControl, fdEvents
	w.journalFD = fdJournal
	switch name := os.Getenv(envAdopt); {
	case name != "":
		if control, events, w.journalFD, err = adoptive(name); err != nil {
			return err
		}
	case os.Getenv(envListenFDs) != "" && os.Getenv(envListenPID) == "":
		return becomeActivated()
	}
	w.control, w.events = os.NewFile(uintptr(control), "control"), os.NewFile(uintptr(events), "events")
	w.lines = bufio.NewReaderSize(w.control, 4096)
	return nil
}

func (w *worker) run() error {
	line, err := w.lines.ReadBytes('\n')
	if err != nil {
		return errOrphaned
	}
	if err := json.Unmarshal(line, &w.cfg); err != nil {
		return fmt.Errorf("worker configuration: %w", err)
	}
	if w.clock, err = clock.New(); err != nil {
		return fmt.Errorf("worker %d: %w", w.cfg.ID, err)
	}
	if w.journal, err = mapJournal(w.journalFD); err != nil {
		return fmt.Errorf("worker %d: %w", w.cfg.ID, err)
	}
	_ = sys.ReleaseProgram()  // without, it has more resident, and serves as well
	time.Sleep(w.cfg.Startup) // as a program that loads its data first
	if err := w.listen(); err != nil {
		return fmt.Errorf("worker %d: %w", w.cfg.ID, err)
	}
	w.works = newWorks(w.cfg.Work, w.cfg.Seed, w.cfg.ID, w.cfg.Generation)
	ready := event{Event: eventReady}
	s, err := w.server()
	if err != nil {
		return fmt.Errorf("worker %d: %w", w.cfg.ID, err)
	}
	if ready.Listener = w.listenerInode; w.cfg.Sockets == Shared {
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
	return w.say(event{Event: eventStopped, At: w.clock.Now(), CPU: sys.ProcessCPU()})
}

// listen gets the worker its listener, and puts that under its group's selection.
func (w *worker) listen() (err error) {
	switch {
	case w.cfg.Handover == SocketActivation:
		w.listener, err = w.activated()
	case w.cfg.Handover == Tableflip && os.Getenv(envAdopt) != "":
		return nil // it is passed to net/http; see newHTTP
	case w.cfg.From != "":
		w.listener, err = takeListener(w.cfg.From)
	case w.cfg.Inherited:
		w.listener = fdListener
		unix.CloseOnExec(fdListener)
	default:
		err = w.bind()
	}
	if err != nil {
		return err
	}
	if w.cfg.Offer != "" {
		if w.offer, err = socket.Offer(w.cfg.Offer); err != nil {
			return err
		}
	}
	if w.listenerInode, err = socket.Inode(w.listener); err != nil || w.cfg.Sockets == Shared {
		return err
	}
	switch {
	case w.cfg.Selection == ByCPU:
		return selector.AttachCPU(w.listener, w.cfg.Workers)
	case w.cfg.Selection == IncomingCPU:
		if err := unix.SetsockoptInt(w.listener, unix.SOL_SOCKET, unix.SO_INCOMING_CPU, w.cfg.CPU); err != nil {
			return fmt.Errorf("SO_INCOMING_CPU %d: %w", w.cfg.CPU, err)
		}
	case w.cfg.Selected:
		w.member, err = selector.Join([]int{fdSelector, fdSelector + 1, fdSelector + 2}, w.cfg.Slot, w.listener)
	}
	return err
}

// bindRetry is how long a worker that finds its address taken waits before it tries again: a usual figure in start scripts
// and supervisors. bindLimit is when it gives up; its parent will have done so before.
const (
	bindRetry = 10 * time.Millisecond
	bindLimit = 30 * time.Second
)

// bind makes the worker's own socket listen. Without SO_REUSEPORT it must wait until the one before is gone.
func (w *worker) bind() (err error) {
	for until := w.clock.Now().Add(bindLimit); ; {
		w.listener, err = listen(w.cfg.Address, w.cfg.Sockets, w.cfg.Backlog)
		now := w.clock.Now()
		if w.cfg.Sockets != Exclusive || !errors.Is(err, unix.EADDRINUSE) || now > until {
			return err
		}
		clock.BlockUntil(now.Add(bindRetry))
	}
}

// server is the worker's architecture, ready to run.
func (w *worker) server() (interface{ run() error }, error) {
	if w.cfg.Channels > 0 {
		return newAcceptor(w)
	}
	switch w.cfg.Kind {
	case Loop:
		return newLoop(w)
	case HTTP:
		return newHTTP(w)
	}
	return nil, fmt.Errorf("unknown kind of server %q", w.cfg.Kind)
}

// farewell is how long a stopped worker keeps idle connections, to tell them with the answer to their
// next request that it was the last (Connection: close). A FIN at once would cross requests already under
// way, which nobody could answer any more (RFC 9112, section 9.6). Whoever is silent for longer gets the FIN.
func farewell(grace time.Duration) time.Duration { return min(250*time.Millisecond, grace/2) }

// linger is how long a connection that was told to go by a FIN is still read, so that a request that
// crosses it is known of: far more than a round trip on one machine.
const linger = 20 * time.Millisecond

func (w *worker) say(e event) error {
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
	n, _ := unix.Poll([]unix.PollFd{{Fd: fdControl, Events: unix.POLLIN}}, 0) // EINTR: there was nothing
	return n > 0
}

// nextCommand reads the next line of the control pipe.
func (w *worker) nextCommand() (command, error) {
	var c command
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

// closeListener closes the worker's listener and says between which instants that happened.
func (w *worker) closeListener(close func() error) error {
	from := w.clock.Now()
	if err := close(); err != nil {
		return fmt.Errorf("worker %d: close listener: %w", w.cfg.ID, err)
	}
	at := w.clock.Now()
	w.listener = -1
	if w.offer >= 0 { // whoever asks now is too late
		if err := unix.Close(w.offer); err != nil {
			return fmt.Errorf("worker %d: close offer: %w", w.cfg.ID, err)
		}
		w.offer = -1
	}
	return w.say(event{Event: eventClosed, From: from, At: at})
}

// serviceTime is that of the next request, longer while the worker is cold; Work says which kind of time it is.
func (w *worker) serviceTime() time.Duration {
	d := w.works.next()
	if w.cfg.ColdFor == 0 {
		return d
	}
	left := w.cfg.ColdFor - w.clock.Now().Sub(w.readyAt)
	return d + time.Duration(float64(w.cfg.Cold)*max(0, float64(left)/float64(w.cfg.ColdFor)))
}

// faulty says whether the request is one to be answered with a reset: the first try of an attempt that is.
func (w *worker) faulty(r wire.Request) bool {
	f := w.cfg.Fault
	if !r.Identified || r.Attempt.Process != 0 || r.Attempt.Try > 0 || r.Attempt.Sequence < f.ResetFrom {
		return false
	}
	since, every := r.Attempt.Sequence-f.ResetFrom, max(1, f.ResetEvery)
	return since%every == 0 && since/every < f.ResetCount
}
