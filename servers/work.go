package servers

import (
	"math/rand/v2"
	"time"

	"reuseport-bench/servers/sys"
)

// Work is the service time of a request: at most one of Sleep and Burn is not zero.
type Work struct {
	Sleep time.Duration `json:"sleep_ns"`
	Burn  time.Duration `json:"burn_ns"` // of the thread's CPU time
	// Distribution is how the time varies from request to request. Empty: Fixed.
	Distribution Distribution `json:"distribution,omitempty"`
	// Slow and SlowShare, with Bimodal: that share of the requests, 0 to 1, takes Slow.
	Slow      time.Duration `json:"slow_ns,omitempty"`
	SlowShare float64       `json:"slow_share,omitempty"`
}

// Distribution is how service time varies from request to request.
type Distribution string

// The distributions.
const (
	Fixed       Distribution = "fixed"
	Exponential Distribution = "exponential" // with Sleep or Burn as its mean
	Bimodal     Distribution = "bimodal"     // Sleep or Burn, now and then Slow
)

// works draws the service times of one worker's requests, one goroutine at a time.
type works struct {
	Work
	random *rand.Rand
}

// newWorks gives every worker a stream of its own, the same for the same seed.
func newWorks(w Work, seed uint64, id, generation int) *works {
	return &works{Work: w, random: rand.New(rand.NewPCG(seed, uint64(generation)<<32|uint64(id)))}
}

// next is the service time of the next request; Burn says which kind of time it is.
func (w *works) next() time.Duration {
	d := max(w.Sleep, w.Burn)
	switch w.Distribution {
	case Exponential:
		return time.Duration(float64(d) * w.random.ExpFloat64())
	case Bimodal:
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
