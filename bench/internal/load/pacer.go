package load

import (
	"math"
	"time"

	"reuseport-bench/servers/clock"
)

// pacer releases vegeta's ticks, each just before its attempts are due, and runs the loop in
// between.
type pacer struct {
	*transport
	end   clock.Instant // nothing is sent after it
	next  uint64        // this process's first attempt that is in no tick yet
	early time.Duration // the time by which a tick is released before it is due
	timed bool          // the alarm released the last tick; false: the tick was late
	err   error         // the loop's error that ended the attack
}

// A tick is released early, because waking up and making a socket take time. When the attempt is
// due, only connect(2) is left to do; until then awaitDue spins. The time needed depends on the
// machine and varies, so early tracks it: a late attempt increases early by a step, and one in time
// decreases it by a tenth of a step, so that one attempt in ten is slightly late (a stochastic
// approximation of the quantile: Robbins and Monro, 1951). An attempt that is late by more than
// earliest was delayed by something else, such as the lack of a CPU, and does not change early.
const (
	earliest  = 100 * time.Microsecond // the maximum of early
	earlyStep = 4 * time.Microsecond
)

// overrun is the time for which an open loop that cannot keep up still sends after the end of the
// schedule.
const overrun = 250 * time.Millisecond

// tickLimit is the maximum number of attempts in a tick. Starting an attempt takes about 25 µs,
// which delays the answers to other attempts.
const tickLimit = 8

func newPacer(t *transport) *pacer {
	t.begun <- struct{}{} // so that the first Pace does not wait
	end := t.begins.Add(t.cfg.Shape.Duration + t.cfg.overrun())
	return &pacer{transport: t, end: end, early: earliest / 2}
}

// Pace implements vegeta.Pacer. It returns just before the next attempt of this process is due.
func (p *pacer) Pace(time.Duration, uint64) (time.Duration, bool) {
	<-p.begun
	p.track()
	due, ok := p.due(p.next)
	if !ok {
		return 0, true
	}
	wake, now := due.Add(-p.early), p.clock.Now()
	p.timed = now < wake
	// The loop turns at least once, so that attempts under way advance even when the load is late.
	for again := true; again; {
		until := wake
		if p.underWay == p.limit { // every client waits, or an open loop is at its limit
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
		// Releasing a tick costs the same for one attempt as for many, and handling events may make
		// room for more attempts.
		again = now < wake || room == 0 || room < tickLimit && events > 0
	}
	p.release(max(now, due))
	return 0, false
}

// release releases a tick for the next attempt and for those after it that are due by then.
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

// track adjusts early after a tick.
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
