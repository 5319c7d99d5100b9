package load

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"

	"golang.org/x/sys/unix"

	"reuseport-bench/results"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/socket"
	"reuseport-bench/servers/wire"
)

// attempt is an attempt under way. No goroutine waits for it: the loop advances it at each event of
// its connection and at its alarm.
type attempt struct {
	t       *transport
	sample  results.Sample // of the last try, with the failures of the earlier ones
	index   uint64         // in the schedule of all processes
	closing wire.Closing   // whether it asks the server to close the connection after the answer
	out     []byte
	alarm   clock.Instant // when its wait ends: for an answer, a connection or the next try
	filed   clock.Instant // its key in the heap of alarms, at most alarm
	place   int           // its index in that heap plus 1; 0: not in the heap

	// Of the current try.
	conn      *conn // nil: it waits for a connection, or the try has not begun
	stage     stage
	deadline  clock.Instant // for the attempt with all its tries
	handshake clock.Instant // deadline for this try's handshake
	opened    bool          // the try opened its connection
	last      bool          // the server closes the connection after this response
	abort     bool          // reset the connection when the request is sent
	written   int           // bytes of the request that the kernel has taken
	got       int           // bytes of the response received
	response  wire.Response
	head      int        // length of the response's head; 0: incomplete
	in        [2048]byte // many times a worker's response
}

// stage is what a try has to do next.
type stage int

const (
	connecting stage = iota
	sending          // once the handshake is over
	reading
	leaving // served; it waits for the server to close the connection
	queued  // it waits for a connection of the pool
)

// begin begins the attempt at its time. When it returns, the loop owns the attempt.
func (a *attempt) begin(sequence uint64) {
	t := a.t
	a.sample = results.Sample{
		Process: t.cfg.Process, Sequence: sequence, Worker: -1, Generation: -1,
	}
	a.index = t.index(sequence)
	a.sample.Scheduled = int64(t.begins.Add(t.schedule.At(a.index)))
	a.closing = wire.Close
	if t.cfg.Connections == vocabulary.ConnectionsReused ||
		t.cfg.Connections == vocabulary.ConnectionsMixed && sequence%2 == 1 {
		a.closing = wire.KeepAlive
	}
	a.try()
}

// try begins the next try.
func (a *attempt) try() {
	t, s, number := a.t, &a.sample, len(a.sample.Failed)
	a.opened, a.last, a.abort, a.written, a.got, a.head = false, false, false, 0, 0, 0
	identity := wire.Attempt{
		Process: uint16(t.cfg.Process), Sequence: s.Sequence, Try: uint8(number),
	}
	a.out = wire.AppendRequest(a.out[:0], t.host, identity, t.body, a.closing)

	var err error
	if a.closing == wire.Close {
		a.conn, err = t.loop.open(a.source())
	}
	if number == 0 {
		t.awaitDue(clock.Instant(s.Scheduled))
	}
	now := t.clock.Now()
	if a.closing == wire.KeepAlive {
		// Take a connection only now: one taken earlier might have been closed during the wait.
		a.conn, err = t.pool.take(a.source())
		now = t.clock.Now()
	}
	if s.LastSent = int64(now); number == 0 {
		s.Sent, s.LastSent = int64(now), 0
	}
	a.deadline = clock.Instant(s.Sent).Add(t.cfg.Timeout)
	if a.conn == nil && err == nil {
		a.stage, s.Phase = queued, results.PhaseConnect
		t.loop.setAlarm(a, a.deadline)
		t.pool.enqueue(a)
		return
	}
	a.start(now, err)
}

// source returns the client's address and port for a connection opened for this try.
func (a *attempt) source() netip.AddrPort {
	return a.t.sources.At(a.index + uint64(len(a.sample.Failed))*a.t.schedule.Len())
}

// gotConn ends the try's wait for a connection, with the connection or the error of opening it.
func (a *attempt) gotConn(c *conn, err error) {
	a.t.loop.cancel(a)
	a.conn = c
	a.start(a.t.clock.Now(), err)
}

// starved ends a try for which no connection became free in time.
func (a *attempt) starved() {
	a.t.pool.dequeue(a)
	a.t.loop.cancel(a)
	a.sample.Class, a.sample.Done = results.ClassTimeout, int64(a.t.clock.Now())
	a.tried()
}

// start continues the try with its connection, or ends it with the error of opening one.
func (a *attempt) start(now clock.Instant, err error) {
	t, s := a.t, &a.sample
	a.handshake = a.deadline
	if limit := t.cfg.Retry.ConnectTimeout; limit > 0 {
		a.handshake = min(a.deadline, now.Add(limit))
	}
	if err != nil {
		s.Phase, s.Class = results.PhaseConnect, results.ClassLocal
		s.Errno, s.Done = errnoOf(err), int64(now)
		a.tried()
		return
	}
	s.Source, a.stage = a.conn.source, connecting
	switch {
	case a.conn.connected:
		a.stage, s.Phase = sending, results.PhaseSend
		a.use()
	case t.names == nil:
		a.connect(t.cfg.Target)
	default:
		t.names.find(a, a.deadline.Sub(now))
	}
}

// connect opens the try's connection to the target.
func (a *attempt) connect(target netip.AddrPort) {
	a.conn.target = target
	a.stage, a.sample.Phase, a.opened = connecting, results.PhaseConnect, true
	a.use()
}

// unresolved ends a try whose lookup failed. For the client that is like an unreachable host.
func (a *attempt) unresolved() {
	s := &a.sample
	s.Phase, s.Class = results.PhaseConnect, results.ClassUnreachable
	s.Done = int64(a.t.clock.Now())
	a.hangUp()
	a.tried()
}

// hangUp closes the try's connection.
func (a *attempt) hangUp() {
	c := a.conn
	a.conn = nil
	if a.closing == wire.Close {
		c.close()
	} else {
		a.t.pool.drop(c)
	}
}

// use makes the try on its connection, from the current stage.
func (a *attempt) use() {
	a.abort = a.t.cfg.Process == 0 && a.sample.Sequence-a.t.cfg.AbortFrom < a.t.cfg.Aborts
	a.conn.attempt = a
	a.advance()
}

var (
	errTimeout = errors.New("timed out")
	errEOF     = errors.New("closed by the server")
	errInvalid = errors.New("invalid response")
	errAborted = errors.New("aborted by the load itself")
)

// advance does everything the try can do now. The loop does the rest.
func (a *attempt) advance() {
	for {
		err := a.step()
		if err == unix.EAGAIN {
			if err = a.wait(); err == nil {
				return
			}
		}
		if a.end(err) {
			a.tried()
			return
		}
	}
}

// wait makes the loop advance the attempt at the next event of its connection or at the deadline.
// It returns errTimeout if the deadline has passed.
func (a *attempt) wait() error {
	until := a.deadline
	if a.stage == sending && !a.conn.connected {
		until = a.handshake
	}
	if a.t.clock.Now() >= until {
		return errTimeout
	}
	a.t.loop.setAlarm(a, until)
	return a.conn.watch()
}

// alarmed is called when the attempt's alarm is due.
func (a *attempt) alarmed() {
	switch {
	case a.stage == queued:
		a.starved()
	case a.conn == nil:
		a.try()
	default:
		a.advance() // a response that has arrived counts; otherwise wait returns errTimeout
	}
}

// step takes the next step of the try. It returns EAGAIN if it must wait for an event.
//
// On loopback the SYN-ACK has arrived when connect(2) returns, though a non-blocking connect still
// returns EINPROGRESS: the call had locked the socket, so the segment waited in its backlog until
// the lock was released (tcp_v4_rcv, sk_add_backlog). Sending at once saves a turn of the loop.
func (a *attempt) step() error {
	switch a.stage {
	case connecting:
		switch err := socket.Connect(a.conn.fd, a.conn.target); {
		case errors.Is(err, unix.EAGAIN): // a failure: no event would follow
			return fmt.Errorf("connect: %v", err)
		case err != nil && !errors.Is(err, unix.EINPROGRESS):
			return err
		}
		a.stage = sending
		fallthrough
	case sending:
		if err := a.send(); err != nil {
			return err
		}
		a.conn.connected, a.stage, a.sample.Phase = true, reading, results.PhaseWait
		if a.abort { // closing it then sends a RST (socket(7), SO_LINGER)
			reset := unix.Linger{Onoff: 1}
			return errors.Join(errAborted,
				unix.SetsockoptLinger(a.conn.fd, unix.SOL_SOCKET, unix.SO_LINGER, &reset))
		}
		return unix.EAGAIN // wait for the answer
	case reading:
		return a.read()
	default: // leaving
		_, err := a.recv(a.in[:])
		return err
	}
}

// send sends the request, if the connection is established. It fits any socket buffer.
func (a *attempt) send() error {
	n, err := socket.Send(a.conn.fd, a.out)
	a.written = n
	switch {
	case err == nil && n == len(a.out):
		a.sample.Connected = int64(a.t.clock.Now())
	case err == nil:
		err = errInvalid
	case errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
		// A reset in SYN_SENT is ECONNREFUSED (tcp_reset in net/ipv4/tcp_input.c), so the
		// connection had been established.
		a.sample.Connected = int64(a.t.clock.Now())
		a.sample.Phase = results.PhaseSend
	}
	return err
}

// read reads until the response is complete.
func (a *attempt) read() error {
	s := &a.sample
	for {
		n, err := a.recv(a.in[a.got:])
		if err != nil {
			return err
		}
		s.Done = int64(a.t.clock.Now())
		if s.FirstByte == 0 {
			s.FirstByte, s.Phase = s.Done, results.PhaseBody
		}
		a.got += n
		if a.head == 0 {
			a.response, a.head, err = wire.ParseResponse(a.in[:a.got])
			if err != nil || a.head > 0 && a.head+a.response.BodyLen > len(a.in) {
				return errInvalid
			}
			if a.head > 0 {
				r := a.response
				s.Status, s.Worker, s.Generation, a.last = r.Status, r.Worker, r.Generation, r.Close
			}
		}
		switch whole := a.head + a.response.BodyLen; {
		case a.head > 0 && a.got == whole && s.Status == http.StatusOK:
			return nil
		case a.head > 0 && a.got >= whole, a.got == len(a.in):
			return errInvalid
		}
	}
}

// recv receives into in. At the end of the connection it returns errEOF.
func (a *attempt) recv(in []byte) (int, error) {
	n, err := socket.Recv(a.conn.fd, in, 0)
	if n == 0 && err == nil {
		err = errEOF
	}
	return n, err
}

// end ends the current stage with the error of step, and reports whether the try has ended.
func (a *attempt) end(err error) bool {
	s := &a.sample
	switch {
	case a.stage == leaving && err == nil:
		return false // it received data, but waits for the end
	case a.stage == leaving:
		err = errEOF // only of the connection: the attempt was served
	case err == nil:
		s.Class, s.Phase = results.ClassNone, results.PhaseNone
	default:
		s.Class, s.Done = classify(err, s.Phase), int64(a.t.clock.Now())
		if s.Class == results.ClassLocal {
			s.Errno = errnoOf(err)
		}
	}
	switch {
	case err == nil && a.t.cfg.Ports > 0:
		// The server must close first: on this side TIME_WAIT would keep the port for a minute.
		a.stage = leaving
		return false
	case err == nil && a.closing == wire.KeepAlive && !a.last:
		c := a.conn
		a.conn = nil
		a.t.pool.put(c)
	default:
		a.hangUp()
	}
	a.t.loop.cancel(a)
	return true
}

// tried ends the attempt or, if the policy says so, waits to try again. When it returns, the
// attempt is unused or owned by the loop.
func (a *attempt) tried() {
	t, s := a.t, &a.sample
	if t.retrier != nil {
		try := a.outcome()
		again, after, gaveUp := t.retrier.Decide(try)
		if again {
			*s = results.Sample{
				Process: s.Process, Sequence: s.Sequence, Worker: -1, Generation: -1,
				Scheduled: s.Scheduled, Sent: s.Sent,
				Failed: append(s.Failed,
					results.FailedTry{Failure: try.failure(), Opened: a.opened}),
			}
			t.loop.setAlarm(a, t.clock.Now().Add(after))
			return
		}
		s.GaveUp = gaveUp
	}
	t.ended(a)
}

// outcome describes the try that has ended.
func (a *attempt) outcome() Try {
	s := &a.sample
	return Try{
		Attempt: a.index, Number: len(s.Failed) + 1, Method: a.t.method,
		Phase: s.Phase, Class: s.Class, Written: a.written, Read: a.got,
		Left: a.deadline.Sub(clock.Instant(s.Done)),
	}
}

// classify returns the class of an error that an attempt met in the phase.
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
	case errors.Is(err, errAborted):
		return results.ClassAborted
	case phase == results.PhaseConnect:
		return results.ClassLocal
	}
	return results.ClassInvalid
}

// errnoOf returns the errno of a failed system call, or 0.
func errnoOf(err error) int {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return int(errno)
	}
	return 0
}
