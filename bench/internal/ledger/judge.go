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
	// Explained is false if the client's and the servers' accounts contradict each other, or if no
	// rule explains the loss.
	Explained bool
	// Kernel is the event that decided or confirmed the verdict, or nil.
	Kernel *Event
}

// A view holds everything about one lost attempt that the rules use.
type view struct {
	*Attempt
	source    netip.AddrPort // the client's address of its connection
	heldUp    bool           // its handshake was held up while listeners were closed
	reused    bool           // an earlier try opened its connection
	starved   bool           // it had no connection: all kept connections were in use
	proxied   bool
	overflows bool // the kernel counted overflows of accept queues
	embryonic bool // the kernel counted handshakes that ended in a reset
	closings  []Closing
	routes    *Routes
	sentTo    *Pod // the pod to which its connection was sent; nil: unknown
	// reset and dropped are the kernel's events on the connection. They are nil if there are no
	// such events, or if the attempt is judged without kernel events.
	reset, dropped *Event
	// queued is the kernel's report that the connection was still in an accept queue when the
	// client gave up, or nil.
	queued *Event
	// The fields from foreign to endedAt are set only with a third-party server. foreign is true;
	// clientOnly is true if the witness's account cannot be used, traced if the witness traced
	// every connection, and carried if the attempt's connection has carried an answer. end is the
	// server's end of the connection; nil: none is known. endedAt is the instant at which a process
	// closed that end, or at which the end reached CLOSE; nil: unknown.
	foreign, clientOnly, traced, carried bool

	end     *witness.SocketEnd
	endedAt *Time
	// readings is Facts.QueueReadings. It is nil if there is an acceptor: connections that the
	// acceptor has accepted are in no queue, although no worker has accepted them.
	readings []QueueReading
	// synAt is the instant at which the SYN reached the servers, if the attempt opened its
	// connection. establishedAt is the instant at which the last ACK of the handshake reached the
	// servers. establishedAt is nil if there was no such ACK, or if there is no added round trip:
	// the ACK then arrived when the client was connected.
	synAt         Time
	establishedAt *Time

	// The results of closing and kills are cached, because several rules call these methods, and a
	// trial may have a thousand closings.
	closingOnce, killsOnce bool
	closingOK              bool
	closingWorker          int
	closingFrom            Time
	killsFound             []event
}

// ended reports whether the connection to the server ended before the response was complete. Behind
// a proxy, the client receives an error answer then.
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

// cutOff reports whether no worker accepted the connection, and the client saw a reset or EOF.
// Connections in the queue of a listener that is closed end like this.
func (v *view) cutOff() bool {
	return v.State == NeverAccepted && !v.proxied && v.brokenOff()
}

// byProxy reports whether the attempt failed at a proxy: no worker read the request.
func (v *view) byProxy() bool { return v.proxied && v.ended() && v.State == NeverAccepted }

// unjournaledReset reports whether the kernel reset a connection that is in no worker's journal.
// Behind a proxy it is false, because the proxy accepts the clients' connections.
func (v *view) unjournaledReset() bool { return v.reset != nil && v.cutOff() }

// unjournaledDrop reports whether the kernel dropped a segment of a connection that is in no
// worker's journal.
func (v *view) unjournaledDrop() bool {
	return v.dropped != nil && v.Class == results.ClassTimeout && v.State == NeverAccepted
}

// leftQueued reports whether the client gave up while its connection was in an accept queue, and no
// worker accepted the connection later.
func (v *view) leftQueued() bool {
	return v.queued != nil && v.Class == results.ClassTimeout && v.State == NeverAccepted
}

// neverQueued reports whether the connection never entered an accept queue. That is certain if no
// worker accepted the connection, if the first QueueReading after the client had given up does not
// list it, and if no accept queue ended between the attempt and that reading.
func (v *view) neverQueued() bool {
	if v.queued != nil || v.reused || v.proxied || v.State != NeverAccepted {
		return false
	}
	oneWay := v.synAt.Sub(v.Sent) // the client's last segment arrives after the same time
	after := v.Done.Add(oneWay)
	i := slices.IndexFunc(v.readings, func(r QueueReading) bool { return r.At >= after })
	return i >= 0 && !slices.ContainsFunc(v.closings, func(c Closing) bool {
		return c.OwnsQueue && v.Sent <= c.To.Add(clockSlack) && c.From <= v.readings[i].At
	})
}

// closing finds the last listener that was closed together with its accept queue while the attempt
// was under way. It returns the listener's owner, or false if there is no such listener.
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

// synDelay is the maximum time from the recorded send of an attempt until its SYN leaves. The load
// process may lose its CPU in between.
const synDelay = 5 * time.Millisecond

// halfOpen reports whether the handshake was incomplete when the listener that closing finds was
// closed: the client had not received the SYN-ACK, or the last ACK had not arrived.
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

// kills returns an event for each worker that was killed while the attempt was under way. The
// worker that was killed last comes first.
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

// unborn reports whether the servers' kernel created no socket for a connection that the client saw
// end. That is so if no end belongs to the connection and it has carried no answer. Without a
// trace, a listener must also have been closed meanwhile.
func (v *view) unborn() bool {
	closing, _ := v.closing()
	return v.foreign && !v.clientOnly && v.end == nil && (v.traced || closing) && !v.carried &&
		v.brokenOff()
}

// unseen reports whether the client saw the connection end, and no obituary (the kernel's message
// about a destroyed socket) names the connection.
func (v *view) unseen() bool {
	return v.foreign && !v.clientOnly && !v.traced && v.end == nil && v.brokenOff()
}

// endedByServer reports whether the server, not the client, ended the connection, and did so before
// the client saw the end. For workers of this program it returns true, because their journals
// record which side ended a connection.
func (v *view) endedByServer() bool {
	if v.end == nil {
		return !v.foreign
	}
	if v.closedIdle() {
		return true // the server said so before, and may have waited for the client to close first
	}
	switch v.end.Way {
	case witness.StillOpen, witness.StillQueued, witness.ResetByPeer, witness.TimedOut:
		return false
	}
	return v.endedAt == nil || *v.endedAt <= v.Done.Add(clockSlack)
}

// killed reports whether the given worker was killed while the attempt was under way.
func (v *view) killed(worker int) bool {
	return slices.Contains(v.kills(), event{killBlamed, worker})
}

// suspect returns the worker that closed its listener or was killed while the attempt was under
// way, or noWorker.
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
// no worker accepted that connection. A refusal, a timeout or a missing route then only follows
// from the place to which the connection was sent. An attempt that was answered is not misrouted.
func (v *view) misrouted() bool {
	return v.routes != nil && !v.reused && v.State == NeverAccepted &&
		v.Class != results.ClassNone && v.Class != results.ClassErrorAnswer
}

// silenced returns, for a timeout on a kept connection to a pod on a node that fell silent, the
// worker of the pod. For other attempts, ok is false.
func (v *view) silenced() (worker int, ok bool) {
	p := v.sentTo
	if p == nil || !v.reused || v.Class != results.ClassTimeout || p.Silent > v.Done {
		return noWorker, false
	}
	return p.Worker, true
}

// refusedBy returns, for a refused attempt, the worker of the first pod for which the function is
// returns true and to which clients were sent while the attempt was under way. For other attempts,
// ok is false.
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

// confirmation returns the kernel event that fits the way in which the attempt ended, whatever its
// cause, or nil.
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

// decide returns the verdict of the first rule that matches the view, and the number of that rule.
// It tries the rules from number from on.
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
			verdict.Evidence = ByKernel // the kernel recorded the end of this very connection
		}
		// A verdict by a counter is about events of one kind, and e may be of another kind.
		if e := v.confirmation(); e != nil && r.evidence != ByCounter {
			verdict.Kernel, verdict.Evidence = e, ByKernel
		}
		return verdict, n
	}
	panic("the last rule matches everything")
}

// servedVerdict returns the verdict of a served attempt. The state ReadDied does not contradict the
// client: a worker may be killed after it has handed the response to the kernel and before it has
// written that to its journal.
func servedVerdict(a *Attempt) Verdict {
	ok := a.Worker == a.Server && (a.State == Answered || a.State == ReadDied)
	return Verdict{Worker: int(a.Server), Explained: ok}
}

// servedVerdict returns the verdict of a served attempt with any kind of server. s is nil if the
// servers are this program's workers.
func (s *foreign) servedVerdict(a *Attempt) Verdict {
	if s == nil {
		return servedVerdict(a)
	}
	// Unwitnessed counts as explained, because a missing end counts once, in s.missing, and not for
	// each attempt on the connection.
	return Verdict{Worker: int(a.Server), Explained: a.State == Answered || a.State == Unwitnessed}
}

// judge returns the verdict of every lost or unexplained attempt, by its index. It reads the closed
// book and the facts, and modifies neither.
//
// There are two passes. The first gives each attempt the verdict of the first rule that matches it.
// The second handles attempts whose rule is limited by a count of events, in the order of the
// schedule. Each of these attempts uses up one event. If no event remains, the next rule that
// matches the attempt decides.
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

// connFacts holds the facts about single connections in a form that is fast to search.
type connFacts struct {
	heldHandshakes map[int]bool // attempts whose handshakes were held up, by index
	queued         map[netip.AddrPort]bool
	// readings is Facts.QueueReadings. It is nil if there is an acceptor: connections that the
	// acceptor has accepted are in no queue, although no worker has accepted them.
	readings []QueueReading
}

func (b *Book) connFacts(f *Facts) *connFacts {
	s := &connFacts{heldHandshakes: b.heldHandshakes(f.Steps), queued: f.queued()}
	if !f.passesOn() {
		s.readings = f.QueueReadings
	}
	return s
}

// view returns the view of attempt i. last is the attempt as its last try (lastTry).
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
	// Segments that the servers send after gone reach a client that has given up.
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

// heldHandshakes returns the set of attempts, by index, whose handshakes were held up during the
// given steps.
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

// events maps each event to the number of losses that it can still explain.
type events map[event]int64

// events returns the number of times that each event happened in the trial.
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

// consume removes one event that a verdict with stronger evidence has used up. If what is "", it
// does nothing.
func (e events) consume(what eventName, worker int) {
	switch what {
	case listenOverflow:
		e[event{what, noWorker}]--
	case killBlamed:
		e[event{what, worker}]--
	}
}

// take returns the verdict of rule n, and uses up one of the events that limit that rule. If none
// of these events remains, take continues with the next rule that matches.
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
