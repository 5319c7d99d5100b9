package harness

import (
	"slices"

	"reuseport-bench/results"
)

// tries are those of an attempt that another one followed.
type tries struct {
	failed   []results.FailedTry
	lastSent int64 // when the last try began, from the first scheduled attempt
}

// sampleTries takes in what a sample says of tries. The caller holds the lock.
func (b *books) sampleTries(i uint64, s *results.Sample) {
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
	b.again[i] = tries{slices.Clone(s.Failed), b.since(s.LastSent)}
	for _, f := range s.Failed {
		if c.Failed == nil {
			c.Failed = map[string]int64{}
		}
		c.Failed[f.Failure.String()]++
	}
}

// last is the number of an attempt's last try.
func (b *books) last(i int) uint64 {
	return uint64(i) + uint64(len(b.again[uint64(i)].failed))*uint64(len(b.attempts))
}

// lastTry is the attempt as if it had begun with its last try, which is what ended it.
func (b *books) lastTry(i int) *attempt {
	t, ok := b.again[uint64(i)]
	if !ok {
		return &b.attempts[i]
	}
	a := b.attempts[i]
	a.sent = t.lastSent
	return &a
}

// closeTries gives every attempt the servers' account of its last try. What they say of a try before must agree with what the load says, and
// each of which they say anything must be one that the load has made; what does not is a stray.
func (b *books) closeTries() {
	n := uint64(len(b.attempts))
	for i, t := range b.again {
		first, last := b.known(i), b.known(b.last(int(i)))
		delete(b.later, b.last(int(i)))
		b.attempts[i].state, b.attempts[i].server = last.state, last.worker
		b.later[i] = first
		reads := 0
		if last.state.read() {
			reads++
		}
		for number, f := range t.failed {
			state := b.later[i+uint64(number)*n].state
			if state.read() {
				reads++
			}
			if contradict(f.Failure, state) {
				b.strays++
			}
		}
		if reads > 1 {
			b.repeated++
		}
	}
	for try := range b.later {
		if try/n >= uint64(len(b.again[try%n].failed)) {
			b.strays++
		}
	}
}

// contradict says that a client's and the servers' accounts of a try, which another one followed, cannot both be true.
func contradict(f results.Failure, s serverState) bool {
	switch {
	case s == answered, s == readOpen:
		return true
	case s.read():
		return f != results.FailureUnanswered // else nothing had been sent
	}
	return f == results.FailureRefused && s != neverAccepted
}

// read says that a worker has read the whole request.
func (s serverState) read() bool {
	switch s {
	case answered, readUnanswered, readAborted, readPeerGone, readDied, readOpen:
		return true
	}
	return false
}

// openedByTries is how many connections the tries before the last ones opened, and how many of those no worker has accepted though they were
// established: the close of a listener has reset them, most of them in its queue. One that was unsent may have been half-open.
func (b *books) openedByTries() (opened, reset int64) {
	n := uint64(len(b.attempts))
	for i, t := range b.again {
		for number, f := range t.failed {
			if !f.Opened {
				continue
			}
			opened++
			established := f.Failure == results.FailureUnsent || f.Failure == results.FailureUnanswered
			if established && b.later[i+uint64(number)*n].state == neverAccepted {
				reset++
			}
		}
	}
	return opened, reset
}

// retries is what came of trying again; nil where nothing was to be tried again.
func (b *books) retries() *results.Retries {
	if b.tries == 1 {
		return nil
	}
	r := b.counts
	r.Repeated = b.repeated
	if b.masked != nil {
		r.MaskedNS = b.masked.Percentiles()
	}
	return &r
}
