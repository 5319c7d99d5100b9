package ledger

import (
	"slices"

	"reuseport-bench/results"
)

// tries holds those of an attempt that another one followed.
type tries struct {
	failed   []results.FailedTry
	lastSent Time // when the last try began
}

// sampleTries takes in what a sample says of tries. The caller holds the lock.
func (b *Book) sampleTries(i uint64, s *results.Sample) {
	c := &b.counts
	c.Tries += int64(1 + len(s.Failed))
	switch s.GaveUp {
	case results.GaveUpExhausted:
		c.Exhausted++
	case results.GaveUpNoTime:
		c.NoTime++
	case results.GaveUpBudget:
		c.OverBudget++
	}
	if len(s.Failed) == 0 {
		return
	}
	c.TriedAgain++
	if s.Served() {
		c.Masked++
		if b.masked == nil {
			b.masked = results.NewHistogram()
		}
		b.masked.Record(s.Done - s.Scheduled)
	}
	b.again[i] = tries{slices.Clone(s.Failed), b.time(s.LastSent)}
	for _, f := range s.Failed {
		if c.Failed == nil {
			c.Failed = map[string]int64{}
		}
		c.Failed[f.Failure.String()]++
	}
}

// last returns the number of an attempt's last try.
func (b *Book) last(i int) uint64 {
	return uint64(i) + uint64(len(b.again[uint64(i)].failed))*b.most()
}

// lastTry returns the attempt as if it had begun with its last try, which is what ended it.
func (b *Book) lastTry(i int) *Attempt {
	t, ok := b.again[uint64(i)]
	if !ok {
		return &b.attempts[i]
	}
	a := b.attempts[i]
	a.Sent = t.lastSent
	return &a
}

// closeTries gives every attempt the servers' account of its last try. What they say of an earlier
// try must agree with what the load says, and they may speak only of tries that the load has made;
// what does not fit is unmatched.
func (b *Book) closeTries() {
	n := b.most()
	for i, t := range b.again {
		first, last := b.known(i), b.known(b.last(int(i)))
		delete(b.later, b.last(int(i)))
		b.attempts[i].State, b.attempts[i].Server = last.state, last.worker
		b.later[i] = first
		reads, handled := 0, 0
		count := func(s State) {
			if s.read() {
				reads++
			}
			if s.handled() {
				handled++
			}
		}
		count(last.state)
		for number, f := range t.failed {
			state := b.later[i+uint64(number)*n].state
			count(state)
			if contradict(f.Failure, state) {
				b.unmatched++
			}
		}
		if reads > 1 {
			b.repeated++
		}
		if reads > 1 && handled <= 1 {
			b.unhandled++
		}
	}
	for try := range b.later {
		if try/n >= uint64(len(b.again[try%n].failed)) {
			b.unmatched++
		}
	}
}

// contradict reports whether a client's and the servers' accounts of a try, which another one
// followed, cannot both be true.
func contradict(f results.Failure, s State) bool {
	switch {
	case s == Answered, s == readOpen:
		return true
	case s.read():
		return f != results.FailureUnanswered // else nothing had been sent
	}
	return f == results.FailureRefused && s != NeverAccepted
}

// openedByTries returns how many connections the tries before the last ones opened, and how many of
// those no worker has accepted though they were established: the close of a listener has reset
// them, most of them in its queue. One that was unsent may have been half-open.
func (b *Book) openedByTries() (opened, reset int64) {
	n := b.most()
	for i, t := range b.again {
		for number, f := range t.failed {
			if !f.Opened {
				continue
			}
			opened++
			established := f.Failure == results.FailureUnsent || f.Failure == results.FailureUnanswered
			if established && b.later[i+uint64(number)*n].state == NeverAccepted {
				reset++
			}
		}
	}
	return opened, reset
}

// retries returns what came of trying again; nil where nothing was to be tried again.
func (b *Book) retries() *results.Retries {
	if b.load.Tries <= 1 {
		return nil
	}
	r := b.counts
	r.Repeated, r.RepeatedUnhandled = b.repeated, new(b.unhandled)
	if b.masked != nil {
		r.MaskedNS = b.masked.Percentiles()
	}
	return &r
}
