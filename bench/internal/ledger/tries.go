package ledger

import (
	"slices"

	"reuseport-bench/results"
)

// tries holds the tries of an attempt that made more than one.
type tries struct {
	failed   []results.FailedTry // all tries except the last
	lastSent Time                // when the last try began
}

// sampleTries counts the tries of a sample. b.mu must be held.
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
	b.retried[i] = tries{slices.Clone(s.Failed), b.time(s.LastSent)}
	for _, f := range s.Failed {
		if c.Failed == nil {
			c.Failed = map[string]int64{}
		}
		c.Failed[f.Failure.String()]++
	}
}

// last returns the number of an attempt's last try.
func (b *Book) last(i int) uint64 {
	return uint64(i) + uint64(len(b.retried[uint64(i)].failed))*b.maxAttempts()
}

// lastTry returns the attempt as if its last try had been its only one.
func (b *Book) lastTry(i int) *Attempt {
	t, ok := b.retried[uint64(i)]
	if !ok {
		return &b.attempts[i]
	}
	a := b.attempts[i]
	a.Sent = t.lastSent
	return &a
}

// closeTries gives every retried attempt the state of its last try. It counts the servers' account
// of a try as unmatched if that contradicts the client's account of the try, or if the load did not
// make the try.
func (b *Book) closeTries() {
	n := b.maxAttempts()
	for i, t := range b.retried {
		first, last := b.serverSide(i), b.serverSide(b.last(int(i)))
		delete(b.laterTries, b.last(int(i)))
		b.attempts[i].State, b.attempts[i].Server = last.state, last.worker
		b.laterTries[i] = first
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
			state := b.laterTries[i+uint64(number)*n].state
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
	for try := range b.laterTries {
		if try/n >= uint64(len(b.retried[try%n].failed)) {
			b.unmatched++
		}
	}
}

// contradict reports whether the client's and the servers' accounts of the same failed try exclude
// each other. f is the failure that the client saw, and s is the servers' state.
func contradict(f results.Failure, s State) bool {
	switch {
	case s == Answered, s == readOpen:
		return true
	case s.read():
		// after any other failure, the client had sent nothing
		return f != results.FailureUnanswered
	}
	return f == results.FailureRefused && s != NeverAccepted
}

// openedByTries returns the number of connections that tries before an attempt's last one opened,
// and the number of these connections that were established but never accepted. They were reset
// when a listener was closed. Most of them were in its accept queue; if nothing was sent on a
// connection, it may have been half-open instead.
func (b *Book) openedByTries() (opened, reset int64) {
	n := b.maxAttempts()
	for i, t := range b.retried {
		for number, f := range t.failed {
			if !f.Opened {
				continue
			}
			opened++
			established := f.Failure == results.FailureUnsent ||
				f.Failure == results.FailureUnanswered
			if established && b.laterTries[i+uint64(number)*n].state == NeverAccepted {
				reset++
			}
		}
	}
	return opened, reset
}

// retries returns the results of retrying, or nil if clients do not retry.
func (a *Account) retries() *results.Retries {
	b := a.book
	if b.load.Tries <= 1 {
		return nil
	}
	r := b.counts
	if a.foreign == nil {
		r.Repeated, r.RepeatedUnhandled = b.repeated, new(b.unhandled)
	} else {
		r.Repeated = a.foreign.repeated // it is not known whether handlers got them
	}
	if b.masked != nil {
		r.MaskedNS = b.masked.Percentiles()
	}
	return &r
}
