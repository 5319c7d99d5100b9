package load

import (
	"bytes"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/results"
	"reuseport-bench/servers/socket"
	"reuseport-bench/servers/wire"
)

// transport is the RoundTripper behind the attacker's HTTP client. One call is one attempt.
type transport struct {
	cfg      Config
	clock    *wire.Clock
	begin    wire.Instant // of the schedule
	schedule Schedule
	sources  Sources
	host     string
	body     []byte
	poller   *poller
	names    *names   // nil: the target is known
	retrier  *Retrier // nil: nothing is tried again
	method   string
	idle     pool
	samples  *sampleWriter
	buffers  sync.Pool // of *buffer
}

type buffer struct {
	out []byte
	in  [2048]byte // many times what a worker answers
}

// errLost is what the attacker is told; the sample says more.
var errLost = errors.New("lost")

func newTransport(cfg Config, clock *wire.Clock, begin wire.Instant, samples *sampleWriter) (*transport, error) {
	t := &transport{
		cfg: cfg, clock: clock, begin: begin, schedule: NewSchedule(cfg.Shape),
		host: cfg.Target.String(), method: http.MethodGet, samples: samples,
	}
	if cfg.Body > 0 {
		t.body, t.method = bytes.Repeat([]byte{'x'}, cfg.Body), http.MethodPost
	}
	t.buffers.New = func() any { return &buffer{out: make([]byte, 0, 512)} }
	var err error
	if cfg.Lookup != nil {
		if t.names, err = newNames(cfg.Lookup); err != nil {
			return nil, err
		}
	}
	if cfg.Retry.Max > 0 {
		if t.retrier, err = NewRetrier(cfg.Retry, cfg.Shape.Seed); err != nil {
			return nil, err
		}
	}
	if t.sources, err = NewSources(cfg.Sources, t.schedule.Len()*cfg.Retry.Tries()); err != nil {
		return nil, err
	}
	t.sources = t.sources.InTurn(cfg.Ports)
	t.poller, err = newPoller()
	return t, err
}

// close closes the idle connections; no attempt may be under way.
func (t *transport) close() error {
	t.idle.close()
	return t.poller.close()
}

// RoundTrip carries out the attempt that the attacker's sequence number names. It reads the whole
// response itself; the one it returns has no body.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	sequence, err := strconv.ParseUint(r.Header.Get("X-Vegeta-Seq"), 10, 64)
	if err != nil {
		return nil, err
	}
	s := results.Sample{Process: t.cfg.Process, Sequence: sequence, Worker: -1, Generation: -1}
	t.attempt(&s)
	t.samples.add(&s)
	if !s.Served() {
		return nil, errLost
	}
	return served, nil
}

// served is what the attacker is told of every attempt that was. Nobody writes into it.
var served = &http.Response{StatusCode: http.StatusOK, Status: "200 OK", Body: http.NoBody}

// closing says whether the attempt asks the server to close the connection after its answer.
func (t *transport) closing(s *results.Sample) wire.Closing {
	if t.cfg.Connections == Reused || t.cfg.Connections == Mixed && s.Sequence%2 == 1 {
		return wire.KeepAlive
	}
	return wire.Close
}

// attempt fills the sample in: of the last try, with what the ones before met.
func (t *transport) attempt(s *results.Sample) {
	b := t.buffers.Get().(*buffer)
	defer t.buffers.Put(b)
	index := s.Sequence*uint64(t.cfg.Processes) + uint64(t.cfg.Process)
	s.Scheduled = int64(t.begin.Add(t.schedule.At(index)))
	for {
		x := t.try(s, index, b)
		if t.retrier == nil {
			return
		}
		try := x.outcome(index, t.method)
		again, after, gaveUp := t.retrier.Decide(try)
		if !again {
			s.GaveUp = gaveUp
			return
		}
		*s = results.Sample{
			Process: s.Process, Sequence: s.Sequence, Scheduled: s.Scheduled, Sent: s.Sent, Worker: -1, Generation: -1,
			Failed: append(s.Failed, results.FailedTry{Failure: try.failure(), Opened: x.opened}),
		}
		time.Sleep(after) // holds up nobody: the attempt has this goroutine, and no connection now
	}
}

// try makes one try, and fills the sample in as if there were no other.
func (t *transport) try(s *results.Sample, index uint64, b *buffer) (x exchange) {
	number := len(s.Failed)
	closing := t.closing(s)
	identity := wire.Attempt{Process: uint16(t.cfg.Process), Sequence: s.Sequence, Try: uint8(number)}
	b.out = wire.AppendRequest(b.out[:0], t.host, identity, t.body, closing)
	source := t.sources.At(index + uint64(number)*t.schedule.Len())

	x = exchange{sample: s, clock: t.clock}
	var err error
	if closing == wire.Close {
		x.conn, err = t.poller.open(source)
	}
	if number == 0 {
		for due := wire.Instant(s.Scheduled); t.clock.Now() < due; { // at most early; see pacer
		}
	}
	if closing == wire.KeepAlive {
		// At the last moment, so that a connection that was closed while it was idle is not taken.
		if x.conn = t.idle.take(); x.conn == nil {
			x.conn, err = t.poller.open(source)
		}
	}
	now := t.clock.Now()
	if s.LastSent = int64(now); number == 0 {
		s.Sent, s.LastSent = int64(now), 0
	}
	x.deadline = wire.Instant(s.Sent).Add(t.cfg.Timeout)
	x.handshake = x.deadline
	if limit := t.cfg.Retry.ConnectTimeout; limit > 0 {
		x.handshake = min(x.deadline, now.Add(limit))
	}
	if err != nil {
		s.Phase, s.Class, s.Done = results.PhaseConnect, results.ClassLocal, int64(now)
		return x
	}
	s.Source = x.source
	if err := t.find(x.conn, index, x.deadline.Sub(now)); err != nil {
		// Nobody says where to go to: for the client it is as if there were no way.
		s.Phase, s.Class, s.Done = results.PhaseConnect, results.ClassUnreachable, int64(t.clock.Now())
		x.close()
		return x
	}
	x.abort = t.cfg.Process == 0 && s.Sequence-t.cfg.AbortFrom < t.cfg.Aborts
	err = x.run(b)
	s.Done = int64(t.clock.Now())
	s.Class = classify(err, s.Phase)
	if s.Class == results.ClassNone {
		s.Phase = results.PhaseNone
	}
	if err == nil && t.cfg.Ports > 0 {
		x.awaitEnd(b.in[:])
	}
	if err == nil && closing == wire.KeepAlive && !x.last {
		t.idle.put(x.conn)
	} else {
		x.close()
	}
	return x
}

// find says where a connection that is not open yet goes to.
func (t *transport) find(c *conn, index uint64, limit time.Duration) (err error) {
	switch {
	case c.connected:
	case t.names == nil:
		c.target = t.cfg.Target
	default:
		c.target, c.release, err = t.names.target(index, t.cfg.Target.Port(), limit)
	}
	return err
}

// pool holds the idle connections, the most recently used on top.
type pool struct {
	mu   sync.Mutex
	idle []*conn
}

// take is an idle connection that is still alive, or nil. Dead ones are closed on the way.
func (p *pool) take() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n := len(p.idle); n > 0; n-- {
		c := p.idle[n-1]
		p.idle = p.idle[:n-1]
		if c.alive() {
			return c
		}
		c.close()
	}
	return nil
}

func (p *pool) put(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, c)
}

// close closes all idle connections.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.idle {
		c.close()
	}
	p.idle = nil
}

// exchange is one request and its response.
type exchange struct {
	*conn
	sample    *results.Sample
	clock     *wire.Clock
	deadline  wire.Instant
	handshake wire.Instant // its deadline
	last      bool         // the server closes the connection after this response
	abort     bool         // by this side, when the request is sent
	opened    bool         // by this exchange
	// written and got are bytes of the request that the kernel has taken, and of the response that have come.
	written, got int
}

// outcome is the try that the exchange was.
func (x *exchange) outcome(index uint64, method string) Try {
	s := x.sample
	return Try{
		Attempt: index, Number: len(s.Failed) + 1, Method: method, Phase: s.Phase, Class: s.Class,
		Written: x.written, Read: x.got, Left: x.deadline.Sub(wire.Instant(s.Done)),
	}
}

var (
	errTimeout = errors.New("timed out")
	errEOF     = errors.New("closed by the server")
	errInvalid = errors.New("invalid response")
	errAborted = errors.New("aborted by the load itself")
)

// run connects if need be, sends and reads. It moves the sample's phase on as it goes.
//
// On loopback the SYN-ACK is there when connect(2) returns, though a non-blocking connect still
// says EINPROGRESS: the socket was locked by the call, so the segment waited in its backlog until the
// lock was released (tcp_v4_rcv, sk_add_backlog). Sending at once saves a turn of the poller.
func (x *exchange) run(b *buffer) error {
	x.sample.Phase = results.PhaseSend
	if !x.connected {
		x.sample.Phase, x.opened = results.PhaseConnect, true
		if err := socket.Connect(x.fd, x.target); err != nil && !errors.Is(err, unix.EINPROGRESS) {
			return err
		}
	}
	if err := x.send(b.out); err != nil {
		return err
	}
	x.connected = true
	x.sample.Phase = results.PhaseWait
	if x.abort { // closing it then sends a RST (socket(7), SO_LINGER)
		return errors.Join(errAborted, unix.SetsockoptLinger(x.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
	}
	return x.read(b.in[:])
}

// send sends the request, which fits any socket buffer, as soon as the connection is there.
func (x *exchange) send(out []byte) error {
	until := x.handshake
	if x.connected {
		until = x.deadline
	}
	n, err := socket.Send(x.fd, out)
	for errors.Is(err, unix.EAGAIN) {
		if err := x.await(until); err != nil {
			return err
		}
		n, err = socket.Send(x.fd, out)
	}
	x.written = n
	switch {
	case err == nil && n == len(out):
		x.sample.Connected = int64(x.clock.Now())
	case err == nil:
		err = errInvalid
	case errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
		// A reset in SYN_SENT is ECONNREFUSED (tcp_reset in net/ipv4/tcp_input.c), so the
		// connection had been established.
		x.sample.Connected = int64(x.clock.Now())
		x.sample.Phase = results.PhaseSend
	}
	return err
}

// read reads until the response is complete.
func (x *exchange) read(in []byte) error {
	s, n := x.sample, 0
	var r wire.Response
	head := 0
	for {
		m, err := x.recv(in[n:])
		if err != nil {
			return err
		}
		if s.FirstByte == 0 {
			s.FirstByte = int64(x.clock.Now())
			s.Phase = results.PhaseBody
		}
		n += m
		x.got = n
		if head == 0 {
			if r, head, err = wire.ParseResponse(in[:n]); err != nil || (head > 0 && head+r.BodyLen > len(in)) {
				return errInvalid
			}
			if head > 0 {
				s.Status, s.Worker, s.Generation = r.Status, r.Worker, r.Generation
				x.last = r.Close
			}
		}
		switch {
		case head > 0 && n == head+r.BodyLen && r.Status == http.StatusOK:
			return nil
		case head > 0 && n >= head+r.BodyLen, n == len(in):
			return errInvalid
		}
	}
}

// recv waits for bytes until the deadline. At the end there are none: errEOF.
func (x *exchange) recv(in []byte) (n int, err error) {
	for err = unix.EAGAIN; errors.Is(err, unix.EAGAIN); n, err = socket.Recv(x.fd, in, 0) {
		if err := x.await(x.deadline); err != nil {
			return 0, err
		}
	}
	if n == 0 && err == nil {
		err = errEOF
	}
	return n, err
}

// awaitEnd waits until the server has closed the connection, which leaves TIME_WAIT to it: on this side that would keep the port for a
// minute. What comes instead of an end changes nothing.
func (x *exchange) awaitEnd(in []byte) {
	for err := error(nil); err == nil; {
		_, err = x.recv(in)
	}
}

// await waits for news of the socket, perhaps for nothing; errTimeout: there is no time left.
func (x *exchange) await(until wire.Instant) error {
	left := until.Sub(x.clock.Now())
	if left <= 0 {
		return errTimeout
	}
	return x.wait(left)
}

// classify is the class of an attempt's error.
func classify(err error, phase results.Phase) results.Class {
	switch {
	case err == nil:
		return results.ClassNone
	case errors.Is(err, errTimeout), errors.Is(err, unix.ETIMEDOUT):
		return results.ClassTimeout
	case errors.Is(err, unix.ECONNREFUSED):
		return results.ClassRefused
	case errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
		return results.ClassReset
	case errors.Is(err, errEOF):
		return results.ClassEOF
	case errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ENETUNREACH):
		return results.ClassUnreachable
	case errors.Is(err, errInvalid):
		return results.ClassInvalid
	case phase == results.PhaseConnect, errors.Is(err, errAborted):
		return results.ClassLocal
	}
	return results.ClassInvalid
}
