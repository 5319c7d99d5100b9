package load

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"reuseport-bench/scenarios/vocabulary"
)

// Shape holds all the settings that determine a schedule.
type Shape struct {
	Pace     vocabulary.Pace `json:"pace"`
	Rate     float64         `json:"rate"` // attempts per second; with PaceRamp, at the end
	From     float64         `json:"from"` // with PaceRamp: attempts per second at the start
	Burst    int             `json:"burst"`
	Duration time.Duration   `json:"duration_ns"`
	Seed     uint64          `json:"seed"` // used with PacePoisson
	// Stages, if any, follow one another, and their durations add up to Duration. They require
	// PaceConstant or PacePoisson. Rate is then the mean rate of all stages.
	Stages []Stage `json:"stages,omitempty"`
	// Clients is the number of clients of a closed loop: each sends its next attempt when its last
	// one has ended. A closed loop has neither rate nor pace. 0 means an open loop.
	Clients int `json:"clients,omitempty"`
}

// A Stage is a part of a schedule whose rate is constant or changes linearly.
type Stage struct {
	From     float64       `json:"from"` // attempts per second at its start
	Rate     float64       `json:"rate"` // attempts per second at its end
	Duration time.Duration `json:"duration_ns"`
}

// MaxAttempts is the largest length of a schedule.
const MaxAttempts = 10_000_000

// flatOut is a rate, in attempts per second, that load processes reach on no machine. It limits the
// number of attempts of a closed loop.
const flatOut = 1_000_000

// Validate checks a shape that was read from a file. NewSchedule requires a valid shape.
func (s Shape) Validate() error {
	if s.Clients != 0 {
		if s.Clients < 0 || s.Duration <= 0 || s.Rate != 0 || len(s.Stages) > 0 {
			return fmt.Errorf("closed loop: %d clients, rate %v/s, duration %v, %d stages: "+
				"want clients and a duration above 0, no rate and no stages",
				s.Clients, s.Rate, s.Duration, len(s.Stages))
		}
		return nil
	}
	if err := s.validateStages(); err != nil {
		return err
	}
	switch attempts := s.Expected(); {
	case s.Duration <= 0 || !(s.Rate > 0) || !(s.From >= 0):
		return fmt.Errorf("schedule: rate %v/s, from %v/s, duration %v: "+
			"want a rate and a duration above 0, and from at least 0", s.Rate, s.From, s.Duration)
	case !(attempts <= MaxAttempts):
		return fmt.Errorf("schedule: %.0f attempts: want at most %d", attempts, MaxAttempts)
	case s.Pace == vocabulary.PaceBurst && s.Burst < 1:
		return fmt.Errorf("schedule: bursts of %d: want at least 1", s.Burst)
	}
	return nil
}

func (s Shape) validateStages() error {
	var sum time.Duration
	for _, stage := range s.Stages {
		if stage.Duration <= 0 || !(stage.Rate > 0) || !(stage.From >= 0) {
			return fmt.Errorf("stage: rate %v/s, from %v/s, duration %v: "+
				"want a rate and a duration above 0, and from at least 0",
				stage.Rate, stage.From, stage.Duration)
		}
		sum += stage.Duration
	}
	if len(s.Stages) > 0 && sum != s.Duration {
		return fmt.Errorf("schedule: stages of %v in all, duration %v: want the same",
			sum, s.Duration)
	}
	return nil
}

// Expected returns the number of attempts that the shape calls for: the expected number with
// PacePoisson, the maximum in a closed loop.
func (s Shape) Expected() float64 {
	switch {
	case s.Clients > 0:
		return min(flatOut*s.Duration.Seconds(), MaxAttempts)
	case len(s.Stages) > 0:
		sum := 0.
		for _, stage := range s.Stages {
			sum += stage.attempts()
		}
		return sum
	case s.Pace == vocabulary.PaceRamp:
		return (s.From + s.Rate) / 2 * s.Duration.Seconds()
	}
	return s.Rate * s.Duration.Seconds()
}

// Peak returns the highest rate of the shape, in attempts per second; 0 for a closed loop.
func (s Shape) Peak() float64 {
	peak := s.Rate
	if s.Pace == vocabulary.PaceRamp {
		peak = max(peak, s.From)
	}
	for _, stage := range s.Stages {
		peak = max(peak, stage.From, stage.Rate)
	}
	return peak
}

// A Schedule determines the times at which attempts are due. It is a pure function of its Shape, so
// every process and, later, the harness compute the same schedule.
type Schedule struct {
	shape Shape
	n     uint64
	// With PacePoisson or Stages, due holds the time at which each attempt is due (8 bytes each).
	// Otherwise it is nil.
	due []time.Duration
}

// NewSchedule returns the schedule of a valid shape.
func NewSchedule(s Shape) Schedule {
	switch {
	case s.Clients > 0:
		n := uint64(s.Expected())
		s.Rate = math.Inf(1) // every attempt is due at the start
		return Schedule{shape: s, n: n}
	case s.Pace == vocabulary.PacePoisson:
		due := poisson(s)
		return Schedule{shape: s, n: uint64(len(due)), due: due}
	case len(s.Stages) > 0:
		due := evenly(s)
		return Schedule{shape: s, n: uint64(len(due)), due: due}
	case s.Pace == vocabulary.PaceRamp:
		return Schedule{shape: s, n: uint64(s.Expected())}
	}
	return Schedule{shape: s, n: uint64(s.Expected() + 1e-6)}
}

// poisson draws exponential intervals until the duration is over. If there are stages, it draws
// intervals in expected attempts instead of in time (time rescaling: Lewis & Shedler, Naval Res.
// Logist. Quart. 26 (1979) 403, their first method).
func poisson(s Shape) []time.Duration {
	random := rand.New(rand.NewPCG(s.Seed, 0x9e3779b97f4a7c15))
	due := make([]time.Duration, 0, int(s.Expected()*1.05)+16)
	if len(s.Stages) > 0 {
		t, n := newTimes(s), random.ExpFloat64()
		for at, ok := t.at(n); ok; at, ok = t.at(n) {
			due = append(due, at)
			n += random.ExpFloat64()
		}
		return due
	}
	interval := func() float64 { return random.ExpFloat64() / s.Rate }
	for at := interval(); at < s.Duration.Seconds(); at += interval() {
		due = append(due, time.Duration(at*1e9))
	}
	return due
}

// evenly returns the times at which the attempts of stages are due. Attempt i is due at the instant
// by which i attempts are expected.
func evenly(s Shape) []time.Duration {
	due := make([]time.Duration, uint64(s.Expected()+1e-6))
	t := newTimes(s)
	for i := range due {
		due[i], _ = t.at(float64(i))
	}
	return due
}

// times computes the instant by which n attempts of stages are expected, for increasing n.
type times struct {
	left   []Stage       // the current stage and those after it
	begins time.Duration // when the current stage begins
	before float64       // number of attempts expected before the current stage
}

func newTimes(s Shape) *times { return &times{left: s.Stages} }

// at returns the instant by which n attempts are expected. If the stages call for fewer attempts,
// it returns the end of the last stage and false.
func (t *times) at(n float64) (time.Duration, bool) {
	for len(t.left) > 0 && n-t.before >= t.left[0].attempts() {
		t.before += t.left[0].attempts()
		t.begins += t.left[0].Duration
		t.left = t.left[1:]
	}
	if len(t.left) == 0 {
		return t.begins, false
	}
	stage := t.left[0]
	into := time.Duration(1e9 * rampTime(stage.From, stage.Rate, stage.Duration, n-t.before))
	return t.begins + min(into, stage.Duration), true
}

// attempts returns the number of attempts that the stage calls for.
func (s Stage) attempts() float64 { return (s.From + s.Rate) / 2 * s.Duration.Seconds() }

// Len returns the number of attempts that the schedule calls for; for a closed loop, the maximum.
func (s Schedule) Len() uint64 { return s.n }

// At returns the time at which attempt i is due, relative to the start. It never decreases with i,
// even past the last attempt. In a closed loop it is 0: an attempt is due as soon as a client is
// free.
func (s Schedule) At(i uint64) time.Duration {
	if s.due != nil {
		if i < uint64(len(s.due)) {
			return s.due[i]
		}
		return s.shape.Duration
	}
	switch s.shape.Pace {
	case vocabulary.PaceRamp:
		ramp := s.shape
		return time.Duration(1e9 * rampTime(ramp.From, ramp.Rate, ramp.Duration, float64(i)))
	case vocabulary.PaceBurst:
		i -= i % uint64(s.shape.Burst)
	}
	return time.Duration(float64(i) * 1e9 / s.shape.Rate)
}

// rampTime solves from·t + (to−from)·t²/(2·duration) = i for t, in seconds.
func rampTime(from, to float64, duration time.Duration, i float64) float64 {
	slope := (to - from) / duration.Seconds()
	if slope == 0 {
		return i / to
	}
	if i == 0 {
		return 0 // a ramp from 0 would divide 0 by 0
	}
	// This form avoids cancellation if the ramp is nearly flat. The maximum is needed because a
	// falling ramp may never reach i.
	return 2 * i / (from + math.Sqrt(max(0, from*from+2*slope*i)))
}
