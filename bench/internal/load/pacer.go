package load

import (
	"math"
	"time"

	"reuseport-bench/servers/clock"
)

// pacer releases the attacker's ticks, each when its attempts are nearly due, and runs the loop
// until then.
type pacer struct {
	*transport
	end   clock.Instant // from which on nothing more is sent
	next  uint64        // attempt of this process that no tick has been released for
	early time.Duration // from a tick to its due instant
	timed bool          // the last tick was released by the alarm, not late
	err   error         // of the loop; it ended the attack
}

// A tick is early by what it takes to wake up and to make a socket: then only connect(2) is left to
// do, and what is left of the time is spun away (awaitDue). How long that takes depends on the
// machine and on the hour, so it is tracked: an attempt that is late moves early up by a step, one
// in time down by a tenth of it, so that one in ten is late, by little (a stochastic approximation
// of the quantile: Robbins and Monro, 1951). One that is later than earliest had to wait for
// something else, such as a CPU, and says nothing of it.
const (
	earliest  = 100 * time.Microsecond // the most that a tick is early
	earlyStep = 4 * time.Microsecond
)

// overrun is how late, after the last due instant, a generator of an open loop that cannot keep up
// still sends.
const overrun = 250 * time.Millisecond

// tickLimit bounds the attempts of one tick. They keep the answers of others waiting, for some 25
// µs each.
const tickLimit = 8

func newPacer(t *transport) *pacer {
	t.begun <- struct{}{} // of no tick: the first Pace does not wait
	end := t.begins.Add(t.cfg.Shape.Duration + t.cfg.overrun())
	return &pacer{transport: t, end: end, early: earliest / 2}
}

// Pace implements vegeta.Pacer. It returns when the next attempt of this process is nearly due.
func (p *pacer) Pace(time.Duration, uint64) (time.Duration, bool) {
	<-p.begun
	p.track()
	due, ok := p.due(p.next)
	if !ok {
		return 0, true
	}
	wake, now := due.Add(-p.early), p.clock.Now()
	p.timed = now < wake
	// Once at least, so that what is under way has its turn when the load is late.
	for again := true; again; {
		until := wake
		if p.underWay == p.limit { // each client waits, or an open loop is open no longer
			until = never
		}
		var events int
		if events, p.err = p.loop.turn(until); p.err != nil {
			return 0, true
		}
		if now = p.clock.Now(); now > p.end {
			return 0, true
		}
		room := p.limit - p.underWay
		// A tick costs as much for one attempt as for many: events that are there may make room.
		again = now < wake || room == 0 || room < tickLimit && events > 0
	}
	p.release(max(now, due))
	return 0, false
}

// release releases a tick for the next attempt, and for those after it that are due by then.
func (p *pacer) release(by clock.Instant) {
	k := tick{p.next, p.next + 1}
	for room := uint64(min(tickLimit, p.limit-p.underWay)); k.to < k.from+room; k.to++ {
		if due, ok := p.due(k.to); !ok || due > by {
			break
		}
	}
	p.next, p.spare = k.to, math.MinInt64
	p.ticks <- k
}

// track moves early after a tick.
func (p *pacer) track() {
	switch {
	case !p.timed || p.spare < -earliest:
	case p.spare < 0:
		p.early = min(p.early+earlyStep, earliest)
	default:
		p.early = max(p.early-earlyStep/10, 0)
	}
}

// Rate implements vegeta.Pacer. It is 0 in a closed loop.
func (p *pacer) Rate(time.Duration) float64 { return p.cfg.Shape.Rate / float64(p.cfg.Processes) }
