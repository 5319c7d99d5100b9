package ledger

import (
	"net/netip"
	"slices"
	"time"

	"reuseport-bench/results"
	"reuseport-bench/results/cause"
)

// A Verdict is the terminal state of one attempt: what became of it, and why.
type Verdict struct {
	Cause    string // "" when served
	Evidence Evidence
	Worker   int    // whose close, crash or answer it was, or -1
	Rule     string // the name of the rule that decided; "" when served
	// Explained is false when the two sides contradict each other, or no account explains the loss.
	Explained bool
	// Kernel is the event that decided or confirmed it; nil without one.
	Kernel *Event
}

// A view is what the rules see of one lost attempt.
type view struct {
	*Attempt
	source    netip.AddrPort // the client's end of its connection
	held      bool           // its handshake was held up while listeners were closed
	reused    bool           // it did not open its connection
	starved   bool           // it had no connection
	proxied   bool
	overflows bool // the kernel counted any
	embryonic bool // … handshakes that ended by a reset
	closings  []Closing
	routes    *Routes
	sentTo    *Pod // where its connection was sent; nil: not known
	// reset and dropped are the kernel's events about it; nil where there is none, or where it is
	// judged without them.
	reset, dropped *Event
	// queued is the kernel's word that it was in an accept queue when its client gave up.
	queued *Event
	// readings are of all accept queues; nil where a connection that is in none may be anywhere.
	readings []QueueReading
	// synAt is when its SYN was at the servers, if it opened its connection, and establishedAt when
	// the last ACK of its handshake was; nil: it had none, or that was as soon as the client was
	// connected.
	synAt         Time
	establishedAt *Time

	// What closing and kills have found: several rules ask, and a trial may have a thousand
	// closings.
	closingOnce, killsOnce bool
	closingOK              bool
	closingWorker          int
	closingFrom            Time
	killsFound             []event
}

// ended reports whether the connection ended before the response was complete.
func (v *view) ended() bool {
	switch v.Class {
	case results.ClassReset, results.ClassEOF, results.ClassInvalid:
		return true
	}
	return false
}

// in reports whether the servers' account is one of these.
func (v *view) in(states ...State) bool { return slices.Contains(states, v.State) }

// cutOff reports whether no worker accepted the connection, and it ended as a queued one does whose
// listener is closed.
func (v *view) cutOff() bool {
	return v.State == NeverAccepted && !v.proxied &&
		(v.Class == results.ClassReset || v.Class == results.ClassEOF)
}

// byProxy reports whether a proxy ended the connection and no worker has seen the request.
func (v *view) byProxy() bool { return v.proxied && v.ended() && v.State == NeverAccepted }

// unnotedReset reports whether the kernel reset a connection that no worker has noted. A proxy's
// clients are connected to the proxy, which has accepted them.
func (v *view) unnotedReset() bool { return v.reset != nil && v.cutOff() }

// unnotedDrop reports whether the kernel dropped a segment of a connection that no worker has
// noted.
func (v *view) unnotedDrop() bool {
	return v.dropped != nil && v.Class == results.ClassTimeout && v.State == NeverAccepted
}

// leftQueued reports whether the client gave up a connection that was in an accept queue, and that
// no worker ever accepted.
func (v *view) leftQueued() bool {
	return v.queued != nil && v.Class == results.ClassTimeout && v.State == NeverAccepted
}

// neverQueued reports whether the connection never got into an accept queue: it was in none when
// its client had given up, no worker accepted it, and no queue had ended by then.
func (v *view) neverQueued() bool {
	if v.queued != nil || v.reused || v.proxied || v.State != NeverAccepted {
		return false
	}
	way := v.synAt.Sub(v.Sent) // so long the client's last segment was on its way, too
	i := slices.IndexFunc(v.readings, func(r QueueReading) bool { return r.At >= v.Done.Add(way) })
	return i >= 0 && !slices.ContainsFunc(v.closings, func(c Closing) bool {
		return c.OwnsQueue && v.Sent <= c.To.Add(clockSlack) && c.From <= v.readings[i].At
	})
}

// closing returns the last listener that was being closed, queue and all, while the attempt was
// under way.
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

// synDelay bounds the time from the sent instant to the SYN: the sender may lose its CPU in
// between.
const synDelay = 5 * time.Millisecond

// halfOpen reports whether the attempt's handshake was under way when the listener that closing
// returns was closed: the client was not connected, or its last ACK was still on its way.
func (v *view) halfOpen() bool {
	ok, _ := v.closing()
	return ok && (v.Phase == results.PhaseConnect || v.held ||
		v.establishedAt != nil && *v.establishedAt > v.closingFrom)
}

// closingAt returns the listener that was being closed when the attempt's SYN arrived; without one,
// the worker that the servers know of.
func (v *view) closingAt() (ok bool, worker int) {
	for _, c := range v.closings {
		if c.OwnsQueue && c.From <= v.synAt.Add(synDelay) && v.synAt <= c.To.Add(clockSlack) {
			return true, c.Worker
		}
	}
	return false, int(v.Server)
}

// kills returns the workers that were killed while the attempt was under way, last first.
func (v *view) kills() []event {
	if v.killsOnce {
		return v.killsFound
	}
	v.killsOnce = true
	for i := len(v.closings) - 1; i >= 0; i-- {
		if c := &v.closings[i]; c.Killed && c.during(v.Attempt) {
			v.killsFound = append(v.killsFound, event{unnotedAccept, c.Worker})
		}
	}
	return v.killsFound
}

// killed reports whether that worker was killed while the attempt was under way.
func (v *view) killed(worker int) bool {
	return slices.Contains(v.kills(), event{unnotedAccept, worker})
}

// suspect returns the worker whose end fits in time with the loss, or noWorker.
func (v *view) suspect() int {
	if ok, worker := v.closing(); ok {
		return worker
	}
	if kills := v.kills(); len(kills) > 0 {
		return kills[0].worker
	}
	return noWorker
}

// resetter returns the worker on whose time the kernel reset the connection or, where it was no
// worker's, the one whose end fits in time. A reset must have been seen.
func (v *view) resetter() int {
	if v.reset != nil && v.reset.Worker != noWorker {
		return v.reset.Worker
	}
	return v.suspect()
}

// misrouted reports whether the attempt was sent through a Service on a connection of its own, and
// no worker has heard of it: then the refusal, silence or missing route that it met is only how it
// looked.
func (v *view) misrouted() bool {
	return v.routes != nil && !v.reused && v.State == NeverAccepted && v.Class != results.ClassNone
}

// refusedBy returns the first pod of which that is true and to which clients were sent while the
// attempt was under way; false unless the attempt was refused.
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

// confirmation returns the kernel's event about what ended the attempt, whatever the cause; nil
// without one.
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
		return v.dropped // a firewall's rule threw the SYN away, and answered by itself
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

// decide returns the verdict of the first rule at or after the one numbered from that matches, and
// that rule's number.
func (v *view) decide(from int) (Verdict, int) {
	for n := from; n < len(rules); n++ {
		r := &rules[n]
		worker, ok := r.match(v)
		if !ok {
			continue
		}
		verdict := Verdict{
			Cause: r.cause, Evidence: r.evidence, Worker: worker, Rule: r.name,
			Explained: r.cause != cause.Unknown,
		}
		// A segment that was dropped for another reason says nothing of what a counter counted.
		if e := v.confirmation(); e != nil && r.evidence != ByCounter {
			verdict.Kernel, verdict.Evidence = e, ByKernel
		}
		return verdict, n
	}
	panic("the last rule matches everything")
}

// servedVerdict is that of a served attempt. A worker that is killed between handing the response
// to the kernel and noting it has read the request and died, and yet the client is served.
func servedVerdict(a *Attempt) Verdict {
	ok := a.Worker == a.Server && (a.State == Answered || a.State == ReadDied)
	return Verdict{Worker: int(a.Server), Explained: ok}
}

// judge returns the verdict of every attempt that is lost or unexplained, by its index. It reads
// the closed book and the facts, and changes neither.
//
// There are two passes. In the first each attempt gets the verdict of the first rule that matches
// it. In the second, in the order of the schedule, those whose rule rests on counted events take
// them, as many as there were; the rest go on to their next rule.
func judge(b *Book, f *Facts, trace *Trace) map[int]Verdict {
	verdicts := map[int]Verdict{}
	type match struct{ attempt, rule int32 }
	var counted []match // what a rule that rests on counted events matched
	left := f.events()
	seen := b.seen(f)
	for i := range b.attempts {
		last := b.lastTry(i)
		if last.Served() {
			if v := servedVerdict(last); !v.Explained {
				verdicts[i] = v
			}
			continue
		}
		v := b.view(i, last, f, trace, seen)
		verdict, n := v.decide(0)
		verdicts[i] = verdict
		if rules[n].rests != nil {
			counted = append(counted, match{int32(i), int32(n)})
		} else {
			left.spend(rules[n].spends, verdict.Worker)
		}
	}
	for _, m := range counted {
		i := int(m.attempt)
		v := b.view(i, b.lastTry(i), f, trace, seen)
		verdicts[i] = v.take(int(m.rule), left)
	}
	return verdicts
}

// seen is what facts say of single connections, made easy to find.
type seen struct {
	held   map[int]bool // attempts whose handshakes were held up, by index
	queued map[netip.AddrPort]bool
	// readings are the facts', unless a connection may be in the hands of a process that accepts
	// for others.
	readings []QueueReading
}

func (b *Book) seen(f *Facts) *seen {
	s := &seen{held: b.held(f.Steps), queued: f.queued()}
	if !f.passesOn() {
		s.readings = f.QueueReadings
	}
	return s
}

// view returns what the rules see of attempt i, whose last try is last.
func (b *Book) view(i int, last *Attempt, f *Facts, trace *Trace, s *seen) *view {
	v := &view{
		Attempt: last, held: s.held[i], source: b.connection(i), reused: b.reused(i),
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
	// What is sent to the client from then on comes too late.
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

// held returns the attempts whose handshakes were held up at the steps, by index.
func (b *Book) held(steps []Step) map[int]bool {
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

// events is how often each event may still explain a loss.
type events map[event]int64

// events returns how often each happened in the trial.
func (f *Facts) events() events {
	e := events{
		{listenOverflow, noWorker}: f.Moved["TcpExtListenOverflows"],
		{embryonicReset, noWorker}: f.Moved["TcpExtEmbryonicRsts"],
	}
	for _, c := range f.Closings {
		if c.Killed {
			e[event{unnotedAccept, c.Worker}] = 1
		}
	}
	return e
}

// spend takes off one event that a verdict by better evidence has explained; "": none.
func (e events) spend(what eventName, worker int) {
	switch what {
	case listenOverflow:
		e[event{what, noWorker}]--
	case unnotedAccept:
		e[event{what, worker}]--
	}
}

// take returns the verdict of a counted rule, with the first event that is left of those it may
// rest on; or of the next rule that matches.
func (v *view) take(n int, left events) Verdict {
	for {
		r := &rules[n]
		if r.rests == nil {
			break
		}
		for _, e := range r.rests(v) {
			if left[e] <= 0 {
				continue
			}
			left[e]--
			left.spend(r.spends, noWorker)
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
