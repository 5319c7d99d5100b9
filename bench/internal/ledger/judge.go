package ledger

import (
	"net/netip"
	"slices"
	"time"

	"reuseport-bench/bench/internal/witness"
	"reuseport-bench/results"
	"reuseport-bench/results/cause"
)

// A Verdict is the terminal state of one attempt: its cause, the evidence for it, and the
// responsible worker.
type Verdict struct {
	Cause    string // "" if served
	Evidence Evidence
	Worker   int    // whose close, crash or answer decided the outcome, or -1
	Rule     string // name of the rule that decided; "" if served
	// Explained is false if the two sides contradict each other, or no rule explains the loss.
	Explained bool
	// Kernel is the event that decided or confirmed the verdict, or nil.
	Kernel *Event
}

// A view is what the rules see of one lost attempt.
type view struct {
	*Attempt
	source    netip.AddrPort // the client's address of its connection
	heldUp    bool           // its handshake was held up while listeners were closed
	reused    bool           // the attempt did not open its connection
	starved   bool           // the attempt had no connection
	proxied   bool
	overflows bool // the kernel counted overflows of accept queues
	embryonic bool // the kernel counted handshakes that ended in a reset
	closings  []Closing
	routes    *Routes
	sentTo    *Pod // the pod that its connection was sent to; nil: unknown
	// reset and dropped are the kernel events about the connection. They are nil if there are none,
	// or if the attempt is judged without them.
	reset, dropped *Event
	// queued is the kernel's report that the connection was still in an accept queue when the
	// client gave up, or nil.
	queued *Event
	// foreign: the servers keep no journal. end is then their end of its connection, or nil, and
	// endedAt is when a process closed it or it came to CLOSE, or nil. clientOnly: nothing tells of
	// the servers' side. traced: every connection was seen. carried: its connection has carried an
	// answer.
	foreign, clientOnly, traced, carried bool

	end     *witness.SocketEnd
	endedAt *Time
	// readings is Facts.QueueReadings. It is nil if there is an acceptor, because connections that
	// it has accepted are in no queue, either.
	readings []QueueReading
	// synAt is when the SYN reached the servers, if the attempt opened its connection.
	// establishedAt is when the last ACK of the handshake reached them. It is nil if there was no
	// ACK, or if the ACK arrived as soon as the client was connected.
	synAt         Time
	establishedAt *Time

	// Results of closing and kills, cached because several rules call them and a trial may have a
	// thousand closings.
	closingOnce, killsOnce bool
	closingOK              bool
	closingWorker          int
	closingFrom            Time
	killsFound             []event
}

// ended reports whether the connection to the server ended before the response was complete. A
// proxy reports such an end to the client as an error answer.
func (v *view) ended() bool {
	switch v.Class {
	case results.ClassReset, results.ClassEOF, results.ClassInvalid:
		return true
	case results.ClassErrorAnswer:
		return v.proxied
	}
	return false
}

// in reports whether the servers' state of the attempt is one of states.
func (v *view) in(states ...State) bool { return slices.Contains(states, v.State) }

// cutOff reports whether the connection was never accepted and ended in the way of a queued
// connection whose listener is closed.
func (v *view) cutOff() bool {
	return v.State == NeverAccepted && !v.proxied && v.brokenOff()
}

// byProxy reports whether a proxy ended the connection and no worker read the request.
func (v *view) byProxy() bool { return v.proxied && v.ended() && v.State == NeverAccepted }

// unjournaledReset reports whether the kernel reset a connection that is in no worker's journal. It
// is false behind a proxy, which has accepted its clients' connections itself.
func (v *view) unjournaledReset() bool { return v.reset != nil && v.cutOff() }

// unjournaledDrop reports whether the kernel dropped a segment of a connection that is in no
// worker's journal.
func (v *view) unjournaledDrop() bool {
	return v.dropped != nil && v.Class == results.ClassTimeout && v.State == NeverAccepted
}

// leftQueued reports whether the client gave up while its connection was in an accept queue, and no
// worker ever accepted it.
func (v *view) leftQueued() bool {
	return v.queued != nil && v.Class == results.ClassTimeout && v.State == NeverAccepted
}

// neverQueued reports whether the connection never entered an accept queue: no worker accepted it,
// a reading after its client had given up did not list it, and no queue had ended before that
// reading.
func (v *view) neverQueued() bool {
	if v.queued != nil || v.reused || v.proxied || v.State != NeverAccepted {
		return false
	}
	oneWay := v.synAt.Sub(v.Sent) // the client's last segment took the same time
	after := v.Done.Add(oneWay)
	i := slices.IndexFunc(v.readings, func(r QueueReading) bool { return r.At >= after })
	return i >= 0 && !slices.ContainsFunc(v.closings, func(c Closing) bool {
		return c.OwnsQueue && v.Sent <= c.To.Add(clockSlack) && c.From <= v.readings[i].At
	})
}

// closing returns the owner of the last listener that was closed together with its queue while the
// attempt was under way.
func (v *view) closing() (ok bool, worker int) {
	if v.closingOnce {
		return v.closingOK, v.closingWorker
	}
	v.closingOnce, v.closingOK, v.closingWorker = true, false, noWorker
	for i := len(v.closings) - 1; i >= 0; i-- {
		if c := &v.closings[i]; c.OwnsQueue && c.during(v.Attempt) {
			v.closingOK, v.closingWorker, v.closingFrom = true, c.Worker, c.From
			break
		}
	}
	return v.closingOK, v.closingWorker
}

// synDelay is the maximum time from an attempt's sent instant to its SYN. The sender may lose its
// CPU in between.
const synDelay = 5 * time.Millisecond

// halfOpen reports whether the handshake was incomplete when the listener that closing finds was
// closed: the client was not connected yet, or its last ACK was still on its way.
func (v *view) halfOpen() bool {
	ok, _ := v.closing()
	return ok && (v.Phase == results.PhaseConnect || v.heldUp ||
		v.establishedAt != nil && *v.establishedAt > v.closingFrom)
}

// closingAt returns the owner of the listener that was being closed when the attempt's SYN arrived.
// If there was none, it returns the worker in the servers' account.
func (v *view) closingAt() (ok bool, worker int) {
	for _, c := range v.closings {
		if c.OwnsQueue && c.From <= v.synAt.Add(synDelay) && v.synAt <= c.To.Add(clockSlack) {
			return true, c.Worker
		}
	}
	return false, int(v.Server)
}

// kills returns an event for each worker that was killed while the attempt was under way, the last
// one first.
func (v *view) kills() []event {
	if v.killsOnce {
		return v.killsFound
	}
	v.killsOnce = true
	for i := len(v.closings) - 1; i >= 0; i-- {
		if c := &v.closings[i]; c.Killed && c.during(v.Attempt) {
			v.killsFound = append(v.killsFound, event{killBlamed, c.Worker})
		}
	}
	return v.killsFound
}

// unborn reports whether the servers' kernel made no socket for the connection: without a trace,
// whether no end speaks of it and a listener was closed.
func (v *view) unborn() bool {
	closing, _ := v.closing()
	return v.foreign && !v.clientOnly && v.end == nil && (v.traced || closing) && !v.carried &&
		v.brokenOff()
}

// unseen reports whether the connection was reset or closed, and no obituary names it.
func (v *view) unseen() bool {
	return v.foreign && !v.clientOnly && !v.traced && v.end == nil && v.brokenOff()
}

// endedByServer reports whether the servers' end was closed by the time at which the client saw it,
// and not by the client. It is true if a worker's journal says so.
func (v *view) endedByServer() bool {
	if v.end == nil {
		return !v.foreign
	}
	switch v.end.Way {
	case witness.StillOpen, witness.StillQueued, witness.ResetByPeer, witness.TimedOut:
		return false
	}
	return v.endedAt == nil || *v.endedAt <= v.Done.Add(clockSlack)
}

// killed reports whether the worker was killed while the attempt was under way.
func (v *view) killed(worker int) bool {
	return slices.Contains(v.kills(), event{killBlamed, worker})
}

// suspect returns the worker whose close or kill coincides with the loss, or noWorker.
func (v *view) suspect() int {
	if ok, worker := v.closing(); ok {
		return worker
	}
	if kills := v.kills(); len(kills) > 0 {
		return kills[0].worker
	}
	return noWorker
}

// resetter returns the worker in whose context the kernel reset the connection. If the reset
// happened in no worker's context, it returns the suspect. There must be a reset.
func (v *view) resetter() int {
	if v.reset != nil && v.reset.Worker != noWorker {
		return v.reset.Worker
	}
	return v.suspect()
}

// misrouted reports whether the attempt was sent through a Service on a connection of its own, and
// no worker accepted it. Its refusal, timeout or missing route is then only a symptom of where it
// was sent. An attempt that was answered is not misrouted: a server without a journal answered it.
func (v *view) misrouted() bool {
	return v.routes != nil && !v.reused && v.State == NeverAccepted &&
		v.Class != results.ClassNone && v.Class != results.ClassErrorAnswer
}

// refusedBy returns, for a refused attempt, the worker of the first pod that satisfies is and that
// clients were sent to while the attempt was under way. For other attempts, ok is false.
func (v *view) refusedBy(is func(*Pod) bool) (worker int, ok bool) {
	if !v.misrouted() || !v.refused() {
		return noWorker, false
	}
	for i := range v.routes.Pods {
		if p := &v.routes.Pods[i]; is(p) && p.routedDuring(v.Sent, v.Done) {
			return p.Worker, true
		}
	}
	return noWorker, false
}

// confirmation returns the kernel's event about the end of the attempt, whatever its cause, or nil.
func (v *view) confirmation() *Event {
	switch v.Class {
	case results.ClassReset:
		return v.reset
	case results.ClassEOF:
		if v.State == NeverAccepted {
			return v.reset
		}
	case results.ClassRefused:
		if v.reset != nil {
			return v.reset
		}
		return v.dropped // a firewall dropped the SYN and sent the refusal itself
	case results.ClassTimeout:
		switch {
		case v.leftQueued():
			return v.queued
		case v.State == NeverAccepted:
			return v.dropped
		}
	}
	return nil
}

// decide returns the verdict of the first rule that matches, and that rule's number. It starts with
// rule number from.
func (v *view) decide(from int) (Verdict, int) {
	for n := from; n < len(rules); n++ {
		r := &rules[n]
		worker, ok := r.match(v)
		if !ok {
			continue
		}
		verdict := Verdict{
			Cause: r.cause, Evidence: r.evidence, Worker: worker, Rule: r.name,
			Explained: r.cause != cause.Unknown || v.clientOnly,
		}
		if v.end != nil && r.evidence == ByWorker {
			verdict.Evidence = ByKernel // the end is the kernel's record of this very connection
		}
		// The counter counted events of one kind, and this event may be of another.
		if e := v.confirmation(); e != nil && r.evidence != ByCounter {
			verdict.Kernel, verdict.Evidence = e, ByKernel
		}
		return verdict, n
	}
	panic("the last rule matches everything")
}

// servedVerdict returns the verdict of a served attempt. ReadDied does not contradict it: a worker
// may be killed after it has handed the response to the kernel and before it has journaled that.
func servedVerdict(a *Attempt) Verdict {
	ok := a.Worker == a.Server && (a.State == Answered || a.State == ReadDied)
	return Verdict{Worker: int(a.Server), Explained: ok}
}

// servedVerdict is the function of that name for servers that may keep no journal.
func (s *foreign) servedVerdict(a *Attempt) Verdict {
	if s == nil {
		return servedVerdict(a)
	}
	// A connection without an end counts as missing, once for all its attempts.
	return Verdict{Worker: int(a.Server), Explained: a.State == Answered || a.State == Unwitnessed}
}

// judge returns the verdict of every lost or unexplained attempt, by its index. It reads the closed
// book and the facts, and modifies neither.
//
// There are two passes. The first gives each attempt the verdict of the first rule that matches it.
// The second handles attempts whose rule is limited by a count of events, in the order of the
// schedule. Each attempt takes one event. If none remains, the next rule that matches the attempt
// decides.
func judge(b *Book, f *Facts, trace *Trace, side *foreign) map[int]Verdict {
	verdicts := map[int]Verdict{}
	type match struct{ attempt, rule int32 }
	var counted []match // matches of rules that are limited by a count
	remaining := f.events()
	if side != nil {
		remaining[event{anonymousEnd, noWorker}] = side.open
	}
	conns := b.connFacts(f)
	for i := range b.attempts {
		last := b.lastTry(i)
		if last.Served() {
			if v := side.servedVerdict(last); !v.Explained {
				verdicts[i] = v
			}
			continue
		}
		v := b.view(i, last, f, trace, conns)
		side.see(v, i)
		verdict, n := v.decide(0)
		verdicts[i] = verdict
		if rules[n].limitedBy != nil {
			counted = append(counted, match{int32(i), int32(n)})
		} else {
			remaining.consume(rules[n].consumes, verdict.Worker)
		}
	}
	for _, m := range counted {
		i := int(m.attempt)
		v := b.view(i, b.lastTry(i), f, trace, conns)
		side.see(v, i)
		verdicts[i] = v.take(int(m.rule), remaining)
	}
	return verdicts
}

// connFacts indexes the facts about single connections.
type connFacts struct {
	heldHandshakes map[int]bool // attempts whose handshakes were held up, by index
	queued         map[netip.AddrPort]bool
	// readings is Facts.QueueReadings. It is nil if there is an acceptor, because connections that
	// it has accepted are in no queue, either.
	readings []QueueReading
}

func (b *Book) connFacts(f *Facts) *connFacts {
	s := &connFacts{heldHandshakes: b.heldHandshakes(f.Steps), queued: f.queued()}
	if !f.passesOn() {
		s.readings = f.QueueReadings
	}
	return s
}

// view returns what the rules see of attempt i, whose last try is last.
func (b *Book) view(i int, last *Attempt, f *Facts, trace *Trace, s *connFacts) *view {
	v := &view{
		Attempt: last, heldUp: s.heldHandshakes[i], source: b.connection(i), reused: b.reused(i),
		starved: b.starved(i), proxied: b.load.Proxied,
		overflows: f.Moved["TcpExtListenOverflows"] > 0,
		embryonic: f.Moved["TcpExtEmbryonicRsts"] > 0,
		closings:  f.Closings, routes: f.Routes,
	}
	v.synAt = b.atServers(last.Sent)
	if b.load.RoundTrip > 0 && b.waits != nil && b.waits[i].established > 0 {
		v.establishedAt = new(b.scheduled(i).Add(time.Duration(b.waits[i].established) * waitTick))
	}
	v.reset, v.dropped = trace.between(v.source, last.Sent, last.Done)
	// What the servers send after gone arrives after the client has given up.
	gone := last.Done.Add(-b.load.RoundTrip / 2)
	v.readings, v.queued = s.readings, trace.resetLater(v.source, gone)
	if s.queued[v.source] {
		v.queued = &stillQueued
	}
	if v.routes != nil {
		v.sentTo = v.routes.to(v.source, last)
	}
	return v
}

// heldHandshakes returns the set of attempts whose handshakes were held up at the steps, by index.
func (b *Book) heldHandshakes(steps []Step) map[int]bool {
	all := map[int]bool{}
	for i := range steps {
		for _, source := range steps[i].Held {
			if n, ok := b.sources.Of(source); ok && n < uint64(len(b.attempts)) {
				all[int(n)] = true
			}
		}
	}
	return all
}

// events maps each event to the number of losses that it may still explain.
type events map[event]int64

// events returns how often each event happened in the trial.
func (f *Facts) events() events {
	e := events{
		{listenOverflow, noWorker}: f.Moved["TcpExtListenOverflows"],
		{embryonicReset, noWorker}: f.Moved["TcpExtEmbryonicRsts"],
	}
	for _, c := range f.Closings {
		if c.Killed {
			e[event{killBlamed, c.Worker}] = 1
		}
	}
	return e
}

// consume removes one event that a verdict by better evidence has explained. If what is "", it does
// nothing.
func (e events) consume(what eventName, worker int) {
	switch what {
	case listenOverflow:
		e[event{what, noWorker}]--
	case killBlamed:
		e[event{what, worker}]--
	}
}

// take returns the verdict of rule n and takes one of the events that limit the rule. If none of
// them remains, it tries the next rule that matches.
func (v *view) take(n int, remaining events) Verdict {
	for {
		r := &rules[n]
		if r.limitedBy == nil {
			break
		}
		for _, e := range r.limitedBy(v) {
			if remaining[e] <= 0 {
				continue
			}
			remaining[e]--
			remaining.consume(r.consumes, noWorker)
			verdict, _ := v.decide(n)
			if e.worker != noWorker {
				verdict.Worker = e.worker
			}
			return verdict
		}
		_, n = v.decide(n + 1)
	}
	verdict, _ := v.decide(n)
	return verdict
}
