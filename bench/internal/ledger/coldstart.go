package ledger

import (
	"math"

	"reuseport-bench/results"
)

// ColdStart returns figures about the attempts that were served after step k added a worker, the
// newcomer: until the end of the newcomer's warm-up, and until its share is fair. The newcomer must
// have become ready.
func (a *Account) ColdStart(k int) *results.ColdStart {
	s := &a.facts.Steps[k]
	ready, newcomer := *s.Ready, int32(s.Started[0])
	until := min(Time(a.facts.Duration), ready.Add(s.For))
	c := &results.ColdStart{}
	mine, others := results.NewHistogram(), results.NewHistogram()
	fair := newShareWatch(s.Serving)
	for i := a.first(ready); i < len(a.book.attempts); i++ {
		x := &a.book.attempts[i]
		if !x.Served() {
			continue
		}
		at, isMine := a.book.scheduled(i), x.Worker == newcomer
		if isMine {
			served := int64(x.Done - ready)
			if c.FirstServedNS == nil || served < *c.FirstServedNS {
				c.FirstServedNS = &served
			}
		}
		if fair.add(isMine) && c.FairShareNS == nil {
			c.FairShareNS = new(int64(at - ready))
		}
		switch {
		case at >= until:
		case isMine:
			mine.Record(int64(x.Done - at))
		default:
			others.Record(int64(x.Done - at))
		}
	}
	c.NewcomerNS, c.OthersNS = mine.Percentiles(), others.Percentiles()
	if n := mine.Count() + others.Count(); n > 0 {
		c.Share = float64(mine.Count()) / float64(n)
	}
	return c
}

// A shareWatch detects when a newcomer's share of the served attempts has become fair. The share is
// fair if the newcomer served at least 0.9/n of the last 50·n attempts, where n is the number of
// workers.
type shareWatch struct {
	last   []bool
	at     int
	filled bool
	mine   int
	enough int
}

func newShareWatch(workers int) *shareWatch {
	return &shareWatch{last: make([]bool, 50*workers), enough: int(math.Ceil(0.9 * 50))}
}

// add records whether the newcomer served the next attempt, and reports whether the newcomer's
// share is now fair.
func (s *shareWatch) add(mine bool) bool {
	if s.last[s.at] {
		s.mine--
	}
	if s.last[s.at] = mine; mine {
		s.mine++
	}
	if s.at++; s.at == len(s.last) {
		s.at, s.filled = 0, true
	}
	return s.filled && s.mine >= s.enough
}
