package load

import (
	"bufio"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/results"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/child"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/socket"
	"reuseport-bench/servers/wire"
)

// FloorMain runs a minimal load process that speaks the protocol of Main. One thread with one epoll
// set makes only the necessary system calls: connect, write, read and close. It has no timeouts,
// does not classify losses, and writes its samples at the end. Only bench-engine uses it, as a
// lower limit of the cost of a load generator.
func FloorMain() error {
	lines := bufio.NewReader(os.NewFile(child.ControlFD, "control"))
	var cfg Config
	if err := readLine(lines, &cfg); err != nil {
		return fmt.Errorf("floor: configuration: %w", err)
	}
	f, err := newFloor(cfg)
	if err != nil {
		return fmt.Errorf("floor: %w", err)
	}
	out := os.NewFile(child.EventsFD, "samples")
	if _, err := out.Write([]byte{'r'}); err != nil {
		return fmt.Errorf("floor: ready: %w", err)
	}
	var s start
	if err := readLine(lines, &s); err != nil {
		return fmt.Errorf("floor: start: %w", err)
	}
	runtime.LockOSThread()
	if err := errors.Join(f.run(s.At), f.close()); err != nil {
		return fmt.Errorf("floor: %w", err)
	}
	if err := writeLast(out, f.samples, end{}); err != nil {
		return fmt.Errorf("floor: %w", err)
	}
	return nil
}

type floor struct {
	cfg      Config
	clock    *clock.Clock
	schedule Schedule
	sources  Sources
	template *wire.Template
	expect   wire.Expect
	epoll    int
	limit    int // maximum number of attempts under way
	open     map[int32]*floorConn
	free     []*floorConn // closed, and free for reuse
	idle     []*floorConn // with ConnectionsReused: open, the most recently used last
	busy     int
	out      []byte
	samples  []byte
}

type floorConn struct {
	fd       int
	written  bool
	n        int // number of bytes of in that are not parsed yet
	in       [1024]byte
	response wire.ResponseReader
	sample   results.Sample
}

// floorInFlight is the maximum number of attempts under way in an open loop.
const floorInFlight = 1024

func newFloor(cfg Config) (*floor, error) {
	f := &floor{
		cfg: cfg, schedule: NewSchedule(cfg.Shape),
		template: cfg.Request.template(cfg.Target.String(), 0), expect: wire.Own(),
		limit: floorInFlight, open: map[int32]*floorConn{}, samples: make([]byte, 0, 8<<20),
	}
	if cfg.Shape.Clients > 0 {
		f.limit = cfg.inFlight()
	}
	var err, errClock, errEpoll error
	f.sources, err = NewSources(cfg.Sources, f.schedule.Len())
	f.clock, errClock = clock.New()
	f.epoll, errEpoll = unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	return f, errors.Join(err, errClock, errEpoll)
}

// run sends the attempts that are due and reads the answers, until all are answered. It returns the
// first error.
func (f *floor) run(begin clock.Instant) error {
	events := make([]unix.EpollEvent, 64)
	end := begin.Add(f.cfg.Shape.Duration + f.cfg.overrun())
	for next, ended := uint64(0), false; ; {
		wait := clock.Instant(math.MaxInt64)
		for !ended && f.busy < f.limit {
			due, now := begin.Add(f.schedule.At(next)), f.clock.Now()
			if next >= f.schedule.Len() || now > end {
				ended = true
			} else if due > now {
				wait = due
				break
			} else if err := f.send(next, due); err != nil {
				return fmt.Errorf("attempt %d: %w", next, err)
			} else {
				next++
			}
		}
		if ended && f.busy == 0 {
			return nil
		}
		timeout := time.Duration(-1) // no timeout
		if wait != math.MaxInt64 {
			timeout = max(0, wait.Sub(f.clock.Now()))
		}
		n, err := socket.EpollWait(f.epoll, events, timeout)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("epoll_pwait2: %w", err)
		}
		for _, e := range events[:max(n, 0)] {
			if err := f.handle(f.open[e.Fd]); err != nil {
				return err
			}
		}
	}
}

// close closes all connections and the epoll set.
func (f *floor) close() error {
	var errs []error
	for fd := range f.open {
		errs = append(errs, unix.Close(int(fd)))
	}
	return errors.Join(append(errs, unix.Close(f.epoll))...)
}

// send begins an attempt.
func (f *floor) send(index uint64, due clock.Instant) (err error) {
	c := f.take()
	if c == nil {
		if c, err = f.connect(index); err != nil {
			return err
		}
	}
	f.busy++
	c.n, c.written = 0, false
	c.response.Start(&f.expect)
	c.sample.Sequence, c.sample.Scheduled = index, int64(due)
	if c.sample.Sent == 0 {
		c.sample.Sent = int64(f.clock.Now())
	}
	return f.write(c)
}

// take returns an idle connection, or nil.
func (f *floor) take() *floorConn {
	last := len(f.idle) - 1
	if last < 0 {
		return nil
	}
	c := f.idle[last]
	f.idle = f.idle[:last]
	c.sample = results.Sample{Source: c.sample.Source}
	return c
}

func (f *floor) connect(index uint64) (*floorConn, error) {
	c := &floorConn{}
	if last := len(f.free) - 1; last >= 0 {
		c, f.free = f.free[last], f.free[:last]
	}
	c.sample = results.Sample{Source: f.sources.At(index)}
	var err error
	if c.fd, err = socket.Open(f.cfg.Target.Addr()); err != nil {
		return nil, err
	}
	f.open[int32(c.fd)] = c
	if err := socket.Bind(c.fd, c.sample.Source); err != nil {
		return nil, err
	}
	c.sample.Sent = int64(f.clock.Now())
	if err := socket.Connect(c.fd, f.cfg.Target); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return nil, err
	}
	return c, socket.EpollCtl(f.epoll, unix.EPOLL_CTL_ADD, c.fd, unix.EPOLLIN, int32(c.fd))
}

// write writes the request, or waits for an event if the connection is not yet established.
func (f *floor) write(c *floorConn) error {
	closing := wire.Close
	if f.cfg.Connections == vocabulary.ConnectionsReused {
		closing = wire.KeepAlive
	}
	identity := wire.Attempt{Sequence: c.sample.Sequence}
	f.out = f.template.Append(f.out[:0], identity, closing)
	switch _, err := socket.Send(c.fd, f.out); {
	case errors.Is(err, unix.EAGAIN): // still in the handshake
		const events = unix.EPOLLIN | unix.EPOLLOUT
		return socket.EpollCtl(f.epoll, unix.EPOLL_CTL_MOD, c.fd, events, int32(c.fd))
	case err != nil:
		return err
	}
	c.written = true
	return nil
}

// handle handles an event of a connection.
func (f *floor) handle(c *floorConn) error {
	if c == nil {
		return nil
	}
	if !c.written {
		if err := f.write(c); err != nil || !c.written {
			return err
		}
		return socket.EpollCtl(f.epoll, unix.EPOLL_CTL_MOD, c.fd, unix.EPOLLIN, int32(c.fd))
	}
	n, err := socket.Recv(c.fd, c.in[c.n:], 0)
	if errors.Is(err, unix.EAGAIN) {
		return nil
	}
	if err != nil {
		return err
	}
	if n == 0 {
		return errEOF
	}
	r := &c.response
	used, done, err := r.Next(c.in[:c.n+n])
	if err != nil {
		return err
	}
	if c.sample.Status == 0 && r.Status != 0 {
		c.sample.Status = r.Status
		c.sample.Worker, c.sample.Generation = wire.Number(r.Worker), wire.Number(r.Generation)
	}
	c.n = copy(c.in[:], c.in[used:c.n+n])
	switch {
	case !done:
		return nil
	case r.Status != http.StatusOK:
		return errInvalid
	}
	c.sample.Done = int64(f.clock.Now())
	f.samples = c.sample.Append(f.samples)
	f.busy--
	if f.cfg.Connections == vocabulary.ConnectionsReused {
		f.idle = append(f.idle, c)
		return nil
	}
	delete(f.open, int32(c.fd))
	f.free = append(f.free, c)
	return socket.Close(c.fd)
}
