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

// A search for a rate finds the highest rate that a variant serves without drops and with p99
// within a bound. It starts from the rate that the servers answer in a closed loop, and halves the
// interval between a rate that passed and one that failed, on a logarithmic scale. A search for a
// setting starts from the ends that the scenario gives, and halves the interval on a linear scale.
const (
	// searchFrom and searchTo are, as factors of the closed loop's rate, the first rates that are
	// expected to pass and to fail. An open loop's arrivals are at least as irregular as a closed
	// loop's.
	searchFrom = 0.25
	searchTo   = 1.25
	// searchLowest is the lowest rate that is tried if no rate has passed, as a factor of the
	// closed loop's rate.
	searchLowest = 1. / 64
	// failuresToFail is the number of failed tries after which a value has failed. One is too few,
	// because the machine may have paused.
	failuresToFail = 2
	// fewestAttempts is the minimum number of attempts for a p99.
	fewestAttempts = 100
	// invalidToGiveUp is the number of invalid tries of one value after which the search ends.
	invalidToGiveUp = 3
)

// A searching is the state of a search under way. A value is a rate, or a value of a setting.
type searching struct {
	try   func(value float64) (*results.Trial, error)
	text  func(value float64) string // writes a value in a message
	bound time.Duration              // of p99; 0 means none
	// setting is the search for a setting. It is nil in a search for a rate.
	setting *plan.Search

	tries  []results.Try
	last   *results.Trial // the last try
	best   *results.Trial // the last try that passed
	found  float64        // its value; 0: none has passed
	failed *float64       // the last value that failed
}

// search runs trials of the variant with one value after another. It returns the trial at the value
// that was found, with a record of all tries. If no value passed, or too many tries were invalid,
// it returns the last trial, marked as invalid. If the server cannot be started, it returns an
// invalid trial without a search.
func search(
	ctx context.Context, p *plan.Plan, v *plan.Variant, o trial.Options,
) (*trial.Outcome, error) {
	resolve, sought := v.At, v.Search
	outcomes := map[*results.Trial]*trial.Outcome{}
	s := &searching{bound: sought.P99, text: sought.Text}
	if sought.Setting != "" {
		resolve, s.setting = v.With, sought
	}
	s.try = func(value float64) (*results.Trial, error) {
		at, err := resolve(value)
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
	var (
		found *results.Trial
		err   error
	)
	if s.setting != nil {
		found, err = s.between()
	} else {
		s.text = func(rate float64) string { return fmt.Sprintf("%.0f/s", rate) }
		var estimate float64
		if estimate, _, err = saturate(ctx, p, v, o.Roles); err == nil {
			found, err = s.run(estimate, sought.Precision)
		}
	}
	if failed := trial.NotStarted(v, err); failed != nil && ctx.Err() == nil {
		return failed, nil
	}
	if err != nil {
		return nil, err
	}
	return outcomes[found], nil
}

// run searches for the highest rate, starting from an estimate of it.
func (s *searching) run(estimate, precision float64) (*results.Trial, error) {
	low, high := estimate*searchFrom, estimate*searchTo
	for {
		outcome, err := s.value(low)
		switch {
		case err != nil:
			return nil, err
		case outcome == results.TryInvalid:
			return s.noneValid(low), nil
		}
		if outcome == results.TryPassed {
			break
		}
		high = low
		if low /= 2; low < estimate*searchLowest {
			return s.giveUp(fmt.Sprintf("no rate down to %s passed", s.text(low))), nil
		}
	}
	invalid, err := s.bisect(low, high,
		func(low, high float64) bool { return high/low > 1+precision },
		func(low, high float64) float64 { return math.Sqrt(low * high) })
	if invalid != nil || err != nil {
		return invalid, err
	}
	return s.result(), nil
}

// between searches for a value of a setting. It tries the value that should pass first, because no
// other value will do if that one fails.
func (s *searching) between() (*results.Trial, error) {
	sought := s.setting
	for _, end := range []float64{sought.To, sought.From} {
		outcome, err := s.value(end)
		switch {
		case err != nil:
			return nil, err
		case outcome == results.TryInvalid:
			return s.noneValid(end), nil
		case outcome == results.TryFailed && s.best == nil:
			return s.giveUp(fmt.Sprintf("%s %s, the end that should drop nothing, failed: %s",
				sought.Setting, s.text(end), s.tries[len(s.tries)-1].Note)), nil
		case outcome == results.TryPassed && end == sought.From:
			return s.result(), nil
		}
	}
	middle := func(passed, failed float64) float64 { return sought.Round((passed + failed) / 2) }
	wide := func(passed, failed float64) bool {
		at := middle(passed, failed)
		return math.Abs(failed-passed) > sought.Resolution() && at != passed && at != failed
	}
	invalid, err := s.bisect(sought.To, sought.From, wide, middle)
	if invalid != nil || err != nil {
		return invalid, err
	}
	return s.result(), nil
}

// bisect narrows the interval between a value that passed and one that failed, or would fail, until
// it is no longer wide. If a value had no valid try, bisect returns the invalid trial.
func (s *searching) bisect(
	passed, failed float64, wide func(passed, failed float64) bool,
	middle func(passed, failed float64) float64,
) (invalid *results.Trial, err error) {
	for wide(passed, failed) {
		at := middle(passed, failed)
		outcome, err := s.value(at)
		switch {
		case err != nil:
			return nil, err
		case outcome == results.TryInvalid:
			return s.noneValid(at), nil
		case outcome == results.TryPassed:
			passed = at
		default:
			failed = at
		}
	}
	return nil, nil
}

// value tries one value until it has passed, has failed failuresToFail times, or was invalid
// invalidToGiveUp times.
func (s *searching) value(value float64) (outcome string, err error) {
	failures, invalid := 0, 0
	for {
		if s.last, err = s.try(value); err != nil {
			return "", err
		}
		outcome, note := s.judge(s.last)
		try := results.Try{PerSecond: value, Outcome: outcome, Note: note}
		if s.setting != nil {
			try.PerSecond, try.Value = 0, new(value)
		}
		s.tries = append(s.tries, try)
		switch outcome {
		case results.TryPassed:
			s.best, s.found = s.last, value
			return outcome, nil
		case results.TryFailed:
			if failures++; failures == failuresToFail {
				s.failed = new(value)
				return outcome, nil
			}
		case results.TryInvalid:
			if invalid++; invalid == invalidToGiveUp {
				return outcome, nil
			}
		}
	}
}

// judge returns the outcome of a try and the reason for it.
func (s *searching) judge(t *results.Trial) (outcome, note string) {
	switch {
	case !t.Valid:
		return results.TryInvalid, t.InvalidReasons[0]
	case s.bound > 0 && t.Attempts < fewestAttempts:
		return results.TryInvalid, fmt.Sprintf(
			"%d attempts are too few for a p99; lengthen load.duration", t.Attempts)
	case t.Dropped > 0:
		return results.TryFailed, fmt.Sprintf("%d of %d dropped", t.Dropped, t.Attempts)
	case s.bound > 0 && t.ResponseNS != nil && t.ResponseNS.P99 > int64(s.bound):
		p99 := time.Duration(t.ResponseNS.P99)
		return results.TryFailed, fmt.Sprintf("p99 %v", ledger.Rounded(p99))
	}
	return results.TryPassed, ""
}

// noneValid returns the result of a search that ended because no try of a value was valid.
func (s *searching) noneValid(value float64) *results.Trial {
	return s.giveUp(fmt.Sprintf("no try at %s was valid", s.text(value)))
}

// giveUp returns the last trial as the invalid result of a search that found nothing.
func (s *searching) giveUp(why string) *results.Trial {
	t := s.last
	t.Valid = false
	t.InvalidReasons = append([]string{"the search found nothing: " + why}, t.InvalidReasons...)
	t.Search = s.record()
	return t
}

// result returns the trial that was found, with what was found.
func (s *searching) result() *results.Trial {
	r := s.record()
	if s.setting == nil {
		r.PerSecond = s.found
	} else {
		r.Value, r.Failed = new(s.found), s.failed
	}
	s.best.Search = r
	return s.best
}

// record returns the search in the form that run.json stores, without what was found.
func (s *searching) record() *results.Search {
	r := &results.Search{P99BoundNS: int64(s.bound), Tries: s.tries}
	if sought := s.setting; sought != nil {
		r.Setting, r.Greatest = sought.Setting, sought.To < sought.From
		if sought.Times {
			r.Unit = "ns"
		}
	}
	return r
}
