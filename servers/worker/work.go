package worker

import (
	"math/rand/v2"
	"time"

	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers"
	"reuseport-bench/servers/sys"
	"reuseport-bench/servers/wire"
)

// works draws the service times of one worker's requests, one goroutine at a time.
type works struct {
	servers.Work
	random *rand.Rand
}

// newWorks gives every worker a stream of its own, the same for the same seed.
func newWorks(w servers.Work, seed uint64, id, generation int) *works {
	return &works{Work: w, random: rand.New(rand.NewPCG(seed, uint64(generation)<<32|uint64(id)))}
}

// next is the service time of the next request; Burn says which kind of time it is.
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

// burn uses CPU time of the calling thread, which the caller has locked. Wall time would make a
// preempted server look faster than it is.
func burn(d time.Duration) {
	for until := sys.ThreadCPU() + d; sys.ThreadCPU() < until; {
	}
}

// serviceTime is that of the next request, longer while the worker is cold; Work says which kind of
// time it is.
func (w *worker) serviceTime() time.Duration {
	d := w.works.next()
	if w.cfg.ColdFor == 0 {
		return d
	}
	left := w.cfg.ColdFor - w.clock.Now().Sub(w.readyAt)
	return d + time.Duration(float64(w.cfg.Cold)*max(0, float64(left)/float64(w.cfg.ColdFor)))
}

// faulty says whether the request is one to be answered with a reset: the first try of an attempt
// that is.
func (w *worker) faulty(r wire.Request) bool {
	f := w.cfg.Fault
	if !r.Identified || r.Attempt.Process != 0 || r.Attempt.Try > 0 || r.Attempt.Sequence < f.ResetFrom {
		return false
	}
	since, every := r.Attempt.Sequence-f.ResetFrom, max(1, f.ResetEvery)
	return since%every == 0 && since/every < f.ResetCount
}
