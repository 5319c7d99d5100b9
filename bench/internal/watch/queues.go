package watch

import (
	"sync"
	"time"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/servers/clock"
)

const (
	// queueInterval is the time between two samples of the accept queues: 25 a second. There are
	// fewer if sampling would take more than 1/queueShare of the time. A sample takes 16 µs of CPU
	// time, and waking up for it another 46 µs. 200 samples a second took 1.4 % of a CPU, more than
	// the harness may use beside idle servers.
	queueInterval = 40 * time.Millisecond
	queueShare    = 50
)

// QueueOptions determines what Queues watches.
type QueueOptions struct {
	Clock *clock.Clock
	// Do runs a function in the servers' network namespace.
	Do func(func() error) error
	// Families are the listeners' address families: unix.AF_INET, unix.AF_INET6, or both.
	Families []int
	Meter    *Meter // adds up the cost of reading
	// Window is the length of a window of the series, and Windows the maximum number of windows.
	Window  time.Duration
	Windows int
}

// Queues reads the lengths of the accept queues on the servers' host, on demand (Read) or at
// intervals (Sample). A reading is a system call or two on the harness's own thread, for all
// listeners at once, and takes no time of the workers. A nil Queues reads nothing.
type Queues struct {
	QueueOptions

	mu      sync.Mutex
	watch   *kernel.QueueWatch
	reading []kernel.Queue

	stop, done chan struct{} // nil: no sampling
	began      clock.Instant
	sampled    map[uint64]*QueueSamples // by the listener's inode
	n          int64
	cost       time.Duration
	interval   time.Duration // the mean interval; valid once stopped
}

// QueueSamples are the lengths of one sampled queue, in connections.
type QueueSamples struct {
	Max  int64
	Mean float64 // mean length over all samples
	// Longest is the largest length in each window, from the start of the series.
	Longest []int64

	n, sum int64
}

// NewQueues returns a Queues that is ready to read, or nil if the kernel cannot report the lengths.
// The caller ends it with Stop.
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

// Read returns the number of connections that wait at each listener, by the listener's inode. It
// returns nil if the kernel did not report them.
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

// read fills in q.reading, and returns the CPU time that this took. The caller must hold the lock.
func (q *Queues) read() (took time.Duration, err error) {
	return q.Meter.Do(func() (err error) {
		q.reading, err = q.watch.Read(q.reading[:0])
		return err
	})
}

// Sample reads every queueInterval until Stop. The first window of the series starts at begin.
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
			return // keep the samples so far
		}
		q.n++
		q.cost += took
		timer.Reset(max(queueInterval, queueShare*took) - took)
	}
}

// take adds a sample of every queue, and returns the CPU time that this took.
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

// Stop stops reading. It may be called twice.
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
		_ = q.watch.Close() // q.watch is a socket that was only read from
		q.watch = nil
	}
}

// Of returns the samples of a listener's queue, or nil if there are none. It is valid after Stop.
func (q *Queues) Of(inode uint64) *QueueSamples {
	if q == nil {
		return nil
	}
	return q.sampled[inode]
}

// Samples returns the number of samples, the mean interval between them, and the mean CPU time of a
// sample. It is valid after Stop.
func (q *Queues) Samples() (n int64, interval, cost time.Duration) {
	if q == nil || q.n == 0 {
		return 0, 0, 0
	}
	return q.n, q.interval, q.cost / time.Duration(q.n)
}
