package harness

import (
	"cmp"
	"net/netip"
	"slices"
	"sort"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/load"
	"reuseport-bench/results"
	"reuseport-bench/servers"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/journal"
	"reuseport-bench/servers/wire"
)

// attempt is what is kept of each attempt: 32 bytes, so that ten million take 320 MB. Instants
// are nanoseconds from the first scheduled attempt.
type attempt struct {
	sent, done int64
	worker     int32  // as the response said, or -1
	server     int32  // the worker that read the request, or -1
	generation int16  // as the response said, or -1
	status     uint16 // of the response, or 0
	class      results.Class
	phase      results.Phase
	state      serverState
	seen       bool // a sample has come
}

// serverState is what the servers know of an attempt.
type serverState uint8

// The states: how far the attempt got, and what ended it there.
const (
	neverAccepted  serverState = iota
	answered                   // the whole response was handed to the kernel
	readUnanswered             // read, then the worker closed the connection without an answer
	readAborted                // read, then the worker reset the connection on purpose
	readPeerGone               // read, then the response could not be written
	readDied                   // read, then the worker died
	unreadClosed               // accepted, and closed by the worker before a request came
	unreadPeerGone             // accepted, and the client was gone before a request came
	unreadDied                 // accepted, and the worker died before a request came
	readOpen                   // read, and not ended: only while the trial runs
	numServerStates
)

var serverStateNames = [numServerStates]string{
	"never accepted", "answered", "read, closed unanswered", "read, reset", "read, peer gone", "read, worker died",
	"unread, closed", "unread, peer gone", "unread, worker died", "read, open",
}

func (s serverState) String() string { return serverStateNames[s] }

// books joins the client's and the servers' accounts of every attempt. Samples and records may
// come from several goroutines, in any order between them.
type books struct {
	begin     clock.Instant
	schedule  load.Schedule
	sources   load.Sources
	processes uint64
	ports     uint64 // that the load takes in turn, or 0
	tries     uint64 // that an attempt may make, the first included
	// proxied says that the workers' connections are a proxy's: none is an attempt's own, and those that no request came on are
	// its health checks.
	proxied bool

	// kubelets are who else connects: to probe pods, which is no attempt.
	kubelets []netip.Addr

	mu       sync.Mutex
	attempts []attempt
	// again are the attempts that made more than one try, and later what servers know of tries after the first, by their numbers. Once the
	// books are closed an attempt's own account is that of its last try, and later has those of the tries before.
	again map[uint64]tries
	later map[uint64]serverEnd
	// repeated is how many attempts were read more than once; known once the books are closed.
	repeated int64
	counts   results.Retries    // but repeated
	masked   *results.Histogram // response times; nil until there is one
	// localErrors counts attempts that failed in the load process itself, by errno. Nil: none did.
	localErrors map[string]int64
	// via is, for each attempt, the number of the try that opened its connection. Nil: no connections are reused, each opened its own.
	via    []uint32
	open   map[connKey]*conn
	unread map[uint64]serverEnd // by try: connections on which no request was read
	// ends are how connections that may be reused ended, by the try that opened them. Nil: none are reused.
	ends    map[uint64]serverEnd
	workers map[int]*workerBooks
	// strays are accounts that belong to no attempt of the schedule, or come twice: part of the residual.
	strays int64
}

type connKey struct {
	worker int
	conn   uint32
}

type conn struct {
	peer    netip.AddrPort
	at      clock.Instant // accepted
	attempt int64         // number of the last request's try, or -1
	read    bool          // at least one request was read
	probe   bool          // a kubelet's
}

// serverEnd is what the servers know of a try.
type serverEnd struct {
	state  serverState
	worker int32 // -1: none
}

type workerBooks struct {
	accepted, served int64
	lastAccept       clock.Instant
	// overTime is accepted, by windows of results.FairnessWindowNS from the start.
	overTime []int64
	// occupied is how long its connections took from accept to end, in seconds, and their squares; of how many.
	occupied, occupiedSquares float64
	ended                     int64
}

// newBooks opens the books of a trial whose load processes are configured so. start must be called
// before the first sample.
func newBooks(cfg []load.Config) (*books, error) {
	b := &books{
		schedule:  load.NewSchedule(cfg[0].Shape),
		processes: uint64(len(cfg)),
		tries:     cfg[0].Retry.Tries(),
		again:     map[uint64]tries{},
		later:     map[uint64]serverEnd{},
		open:      map[connKey]*conn{},
		unread:    map[uint64]serverEnd{},
		workers:   map[int]*workerBooks{},
	}
	if cfg[0].Connections == load.Reused || cfg[0].Connections == load.Mixed {
		b.ends = map[uint64]serverEnd{}
		b.via = make([]uint32, b.schedule.Len())
	}
	var err error
	b.sources, err = load.NewSources(cfg[0].Sources, b.schedule.Len()*b.tries)
	b.sources, b.ports = b.sources.InTurn(cfg[0].Ports), cfg[0].Ports
	b.attempts = make([]attempt, b.schedule.Len())
	for i := range b.attempts {
		b.attempts[i].worker, b.attempts[i].server, b.attempts[i].generation = -1, -1, -1
	}
	return b, err
}

// maxWindows bounds the windows of one worker: those of the longest trial, an hour.
const maxWindows = int64(time.Hour) / results.FairnessWindowNS

// acceptedOverTime is how many connections the worker accepted, by windows of results.FairnessWindowNS.
func (b *books) acceptedOverTime(worker int) []int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if wb := b.workers[worker]; wb != nil {
		return wb.overTime
	}
	return nil
}

// start sets the instant of the first scheduled attempt.
func (b *books) start(begin clock.Instant) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.begin = begin
}

// index is the position of an attempt in the schedule, or false for one that is not in it.
func (b *books) index(process int, sequence uint64) (uint64, bool) {
	i := sequence*b.processes + uint64(process)
	return i, uint64(process) < b.processes && i < uint64(len(b.attempts))
}

// number is that of a try, over all attempts: the attempt's index for its first, as sources are numbered.
func (b *books) number(a wire.Attempt) (uint64, bool) {
	i, ok := b.index(int(a.Process), a.Sequence)
	return i + uint64(a.Try)*uint64(len(b.attempts)), ok && uint64(a.Try) < b.tries
}

// known is what the servers know of a try so far.
func (b *books) known(try uint64) serverEnd {
	if try < uint64(len(b.attempts)) {
		return serverEnd{b.attempts[try].state, b.attempts[try].server}
	}
	if e, ok := b.later[try]; ok {
		return e
	}
	return serverEnd{neverAccepted, -1}
}

func (b *books) note(try uint64, e serverEnd) {
	if try < uint64(len(b.attempts)) {
		b.attempts[try].state, b.attempts[try].server = e.state, e.worker
	} else {
		b.later[try] = e
	}
}

func (b *books) scheduled(i int) int64 { return int64(b.schedule.At(uint64(i))) }

func (b *books) since(i int64) int64 { return i - int64(b.begin) }

// instant is i from the first scheduled attempt; nil for 0, which is no instant.
func (b *books) instant(i clock.Instant) *int64 {
	if i == 0 {
		return nil
	}
	ns := b.since(int64(i))
	return &ns
}

// sample takes the client's account of an attempt.
func (b *books) sample(s *results.Sample) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i, ok := b.index(s.Process, s.Sequence)
	if !ok || b.attempts[i].seen {
		b.strays++
		return
	}
	a := &b.attempts[i]
	a.seen = true
	a.sent, a.done = b.since(s.Sent), b.since(s.Done)
	a.class, a.phase = s.Class, s.Phase
	a.worker, a.generation, a.status = int32(s.Worker), int16(s.Generation), uint16(s.Status)
	if s.Class == results.ClassLocal {
		if b.localErrors == nil {
			b.localErrors = map[string]int64{}
		}
		b.localErrors[cmp.Or(unix.ErrnoName(unix.Errno(s.Errno)), "other")]++
	}
	if b.tries > 1 {
		b.sampleTries(i, s)
	}
	if b.via == nil {
		return
	}
	b.via[i] = uint32(i + uint64(len(s.Failed))*uint64(len(b.attempts)))
	if via, ok := b.sources.Of(s.Source); ok {
		b.via[i] = uint32(via)
	}
}

// record takes an entry of a worker's journal. Each worker's come in order.
func (b *books) record(w *servers.Worker, r journal.Record) {
	b.mu.Lock()
	defer b.mu.Unlock()
	wb := b.workers[w.ID]
	if wb == nil {
		wb = &workerBooks{}
		b.workers[w.ID] = wb
	}
	key := connKey{w.ID, r.Conn}
	if r.Kind == journal.Accepted {
		c := &conn{peer: r.Peer, at: r.At, attempt: -1, probe: slices.Contains(b.kubelets, r.Peer.Addr())}
		b.open[key] = c
		if c.probe {
			return
		}
		wb.accepted++
		wb.lastAccept = r.At
		if window := b.since(int64(r.At)) / results.FairnessWindowNS; window >= 0 && window < maxWindows {
			for int64(len(wb.overTime)) <= window {
				wb.overTime = append(wb.overTime, 0)
			}
			wb.overTime[window]++
		}
		return
	}
	c := b.open[key]
	if c == nil {
		b.strays++
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
		b.request(w.ID, c, r)
	case journal.Answered:
		wb.served++
		if c.attempt >= 0 {
			b.note(uint64(c.attempt), serverEnd{answered, int32(w.ID)})
		}
	case journal.Ended:
		b.ended(w.ID, c, r.End)
		seconds := r.At.Sub(c.at).Seconds()
		wb.occupied, wb.occupiedSquares, wb.ended = wb.occupied+seconds, wb.occupiedSquares+seconds*seconds, wb.ended+1
		delete(b.open, key)
	}
}

func (b *books) request(worker int, c *conn, r journal.Record) {
	c.read, c.attempt = true, -1
	try, ok := b.number(r.Attempt)
	if !r.Identified || !ok || b.known(try).state != neverAccepted {
		b.strays++
		return
	}
	c.attempt = int64(try)
	b.note(try, serverEnd{readOpen, int32(worker)})
}

// ended notes how a connection ended for the attempt it carried.
func (b *books) ended(worker int, c *conn, end journal.End) {
	read, unread := readPeerGone, unreadPeerGone
	switch end {
	case journal.EndUnanswered:
		read, unread = readUnanswered, unreadClosed
	case journal.EndAborted:
		read, unread = readAborted, unreadClosed
	case journal.EndServed:
		unread = unreadClosed
	}
	b.settle(worker, c, read, unread)
}

func (b *books) settle(worker int, c *conn, read, unread serverState) {
	if c.attempt >= 0 {
		if e := b.known(uint64(c.attempt)); e.state == readOpen {
			b.note(uint64(c.attempt), serverEnd{read, e.worker})
		}
	}
	if b.proxied || c.probe {
		return
	}
	i, ok := b.openedBy(c)
	switch {
	case !ok:
		b.strays++
	case !c.read:
		b.unread[i] = serverEnd{unread, int32(worker)}
	case b.ends != nil:
		b.ends[i] = serverEnd{unread, int32(worker)}
	}
}

// openedBy is the try that opened a connection. Of those that have the same source in turn it is the last that was due by then.
func (b *books) openedBy(c *conn) (uint64, bool) {
	first, ok := b.sources.Of(c.peer)
	if !ok || b.ports == 0 || first >= uint64(len(b.attempts)) {
		return first, ok
	}
	turns := sort.Search(len(b.attempts), func(turn int) bool {
		i := first + uint64(turn+1)*b.ports
		return i >= uint64(len(b.attempts)) || b.scheduled(int(i)) > b.since(int64(c.at))
	})
	return first + uint64(turns)*b.ports, true
}

// connection is the client's end of the connection that the last try of an attempt was sent on.
func (b *books) connection(i int) netip.AddrPort {
	if b.via != nil {
		return b.sources.At(uint64(b.via[i]))
	}
	return b.sources.At(b.last(i))
}

// reused says that an earlier attempt had opened the connection that an attempt was sent on.
func (b *books) reused(i int) bool { return b.via != nil && uint64(b.via[i]) != b.last(i) }

// held are the attempts whose handshakes were held up at the steps.
func (b *books) held(steps []*fired) map[*attempt]bool {
	all := map[*attempt]bool{}
	for _, s := range steps {
		for _, source := range s.held {
			if i, ok := b.sources.Of(source); ok && i < uint64(len(b.attempts)) {
				all[&b.attempts[i]] = true
			}
		}
	}
	return all
}

// close settles what was open when its worker died, and what the load never came to. After it
// every attempt has its terminal state on either side.
func (b *books) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, c := range b.open {
		b.settle(key.worker, c, readDied, unreadDied)
	}
	clear(b.open)
	for try, end := range b.unread {
		if try >= uint64(len(b.attempts))*b.tries || b.known(try).state != neverAccepted {
			b.strays++
			continue
		}
		b.note(try, end)
	}
	clear(b.unread)
	b.closeTries()
	for i := range b.attempts {
		if a := &b.attempts[i]; !a.seen {
			at := b.scheduled(i)
			a.sent, a.done, a.class, a.phase = at, at, results.ClassUnsent, results.PhaseConnect
		}
	}
	b.closeReused()
}

// closeReused settles the attempts that were sent on a reused connection and never read: what became
// of them is what became of the connection.
func (b *books) closeReused() {
	for i, via := range b.via {
		a := &b.attempts[i]
		if a.class == results.ClassNone || a.state != neverAccepted || uint64(via) == b.last(i) {
			continue
		}
		if end, ok := b.ends[uint64(via)]; ok {
			a.state, a.server = end.state, end.worker
		}
	}
	clear(b.ends)
}
