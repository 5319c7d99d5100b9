package load

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"reuseport-bench/scenarios/vocabulary"
)

// Shape is all that a schedule depends on.
type Shape struct {
	Pace     vocabulary.Pace `json:"pace"`
	Rate     float64         `json:"rate"` // attempts per second; with PaceRamp, at the end
	From     float64         `json:"from"` // with PaceRamp: attempts per second at the start
	Burst    int             `json:"burst"`
	Duration time.Duration   `json:"duration_ns"`
	Seed     uint64          `json:"seed"` // with PacePoisson
}

// MaxAttempts bounds a schedule.
const MaxAttempts = 10_000_000

// Validate reports what is wrong with a shape that was read from a file: NewSchedule expects one
// that makes sense.
func (s Shape) Validate() error {
	switch attempts := s.Expected(); {
	case s.Duration <= 0 || !(s.Rate > 0) || !(s.From >= 0):
		return fmt.Errorf("a schedule of %v/s from %v/s for %v", s.Rate, s.From, s.Duration)
	case !(attempts <= MaxAttempts):
		return fmt.Errorf("a schedule of %.0f attempts; at most %d", attempts, MaxAttempts)
	case s.Pace == vocabulary.PaceBurst && s.Burst < 1:
		return fmt.Errorf("a schedule with bursts of %d", s.Burst)
	}
	return nil
}

// Expected returns how many attempts the shape calls for: with PacePoisson on average.
func (s Shape) Expected() float64 {
	rate := s.Rate
	if s.Pace == vocabulary.PaceRamp {
		rate = (s.From + s.Rate) / 2
	}
	return rate * s.Duration.Seconds()
}

// A Schedule says when attempts are due. It is a pure function of its Shape, so that every process,
// and the harness afterwards, computes the same one.
type Schedule struct {
	shape Shape
	n     uint64
	due   []time.Duration // with PacePoisson, 8 bytes an attempt; nil otherwise
}

// NewSchedule lays the attempts out.
func NewSchedule(s Shape) Schedule {
	switch s.Pace {
	case vocabulary.PacePoisson:
		due := poisson(s)
		return Schedule{shape: s, n: uint64(len(due)), due: due}
	case vocabulary.PaceRamp:
		return Schedule{shape: s, n: uint64(s.Expected())}
	}
	return Schedule{shape: s, n: uint64(s.Expected() + 1e-6)}
}

// poisson draws exponential intervals until the duration is over.
func poisson(s Shape) []time.Duration {
	random := rand.New(rand.NewPCG(s.Seed, 0x9e3779b97f4a7c15))
	due := make([]time.Duration, 0, int(s.Expected()*1.05)+16)
	for at := random.ExpFloat64() / s.Rate; at < s.Duration.Seconds(); at += random.ExpFloat64() / s.Rate {
		due = append(due, time.Duration(at*1e9))
	}
	return due
}

// Len is how many attempts the schedule calls for.
func (s Schedule) Len() uint64 { return s.n }

// At is when attempt i is due, from the start. It grows with i, also past the last attempt.
func (s Schedule) At(i uint64) time.Duration {
	switch s.shape.Pace {
	case vocabulary.PacePoisson:
		if i < uint64(len(s.due)) {
			return s.due[i]
		}
		return s.shape.Duration
	case vocabulary.PaceRamp:
		return time.Duration(1e9 * rampTime(s.shape, float64(i)))
	case vocabulary.PaceBurst:
		i -= i % uint64(s.shape.Burst)
	}
	return time.Duration(float64(i) * 1e9 / s.shape.Rate)
}

// rampTime solves From·t + (Rate−From)·t²/(2·Duration) = i for t, in seconds.
func rampTime(s Shape, i float64) float64 {
	slope := (s.Rate - s.From) / s.Duration.Seconds()
	if slope == 0 {
		return i / s.Rate
	}
	// The form without cancellation for a flat ramp.
	return 2 * i / (s.From + math.Sqrt(s.From*s.From+2*slope*i))
}
