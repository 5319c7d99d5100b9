package ledger

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"sort"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/load"
	"reuseport-bench/results"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/journal"
	"reuseport-bench/servers/wire"
)

// An Attempt is the record of one attempt. A record takes 32 bytes, and 8 more in Book.waits, so
// ten million attempts take 400 MB.
type Attempt struct {
	Sent, Done Time
	Worker     int32  // the worker that the response names, or -1
	Server     int32  // the worker that read the request, or -1
	Generation int16  // the generation that the response names, or -1
	Status     uint16 // HTTP status of the response, or 0
	Class      results.Class
	Phase      results.Phase
	State      State
	sampled    bool // the book has received the attempt's sample
}

// Served reports whether the client received a complete and valid response in time.
func (a *Attempt) Served() bool { return a.Class == results.ClassNone }

// outcome describes how the attempt ended for the client. For an error answer, it includes the HTTP
// status.
func (a *Attempt) outcome() string {
	if a.Class == results.ClassErrorAnswer {
		return fmt.Sprintf("%v %d", a.Class, a.Status)
	}
	return a.Class.String()
}

// neverSent reports whether the load never sent the attempt.
func (a *Attempt) neverSent() bool { return a.Class == results.ClassUnsent }

// refused reports whether the client was refused a connection, and no worker has accepted one.
func (a *Attempt) refused() bool {
	return a.Class == results.ClassRefused && a.State == NeverAccepted
}

// State is the servers' account of an attempt: how far the servers got with it, and how its
// connection ended. Below, "read" is short for "a worker read the request", and "accepted" for "a
// worker accepted the connection".
type State uint8

// The states.
const (
	NeverAccepted  State = iota
	Answered             // the whole response was handed to the kernel
	ReadUnanswered       // read, then the worker closed the connection without an answer
	ReadUnhandled        // like ReadUnanswered, but the worker gave the request to no handler
	ReadAborted          // read, then the worker deliberately reset the connection
	ReadPeerGone         // read, but the response could not be written: the client had left
	ReadDied             // read, then the worker died
	UnreadClosed         // accepted, then the worker closed the connection before a request arrived
	UnreadPeerGone       // accepted, but the client left before a request arrived
	UnreadDied           // accepted, then the worker died before a request arrived
	readOpen             // read, and the connection is still open; used only while the trial runs

	// The following states occur only with third-party servers.
	Unwitnessed  // the servers' side is not known
	PartRead     // a part of the request was read
	PartAnswered // a part of the response was sent
	ReadHeld     // read, and the connection was still open when the trial ended
	UnreadHeld   // accepted, not read, and still open when the trial ended
	numStates
)

var stateNames = [numStates]string{
	"never accepted", "answered", "read, closed unanswered", "read, given to no handler",
	"read, reset", "read, peer gone",
	"read, worker died", "unread, closed", "unread, peer gone", "unread, worker died", "read, open",
	"not known", "read in part", "answered in part", "read, held", "unread, held",
}

func (s State) String() string { return stateNames[s] }

// read reports whether a worker has read the whole request.
func (s State) read() bool {
	switch s {
	case Answered, ReadUnanswered, ReadUnhandled, ReadAborted, ReadPeerGone, ReadDied, readOpen,
		PartAnswered, ReadHeld:
		return true
	}
	return false
}

// handled reports whether a handler of the server may have processed the request.
func (s State) handled() bool { return s.read() && s != ReadUnhandled }

// A Load holds the properties of a trial's load that a Book needs.
type Load struct {
	Shape     load.Shape    `json:"shape"`      // the schedule of all load processes together
	Timeout   time.Duration `json:"timeout_ns"` // of one attempt, including all its tries
	Processes int           `json:"processes"`  // they take the attempts of the schedule in turn
	Sources   netip.Prefix  `json:"sources"`    // range of the source addresses
	// number of source ports, used in turn; 0: each try has its own
	Ports  uint64 `json:"ports"`
	Tries  uint64 `json:"tries"`  // maximum per attempt, including the first
	Reuses bool   `json:"reuses"` // attempts reuse open connections
	// Kept is the number of connections opened before the first attempt was due. These connections
	// are numbered, like their source addresses, from the number after the last try's.
	Kept uint64 `json:"kept,omitzero"`
	// Proxied is true if a proxy opens all connections to the workers. These connections belong to
	// no attempt. If one carries no request, it is a health check of the proxy.
	Proxied bool `json:"proxied"`
	// RoundTrip is the delay that the lab adds to a round trip between clients and servers, half of
	// it in each direction. 0: no delay.
	RoundTrip time.Duration `json:"round_trip_ns,omitempty"`
	// Foreign is true with a third-party server, which keeps no journal. The servers' account then
	// comes from Facts.Witness.
	Foreign bool `json:"foreign,omitzero"`
	// Kubelets are the addresses from which kubelets probe workers. Their connections carry no
	// attempt.
	Kubelets []netip.Addr `json:"kubelets"`
}

// A Book joins the client's and the servers' accounts of every attempt: the samples of the load and
// the journal records of the workers. Several goroutines may add samples and records, in any order.
type Book struct {
	load     Load
	begin    clock.Instant
	schedule load.Schedule
	sources  load.Sources

	mu sync.Mutex
	// attempts holds the attempts of the schedule. In a closed loop, it grows as samples and
	// records arrive.
	attempts []Attempt
	// retried holds the attempts that made more than one try, by index. laterTries holds the
	// servers' account of tries after the first, by number. When the book is closed, each attempt
	// gets the state of its last try, and the states of its other tries, including the first, move
	// to laterTries.
	retried    map[uint64]tries
	laterTries map[uint64]serverSide
	// repeated counts the attempts whose request was read more than once. unhandled counts the
	// repeated attempts of which at most one try reached a handler. Both are set when the book is
	// closed.
	repeated, unhandled int64
	closed              bool
	counts              results.Retries // results of retrying, without repeated and unhandled
	// response times of attempts that were served by a later try, or nil
	masked *results.Histogram
	// openers holds, for each attempt, the number of the try that opened the connection of the
	// attempt's last try. For a connection that was kept from the start, it holds the connection's
	// own number; for an attempt without a connection, noConnection. openers is nil if every
	// attempt opens its own connection.
	openers []uint32
	// kept is the number of connections kept from the start that workers have accepted.
	kept int64
	// waits holds, for each attempt, the time in which its connection waited in an accept queue. It
	// is nil behind a proxy.
	waits []wait
	// earlyAccepts holds, by attempt index, the instants of accepts whose journal records arrived
	// before the attempt's sample. In a closed loop, only the sample tells when the attempt was
	// due. earlyAccepts is nil in an open loop.
	earlyAccepts map[uint64]Time
	open         map[connKey]conn
	unread       map[uint64]serverSide // connections that ended without a request, by try
	// ends holds the servers' account of the end of each reusable connection, by the try that
	// opened the connection. It is nil if attempts do not reuse connections.
	ends    map[uint64]serverSide
	workers map[int]*workerBook
	// connect and firstByte are histograms over served attempts. Their times begin when the
	// attempt's last try begins. The time in connect ends when the connection is established, if
	// the try opened one; the time in firstByte ends when the first byte of the response arrives.
	connect, firstByte *results.Histogram
	// unmatched counts the samples and records that belong to no attempt of the schedule, or are
	// duplicates. It is part of the residual.
	unmatched int64
	// localErrors counts attempts that failed in the load process itself, by errno. It is nil if
	// there are none.
	localErrors map[string]int64
	// sizes holds the numbers of bytes that each attempt sent and received. It is nil except with
	// third-party servers.
	sizes []size
	// retriable and unverified count the attempts whose samples have the flags Retriable and
	// Unverified.
	retriable, unverified int64
	recorder              *recorder // nil unless Keep was called
}

// noConnection is the opener of an attempt that had no connection.
const noConnection = math.MaxUint32

type connKey struct {
	worker int
	conn   uint32
}

type conn struct {
	at       clock.Instant // when it was accepted
	openedBy int64         // number of the try that opened it; -1: the load did not open it
	attempt  int64         // number of the try whose request the worker read last, or -1
	asked    clock.Instant // when the last request was read
	read     bool          // at least one request was read
	probe    bool          // opened by a kubelet
}

// A serverSide is the servers' account of a try or of a connection.
type serverSide struct {
	state  State
	worker int32 // -1: none
}

// A workerBook sums up the journal of one worker.
type workerBook struct {
	accepted, served int64
	// instant of the last accept, also of a connection kept from the start
	lastAccept clock.Instant
	// connections accepted in each window of length results.FairnessWindowNS
	overTime []int64
	// busy is the total time from reading each request to handing its response to the kernel.
	busy time.Duration
	// occupied is the sum, over the connections that have ended, of the time from accept to end, in
	// seconds. occupiedSquares is the sum of the squares of these times, and ended the number of
	// these connections.
	occupied, occupiedSquares float64
	ended                     int64
}

// NewBook returns an open book for a trial with load l. Start must be called before the first
// sample. NewBook fails if l.Sources has too few addresses for the attempts.
func NewBook(l Load) (*Book, error) {
	b := &Book{
		load:       l,
		schedule:   load.NewSchedule(l.Shape),
		retried:    map[uint64]tries{},
		laterTries: map[uint64]serverSide{},
		open:       map[connKey]conn{},
		unread:     map[uint64]serverSide{},
		workers:    map[int]*workerBook{},
		connect:    results.NewHistogram(), firstByte: results.NewHistogram(),
	}
	if !l.Proxied {
		b.waits = []wait{}
	}
	if l.Reuses {
		b.ends = map[uint64]serverSide{}
		b.openers = []uint32{}
	}
	if l.closed() {
		b.earlyAccepts = map[uint64]Time{}
	} else {
		b.extend(b.maxAttempts())
	}
	var err error
	b.sources, err = load.NewSources(l.Sources, b.maxAttempts()*l.Tries+l.Kept)
	b.sources = b.sources.InTurn(l.Ports)
	return b, err
}

// closed reports whether the load is a closed loop.
func (l *Load) closed() bool { return l.Shape.Clients > 0 }

// maxAttempts returns the largest possible number of attempts. It is also the difference between
// the numbers of two successive tries of an attempt.
func (b *Book) maxAttempts() uint64 { return b.schedule.Len() }

// extend makes room for at least n attempts in total.
func (b *Book) extend(n uint64) {
	more := int(n) - len(b.attempts)
	if more <= 0 {
		return
	}
	b.attempts = append(b.attempts, make([]Attempt, more)...)
	for i := int(n) - more; i < int(n); i++ {
		b.attempts[i].Worker, b.attempts[i].Server, b.attempts[i].Generation = -1, -1, -1
	}
	if b.waits != nil {
		b.waits = append(b.waits, make([]wait, more)...)
	}
	if b.openers != nil {
		b.openers = append(b.openers, make([]uint32, more)...)
	}
	if b.load.Foreign {
		b.sizes = append(b.sizes, make([]size, more)...)
	}
}

// Start sets the instant of the first scheduled attempt.
func (b *Book) Start(begin clock.Instant) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.begin = begin
}

// Time returns an instant of the monotonic clock as an offset from the first scheduled attempt.
func (b *Book) Time(i clock.Instant) Time { return Time(i.Sub(b.begin)) }

// Maybe is like Time, but returns nil for the instant 0, which means that the instant is not known.
func (b *Book) Maybe(i clock.Instant) *Time {
	if i == 0 {
		return nil
	}
	t := b.Time(i)
	return &t
}

// Instant is the inverse of Time.
func (b *Book) Instant(t Time) clock.Instant { return b.begin.Add(time.Duration(t)) }

// maxWindows is the maximum number of windows of one worker. The longest trial, one hour, has that
// many windows.
const maxWindows = int64(time.Hour) / results.FairnessWindowNS

// index returns the index of an attempt in the schedule, or false if the schedule has no such
// attempt. In a closed loop, it makes room for the attempt.
func (b *Book) index(process int, sequence uint64) (uint64, bool) {
	n := uint64(b.load.Processes)
	i := sequence*n + uint64(process)
	ok := uint64(process) < n && i < b.maxAttempts()
	if ok && i >= uint64(len(b.attempts)) {
		b.extend(i + 1)
	}
	return i, ok
}

// number returns the number of a try among the tries of all attempts. The number of an attempt's
// first try is the attempt's index. The source address of a try has the same number.
func (b *Book) number(a wire.Attempt) (uint64, bool) {
	i, ok := b.index(int(a.Process), a.Sequence)
	return i + uint64(a.Try)*b.maxAttempts(), ok && uint64(a.Try) < b.load.Tries
}

// serverSide returns the servers' account of a try so far.
func (b *Book) serverSide(try uint64) serverSide {
	if try < b.maxAttempts() {
		return serverSide{b.attempts[try].State, b.attempts[try].Server}
	}
	if e, ok := b.laterTries[try]; ok {
		return e
	}
	return serverSide{NeverAccepted, -1}
}

// setServerSide sets the servers' account of a try.
func (b *Book) setServerSide(try uint64, e serverSide) {
	if try < b.maxAttempts() {
		b.attempts[try].State, b.attempts[try].Server = e.state, e.worker
	} else {
		b.laterTries[try] = e
	}
}

// scheduled returns when attempt i was due or, in a closed loop, when it was sent.
func (b *Book) scheduled(i int) Time {
	if b.load.closed() {
		return b.attempts[i].Sent
	}
	return Time(b.schedule.At(uint64(i)))
}

func (b *Book) time(monotonicNS int64) Time { return b.Time(clock.Instant(monotonicNS)) }

// atServers returns the instant at which a segment reaches the servers if a client sends it at the
// instant sent.
func (b *Book) atServers(sent Time) Time { return sent.Add(b.load.RoundTrip / 2) }

// Sample adds the client's account of an attempt. It does not keep s.
func (b *Book) Sample(s *results.Sample) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.recorder.sample(s)
	i, ok := b.index(s.Process, s.Sequence)
	if !ok || b.attempts[i].sampled {
		b.unmatched++
		return
	}
	a := &b.attempts[i]
	a.sampled = true
	a.Sent, a.Done = b.time(s.Sent), b.time(s.Done)
	a.Class, a.Phase = s.Class, s.Phase
	a.Worker, a.Generation, a.Status = int32(s.Worker), int16(s.Generation), uint16(s.Status)
	if b.sizes != nil {
		b.sizes[i] = size{uint32(s.Written), uint32(s.Received)}
	}
	if s.Retriable {
		b.retriable++
	}
	if s.Unverified {
		b.unverified++
	}
	if s.Class == results.ClassLocal {
		if b.localErrors == nil {
			b.localErrors = map[string]int64{}
		}
		b.localErrors[cmp.Or(unix.ErrnoName(unix.Errno(s.Errno)), "other")]++
	}
	if b.load.Tries > 1 {
		b.sampleTries(i, s)
	}
	if b.waits != nil && s.Connected > 0 {
		b.waits[i].established = ticks(b.atServers(b.time(s.Connected)).Sub(b.scheduled(int(i))))
	}
	if at, ok := b.earlyAccepts[i]; ok {
		delete(b.earlyAccepts, i)
		b.setAccepted(i, at)
	}
	if b.openers != nil {
		b.openers[i] = b.opener(i, s)
	}
	if s.Served() && !b.initial(i) {
		b.recordPhases(int(i), s)
	}
}

// opener returns the number of the try that opened the connection of an attempt's last try. For a
// connection that was kept from the start, it returns the connection's own number. If the try had
// no connection, it returns noConnection.
func (b *Book) opener(i uint64, s *results.Sample) uint32 {
	if opener, ok := b.sources.Of(s.Source); ok {
		return uint32(opener)
	}
	if s.Class == results.ClassTimeout && !s.Source.IsValid() {
		return noConnection
	}
	return uint32(i + uint64(len(s.Failed))*b.maxAttempts())
}

// initial reports whether attempt i is the first attempt of one of the clients of a closed loop.
// These attempts are all sent at once to empty queues, so all percentiles exclude them.
func (b *Book) initial(i uint64) bool { return i < uint64(b.load.Shape.Clients) }

// recordPhases adds the times of a served attempt to the histograms connect and firstByte.
func (b *Book) recordPhases(i int, s *results.Sample) {
	began := cmp.Or(s.LastSent, s.Sent)
	if s.Connected > 0 && !b.reused(i) {
		b.connect.Record(s.Connected - began)
	}
	if s.FirstByte > 0 {
		b.firstByte.Record(s.FirstByte - began)
	}
}

// setAccepted stores when a worker accepted the connection of attempt i. If the connections of
// several tries were accepted, it keeps the latest instant, which belongs to the last try.
func (b *Book) setAccepted(i uint64, at Time) {
	due := ticks(at.Sub(b.scheduled(int(i))))
	b.waits[i].accepted = max(b.waits[i].accepted, due)
}

// Record adds an entry of a worker's journal. The entries of one worker must be added in order.
func (b *Book) Record(worker int, r journal.Record) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.recorder.record(worker, r)
	w := b.workers[worker]
	if w == nil {
		w = &workerBook{}
		b.workers[worker] = w
	}
	key := connKey{worker, r.Conn}
	if r.Kind == journal.Accepted {
		b.open[key] = b.accepted(w, r)
		return
	}
	c, known := b.open[key]
	if !known {
		b.unmatched++
		return
	}
	if c.probe {
		if r.Kind == journal.Ended {
			delete(b.open, key)
		}
		return
	}
	switch r.Kind {
	case journal.Requested:
		b.request(worker, &c, r)
		b.open[key] = c
	case journal.Answered:
		w.served++
		w.busy += r.At.Sub(c.asked)
		if c.attempt >= 0 {
			b.setServerSide(uint64(c.attempt), serverSide{Answered, int32(worker)})
		}
	case journal.Ended:
		b.ended(worker, &c, r.End)
		seconds := r.At.Sub(c.at).Seconds()
		w.occupied, w.occupiedSquares = w.occupied+seconds, w.occupiedSquares+seconds*seconds
		w.ended++
		delete(b.open, key)
	}
}

// accepted returns the state of a connection that was just accepted. It adds the connection to the
// worker's counts unless a kubelet opened it.
func (b *Book) accepted(w *workerBook, r journal.Record) conn {
	probe := slices.Contains(b.load.Kubelets, r.Peer.Addr())
	c := conn{at: r.At, openedBy: -1, attempt: -1, probe: probe}
	if probe {
		return c
	}
	kept := false
	if try, ok := b.openedBy(r.Peer, r.At); ok && !b.load.Proxied {
		c.openedBy = int64(try)
		if b.isKept(try) {
			kept = true
			b.kept++
		} else if try < b.maxAttempts()*b.load.Tries {
			b.acceptedTry(try, b.Time(r.At))
		}
	}
	w.accepted++
	w.lastAccept = r.At
	window := int64(b.Time(r.At)) / results.FairnessWindowNS
	if !kept && window >= 0 && window < maxWindows {
		for int64(len(w.overTime)) <= window {
			w.overTime = append(w.overTime, 0)
		}
		w.overTime[window]++
	}
	return c
}

// acceptedTry stores when a worker accepted the connection of a try. If the attempt's sample has
// not arrived yet, it stores the instant in earlyAccepts.
func (b *Book) acceptedTry(try uint64, at Time) {
	i := try % b.maxAttempts()
	if b.earlyAccepts != nil && (i >= uint64(len(b.attempts)) || !b.attempts[i].sampled) {
		b.earlyAccepts[i] = max(b.earlyAccepts[i], at)
		return
	}
	b.setAccepted(i, at)
}

// request records that a worker read a request on a connection.
func (b *Book) request(worker int, c *conn, r journal.Record) {
	c.read, c.attempt, c.asked = true, -1, r.At
	try, ok := b.number(r.Attempt)
	if !r.Identified || !ok || b.serverSide(try).state != NeverAccepted {
		b.unmatched++
		return
	}
	c.attempt = int64(try)
	b.setServerSide(try, serverSide{readOpen, int32(worker)})
}

// ended records the end of a connection in the servers' account of the try that the connection last
// carried.
func (b *Book) ended(worker int, c *conn, end journal.End) {
	read, unread := ReadPeerGone, UnreadPeerGone
	switch end {
	case journal.EndUnanswered:
		read, unread = ReadUnanswered, UnreadClosed
	case journal.EndUnhandled:
		read, unread = ReadUnhandled, UnreadClosed
	case journal.EndAborted:
		read, unread = ReadAborted, UnreadClosed
	case journal.EndServed:
		unread = UnreadClosed
	}
	b.endConn(worker, c, read, unread)
}

// endConn sets the terminal state of the try on a connection that has ended: to the argument read
// if the worker had read the try's request, and to the argument unread otherwise.
func (b *Book) endConn(worker int, c *conn, read, unread State) {
	if c.attempt >= 0 {
		if e := b.serverSide(uint64(c.attempt)); e.state == readOpen {
			b.setServerSide(uint64(c.attempt), serverSide{read, e.worker})
		}
	}
	if b.load.Proxied || c.probe {
		return
	}
	switch {
	case c.openedBy < 0:
		b.unmatched++
	case !c.read && !b.isKept(uint64(c.openedBy)):
		b.unread[uint64(c.openedBy)] = serverSide{unread, int32(worker)}
	case b.ends != nil:
		b.ends[uint64(c.openedBy)] = serverSide{unread, int32(worker)}
	}
}

// isKept reports whether a number from openedBy is the number of a connection that was kept from
// the start.
func (b *Book) isKept(number uint64) bool {
	tries := b.maxAttempts() * b.load.Tries
	return number >= tries && number < tries+b.load.Kept
}

// openedBy returns the number of the try that opened the connection with the given client address.
// If attempts use ports in turn, several tries have that address: openedBy then returns the last of
// these tries that was due when the connection was accepted.
func (b *Book) openedBy(peer netip.AddrPort, accepted clock.Instant) (uint64, bool) {
	ports, n := b.load.Ports, b.maxAttempts()
	first, ok := b.sources.Of(peer)
	if !ok || ports == 0 || first >= n {
		return first, ok
	}
	turns := sort.Search(len(b.attempts), func(turn int) bool {
		i := first + uint64(turn+1)*ports
		return i >= n || b.scheduled(int(i)) > b.Time(accepted)
	})
	return first + uint64(turns)*ports, true
}

// starved reports whether an attempt's last try had no connection because all kept connections were
// in use until its timeout.
func (b *Book) starved(i int) bool { return b.openers != nil && b.openers[i] == noConnection }

// connection returns the client's address of the connection that an attempt's last try was sent on,
// or the zero value if the try had no connection.
func (b *Book) connection(i int) netip.AddrPort {
	if b.starved(i) {
		return netip.AddrPort{}
	}
	if b.openers != nil {
		return b.sources.At(uint64(b.openers[i]))
	}
	return b.sources.At(b.last(i))
}

// reused reports whether an attempt's last try did not open a connection: it was sent on an open
// one, or it had none.
func (b *Book) reused(i int) bool { return b.openers != nil && uint64(b.openers[i]) != b.last(i) }

// close gives every attempt a terminal state on both sides: it ends the connections whose worker
// died, and marks the attempts that the load never sent. Further calls do nothing.
func (b *Book) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	b.closed = true
	for key, c := range b.open {
		b.endConn(key.worker, &c, ReadDied, UnreadDied)
	}
	clear(b.open)
	if b.load.closed() {
		b.trim()
	}
	for try, end := range b.unread {
		if !b.exists(try) || b.serverSide(try).state != NeverAccepted {
			b.unmatched++
			continue
		}
		b.setServerSide(try, end)
	}
	clear(b.unread)
	b.closeTries()
	for i := range b.attempts {
		if a := &b.attempts[i]; !a.sampled {
			at := b.scheduled(i)
			a.Sent, a.Done, a.Class, a.Phase = at, at, results.ClassUnsent, results.PhaseConnect
		}
	}
	b.closeReused()
}

// trim removes the attempts after the last one that the load of a closed loop sent. If a worker
// read the request of a removed attempt, that request counts as unmatched.
func (b *Book) trim() {
	n := len(b.attempts)
	for ; n > 0 && !b.attempts[n-1].sampled; n-- {
		if b.attempts[n-1].State != NeverAccepted {
			b.unmatched++
		}
	}
	b.attempts = b.attempts[:n]
	if b.waits != nil {
		b.waits = b.waits[:n]
	}
	if b.openers != nil {
		b.openers = b.openers[:n]
	}
	if b.sizes != nil {
		b.sizes = b.sizes[:n]
	}
}

// exists reports whether the book has the attempt to which a try belongs.
func (b *Book) exists(try uint64) bool {
	return try < b.maxAttempts()*b.load.Tries && try%b.maxAttempts() < uint64(len(b.attempts))
}

// closeReused sets the state of attempts that were sent on a reused connection, and whose request
// no worker read. The state follows from the end of the connection.
func (b *Book) closeReused() {
	for i, opener := range b.openers {
		a := &b.attempts[i]
		if a.Served() || a.State != NeverAccepted || uint64(opener) == b.last(i) {
			continue
		}
		if end, ok := b.ends[uint64(opener)]; ok {
			a.State, a.Server = end.state, end.worker
		}
	}
	clear(b.ends)
}
