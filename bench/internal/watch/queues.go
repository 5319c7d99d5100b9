package watch

import (
	"sync"
	"time"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/servers/clock"
)

const (
	// queueInterval is the time between two samples of the accept queues: 25 a second, unless
	// sampling takes more than 1/queueShare of the time. A sample takes 16 µs, and to wake up for
	// it takes this process 46 µs more: at 200 a second that was 1.4 % of a CPU, more than the
	// harness may use beside idle servers.
	queueInterval = 40 * time.Millisecond
	queueShare    = 50
)

// QueueOptions say what Queues watches.
type QueueOptions struct {
	Clock *clock.Clock
	// Do runs a function in the servers' network namespace.
	Do func(func() error) error
	// Families are those of the listeners: unix.AF_INET, unix.AF_INET6.
	Families []int
	Meter    *Meter // adds up what reading costs
	// Window is the length of the windows of the series, and Windows how many there are at most.
	Window  time.Duration
	Windows int
}

// Queues reads how long the accept queues on the servers' host are, when it is told to, or all the
// time. A reading is a system call or two of the harness's own thread, for all listeners at once;
// the workers take no part in it. A Queues that is nil reads nothing.
type Queues struct {
	QueueOptions

	mu      sync.Mutex
	watch   *kernel.QueueWatch
	reading []kernel.Queue

	stop, done chan struct{} // nil: it does not sample
	began      clock.Instant
	sampled    map[uint64]*QueueSamples // by the listener's inode
	n          int64
	cost       time.Duration
	interval   time.Duration // the mean; valid once stopped
}

// QueueSamples is what was sampled of one queue, in connections.
type QueueSamples struct {
	Max  int64
	Mean float64 // over samples
	// Longest is the most in each window, from the start of the series.
	Longest []int64

	n, sum int64
}

// NewQueues prepares reading; the caller ends it with Stop. Where the kernel does not offer it, it
// returns nil.
func NewQueues(o QueueOptions) *Queues {
	q := &Queues{QueueOptions: o, sampled: map[uint64]*QueueSamples{}}
	err := o.Do(func() (err error) {
		q.watch, err = kernel.NewQueueWatch(o.Families...)
		return err
	})
	if err != nil {
		return nil
	}
	return q
}

// Read returns how many connections wait at each listener, by its inode; nil: the kernel did not
// say.
func (q *Queues) Read() map[uint64]int {
	if q == nil {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if _, err := q.read(); err != nil {
		return nil
	}
	queued := map[uint64]int{}
	for _, one := range q.reading {
		queued[one.Inode] = one.Queued
	}
	return queued
}

// read fills in reading, and returns the CPU time it took. The caller holds the lock.
func (q *Queues) read() (took time.Duration, err error) {
	return q.Meter.Do(func() (err error) {
		q.reading, err = q.watch.Read(q.reading[:0])
		return err
	})
}

// Sample reads again and again until Stop. The windows of the series follow each other from begin
// on.
func (q *Queues) Sample(begin clock.Instant) {
	if q == nil {
		return
	}
	q.began = begin
	q.stop, q.done = make(chan struct{}), make(chan struct{})
	go q.sample()
}

func (q *Queues) sample() {
	defer close(q.done)
	started := q.Clock.Now()
	defer func() { q.interval = q.Clock.Now().Sub(started) / time.Duration(max(q.n, 1)) }()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-q.stop:
			return
		case <-timer.C:
		}
		took, err := q.take()
		if err != nil {
			return // what there is so far stands
		}
		q.n++
		q.cost += took
		timer.Reset(max(queueInterval, queueShare*took) - took)
	}
}

// take adds a sample of every queue, and returns the CPU time it took.
func (q *Queues) take() (took time.Duration, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if took, err = q.read(); err != nil {
		return took, err
	}
	window := -1
	if since := q.Clock.Now().Sub(q.began); since >= 0 {
		window = int(since / q.Window)
	}
	for _, one := range q.reading {
		s := q.sampled[one.Inode]
		if s == nil {
			s = &QueueSamples{}
			q.sampled[one.Inode] = s
		}
		s.add(int64(one.Queued), window, q.Windows)
	}
	return took, nil
}

func (s *QueueSamples) add(queued int64, window, windows int) {
	s.n++
	s.sum += queued
	s.Max, s.Mean = max(s.Max, queued), float64(s.sum)/float64(s.n)
	if queued == 0 || window < 0 || window >= windows {
		return
	}
	for len(s.Longest) <= window {
		s.Longest = append(s.Longest, 0)
	}
	s.Longest[window] = max(s.Longest[window], queued)
}

// Stop stops reading. It is safe twice.
func (q *Queues) Stop() {
	if q == nil {
		return
	}
	if q.stop != nil {
		close(q.stop)
		<-q.done
		q.stop = nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.watch != nil {
		_ = q.watch.Close() // nothing was written to it
		q.watch = nil
	}
}

// Of returns what was sampled of a listener; nil where nothing was. It is valid after Stop.
func (q *Queues) Of(inode uint64) *QueueSamples {
	if q == nil {
		return nil
	}
	return q.sampled[inode]
}

// Samples returns how many samples were taken, how far apart on average, and the mean CPU time of
// one. It is valid after Stop.
func (q *Queues) Samples() (n int64, interval, cost time.Duration) {
	if q == nil || q.n == 0 {
		return 0, 0, 0
	}
	return q.n, q.interval, q.cost / time.Duration(q.n)
}
