package ledger

import (
	"cmp"
	"math"
	"slices"
	"time"

	"reuseport-bench/results"
	"reuseport-bench/results/cause"
)

// A wait holds the instants at which an attempt's connection joined an accept queue and left it, in
// ticks of waitTick since the attempt was due; 0: unknown. If the attempt made several tries, they
// are those of the last try. A connection joins the queue when the last ACK of its handshake
// reaches the servers.
type wait struct{ established, accepted uint32 }

// waitTick is the unit of time in a wait. With it, a uint32 holds up to 68 s, which is more than
// the longest timeout of an attempt.
const waitTick = 16 * time.Nanosecond

func ticks(d time.Duration) uint32 {
	return uint32(min(max(1, d/waitTick), math.MaxUint32))
}

// A Queue holds figures about the length of one listener's accept queue, in connections.
type Queue struct {
	Worker int // the first owner of the listener; noWorker: the listener is shared
	Max    int64
	Mean   float64 // over the time in which the listener was open while the load ran
	// Longest is the maximum length in each window. Windows after the last element have length 0.
	Longest []int64
}

// Queues returns figures about each accept queue, over the whole trial and for each window. Window
// i is from edges[i] to edges[i+1]. unplaced is the number of connections that waited in a queue
// that is not known. Queues returns nil if there is a proxy, because its connections to the workers
// are not those of the attempts, and for third-party servers.
//
// A connection waits from the instant at which its client has sent the request, a few microseconds
// after the kernel has queued the connection, until the instant of the accept in a worker's
// journal. If the kernel moved a connection to another listener's queue, the whole wait counts for
// that other queue. Connections that the load did not open, such as probes, are not counted.
func (a *Account) Queues(edges []Time) (all []Queue, unplaced int64) {
	b := a.book
	if b.waits == nil || b.load.Foreign {
		return nil, 0
	}
	s := a.newSweep(edges)
	for i := range b.waits {
		s.until(b.scheduled(i)) // no later attempt adds a change before this instant
		from, to, worker, ok := a.waited(i)
		switch q := s.of(worker); {
		case !ok:
		case q == nil:
			unplaced++
		case from < to:
			s.push(change{from, +1, q})
			s.push(change{to, -1, q})
		}
	}
	s.until(Never)
	for _, q := range s.queues {
		all = append(all, q.result())
	}
	return all, unplaced
}

// waited returns the instants between which the connection of attempt i was in an accept queue, and
// the worker to whose listener the queue belonged at the end, or noWorker if the listener is shared
// or not known. It returns false if the connection was in no queue, or was opened by another
// attempt.
func (a *Account) waited(i int) (from, to Time, worker int, ok bool) {
	b := a.book
	w, due := b.waits[i], b.scheduled(i)
	if w.established == 0 || b.reused(i) {
		return 0, 0, 0, false
	}
	from = due.Add(time.Duration(w.established) * waitTick)
	to = due.Add(time.Duration(w.accepted) * waitTick)
	x := b.lastTry(i)
	if w.accepted > 0 && to >= x.Sent && x.Server >= 0 {
		return from, to, int(x.Server), true
	}
	v, lost := a.verdicts[i]
	switch {
	case !lost || v.Cause == cause.Client:
		return 0, 0, 0, false
	case v.Cause == cause.ResetAtClose:
		// the connection was reset half a round trip before its client saw that
		return from, x.Done.Add(-b.load.RoundTrip / 2), v.Worker, true
	case x.Class == results.ClassTimeout &&
		v.Cause != cause.AcceptOverflow && v.Cause != cause.SYNTimeout:
		// The client has left, but the connection stays in the queue.
		return from, max(x.Done, Time(a.facts.Duration)), noWorker, true
	}
	return 0, 0, 0, false
}

// A sweep applies the changes of the lengths of all queues in the order of time. It keeps pending
// changes in a heap, which holds at most two for each connection that is under way.
type sweep struct {
	queues   []*queueDepth
	byWorker map[int]*queueDepth
	shared   *queueDepth // nil: each worker has its own queue
	heap     []change
}

// A change adds by to the length of a queue at an instant.
type change struct {
	at    Time
	by    int64
	queue *queueDepth
}

func (a *Account) newSweep(edges []Time) *sweep {
	s := &sweep{byWorker: map[int]*queueDepth{}}
	byListener := map[uint64]*queueDepth{}
	end := Time(a.facts.Duration)
	for i := range a.facts.Workers {
		w := &a.facts.Workers[i]
		if w.BindFailed || w.Ready == nil {
			continue
		}
		q := byListener[w.Listener]
		if q == nil {
			q = &queueDepth{worker: w.ID, from: max(0, *w.Ready), edges: edges}
			byListener[w.Listener], s.queues = q, append(s.queues, q)
		}
		s.byWorker[w.ID] = q
		if q.to = end; w.Closed != nil {
			q.to = min(end, *w.Closed) // the last worker in the list is the last owner
		}
	}
	if s.shared = byListener[0]; s.shared != nil {
		s.shared.worker, s.shared.from, s.shared.to = noWorker, 0, end
	}
	return s
}

// of returns the queue from which a worker accepts, or nil if it is not known.
func (s *sweep) of(worker int) *queueDepth {
	if worker == noWorker {
		return s.shared
	}
	return s.byWorker[worker]
}

func (s *sweep) push(c change) {
	s.heap = append(s.heap, c)
	for i := len(s.heap) - 1; i > 0; {
		above := (i - 1) / 2
		if !s.heap[i].before(s.heap[above]) {
			return
		}
		s.heap[i], s.heap[above] = s.heap[above], s.heap[i]
		i = above
	}
}

// until applies every pending change that comes before an instant.
func (s *sweep) until(at Time) {
	for len(s.heap) > 0 && s.heap[0].at < at {
		c := s.heap[0]
		last := len(s.heap) - 1
		s.heap[0], s.heap = s.heap[last], s.heap[:last]
		for i := 0; ; {
			least := i
			for below := 2*i + 1; below <= 2*i+2 && below < last; below++ {
				if s.heap[below].before(s.heap[least]) {
					least = below
				}
			}
			if least == i {
				break
			}
			s.heap[i], s.heap[least] = s.heap[least], s.heap[i]
			i = least
		}
		c.queue.change(c)
	}
}

// before reports whether c comes before d. If both have the same instant, a connection that leaves
// comes before one that joins.
func (c change) before(d change) bool {
	return cmp.Or(cmp.Compare(c.at, d.at), cmp.Compare(c.by, d.by)) < 0
}

// A queueDepth tracks the length of one queue during a sweep.
type queueDepth struct {
	worker   int
	from, to Time   // when its listener was open while the load ran
	edges    []Time // of the windows

	at      Time // time of the last change
	depth   int64
	max     int64
	waited  float64 // connections × ns, between from and to
	longest []int64
}

func (q *queueDepth) change(c change) {
	q.waited += float64(q.depth) * float64(max(0, min(c.at, q.to)-max(q.at, q.from)))
	q.record(q.at, c.at)
	q.at, q.depth = c.at, q.depth+c.by
	if c.by > 0 {
		q.max = max(q.max, q.depth)
		q.record(c.at, c.at+1)
	}
}

// record updates the maximum of every window between two instants with the current length.
func (q *queueDepth) record(from, to Time) {
	if q.depth == 0 {
		return
	}
	n, isEdge := slices.BinarySearch(q.edges, max(from, q.edges[0]))
	if !isEdge {
		n--
	}
	for ; n < len(q.edges)-1 && q.edges[n] < to; n++ {
		if n >= len(q.longest) {
			q.longest = append(q.longest, make([]int64, n+1-len(q.longest))...)
		}
		q.longest[n] = max(q.longest[n], q.depth)
	}
}

func (q *queueDepth) result() Queue {
	r := Queue{Worker: q.worker, Max: q.max, Longest: slices.Clip(q.longest)}
	if life := q.to - q.from; life > 0 {
		r.Mean = q.waited / float64(life)
	}
	return r
}
