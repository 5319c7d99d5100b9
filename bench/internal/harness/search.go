package harness

import (
	"context"
	"fmt"
	"math"
	"time"

	"reuseport-bench/bench/internal/ledger"
	"reuseport-bench/bench/internal/plan"
	"reuseport-bench/bench/internal/trial"
	"reuseport-bench/results"
)

// A search finds the highest rate that a variant serves without drops and with p99 within a bound.
// It starts from the rate that the servers answer in a closed loop, and halves the interval between
// a rate that passed and one that failed, on a logarithmic scale.
const (
	// searchFrom and searchTo are, as factors of the closed loop's rate, the first rates that are
	// expected to pass and to fail. An open loop's arrivals are at least as irregular as a closed
	// loop's.
	searchFrom = 0.25
	searchTo   = 1.25
	// searchLowest is the lowest rate that is tried if no rate has passed, as a factor of the
	// closed loop's rate.
	searchLowest = 1. / 64
	// failuresToFail is the number of failed tries after which a rate has failed. One is too few,
	// because the machine may have paused.
	failuresToFail = 2
	// fewestAttempts is the minimum number of attempts for a p99.
	fewestAttempts = 100
	// invalidToGiveUp is the number of invalid tries at one rate after which the search ends.
	invalidToGiveUp = 3
)

// A searching is the state of a search under way.
type searching struct {
	try     func(perSecond float64) (*results.Trial, error)
	bound   time.Duration
	tries   []results.Try
	best    *results.Trial // the trial at the highest rate that passed
	highest float64
}

// search runs trials of the variant at one rate after another. It returns the trial at the highest
// rate that passed, with a record of all tries. If no rate passed, or too many tries were invalid,
// it returns the last trial, marked as invalid. If the server cannot be started, it returns an
// invalid trial without a search.
func search(
	ctx context.Context, p *plan.Plan, v *plan.Variant, o trial.Options,
) (*trial.Outcome, error) {
	estimate, _, err := saturate(ctx, p, v, o.Roles)
	if failed := trial.NotStarted(v, err); failed != nil && ctx.Err() == nil {
		return failed, nil
	}
	if err != nil {
		return nil, err
	}
	outcomes := map[*results.Trial]*trial.Outcome{}
	s := &searching{bound: v.Search.P99}
	s.try = func(perSecond float64) (*results.Trial, error) {
		at, err := v.At(perSecond)
		if err != nil {
			return nil, err
		}
		done, err := trial.Run(ctx, p, at, o)
		if err != nil {
			return nil, err
		}
		outcomes[done.Trial] = done
		return done.Trial, nil
	}
	found, err := s.run(estimate, v.Search.Precision)
	if err != nil {
		return nil, err
	}
	return outcomes[found], nil
}

// run runs the search, starting from an estimate of the rate.
func (s *searching) run(estimate, precision float64) (*results.Trial, error) {
	low, high := estimate*searchFrom, estimate*searchTo
	var last *results.Trial
	step := func(perSecond float64) (passed bool, done bool, err error) {
		trial, outcome, err := s.rate(perSecond)
		last = trial
		return outcome == results.TryPassed, outcome == results.TryInvalid, err
	}
	for {
		passed, done, err := step(low)
		if err != nil || done {
			return s.giveUp(last, low), err
		}
		if passed {
			break
		}
		high = low
		if low /= 2; low < estimate*searchLowest {
			return s.giveUp(last, low), nil
		}
	}
	for high/low > 1+precision {
		middle := math.Sqrt(low * high)
		passed, done, err := step(middle)
		switch {
		case err != nil:
			return nil, err
		case done:
			return s.giveUp(last, middle), nil
		case passed:
			low = middle
		default:
			high = middle
		}
	}
	s.best.Search = s.result()
	return s.best, nil
}

// rate tries one rate until it has passed, has failed failuresToFail times, or was invalid
// invalidToGiveUp times.
func (s *searching) rate(perSecond float64) (trial *results.Trial, outcome string, err error) {
	failures, invalid := 0, 0
	for {
		if trial, err = s.try(perSecond); err != nil {
			return nil, "", err
		}
		outcome, note := s.judge(trial)
		s.tries = append(s.tries, results.Try{PerSecond: perSecond, Outcome: outcome, Note: note})
		switch outcome {
		case results.TryPassed:
			if perSecond > s.highest {
				s.best, s.highest = trial, perSecond
			}
			return trial, outcome, nil
		case results.TryFailed:
			if failures++; failures == failuresToFail {
				return trial, outcome, nil
			}
		case results.TryInvalid:
			if invalid++; invalid == invalidToGiveUp {
				return trial, outcome, nil
			}
		}
	}
}

// judge returns the outcome of a try and the reason for it.
func (s *searching) judge(t *results.Trial) (outcome, note string) {
	switch {
	case !t.Valid:
		return results.TryInvalid, t.InvalidReasons[0]
	case t.Attempts < fewestAttempts:
		return results.TryInvalid, fmt.Sprintf(
			"%d attempts are too few for a p99; lengthen load.duration", t.Attempts)
	case t.Dropped > 0:
		return results.TryFailed, fmt.Sprintf("%d of %d dropped", t.Dropped, t.Attempts)
	case t.ResponseNS != nil && t.ResponseNS.P99 > int64(s.bound):
		p99 := time.Duration(t.ResponseNS.P99)
		return results.TryFailed, fmt.Sprintf("p99 %v", ledger.Rounded(p99))
	}
	return results.TryPassed, ""
}

// giveUp returns the last trial as the invalid result of a search that found no limit.
func (s *searching) giveUp(last *results.Trial, perSecond float64) *results.Trial {
	if last == nil {
		return nil
	}
	t := last
	reason := fmt.Sprintf("the search found no limit: no rate down to %.0f/s passed", perSecond)
	if len(s.tries) > 0 && s.tries[len(s.tries)-1].Outcome == results.TryInvalid {
		reason = fmt.Sprintf("the search found no limit: no try at %.0f/s was valid", perSecond)
	}
	t.Valid = false
	t.InvalidReasons = append([]string{reason}, t.InvalidReasons...)
	t.Search = s.result()
	return t
}

// result returns the search so far, in the form that run.json stores.
func (s *searching) result() *results.Search {
	return &results.Search{P99BoundNS: int64(s.bound), PerSecond: s.highest, Tries: s.tries}
}
