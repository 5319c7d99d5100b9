package kube

import (
	"slices"
	"time"
)

// An agenda is what is to be done at which time, in order; at the same time, in the order in which
// it was added.
type agenda []appointment

type appointment struct {
	at time.Time
	do func()
}

func (a *agenda) add(at time.Time, do func()) {
	i, _ := slices.BinarySearchFunc(*a, at, func(other appointment, at time.Time) int {
		if other.at.After(at) {
			return 1
		}
		return -1
	})
	*a = slices.Insert(*a, i, appointment{at, do})
}

// run does what is due by now, also what it adds itself.
func (a *agenda) run(now time.Time) {
	for len(*a) > 0 && !(*a)[0].at.After(now) {
		do := (*a)[0].do
		*a = slices.Delete(*a, 0, 1)
		do()
	}
}

// next is when something is due again.
func (a agenda) next() (time.Time, bool) {
	if len(a) == 0 {
		return time.Time{}, false
	}
	return a[0].at, true
}

// A stream keeps what is sent through it in order, whatever lag each has: a watch does too.
type stream struct{ last time.Time }

// arrival is when something that is sent now, and lags, arrives.
func (s *stream) arrival(now time.Time, lag time.Duration) time.Time {
	if at := now.Add(lag); at.After(s.last) {
		s.last = at
	}
	return s.last
}
