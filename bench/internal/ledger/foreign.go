package ledger

import (
	"cmp"
	"fmt"
	"slices"

	"reuseport-bench/bench/internal/witness"
	"reuseport-bench/results"
	"reuseport-bench/results/cause"
	"reuseport-bench/servers/clock"
)

// foreign is the servers' side of a trial whose servers keep no journal. It is joined with the
// attempts by the client's address of each connection.
type foreign struct {
	book  *Book
	facts *Facts
	// clientOnly is why causes are known from the clients alone; "" if the witness tells.
	clientOnly string
	traced     bool                // the witness saw every connection, with its process
	all        []witness.SocketEnd // of the witness, with what the clients add
	// ends are those of the load's connections, by the number of the try that opened them.
	ends map[uint64]*witness.SocketEnd
	// made are the connections that the load opened, by the same number. broken are those without
	// an end whose last attempt was reset or closed, so that its verdict is about the connection.
	made   map[uint64]bond
	broken map[uint64]bool
	// anonymous counts ends whose client is not known but for its address, and strangers those of
	// connections from outside the load: readiness probes, and health checks of the server itself.
	anonymous, strangers int64
	// surplus counts ends of connections that the load did not open, and missing connections that
	// were answered and have no end, not even an anonymous one.
	surplus, missing int64
	// open counts the anonymous ends that are left for lost attempts.
	open int64
	// repeated counts attempts that were read more than once.
	repeated int64
	// processes are those that read or answered, by when they first did. Attempt.Server indexes
	// them.
	processes []*process
	pids      map[int]*process // the last that was known to have a number
}

// bond is what the load's connection owes the servers' side.
type bond uint8

const (
	mayHaveEnd  bond = iota // it was lost before an answer, perhaps within its handshake
	mustHaveEnd             // it carried an answer, or was kept from the start
)

// join joins the facts' witness with the attempts of the closed book: it sets the servers' state of
// each attempt. It returns nil for servers that keep journals.
func (b *Book) join(f *Facts) *foreign {
	if !b.load.Foreign {
		return nil
	}
	s := &foreign{
		book: b, facts: f, ends: map[uint64]*witness.SocketEnd{}, made: map[uint64]bond{},
		broken: map[uint64]bool{}, pids: map[int]*process{},
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

// unwitnessed returns why nothing follows from the servers' side, or "".
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

// connections returns the attempts on each connection, in the order in which they were sent, by the
// number of the try that opened it. It also fills made.
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

// answered reports whether the client got a whole response, whatever its status.
func (a *Attempt) answered() bool { return a.Served() || a.Class == results.ClassErrorAnswer }

// brokenOff reports whether the client saw the connection end before it had an answer.
func (a *Attempt) brokenOff() bool {
	return a.Class == results.ClassReset || a.Class == results.ClassEOF
}

// leftFirst reports whether the client ended the connection by itself.
func (a *Attempt) leftFirst() bool {
	switch a.Class {
	case results.ClassTimeout, results.ClassAborted, results.ClassInvalid:
		return true
	}
	return false
}

// place finds the connection of each end.
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

// thrownAway reports whether an end may be that of a socket which never carried anything: two CPUs
// that receive for one handshake make a socket each, and one is thrown away
// (inet_csk_complete_hashdance in net/ipv4/inet_connection_sock.c).
func thrownAway(e *witness.SocketEnd) bool {
	return e.Way == witness.NotEstablished ||
		e.Way == witness.UnknownWay && !e.Known.Has(witness.KnowsAccepted)
}

// size is how many bytes of an attempt's request the client's kernel took, and how many of the
// answer arrived.
type size struct{ written, received uint32 }

// setStates sets the state of the attempts on a connection, which are in order. Where an attempt's
// request begins follows from the sizes of those before it.
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

// state returns the servers' state of an attempt on the connection of a try, whose request is r.
// The client got received bytes of its answer.
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
	progress, known := e.Progress(r)
	if !known {
		return Unwitnessed
	}
	held, died := e.Way == witness.StillOpen, died(e)
	choose := func(open, peerGone, byDeath, closed State) State {
		switch {
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
		late := x.leftFirst() && x.Phase != results.PhaseBody // its answer came after that
		if whole || late || x.Class == results.ClassInvalid {
			return Answered
		}
		return PartAnswered
	}
	return NeverAccepted
}

// died reports whether a signal killed the process that had a connection.
func died(e *witness.SocketEnd) bool {
	return e.Known.Has(witness.KnowsCloser) && e.Exiting && e.Signal != 0
}

// countMissing counts the connections without an end. Each that was answered takes an anonymous
// one, if there is any: the server reset it afterwards. If it lost its last attempt by that, the
// attempt's verdict takes the end.
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

// countRepeated counts the attempts whose request was read more than once. Tries on connections
// that others had opened are not counted.
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

// residual returns how many connections the witness's account and that of the clients disagree
// about, besides the attempts that no verdict explains. See witness.Equations for the counters.
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
	for opener := range s.made { // tries that others followed
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

// counted compares the kernel's counters with the ends. opens is how many connections more the
// kernel counted, and closes how many closes with unread data differ.
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

// equations are the witness's, with what the clients add to its ends.
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

// unreadByClients returns the largest number of connections that their clients may have closed with
// unread data, which the kernel counts, too, if they are in the servers' namespace.
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

// see adds to a view what is known of the servers' end of its connection.
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
			FromServer: true, Worker: s.worker(e.Closer),
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

// fill adds to a trial what is known of servers that keep no journal.
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

// equalities are the witness's equations. They are empty without a witness.
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

// maybe is Book.Time of an instant that may be missing: it is Never for 0.
func (s *foreign) maybe(i clock.Instant) Time {
	if i == 0 {
		return Never
	}
	return s.book.Time(i)
}
