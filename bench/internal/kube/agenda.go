package kube

import (
	"slices"
	"time"
)

// An agenda is a list of functions to call at given times. Functions with the same time are called
// in the order in which they were added.
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

// run calls the functions that are due now, including those that these functions add.
func (a *agenda) run(now time.Time) {
	for len(*a) > 0 && !(*a)[0].at.After(now) {
		do := (*a)[0].do
		*a = slices.Delete(*a, 0, 1)
		do()
	}
}

// next returns the time at which the next function is due, and false if no function is left.
func (a agenda) next() (time.Time, bool) {
	if len(a) == 0 {
		return time.Time{}, false
	}
	return a[0].at, true
}

// A stream delivers messages in the order in which they were sent, whatever their lags, as a
// Kubernetes watch does.
type stream struct{ last time.Time }

// arrival returns the time at which a message arrives that is sent now with the given lag.
func (s *stream) arrival(now time.Time, lag time.Duration) time.Time {
	if at := now.Add(lag); at.After(s.last) {
		s.last = at
	}
	return s.last
}
