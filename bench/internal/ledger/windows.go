package ledger

import (
	"slices"
	"time"

	"reuseport-bench/results"
)

// EqualWindows returns the edges of n windows of the same length. The first window starts with the
// first attempt.
func EqualWindows(length time.Duration, n int) (edges []Time) {
	for i := range n + 1 {
		edges = append(edges, Time(i)*Time(length))
	}
	return edges
}

// The windows of results.Windows.
const (
	// fineWindow is the length of a window near a step, and the minimum length of any other.
	fineWindow = 5 * time.Millisecond
	// fineEdges is the number of edges of fine windows around a trigger, if there are few steps:
	// one before the trigger, the trigger, and those after it. maxFine limits their number over
	// all steps.
	fineEdges = 10
	maxFine   = 160
	// coarseWindows is the number of windows of a trial without steps.
	coarseWindows = 100
)

// windowEdges returns the edges of the windows of a trial: each trigger, the fine windows around
// it, and windows of a hundredth of the trial elsewhere. No window is shorter than fineWindow,
// except in a trial that is.
func windowEdges(duration time.Duration, triggers []Time) []Time {
	end := Time(duration)
	edges := []Time{0, end}
	add := func(at Time) {
		i, _ := slices.BinarySearch(edges, at)
		if at > 0 && at < end && edges[i].Sub(at) >= fineWindow &&
			at.Sub(edges[i-1]) >= fineWindow {
			edges = slices.Insert(edges, i, at)
		}
	}
	each := fineEdges
	if len(triggers) > 0 {
		each = min(each, maxFine/len(triggers))
	}
	if each > 0 {
		for _, at := range triggers {
			add(at)
		}
	}
	for n, trigger := range triggers {
		next := end
		if n+1 < len(triggers) {
			next = triggers[n+1]
		}
		for k := range each {
			if at := trigger + Time(k-each/6)*Time(fineWindow); at < next {
				add(at)
			}
		}
	}
	coarse := max(fineWindow, duration/coarseWindows)
	for at := Time(coarse); at < end; at += Time(coarse) {
		add(at)
	}
	return edges
}

// windows returns the responses, the losses and the computed queues in each window.
func (a *Account) windows() *results.Windows {
	var triggers []Time
	for i := range a.facts.Steps {
		at := a.facts.Steps[i].From()
		if t := a.facts.Steps[i].Trigger; t != nil {
			at = *t
		}
		triggers = append(triggers, at)
	}
	edges := windowEdges(a.facts.Duration, triggers)
	w := &results.Windows{Lost: results.Counts{}}
	for _, at := range edges {
		w.EdgesNS = append(w.EdgesNS, int64(at))
	}
	var times []int64
	for n, lo := 0, 0; n < w.Len(); n++ {
		hi := len(a.book.attempts)
		if n+1 < w.Len() {
			hi = a.first(edges[n+1])
		}
		served := int64(0)
		times = times[:0]
		for i := lo; i < hi; i++ {
			x := &a.book.attempts[i]
			if !x.Served() {
				if v := a.verdicts[i]; v.Cause != "" {
					w.Lost.Add(v.Cause, n, 1)
				}
				continue
			}
			served++
			if !a.book.initial(uint64(i)) {
				times = append(times, int64(x.Done-a.book.scheduled(i)))
			}
		}
		w.Served = append(w.Served, served)
		w.ResponseNS.Record(times)
		lo = max(lo, hi)
	}
	queues, _ := a.Queues(edges)
	for _, q := range queues {
		if s, waited := q.Series(); waited {
			w.Queues = append(w.Queues, s)
		}
	}
	return w
}

// Series returns the queue's lengths in their stored form, or false if nothing ever waited.
func (q *Queue) Series() (results.QueueSeries, bool) {
	worker := &q.Worker
	if q.Worker == noWorker {
		worker = nil
	}
	return results.NewQueueSeries(worker, q.Longest)
}

// aroundStops returns the losses that steps caused, by the time from the step's trigger until they
// were due. It returns nil if no step ended workers.
func (a *Account) aroundStops() *results.AroundStops {
	s := results.NewAroundStops()
	for k := range a.facts.Steps {
		step := &a.facts.Steps[k]
		if !step.Do.Kind().Ends() || step.Trigger == nil {
			continue
		}
		s.Stops++
		for _, i := range a.lostIn[k] {
			s.Add(a.verdicts[i].Cause, a.book.scheduled(i).Sub(*step.Trigger))
		}
	}
	if s.Stops == 0 {
		return nil
	}
	return s
}
