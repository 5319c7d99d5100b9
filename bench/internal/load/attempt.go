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

// attempt is an attempt under way. No goroutine waits for its answer: the loop advances the attempt
// at each event of its connection and at its alarm.
type attempt struct {
	t       *transport
	sample  results.Sample // of the last try, with the failures of earlier tries
	index   uint64         // the attempt's index in the schedule of all processes
	closing wire.Closing   // whether the request asks the server to close the connection
	out     []byte
	alarm   clock.Instant // when the wait for an answer, a connection or the next try ends
	filed   clock.Instant // the attempt's key in the heap of alarms; never later than alarm
	place   int           // the attempt's index in that heap plus 1; 0: not in the heap

	// The fields of the current try.
	conn      *conn // nil: the try waits for a connection or has not begun
	stage     stage
	deadline  clock.Instant // of the whole attempt, including all its tries
	handshake clock.Instant // deadline for this try's handshake
	opened    bool          // the try opened its connection
	last      bool          // the server closes the connection after this response
	abort     bool          // reset the connection once the request is sent
	broken    bool          // sending failed, so EOF means a reset
	written   int           // bytes of the request that the kernel has taken
	got       int           // bytes of the response received
	response  wire.ResponseReader
	held      []byte // received but not parsed yet: part of a head or of a line
}

// stage says what a try must do next.
type stage int

const (
	connecting stage = iota
	sending          // send the request once the handshake is complete
	reading
	leaving // served; wait until the server closes the connection
	queued  // wait for a connection from the pool
)

// begin starts the attempt when it is due. When begin returns, the loop owns the attempt.
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
	a.opened, a.last, a.abort, a.broken = false, false, false, false
	a.written, a.got, a.held = 0, 0, a.held[:0]
	a.response.Start(&t.expect)
	identity := wire.Attempt{
		Process: uint16(t.cfg.Process), Sequence: s.Sequence, Try: uint8(number),
	}
	a.out = t.template.Append(a.out[:0], identity, a.closing)

	var err error
	if a.closing == wire.Close {
		a.conn, err = t.loop.open(a.source())
	}
	if number == 0 {
		t.awaitDue(clock.Instant(s.Scheduled))
	}
	now := t.clock.Now()
	if a.closing == wire.KeepAlive {
		// Take the connection only now. If it had been taken before the wait, it might be closed by
		// now.
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

// source returns the client's address and port for a new connection of this try.
func (a *attempt) source() netip.AddrPort {
	return a.t.sources.At(a.index + uint64(len(a.sample.Failed))*a.t.schedule.Len())
}

// gotConn ends the try's wait for a connection. c is the connection; err is the error if a new one
// could not be opened.
func (a *attempt) gotConn(c *conn, err error) {
	a.t.loop.cancel(a)
	a.conn = c
	a.start(a.t.clock.Now(), err)
}

// starved ends a try that did not get a connection in time.
func (a *attempt) starved() {
	a.t.pool.dequeue(a)
	a.t.loop.cancel(a)
	a.sample.Class, a.sample.Done = results.ClassTimeout, int64(a.t.clock.Now())
	a.tried()
}

// start continues the try on its connection, or ends the try with the error of opening one.
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

// unresolved ends a try whose lookup failed. The failure counts as an unreachable host, since a
// client treats both alike.
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

// use runs the try on its connection, starting with the current stage.
func (a *attempt) use() {
	a.abort = a.t.cfg.Process == 0 && a.sample.Sequence-a.t.cfg.AbortFrom < a.t.cfg.Aborts
	a.conn.attempt, a.conn.readable = a, false // nothing has arrived while the connection was idle
	a.advance()
}

var (
	errTimeout = errors.New("timed out")
	errEOF     = errors.New("closed by the server")
	errInvalid = errors.New("invalid response")
	errAnswer  = errors.New("answered by an error")
	errAborted = errors.New("aborted by the load itself")
)

// advance takes all steps of the try that need no wait. The loop continues the try later.
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
		a.advance() // if a response has arrived, it counts; otherwise wait returns errTimeout
	}
}

// step takes the next step of the try. It returns EAGAIN if it must wait for an event.
//
// On loopback the SYN-ACK has arrived by the time connect(2) returns. A non-blocking connect
// returns EINPROGRESS all the same: the call holds the socket's lock, so the SYN-ACK waits in the
// backlog until the call releases the lock (tcp_v4_rcv, sk_add_backlog). Sending immediately after
// connect saves a turn of the loop.
func (a *attempt) step() error {
	switch a.stage {
	case connecting:
		switch err := socket.Connect(a.conn.fd, a.conn.target); {
		case errors.Is(err, unix.EAGAIN): // the connection has failed: no event would follow
			return fmt.Errorf("connect: %v", err)
		case err != nil && !errors.Is(err, unix.EINPROGRESS):
			return err
		}
		a.stage = sending
		fallthrough
	case sending:
		switch err := a.send(); {
		case err == nil:
			a.stage = reading
			if a.got == 0 {
				a.sample.Phase = results.PhaseWait
			}
			if a.abort { // close(2) will send a RST (socket(7), SO_LINGER)
				return errors.Join(errAborted, unix.SetsockoptLinger(a.conn.fd, unix.SOL_SOCKET,
					unix.SO_LINGER, &unix.Linger{Onoff: 1}))
			}
		case err != unix.EAGAIN:
			return err
		}
		if a.conn.readable {
			return a.read() // a server may answer before it has received the whole request
		}
		return unix.EAGAIN
	case reading:
		return a.read()
	default: // leaving: ignore the data, because only EOF ends this stage
		for range maxReads {
			if _, err := a.recv(a.t.in); err != nil {
				return err
			}
		}
		return a.conn.again()
	}
}

// send sends the request, if the connection is established. It returns EAGAIN while the send buffer
// has no room for the rest of the request.
func (a *attempt) send() error {
	n, err := socket.Send(a.conn.fd, a.out[a.written:])
	a.written += n
	switch {
	case err == nil && a.written == len(a.out):
		a.sample.Connected, a.conn.connected = int64(a.t.clock.Now()), true
	case err == nil:
		a.conn.connected = true
		if a.got == 0 {
			a.sample.Phase = results.PhaseSend
		}
		if err = a.conn.awaitRoom(); err == nil {
			err = unix.EAGAIN
		}
	case errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
		// A reset in SYN_SENT would give ECONNREFUSED (tcp_reset in net/ipv4/tcp_input.c), so the
		// connection was established before.
		a.sample.Connected = int64(a.t.clock.Now())
		if a.got == 0 {
			a.sample.Phase = results.PhaseSend
		}
		err = a.answered(err)
	}
	return err
}

// answered returns the result of a try whose request could not be sent because of err. If the
// server answered before it closed the connection (for example with 413 to a long body), the answer
// determines the result; otherwise the result is err.
func (a *attempt) answered(err error) error {
	a.broken = true
	if answer := a.read(); answer == nil || answer == errAnswer {
		return answer
	}
	return err
}

// maxReads is the maximum number of reads of one attempt before the loop turns to other attempts.
const maxReads = 16

// read reads until the response is complete.
func (a *attempt) read() error {
	s, in := &a.sample, a.t.in
	for range maxReads {
		held := copy(in, a.held)
		n, err := a.recv(in[held:])
		if err == errEOF && a.response.EndsWithConnection() && !a.broken {
			s.Done, a.last = int64(a.t.clock.Now()), true
			err = a.whole()
			s.Unverified = err == nil
			return err
		}
		if err != nil {
			if err == unix.EAGAIN {
				a.conn.readable = false
			}
			return err
		}
		s.Done = int64(a.t.clock.Now())
		if s.FirstByte == 0 {
			s.FirstByte, s.Phase = s.Done, results.PhaseBody
		}
		a.got += n
		b := in[:held+n]
		used, done, err := a.response.Next(b)
		if s.Status == 0 && a.response.Status != 0 {
			s.Status = a.response.Status
			a.t.identify(s, &a.response.Response)
		}
		switch {
		case err != nil:
			return errInvalid
		case done:
			// The connection cannot be used again if bytes follow the response or part of the
			// request was not sent (RFC 9112, 6.3 and 9.3).
			a.last = a.response.Close || used < len(b) || a.written < len(a.out)
			return a.whole()
		}
		a.held = append(a.held[:0], b[used:]...)
	}
	return a.conn.again()
}

// whole returns the result of a try with a complete response: nil if the attempt is served.
func (a *attempt) whole() error {
	s := &a.sample
	switch {
	case a.t.cfg.Request.serves(s.Status):
		return nil
	case s.Status == http.StatusRequestTimeout && a.last && !a.opened:
		// The server sent this response to close an idle connection, before it had received the
		// request (RFC 9110, 15.5.9). It does not answer the request. The status remains in the
		// sample, and with PhaseWait says so.
		s.FirstByte, s.Phase, a.got = 0, results.PhaseWait, 0
		return errEOF
	}
	return errAnswer
}

// recv receives into in. At EOF it returns errEOF.
func (a *attempt) recv(in []byte) (int, error) {
	n, err := socket.Recv(a.conn.fd, in, 0)
	if n == 0 && err == nil {
		err = errEOF
	}
	return n, err
}

// end ends the current stage, given the error that step returned. It reports whether this ended the
// try.
func (a *attempt) end(err error) bool {
	s := &a.sample
	s.Written, s.Received = a.written, a.got
	switch {
	case a.stage == leaving:
		err = errEOF // ends only the connection: the attempt has been served
	case err == nil:
		s.Class, s.Phase = results.ClassNone, results.PhaseNone
	default:
		s.Class, s.Done = classify(err, s.Phase), int64(a.t.clock.Now())
		if s.Class == results.ClassLocal {
			s.Errno = errnoOf(err)
		}
		s.Retriable = a.outcome().retriable(!a.opened)
	}
	answered := err == nil || err == errAnswer
	switch {
	case answered && a.t.cfg.Ports > 0 && a.written == len(a.out):
		// Let the server close first: otherwise TIME_WAIT would block the client's port for a
		// minute.
		a.stage = leaving
		return false
	case answered && a.closing == wire.KeepAlive && !a.last:
		c := a.conn
		a.conn = nil
		a.t.pool.put(c, a.response.IdleTimeout)
	default:
		a.hangUp()
	}
	a.t.loop.cancel(a)
	return true
}

// tried is called when a try has ended. It ends the attempt, or waits to try again if the policy
// says so. Then the attempt is unused or owned by the loop.
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

// classify returns the class of an error that ended an attempt in the phase.
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
	case errors.Is(err, errAnswer):
		return results.ClassErrorAnswer
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
