package ledger

import (
	"math"
	"slices"
	"sort"
	"time"

	"reuseport-bench/results"
	"reuseport-bench/results/cause"
)

// Window returns the time from the start of a step to the start of the next one, or to the end of
// the schedule. Losses in that time are attributed to the step.
func (a *Account) Window(step int) (from, to Time) {
	steps := a.facts.Steps
	from, to = steps[step].From(), Time(a.facts.Duration)
	if step+1 < len(steps) {
		to = steps[step+1].From()
	}
	return from, to
}

// first returns the index of the first attempt due at or after an instant.
func (a *Account) first(at Time) int {
	return sort.Search(len(a.book.attempts), func(i int) bool { return a.book.scheduled(i) >= at })
}

// Step returns the cost of step k, as far as it can be computed from attempts: its losses, gap,
// outage, stall, takeover and tail, as results.Step defines them.
func (a *Account) Step(k int) results.Step {
	s := &a.facts.Steps[k]
	from, to := a.Window(k)
	r := results.Step{
		Do: s.Do, Target: s.Target, AtNS: int64(s.At),
		ReadyNS: s.Ready.Nanoseconds(), StopNS: s.Trigger.Nanoseconds(),
		ClosedNS: s.Closed.Nanoseconds(),
	}
	lo, hi := a.first(from), a.first(to)
	r.NeverSent = new(a.neverSent(lo, hi))
	r.Lost, r.Dropped = int64(len(a.lostIn[k])), new(int64(len(a.dropped(k))))
	a.served(k, lo, hi, &r)
	if !a.book.load.closed() {
		r.ResolutionNS = new(int64(a.spacing(lo, hi)))
		a.gaps(k, &r)
		r.ScheduleLagMaxNS = new(a.longestLag(lo, hi))
	}
	switch {
	case a.foreign != nil && s.Trigger != nil:
		r.TailNS = a.foreign.tail(*s.Trigger, to)
	case len(s.Stopped) > 0:
		r.TailNS = a.tail(s)
	}
	if len(s.Held) > 0 {
		r.HalfOpen = a.halfOpen(s)
	}
	return r
}

// Routes returns the facts' routes, or nil without a Service.
func (a *Account) Routes() *Routes { return a.facts.Routes }

// Nanoseconds returns the instant as run.json stores it, or nil for a nil t.
func (t *Time) Nanoseconds() *int64 {
	if t == nil {
		return nil
	}
	return new(int64(*t))
}

// longestLag returns the longest schedule lag of the attempts from lo to hi−1.
func (a *Account) longestLag(lo, hi int) (longest int64) {
	for i := lo; i < hi; i++ {
		if x := &a.book.attempts[i]; !x.neverSent() {
			longest = max(longest, int64(x.Sent-a.book.scheduled(i)))
		}
	}
	return longest
}

// dropped returns the dropped attempts that step k caused, in the order of the schedule. Dropped
// means lost for another cause than the client itself.
func (a *Account) dropped(k int) (all []int) {
	for _, i := range a.lostIn[k] {
		if a.verdicts[i].Cause != cause.Client {
			all = append(all, i)
		}
	}
	return all
}

// gaps sets the gap, the outage and the lost share in r. They count dropped attempts only.
// r.ResolutionNS must already be set.
func (a *Account) gaps(k int, r *results.Step) {
	longest, outage, share := int64(0), int64(0), 0.
	r.GapNS, r.OutageNS, r.LostShare = &longest, &outage, &share
	dropped, end := a.dropped(k), 0
	for _, i := range dropped {
		if i >= end {
			var gap time.Duration
			gap, end, r.Censored = a.gap(i)
			longest = max(longest, int64(gap))
		}
	}
	if n := len(dropped); n > 0 {
		first, last := dropped[0], dropped[n-1]
		outage = int64(a.book.scheduled(last)-a.book.scheduled(first)) + *r.ResolutionNS
		share = float64(n) / float64(last-first+1)
	}
}

// gap returns the length of the unbroken run of lost attempts around attempt i, and the index of
// the served attempt that ends it. The length is the time between the due instants of the run's
// first attempt and of that served attempt. If the schedule ends before an attempt is served, the
// gap is censored, and lasts until the end of the schedule.
func (a *Account) gap(i int) (length time.Duration, end int, censored bool) {
	attempts := a.book.attempts
	lo, hi := i, i
	for lo > 0 && !attempts[lo-1].Served() {
		lo--
	}
	for hi < len(attempts) && !attempts[hi].Served() {
		hi++
	}
	if hi == len(attempts) {
		return Time(a.facts.Duration).Sub(a.book.scheduled(lo)), hi, true
	}
	return a.book.scheduled(hi).Sub(a.book.scheduled(lo)), hi, false
}

// served sets the stall and the takeover in r. It uses the served attempts that were due in the
// step's window, and those that were due earlier and still waiting at the trigger.
func (a *Account) served(k, lo, hi int, r *results.Step) {
	s := &a.facts.Steps[k]
	trigger := s.From()
	if s.Trigger != nil {
		trigger = *s.Trigger
	}
	stall, takeover := time.Duration(-1), time.Duration(math.MaxInt64)
	started := map[int32]bool{}
	for _, id := range s.Started {
		started[int32(id)] = true
	}
	by := func(x *Attempt) int32 { return x.Worker }
	if a.foreign != nil {
		if _, to := a.Window(k); len(started) == 0 {
			started = a.foreign.newcomers(trigger, to)
		}
		by = func(x *Attempt) int32 { return x.Server }
	}
	// Attempts that were due more than a.longest before the trigger had ended by then.
	for i := a.first(trigger.Add(-a.longest)); i < hi; i++ {
		x := &a.book.attempts[i]
		if !x.Served() {
			continue
		}
		if i >= lo || x.Done >= trigger {
			stall = max(stall, x.Done.Sub(a.book.scheduled(i)))
		}
		if started[by(x)] {
			// If a new worker answers before an old worker gets its stop signal, the takeover is 0.
			takeover = min(takeover, max(0, x.Done.Sub(trigger)))
		}
	}
	if stall >= 0 {
		r.StallNS = new(int64(stall))
	}
	if takeover < math.MaxInt64 {
		r.TakeoverNS = new(int64(takeover))
	}
}

// halfOpen returns the number of connections whose handshakes were held up, and the number of those
// that were lost.
func (a *Account) halfOpen(s *Step) *results.HalfOpen {
	h := &results.HalfOpen{}
	for i := range a.book.heldHandshakes([]Step{*s}) {
		h.Held++
		if !a.book.attempts[i].Served() {
			h.Lost++
		}
	}
	return h
}

// tail returns the time from the step's trigger to the last accept by a worker that the step
// stopped.
func (a *Account) tail(s *Step) *int64 {
	tail := time.Duration(0)
	for _, id := range s.Stopped {
		w := a.book.workers[id]
		if w == nil || s.Trigger == nil || w.accepted == 0 {
			continue
		}
		if last := a.book.Time(w.lastAccept); last > *s.Trigger {
			tail = max(tail, last.Sub(*s.Trigger))
		}
	}
	return new(int64(tail))
}

// LastAccept returns when a worker accepted its last connection of the load, or nil if it accepted
// none.
func (a *Account) LastAccept(worker int) *Time {
	w := a.book.workers[worker]
	if w == nil || w.accepted == 0 {
		return nil
	}
	return a.book.Maybe(w.lastAccept)
}

// ServedSince returns the number of attempts that a worker served, of those that were sent at or
// after an instant.
func (a *Account) ServedSince(worker int, since Time) (n int64) {
	for i := range a.book.attempts {
		one := &a.book.attempts[i]
		if one.Server == int32(worker) && one.Served() && one.Sent >= since {
			n++
		}
	}
	return n
}

// sentAfterClose returns the number of dropped attempts that were sent after a step had closed all
// its old listeners, and for which no worker is responsible. It returns nil if no step closed a
// listener that owns its queue.
func (a *Account) sentAfterClose() *int64 {
	first := Never
	for i := range a.facts.Steps {
		if s := &a.facts.Steps[i]; s.Closed != nil && len(s.Stopped) > 0 {
			first = min(first, *s.Closed)
		}
	}
	owns := func(c Closing) bool { return c.OwnsQueue }
	if first == Never || !slices.ContainsFunc(a.facts.Closings, owns) {
		return nil
	}
	n := int64(0)
	for _, i := range a.lost {
		v := a.verdicts[i]
		if v.Cause != cause.Client && v.Worker < 0 && a.book.attempts[i].Sent > first {
			n++
		}
	}
	return &n
}
