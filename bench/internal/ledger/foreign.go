package ledger

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"reuseport-bench/bench/internal/witness"
	"reuseport-bench/results"
	"reuseport-bench/results/cause"
	"reuseport-bench/servers/clock"
)

// foreign is the account of a third-party server, which keeps no journal. It comes from the
// witness. In this file, an end is a witness.SocketEnd: the record of the server's end of one
// connection. Ends are joined with attempts by the client's address of the connection. An end is
// anonymous if that address has no port, because the kernel no longer knew it.
type foreign struct {
	book  *Book
	facts *Facts
	// clientOnly is the reason why causes must be inferred from the clients' samples alone; "" if
	// the witness's account can be used.
	clientOnly string
	traced     bool                // the witness traced every connection, with its processes
	all        []witness.SocketEnd // the witness's ends, completed from the clients' samples
	// ends holds the ends of the load's connections, by the number of the try that opened the
	// connection.
	ends map[uint64]*witness.SocketEnd
	// made holds the connections that the load opened, by the same number. broken is true for a
	// connection without an end whose last attempt saw a reset or EOF: the verdict of that attempt
	// then accounts for the missing end.
	made   map[uint64]bond
	broken map[uint64]bool
	// anonymous counts anonymous ends. strangers counts the ends of connections that do not come
	// from the load: readiness probes, and health checks of the server itself.
	anonymous, strangers int64
	// surplus counts the ends of connections from the load's addresses that the load did not open.
	// missing counts the connections that carried an answer but have no end, not even an anonymous
	// one.
	surplus, missing int64
	// open counts the anonymous ends that no answered connection has taken. They remain for lost
	// attempts.
	open int64
	// repeated counts the attempts whose request was read more than once.
	repeated int64
	// processes holds the server's processes that read requests or sent answers, in the order in
	// which they first did. Attempt.Server is an index into it.
	processes []*process
	pids      map[int]*process        // by PID; the latest process if a PID was reused
	pods      map[netip.Addr]*process // by address; empty unless the servers are in pods
}

// bond says whether a connection that the load opened must have an end.
type bond uint8

const (
	mayHaveEnd  bond = iota // it carried no answer, and perhaps its handshake failed
	mustHaveEnd             // it carried an answer, or was kept from the start
)

// join joins the witness's account with the attempts of the closed book: it sets the servers' state
// of each attempt. If the servers are this program's workers, it returns nil.
func (b *Book) join(f *Facts) *foreign {
	if !b.load.Foreign {
		return nil
	}
	s := &foreign{
		book: b, facts: f, ends: map[uint64]*witness.SocketEnd{}, made: map[uint64]bond{},
		broken: map[uint64]bool{}, pids: map[int]*process{},
		pods: map[netip.Addr]*process{},
	}
	s.clientOnly = s.unwitnessed()
	groups := s.connections()
	if s.clientOnly == "" {
		s.traced = f.Witness.Untraced == ""
		s.place()
	}
	for opener, attempts := range groups {
		s.setStates(opener, attempts)
	}
	if s.clientOnly == "" {
		s.countMissing()
		s.countRepeated()
	}
	s.findProcesses()
	return s
}

// unwitnessed returns the reason why the witness's account cannot be used, or "" if it can.
func (s *foreign) unwitnessed() string {
	load, w := &s.book.load, s.facts.Witness
	switch {
	case load.Proxied:
		return "a proxy is between the clients and the servers"
	case w == nil:
		return cmp.Or(s.facts.Unwitnessed, "nothing watched the servers' end of connections")
	case w.Lost > 0:
		return fmt.Sprintf("the kernel had no room for %d ends of connections", w.Lost)
	case load.Ports > 0 && w.Untraced != "":
		return "clients use ports again, and connections were not traced (" + w.Untraced + ")"
	}
	return ""
}

// connections returns the attempts on each connection, by the number of the try that opened the
// connection. The attempts on a connection are in the order in which they were sent. connections
// also fills made.
func (s *foreign) connections() map[uint64][]int32 {
	b := s.book
	groups := map[uint64][]int32{}
	for i := range b.attempts {
		x := &b.attempts[i]
		for k, f := range b.retried[uint64(i)].failed {
			if f.Opened {
				s.made[uint64(i)+uint64(k)*b.maxAttempts()] = mayHaveEnd
			}
		}
		if x.neverSent() || x.Class == results.ClassLocal || b.starved(i) {
			x.State, x.Server = NeverAccepted, noWorker
			continue
		}
		opener := b.last(i)
		if b.openers != nil {
			opener = uint64(b.openers[i])
		}
		groups[opener] = append(groups[opener], int32(i))
		if x.answered() || s.made[opener] == mustHaveEnd {
			s.made[opener] = mustHaveEnd
		} else {
			s.made[opener] = mayHaveEnd
		}
	}
	for k := range b.load.Kept {
		s.made[b.maxAttempts()*b.load.Tries+k] = mustHaveEnd
	}
	for _, attempts := range groups {
		slices.SortFunc(attempts, func(i, j int32) int {
			return cmp.Compare(b.lastTry(int(i)).Sent, b.lastTry(int(j)).Sent)
		})
	}
	return groups
}

// answered reports whether the client received a complete response, whatever its status.
func (a *Attempt) answered() bool { return a.Served() || a.Class == results.ClassErrorAnswer }

// brokenOff reports whether the client saw the connection end before it had received a complete
// response.
func (a *Attempt) brokenOff() bool {
	return a.Class == results.ClassReset || a.Class == results.ClassEOF
}

// leftFirst reports whether the client ended the connection before it saw the server do so.
func (a *Attempt) leftFirst() bool {
	switch a.Class {
	case results.ClassTimeout, results.ClassAborted, results.ClassInvalid:
		return true
	}
	return false
}

// closedIdle reports whether the server closed the connection with a response that answers no
// request, while the connection was idle or the request was on its way.
func (a *Attempt) closedIdle() bool {
	return a.brokenOff() && a.Phase == results.PhaseWait && a.Status != 0
}

// place finds the connection that each end belongs to.
func (s *foreign) place() {
	b := s.book
	s.all = slices.Clone(s.facts.Witness.Ends)
	for i := range s.all {
		e := &s.all[i]
		client := e.Client.Addr().Unmap()
		switch {
		case slices.Contains(b.load.Kubelets, client) || !b.load.Sources.Contains(client):
			s.strangers++
			continue
		case !e.Known.Has(witness.KnowsClient) || e.Client.Port() == 0:
			s.anonymous++
			continue
		}
		opener, ok := b.openedBy(e.Client, e.Born)
		if ok {
			_, ok = s.made[opener]
		}
		other := s.ends[opener]
		switch {
		case !ok:
			s.surplus++
		case other == nil || thrownAway(other):
			s.ends[opener] = e
		case !thrownAway(e):
			s.surplus++
		}
	}
}

// thrownAway reports whether an end may belong to a socket that was never used: if two CPUs process
// segments of the same handshake, each creates a socket, and the kernel discards one of the two
// (inet_csk_complete_hashdance in net/ipv4/inet_connection_sock.c).
func thrownAway(e *witness.SocketEnd) bool {
	return e.Way == witness.NotEstablished ||
		e.Way == witness.UnknownWay && !e.Known.Has(witness.KnowsAccepted)
}

// size holds two numbers of bytes: those of an attempt's request that the client has written to its
// socket, and those of the answer that the client has received.
type size struct{ written, received uint32 }

// setStates sets the servers' state of the attempts on a connection. The attempts must be in the
// order in which they were sent, because the offset of a request in the connection's data is the
// total size of the earlier requests.
func (s *foreign) setStates(opener uint64, attempts []int32) {
	b, e := s.book, s.ends[opener]
	last := &b.attempts[attempts[len(attempts)-1]]
	if e == nil {
		s.broken[opener] = last.brokenOff()
	} else {
		var sent uint64
		for _, i := range attempts {
			sent += uint64(b.sizes[i].written)
		}
		e.Complete(witness.ClientEnd{Sent: sent, Reset: last.Class == results.ClassAborted})
	}
	var r witness.Request
	for _, i := range attempts {
		x, n := &b.attempts[i], b.sizes[i]
		r.End = r.Begin + uint64(n.written)
		if x.Phase <= results.PhaseSend && !x.Served() {
			r.End++ // the rest of the request was not sent
		}
		x.State, x.Server = s.state(x, opener, r, uint64(n.received)), noWorker
		r.Begin, r.Before = r.End, r.Before+uint64(n.received)
	}
}

// state returns the servers' state of attempt x. opener is the number of the try that opened the
// connection, r is the attempt's request, and received is the number of bytes of the answer that
// the client received.
func (s *foreign) state(
	x *Attempt, opener uint64, r witness.Request, received uint64,
) State {
	e := s.ends[opener]
	connecting := x.Phase == results.PhaseConnect && !x.Served()
	switch {
	case e != nil:
	case s.clientOnly != "" && x.answered():
		return Answered
	case connecting && x.Class != results.ClassReset,
		s.traced && s.made[opener] == mayHaveEnd:
		return NeverAccepted
	default:
		return Unwitnessed
	}
	if x.closedIdle() {
		r.Before = e.Sent // nothing that was sent answers the request
	}
	progress, known := e.Progress(r)
	if !known {
		return Unwitnessed
	}
	held, died := e.Way == witness.StillOpen, died(e)
	choose := func(open, peerGone, byDeath, closed State) State {
		switch {
		case x.closedIdle():
			return closed
		case held:
			return open
		case x.leftFirst() || e.Way == witness.ResetByPeer || e.Way == witness.TimedOut:
			return peerGone
		case died:
			return byDeath
		}
		return closed
	}
	switch progress {
	case witness.Unread:
		return choose(UnreadHeld, UnreadPeerGone, UnreadDied, UnreadClosed)
	case witness.PartRead:
		return PartRead
	case witness.ReadWhole:
		closed := ReadUnanswered
		if e.Way == witness.Aborted {
			closed = ReadAborted
		}
		return choose(ReadHeld, ReadPeerGone, ReadDied, closed)
	case witness.Answering:
		// A server may answer before it has the whole request.
		whole := x.answered() && e.Read() > r.Begin && e.Sent >= r.Before+received
		// its answer came after the client had left
		late := x.leftFirst() && x.Phase != results.PhaseBody
		if whole || late || x.Class == results.ClassInvalid {
			return Answered
		}
		return PartAnswered
	}
	return NeverAccepted
}

// died reports whether the server closed a connection because a signal killed the process that had
// it.
func died(e *witness.SocketEnd) bool {
	return e.Known.Has(witness.KnowsCloser) && e.Exiting && e.Signal != 0
}

// countMissing counts the connections that must have an end and have none. First, each such
// connection takes one of the anonymous ends, as long as there are any: the server may have reset
// the connection after the answer. A broken connection takes none here, because the verdict of its
// last attempt takes one.
func (s *foreign) countMissing() {
	s.open = s.anonymous
	for opener, owes := range s.made {
		switch {
		case owes != mustHaveEnd || s.ends[opener] != nil || s.broken[opener]:
		case s.open > 0:
			s.open--
		default:
			s.missing++
		}
	}
}

// countRepeated counts the attempts whose request was read more than once. It ignores failed tries
// on connections that an earlier try had opened.
func (s *foreign) countRepeated() {
	b := s.book
	for i, t := range b.retried {
		reads := 0
		if b.attempts[i].State.read() {
			reads++
		}
		for k, f := range t.failed {
			e := s.ends[i+uint64(k)*b.maxAttempts()]
			if f.Opened && e != nil && e.Known.Has(witness.KnowsBytes) && e.Read() > 0 &&
				e.Unread == 0 {
				reads++
			}
		}
		if reads > 1 {
			s.repeated++
		}
	}
}

// residual returns the number of connections about which the witness's account and the clients'
// samples, or the kernel's counters (witness.Equations), disagree. Unexplained attempts are not
// included.
func (s *foreign) residual(verdicts map[int]Verdict) int64 {
	if s == nil || s.clientOnly != "" {
		return 0
	}
	b := s.book
	unexplained, taken, late := int64(0), int64(0), int64(0)
	for i := range b.attempts {
		x := &b.attempts[i]
		if x.answered() || x.Class == results.ClassLocal || x.neverSent() || b.starved(i) ||
			s.endOf(i) != nil {
			continue
		}
		v := verdicts[i]
		switch {
		case !v.Explained:
			unexplained++
		case v.Rule == ruleEmptied || v.Rule == ruleEmptiedAtClose:
			taken++
		case x.Class == results.ClassTimeout && x.Phase != results.PhaseConnect:
			late++
		}
	}
	for opener := range s.made { // failed tries after the first
		if opener >= b.maxAttempts() && opener < b.maxAttempts()*b.load.Tries &&
			s.ends[opener] == nil {
			late++
		}
	}
	for i, t := range b.retried {
		if t.failed[0].Opened && s.ends[i] == nil {
			late++
		}
	}
	missing, surplus := s.missing, s.surplus+max(0, s.open-taken-late)
	n := missing + surplus
	opens, closes := s.counted()
	n += max(0, opens-missing-unexplained) + max(0, -opens-surplus)
	return n + closes
}

// counted compares the kernel's counters with the ends. opens is the number of connections that the
// kernel counted minus the number of ends; it may be negative. closes is the difference between the
// kernel's number of closes with unread data and that of the ends, less the number of such closes
// that clients may have made.
func (s *foreign) counted() (opens, closes int64) {
	for _, e := range s.equations() {
		d := e.Residual()
		switch {
		case e.Name != abortOnClose:
			if max(d, -d) > max(opens, -opens) {
				opens = d
			}
		case d < 0:
			closes = -d
		default:
			closes = max(0, d-s.unreadByClients())
		}
	}
	return opens, closes
}

const abortOnClose = "TcpExtTCPAbortOnClose"

// equations returns the witness's equations between counters and ends, with the ends completed from
// the clients' samples.
func (s *foreign) equations() []witness.Equation {
	if s.facts.Witness == nil {
		return nil
	}
	w := *s.facts.Witness
	if s.all != nil {
		w.Ends = s.all
	}
	return w.Equations()
}

// unreadByClients returns an upper bound for the number of connections that clients closed while
// data were unread. If clients are in the servers' network namespace, the kernel counts these
// closes, too.
func (s *foreign) unreadByClients() int64 {
	b := s.book
	got := map[uint64]uint64{}
	for i := range b.attempts {
		opener := b.last(i)
		if b.openers != nil {
			opener = uint64(b.openers[i])
		}
		got[opener] += uint64(b.sizes[i].received)
	}
	n := s.strangers
	for opener, e := range s.ends {
		if e.Sent > got[opener] || e.Way == witness.ResetByPeer ||
			!e.Known.Has(witness.KnowsWay) {
			n++
		}
	}
	return n
}

// endOf returns the end of the connection of attempt i, or nil.
func (s *foreign) endOf(i int) *witness.SocketEnd {
	b := s.book
	switch {
	case s == nil || b.starved(i):
		return nil
	case b.openers != nil:
		return s.ends[uint64(b.openers[i])]
	}
	return s.ends[b.last(i)]
}

// see adds the end of attempt i's connection to a view of the attempt.
func (s *foreign) see(v *view, i int) {
	if s == nil {
		return
	}
	v.foreign, v.clientOnly, v.traced = true, s.clientOnly != "", s.traced
	v.carried = s.made[s.opener(i)] == mustHaveEnd
	e := s.endOf(i)
	if v.end = e; e == nil {
		return
	}
	v.endedAt = s.book.Maybe(cmp.Or(e.Closed, e.Ended))
	switch {
	case e.Way == witness.StillQueued:
		v.queued = &stillQueued
	case e.Way == witness.ListenerClosed && v.reset == nil:
		r := &Event{
			At: s.book.Time(e.Ended), Kind: ResetSent, Reason: "its listener was closed",
			FromServer: true, Worker: s.worker(e, e.Closer),
		}
		if v.Class == results.ClassTimeout {
			v.queued = r
		} else {
			v.reset = r
		}
	}
}

// background counts the dropped attempts that no step caused.
func (a *Account) background() (n int64) {
	for _, i := range a.lost {
		if _, ok := a.stepOf[i]; !ok && a.verdicts[i].Cause != cause.Client {
			n++
		}
	}
	return n
}

// fill adds the figures that only trials of third-party servers have. On a nil s, it does nothing.
func (s *foreign) fill(a *Account, r *results.Trial) {
	if s == nil {
		return
	}
	r.Witness = &results.Witness{ClientOnly: s.clientOnly}
	if w := s.facts.Witness; w != nil && s.clientOnly == "" {
		r.Witness.By, r.Witness.Untraced = results.ByTrace, w.Untraced
		if w.Untraced != "" {
			r.Witness.By = results.ByObituaries
		}
		r.Witness.Connections = int64(len(s.all))
		r.Witness.Anonymous, r.Witness.Strangers = s.anonymous, s.strangers
	}
	r.Background = new(a.background())
	r.Workers = s.workers()
}

// equalities returns the witness's equations in their stored form, or nothing if there is no
// witness.
func (s *foreign) equalities() (all []results.Equality) {
	what := map[string]string{
		"TcpPassiveOpens": "ends of connections that were seen",
		abortOnClose:      "of those, closed by the server with unread data",
	}
	for _, e := range s.equations() {
		if text, is := what[e.Name]; is {
			all = append(all, results.Equality{
				Counter: e.Name, Kernel: e.Kernel, Ledger: e.Seen, What: text,
			})
		}
	}
	return all
}

// maybe is like Book.Time, but returns Never for the instant 0, which means that the instant is not
// known.
func (s *foreign) maybe(i clock.Instant) Time {
	if i == 0 {
		return Never
	}
	return s.book.Time(i)
}
