package ledger

import (
	"cmp"
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

// An Attempt is what is kept of one attempt: 32 bytes, and 8 for its wait in an accept queue, so
// that ten million take 400 MB.
type Attempt struct {
	Sent, Done Time
	Worker     int32  // as the response said, or -1
	Server     int32  // the worker that read the request, or -1
	Generation int16  // as the response said, or -1
	Status     uint16 // of the response, or 0
	Class      results.Class
	Phase      results.Phase
	State      State
	seen       bool // a sample has come
}

// Served reports whether the client got its full, valid response in time.
func (a *Attempt) Served() bool { return a.Class == results.ClassNone }

// neverSent reports whether the load never came to the attempt.
func (a *Attempt) neverSent() bool { return a.Class == results.ClassUnsent }

// refused reports whether the connection was refused, and no worker says otherwise.
func (a *Attempt) refused() bool {
	return a.Class == results.ClassRefused && a.State == NeverAccepted
}

// State is what the servers know of an attempt: how far it got, and what ended it there.
type State uint8

// The states.
const (
	NeverAccepted  State = iota
	Answered             // the whole response was handed to the kernel
	ReadUnanswered       // read, then the worker closed the connection without an answer
	ReadUnhandled        // the same, and no handler was given the request
	ReadAborted          // read, then the worker reset the connection on purpose
	ReadPeerGone         // read, then the response could not be written
	ReadDied             // read, then the worker died
	UnreadClosed         // accepted, and closed by the worker before a request came
	UnreadPeerGone       // accepted, and the client was gone before a request came
	UnreadDied           // accepted, and the worker died before a request came
	readOpen             // read, and not ended: only while the trial runs
	numStates
)

var stateNames = [numStates]string{
	"never accepted", "answered", "read, closed unanswered", "read, given to no handler",
	"read, reset", "read, peer gone",
	"read, worker died", "unread, closed", "unread, peer gone", "unread, worker died", "read, open",
}

func (s State) String() string { return stateNames[s] }

// read reports whether a worker has read the whole request.
func (s State) read() bool {
	switch s {
	case Answered, ReadUnanswered, ReadUnhandled, ReadAborted, ReadPeerGone, ReadDied, readOpen:
		return true
	}
	return false
}

// handled reports whether a handler may have acted on the request.
func (s State) handled() bool { return s.read() && s != ReadUnhandled }

// A Load is what a Book must know of a trial's load.
type Load struct {
	Shape     load.Shape    `json:"shape"`      // of the schedule of all processes together
	Timeout   time.Duration `json:"timeout_ns"` // of an attempt with all its tries
	Processes int           `json:"processes"`  // that share it, in turn
	Sources   netip.Prefix  `json:"sources"`    // that source addresses are taken from
	Ports     uint64        `json:"ports"`      // that are taken in turn; 0: each connection has its own
	Tries     uint64        `json:"tries"`      // that an attempt may make, the first included
	Reuses    bool          `json:"reuses"`     // connections are kept and used again
	// Kept is how many connections were opened before the first attempt was due. Their sources, and
	// so their numbers, come after those of the tries.
	Kept uint64 `json:"kept,omitzero"`
	// Proxied: the workers' connections are a proxy's. None is an attempt's own, and those on
	// which no request came are the proxy's health checks.
	Proxied bool `json:"proxied"`
	// RoundTrip is what the lab adds to the way from a client to the servers and back: what a
	// client sends is at the servers half of it later. 0: nothing.
	RoundTrip time.Duration `json:"round_trip_ns,omitempty"`
	// Kubelets also connect to workers, to probe them; those connections carry no attempt.
	Kubelets []netip.Addr `json:"kubelets"`
}

// A Book joins the client's and the servers' accounts of every attempt. Samples and records may
// come from several goroutines, in any order between them.
type Book struct {
	load     Load
	begin    clock.Instant
	schedule load.Schedule
	sources  load.Sources

	mu sync.Mutex
	// attempts are those of the schedule; in a closed loop those that samples and records have told
	// of so far, up to the last.
	attempts []Attempt
	// again holds the attempts that made more than one try, and later what servers know of tries
	// after the first, by their numbers. Once the book is closed an attempt's own account is that
	// of its last try, and later has those of the tries before.
	again map[uint64]tries
	later map[uint64]serverEnd
	// repeated counts attempts read more than once, unhandled those of them of which a handler was
	// given at most one. They are known once the book is closed.
	repeated, unhandled int64
	closed              bool
	counts              results.Retries    // all but those
	masked              *results.Histogram // response times; nil until there is one
	// via holds, for each attempt, the number of the try that opened its connection, or of one that
	// was kept from the start, or noConnection. Nil where no connection is reused: then each opened
	// its own.
	via []uint32
	// kept is how many of the connections that were kept from the start workers have accepted.
	kept int64
	// waits holds, for each attempt, when its connection waited to be accepted. Nil behind a proxy.
	waits []wait
	// early are accepts that were noted before the attempt's sample told when it was due, by its
	// index; only in a closed loop.
	early  map[uint64]Time
	open   map[connKey]conn
	unread map[uint64]serverEnd // by try: connections on which no request was read
	// ends holds how connections that may be reused ended, by the try that opened them. Nil where
	// none is reused.
	ends    map[uint64]serverEnd
	workers map[int]*workerBook
	// connect and firstByte are how long after their last try began served attempts had their
	// connections, of those that opened one, and the first byte of their responses.
	connect, firstByte *results.Histogram
	// unmatched counts accounts that belong to no attempt of the schedule, or come twice. They are
	// part of the residual.
	unmatched int64
	// localErrors counts attempts that failed in the load process itself, by errno. Nil: none did.
	localErrors map[string]int64
	recorder    *recorder // nil unless what the book is told is kept
}

// noConnection is the try that opened the connection of an attempt that had none.
const noConnection = math.MaxUint32

type connKey struct {
	worker int
	conn   uint32
}

type conn struct {
	at       clock.Instant // accepted
	openedBy int64         // number of the try that opened it; -1: none of the load's
	attempt  int64         // number of the last request's try, or -1
	asked    clock.Instant // the last request was read
	read     bool          // at least one request was read
	probe    bool          // a kubelet's
}

// serverEnd is what the servers know of a try.
type serverEnd struct {
	state  State
	worker int32 // -1: none
}

// workerBook is what one worker's journal adds up to.
type workerBook struct {
	accepted, served int64
	lastAccept       clock.Instant // of its own, before the trial begins too
	overTime         []int64       // accepted, by windows of results.FairnessWindowNS from the start
	// busy is the time from reading a request to handing over its answer, of all answered ones.
	busy time.Duration
	// occupied is how long its ended connections took from accept to end, in seconds, and
	// occupiedSquares the sum of the squares.
	occupied, occupiedSquares float64
	ended                     int64
}

// NewBook opens the book of a trial with that load. Start must be called before the first sample.
// It is an error when the sources have no room for the attempts.
func NewBook(l Load) (*Book, error) {
	b := &Book{
		load:     l,
		schedule: load.NewSchedule(l.Shape),
		again:    map[uint64]tries{},
		later:    map[uint64]serverEnd{},
		open:     map[connKey]conn{},
		unread:   map[uint64]serverEnd{},
		workers:  map[int]*workerBook{},
		connect:  results.NewHistogram(), firstByte: results.NewHistogram(),
	}
	if !l.Proxied {
		b.waits = []wait{}
	}
	if l.Reuses {
		b.ends = map[uint64]serverEnd{}
		b.via = []uint32{}
	}
	if l.closed() {
		b.early = map[uint64]Time{}
	} else {
		b.extend(b.most())
	}
	var err error
	b.sources, err = load.NewSources(l.Sources, b.most()*l.Tries+l.Kept)
	b.sources = b.sources.InTurn(l.Ports)
	return b, err
}

// closed reports whether the load is a closed loop.
func (l *Load) closed() bool { return l.Shape.Clients > 0 }

// most returns how many attempts there may be, which is how far apart the numbers of an attempt's
// tries are.
func (b *Book) most() uint64 { return b.schedule.Len() }

// extend makes room for n attempts in all.
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
	if b.via != nil {
		b.via = append(b.via, make([]uint32, more)...)
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

// Maybe is Time for an instant that may not have come: nil for 0.
func (b *Book) Maybe(i clock.Instant) *Time {
	if i == 0 {
		return nil
	}
	t := b.Time(i)
	return &t
}

// Instant is the reverse of Time.
func (b *Book) Instant(t Time) clock.Instant { return b.begin.Add(time.Duration(t)) }

// maxWindows bounds the windows of one worker: those of the longest trial, an hour.
const maxWindows = int64(time.Hour) / results.FairnessWindowNS

// index returns the position of an attempt in the schedule, or false for one that is not in it. In
// a closed loop it makes room for the attempt.
func (b *Book) index(process int, sequence uint64) (uint64, bool) {
	n := uint64(b.load.Processes)
	i := sequence*n + uint64(process)
	ok := uint64(process) < n && i < b.most()
	if ok && i >= uint64(len(b.attempts)) {
		b.extend(i + 1)
	}
	return i, ok
}

// number returns that of a try, over all attempts, as sources are numbered: the attempt's index for
// its first.
func (b *Book) number(a wire.Attempt) (uint64, bool) {
	i, ok := b.index(int(a.Process), a.Sequence)
	return i + uint64(a.Try)*b.most(), ok && uint64(a.Try) < b.load.Tries
}

// known returns what the servers know of a try so far.
func (b *Book) known(try uint64) serverEnd {
	if try < b.most() {
		return serverEnd{b.attempts[try].State, b.attempts[try].Server}
	}
	if e, ok := b.later[try]; ok {
		return e
	}
	return serverEnd{NeverAccepted, -1}
}

func (b *Book) note(try uint64, e serverEnd) {
	if try < b.most() {
		b.attempts[try].State, b.attempts[try].Server = e.state, e.worker
	} else {
		b.later[try] = e
	}
}

// scheduled returns when attempt i was due; in a closed loop that is when it was sent.
func (b *Book) scheduled(i int) Time {
	if b.load.closed() {
		return b.attempts[i].Sent
	}
	return Time(b.schedule.At(uint64(i)))
}

func (b *Book) time(monotonicNS int64) Time { return b.Time(clock.Instant(monotonicNS)) }

// atServers returns when what a client sends at an instant is at the servers.
func (b *Book) atServers(sent Time) Time { return sent.Add(b.load.RoundTrip / 2) }

// Sample takes the client's account of an attempt. It does not keep s.
func (b *Book) Sample(s *results.Sample) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.recorder.sample(s)
	i, ok := b.index(s.Process, s.Sequence)
	if !ok || b.attempts[i].seen {
		b.unmatched++
		return
	}
	a := &b.attempts[i]
	a.seen = true
	a.Sent, a.Done = b.time(s.Sent), b.time(s.Done)
	a.Class, a.Phase = s.Class, s.Phase
	a.Worker, a.Generation, a.Status = int32(s.Worker), int16(s.Generation), uint16(s.Status)
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
	if at, ok := b.early[i]; ok {
		delete(b.early, i)
		b.noteAccepted(i, at)
	}
	if b.via != nil {
		b.via[i] = b.opener(i, s)
	}
	if s.Served() && !b.atOnce(i) {
		b.phases(int(i), s)
	}
}

// opener returns the number of the try that opened the connection of an attempt's last try.
func (b *Book) opener(i uint64, s *results.Sample) uint32 {
	if via, ok := b.sources.Of(s.Source); ok {
		return uint32(via)
	}
	if s.Class == results.ClassTimeout && !s.Source.IsValid() {
		return noConnection
	}
	return uint32(i + uint64(len(s.Failed))*b.most())
}

// atOnce reports whether an attempt is one of those that the clients of a closed loop begin with,
// all at once. They meet queues that are still empty, as none does later, so they are in no
// percentile.
func (b *Book) atOnce(i uint64) bool { return i < uint64(b.load.Shape.Clients) }

// phases takes in when a served attempt had come how far.
func (b *Book) phases(i int, s *results.Sample) {
	began := cmp.Or(s.LastSent, s.Sent)
	if s.Connected > 0 && !b.reused(i) {
		b.connect.Record(s.Connected - began)
	}
	if s.FirstByte > 0 {
		b.firstByte.Record(s.FirstByte - began)
	}
}

// noteAccepted takes in when a worker accepted the connection of attempt i.
func (b *Book) noteAccepted(i uint64, at Time) {
	due := ticks(at.Sub(b.scheduled(int(i))))
	b.waits[i].accepted = max(b.waits[i].accepted, due) // the last try's comes last
}

// Record takes an entry of a worker's journal. Each worker's come in order.
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
			b.note(uint64(c.attempt), serverEnd{Answered, int32(worker)})
		}
	case journal.Ended:
		b.ended(worker, &c, r.End)
		seconds := r.At.Sub(c.at).Seconds()
		w.occupied, w.occupiedSquares = w.occupied+seconds, w.occupiedSquares+seconds*seconds
		w.ended++
		delete(b.open, key)
	}
}

// accepted counts a connection for its worker, unless a kubelet opened it.
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
		} else if try < b.most()*b.load.Tries {
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

// acceptedTry takes in when a worker accepted the connection of a try.
func (b *Book) acceptedTry(try uint64, at Time) {
	i := try % b.most()
	if b.early != nil && (i >= uint64(len(b.attempts)) || !b.attempts[i].seen) {
		b.early[i] = max(b.early[i], at)
		return
	}
	b.noteAccepted(i, at)
}

func (b *Book) request(worker int, c *conn, r journal.Record) {
	c.read, c.attempt, c.asked = true, -1, r.At
	try, ok := b.number(r.Attempt)
	if !r.Identified || !ok || b.known(try).state != NeverAccepted {
		b.unmatched++
		return
	}
	c.attempt = int64(try)
	b.note(try, serverEnd{readOpen, int32(worker)})
}

// ended notes how a connection ended for the attempt it carried.
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

// endConn gives the attempt on a connection its terminal state: read if a worker had read its
// request, unread if none had.
func (b *Book) endConn(worker int, c *conn, read, unread State) {
	if c.attempt >= 0 {
		if e := b.known(uint64(c.attempt)); e.state == readOpen {
			b.note(uint64(c.attempt), serverEnd{read, e.worker})
		}
	}
	if b.load.Proxied || c.probe {
		return
	}
	switch {
	case c.openedBy < 0:
		b.unmatched++
	case !c.read && !b.isKept(uint64(c.openedBy)):
		b.unread[uint64(c.openedBy)] = serverEnd{unread, int32(worker)}
	case b.ends != nil:
		b.ends[uint64(c.openedBy)] = serverEnd{unread, int32(worker)}
	}
}

// isKept reports whether the number, of a try as openedBy returns it, is that of a connection which
// was kept from the start.
func (b *Book) isKept(number uint64) bool {
	tries := b.most() * b.load.Tries
	return number >= tries && number < tries+b.load.Kept
}

// openedBy returns the try that opened a connection, by its client's end and when it was accepted.
// Of those that take one source in turn it is the last that was due by then.
func (b *Book) openedBy(peer netip.AddrPort, accepted clock.Instant) (uint64, bool) {
	ports, n := b.load.Ports, b.most()
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

// starved reports whether an attempt's last try had no connection: all that are kept were in use
// until its time was over.
func (b *Book) starved(i int) bool { return b.via != nil && b.via[i] == noConnection }

// connection returns the client's end of the connection that an attempt's last try was sent on, or
// the zero value if it had none.
func (b *Book) connection(i int) netip.AddrPort {
	if b.starved(i) {
		return netip.AddrPort{}
	}
	if b.via != nil {
		return b.sources.At(uint64(b.via[i]))
	}
	return b.sources.At(b.last(i))
}

// reused reports whether an attempt's last try did not open the connection that it was sent on, or
// had none.
func (b *Book) reused(i int) bool { return b.via != nil && uint64(b.via[i]) != b.last(i) }

// close settles what was open when its worker died, and what the load never came to. After it
// every attempt has its terminal state on either side. Calling it again does nothing.
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
		if !b.begun(try) || b.known(try).state != NeverAccepted {
			b.unmatched++
			continue
		}
		b.note(try, end)
	}
	clear(b.unread)
	b.closeTries()
	for i := range b.attempts {
		if a := &b.attempts[i]; !a.seen {
			at := b.scheduled(i)
			a.Sent, a.Done, a.Class, a.Phase = at, at, results.ClassUnsent, results.PhaseConnect
		}
	}
	b.closeReused()
}

// trim leaves out what comes after the last attempt of a closed loop: requests that workers have
// read, and the load has not sent, are unmatched.
func (b *Book) trim() {
	n := len(b.attempts)
	for ; n > 0 && !b.attempts[n-1].seen; n-- {
		if b.attempts[n-1].State != NeverAccepted {
			b.unmatched++
		}
	}
	b.attempts = b.attempts[:n]
	if b.waits != nil {
		b.waits = b.waits[:n]
	}
	if b.via != nil {
		b.via = b.via[:n]
	}
}

// begun reports whether a try is one of an attempt that there is.
func (b *Book) begun(try uint64) bool {
	return try < b.most()*b.load.Tries && try%b.most() < uint64(len(b.attempts))
}

// closeReused settles the attempts that were sent on a reused connection and never read: what
// became of them is what became of the connection.
func (b *Book) closeReused() {
	for i, via := range b.via {
		a := &b.attempts[i]
		if a.Served() || a.State != NeverAccepted || uint64(via) == b.last(i) {
			continue
		}
		if end, ok := b.ends[uint64(via)]; ok {
			a.State, a.Server = end.state, end.worker
		}
	}
	clear(b.ends)
}
