package watch

import (
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/results"
	"reuseport-bench/servers"
	"reuseport-bench/servers/clock"
)

// queueInterval is the time between two looks at the accept queues: 200 a second, unless looking takes more than
// 1/watchShare of the time.
const queueInterval = 5 * time.Millisecond

// QueueOptions say what Queues watches.
type QueueOptions struct {
	Clock *clock.Clock
	// Do runs a function in the servers' network namespace.
	Do   func(func() error) error
	IPv6 bool
	// Counters reads the kernel's counters of the lab. Nil: they are not to be read.
	Counters func() (kernel.Counters, error)
	Duration time.Duration // of the load
}

// Queues watches how long the accept queues are while the load runs. A look is a system call or two
// of the harness's own thread, for all listeners at once; the workers take no part in it.
type Queues struct {
	clock *clock.Clock
	watch *kernel.QueueWatch // nil: the kernel offers none, and nothing is known

	// window is the length of the windows of depths and moved, which follow each other from began
	// on.
	window   time.Duration
	depths   map[uint64][]int64 // the longest seen, by listener and window
	moved    []kernel.Counters  // as they were at the end of each
	counters func() (kernel.Counters, error)

	stop, done chan struct{}
	seen       map[uint64]*queueSeen // by the listener's inode
	samples    int64
	cost       time.Duration
	began      clock.Instant
	watched    time.Duration
}

// queueSeen is what was seen of one queue.
type queueSeen struct {
	samples, sum, largest int64
}

// A series has windows of at least seriesWindow, and about MaxWindows; at most twice as many.
const (
	seriesWindow = 50 * time.Millisecond
	MaxWindows   = 200
)

// StartQueues watches the servers' host until Stop. What the kernel does not offer stays unknown.
func StartQueues(o QueueOptions) *Queues {
	q := &Queues{
		clock: o.Clock, counters: o.Counters,
		window: max(seriesWindow, o.Duration/MaxWindows), depths: map[uint64][]int64{},
	}
	family := unix.AF_INET
	if o.IPv6 {
		family = unix.AF_INET6
	}
	err := o.Do(func() (err error) {
		q.watch, err = kernel.NewQueueWatch(family)
		return err
	})
	if err != nil {
		return q
	}
	q.seen = map[uint64]*queueSeen{}
	q.stop, q.done = make(chan struct{}), make(chan struct{})
	q.began = q.clock.Now()
	go q.run()
	return q
}

// Began returns when the first window began.
func (q *Queues) Began() clock.Instant { return q.began }

func (q *Queues) run() {
	defer close(q.done)
	// The thread's own time: what it takes of the machine, not for how long the machine had other things to do.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all []kernel.Queue
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-q.stop:
			if q.counters != nil { // of the last window, which has not ended
				if c, err := q.counters(); err == nil {
					q.moved = append(q.moved, c)
				}
			}
			return
		case <-timer.C:
		}
		began := threadCPU()
		var err error
		if all, err = q.watch.Read(all[:0]); err != nil {
			return // what there is so far stands
		}
		for _, one := range all {
			s := q.seen[one.Inode]
			if s == nil {
				s = &queueSeen{}
				q.seen[one.Inode] = s
			}
			s.samples++
			s.sum += int64(one.Queued)
			s.largest = max(s.largest, int64(one.Queued))
			q.note(one)
		}
		q.count()
		took := threadCPU() - began
		q.samples++
		q.cost += took
		timer.Reset(max(queueInterval, watchShare*took) - took)
	}
}

// note takes a queue into the series.
func (q *Queues) note(one kernel.Queue) {
	window := int(q.clock.Now().Sub(q.began) / q.window)
	if one.Queued == 0 || window >= 2*MaxWindows {
		return
	}
	depths := q.depths[one.Inode]
	for len(depths) <= window {
		depths = append(depths, 0)
	}
	depths[window] = max(depths[window], int64(one.Queued))
	q.depths[one.Inode] = depths
}

// count reads the counters when a window has ended.
func (q *Queues) count() {
	for q.counters != nil && int(q.clock.Now().Sub(q.began)/q.window) > len(q.moved) && len(q.moved) < 2*MaxWindows {
		c, err := q.counters()
		if err != nil {
			q.counters = nil // what there is so far stands
			return
		}
		q.moved = append(q.moved, c)
	}
}

// Series returns the queues and the counters over time; nil where nothing was seen. before is what
// the counters were at the beginning.
func (q *Queues) Series(shared uint64, workers []*servers.Worker, before kernel.Counters) *results.Series {
	if q.samples == 0 {
		return nil
	}
	s := &results.Series{WindowNS: int64(q.window)}
	listed := map[uint64]bool{}
	add := func(worker *int, inode uint64) {
		if d := q.depths[inode]; len(d) > 0 && !listed[inode] {
			listed[inode] = true
			first := slices.IndexFunc(d, func(n int64) bool { return n > 0 })
			s.Queues = append(s.Queues, results.QueueSeries{Worker: worker, First: first, Longest: d[first:]})
		}
	}
	if shared != 0 {
		add(nil, shared)
	}
	for _, w := range workers {
		if inode := w.Listener(); inode != 0 {
			add(&w.ID, inode)
		}
	}
	for _, c := range q.moved {
		s.Overflows = append(s.Overflows, c["TcpExtListenOverflows"]-before["TcpExtListenOverflows"])
		s.Migrations = append(s.Migrations, c["TcpExtTCPMigrateReqSuccess"]-before["TcpExtTCPMigrateReqSuccess"])
		before = c
	}
	s.Overflows, s.Migrations = trim(s.Overflows), trim(s.Migrations)
	return s
}

// trim leaves out the zeros at the end.
func trim(values []int64) []int64 {
	for len(values) > 0 && values[len(values)-1] == 0 {
		values = values[:len(values)-1]
	}
	return values
}

// threadCPU is the CPU time of the calling thread, which the caller has locked.
func threadCPU() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		panic(err) // the clock exists since Linux 2.6.12
	}
	return time.Duration(ts.Nano())
}

// Stop stops watching. It is safe twice.
func (q *Queues) Stop() {
	if q.stop == nil {
		return
	}
	close(q.stop)
	<-q.done
	q.stop = nil
	q.watched = q.clock.Now().Sub(q.began)
	_ = q.watch.Close() // nothing was written to it
}

// Result returns what was seen, a row for each listener: of a worker, or the shared one. It is nil
// where nothing was seen.
func (q *Queues) Result(shared uint64, workers []*servers.Worker) *results.Queues {
	if q.samples == 0 {
		return nil
	}
	r := &results.Queues{Samples: q.samples, IntervalNS: int64(q.watched) / q.samples, CostNS: int64(q.cost) / q.samples}
	added := map[uint64]bool{} // a socket that is passed on is its first worker's
	add := func(worker *int, inode uint64) {
		if s := q.seen[inode]; s != nil && !added[inode] {
			added[inode] = true
			r.Listeners = append(r.Listeners, results.ListenerQueue{Worker: worker, Max: s.largest, Mean: float64(s.sum) / float64(s.samples)})
		}
	}
	if shared != 0 {
		add(nil, shared)
	}
	for _, w := range workers {
		if inode := w.Listener(); inode != 0 {
			add(&w.ID, inode)
		}
	}
	if len(r.Listeners) == 0 {
		return nil // pods listen in networks of their own, which are not looked at
	}
	return r
}
