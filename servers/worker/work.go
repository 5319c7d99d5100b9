package worker

import (
	"math/rand/v2"
	"time"

	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers"
	"reuseport-bench/servers/sys"
	"reuseport-bench/servers/wire"
)

// works generates the service times of a worker's requests. Only one goroutine at a time may use
// it.
type works struct {
	servers.Work
	random *rand.Rand
}

// newWorks returns the generator of a worker's service times. Each worker has its own random
// stream, which depends only on the arguments.
func newWorks(w servers.Work, seed uint64, id, generation int) *works {
	return &works{Work: w, random: rand.New(rand.NewPCG(seed, uint64(generation)<<32|uint64(id)))}
}

// next returns the service time of the next request: CPU time if Burn is set, otherwise wall time.
func (w *works) next() time.Duration {
	d := max(w.Sleep, w.Burn)
	switch w.Distribution {
	case vocabulary.DistributionExponential:
		return time.Duration(float64(d) * w.random.ExpFloat64())
	case vocabulary.DistributionBimodal:
		if w.random.Float64() < w.SlowShare {
			return w.Slow
		}
	}
	return d
}

// burn uses d of the calling thread's CPU time. The caller must have locked its goroutine to the
// thread. If d were wall time, a preempted server would look faster than it is.
func burn(d time.Duration) {
	for until := sys.ThreadCPU() + d; sys.ThreadCPU() < until; {
	}
}

// serviceTime returns the service time of the next request, which is longer while the worker is
// cold. It is CPU time or wall time, as with works.next.
func (w *worker) serviceTime() time.Duration {
	d := w.works.next()
	if w.cfg.ColdFor == 0 {
		return d
	}
	left := w.cfg.ColdFor - w.clock.Now().Sub(w.readyAt)
	return d + time.Duration(float64(w.cfg.Cold)*max(0, float64(left)/float64(w.cfg.ColdFor)))
}

// faulty reports whether cfg.Fault requires that this request is answered with a reset. Later tries
// of an attempt are never reset.
func (w *worker) faulty(r wire.Request) bool {
	f := w.cfg.Fault
	a := r.Attempt
	if !r.Identified || a.Process != 0 || a.Try > 0 || a.Sequence < f.ResetFrom {
		return false
	}
	since, every := a.Sequence-f.ResetFrom, max(1, f.ResetEvery)
	return since%every == 0 && since/every < f.ResetCount
}
