package load

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"reuseport-bench/results"
	"reuseport-bench/scenarios/vocabulary"
)

// Retry determines whether, when and how often a client retries an attempt. The zero value never
// retries.
//
// An attempt is one request that the schedule called for; it makes one or more tries. The policies
// follow what real clients have in common: a request that a server may have acted on is not
// repeated, unless repeating it is harmless (RFC 9110, 9.2.2) or On allows it; and no request is
// repeated once a response has begun.
type Retry struct {
	// Max is the maximum number of tries after the first. It cannot exceed results.MaxFailed.
	Max int `json:"max"`
	// Backoff is the wait before the second try. It doubles before each later try, up to MaxBackoff
	// (0: no limit).
	Backoff    time.Duration     `json:"backoff_ns"`
	MaxBackoff time.Duration     `json:"max_backoff_ns"`
	Jitter     vocabulary.Jitter `json:"jitter"`
	// On lists the failures that are retried: see retryCauses.
	On []vocabulary.RetryCause `json:"on"`
	// ConnectTimeout limits the handshake of each try. RetryConnectTimeout requires it: without it
	// a handshake may take the attempt's whole timeout, which leaves no time for another try.
	ConnectTimeout time.Duration `json:"connect_timeout_ns"`
	// Budget limits the retries of all attempts of one load process together. The zero value sets
	// no limit.
	Budget RetryBudget `json:"budget"`
}

// retryCauses returns the values allowed in On: every failure, by its name in the results, and
// RetryNonIdempotent, which extends RetryUnanswered to all methods, at the risk that the server
// acts twice.
func retryCauses() []vocabulary.RetryCause {
	return append(vocabulary.SafeRetries(), vocabulary.RetryNonIdempotent)
}

// RetryBudget is gRPC's throttle (proposal A6, "Throttling Retry Attempts"). A client starts with
// Tokens tokens and never has more. A try with a failure in On takes one token; a served try adds
// Ratio. While at most half of the tokens are left, nothing is retried. The budget acts as a
// switch, not as a rate: with fewer than Ratio failures per served try, all are retried; with more,
// none are after a short time.
type RetryBudget struct {
	Tokens float64 `json:"tokens"` // 0: no budget
	Ratio  float64 `json:"ratio"`
}

// Tries returns the maximum number of tries of an attempt, including the first.
func (r Retry) Tries() uint64 { return uint64(r.Max) + 1 }

// Validate returns an error that lists all mistakes in the policy.
func (r Retry) Validate() error {
	var errs []error
	check := func(wrong bool, format string, values ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf("retry: "+format, values...))
		}
	}
	check(r.Max < 0 || r.Max > results.MaxFailed, "max %d: want 0 to %d", r.Max, results.MaxFailed)
	names := vocabulary.Join(retryCauses(), ", ")
	check(r.Max > 0 && len(r.On) == 0, "max %d, but on is empty: list the failures to retry: %s",
		r.Max, names)
	check(r.Backoff < 0, "backoff %v: want 0 or more", r.Backoff)
	check(r.MaxBackoff != 0 && r.MaxBackoff < r.Backoff,
		"max_backoff %v is less than backoff %v: want at least that", r.MaxBackoff, r.Backoff)
	jitters := []vocabulary.Jitter{"", vocabulary.JitterNone, vocabulary.JitterFull}
	check(!slices.Contains(jitters, r.Jitter), "jitter %q: want none or full", r.Jitter)
	check(r.ConnectTimeout < 0, "connect_timeout %v: want 0 or more", r.ConnectTimeout)
	for _, on := range r.On {
		check(!slices.Contains(retryCauses(), on), "on %q: want %s", on, names)
	}
	on := func(cause vocabulary.RetryCause) bool { return slices.Contains(r.On, cause) }
	check(on(vocabulary.RetryConnectTimeout) && r.ConnectTimeout == 0,
		"on %s needs a connect_timeout shorter than the request's timeout",
		vocabulary.RetryConnectTimeout)
	check(on(vocabulary.RetryNonIdempotent) && !on(vocabulary.RetryUnanswered),
		"on %s extends %[2]s: add %[2]s",
		vocabulary.RetryNonIdempotent, vocabulary.RetryUnanswered)
	b := r.Budget
	check(b.Tokens < 0 || b.Tokens > 1000, "budget: tokens %v: want 0 to 1000", b.Tokens) // A6
	check(b.Tokens > 0 && b.Ratio <= 0, "budget: ratio %v: want more than 0", b.Ratio)
	check(b.Tokens == 0 && b.Ratio != 0, "budget: ratio %v without tokens: set both", b.Ratio)
	return errors.Join(errs...)
}

// Try describes one try and how it ended.
type Try struct {
	Attempt uint64 // the attempt's index in the schedule of all processes
	Number  int    // the number of the try, from 1
	Method  string // in capitals (methods are case-sensitive: RFC 9110, 9.1)
	Phase   results.Phase
	Class   results.Class // ClassNone: served
	Written int           // bytes of the request that the kernel has taken
	Read    int           // bytes of the response received
	Left    time.Duration // the time left until the attempt's timeout
}

// failure returns the kind of the try's failure, or FailureNone if no policy may retry it.
func (t Try) failure() results.Failure {
	connect := t.Phase == results.PhaseConnect && t.Written == 0
	switch {
	case t.Read > 0, t.Phase == results.PhaseBody:
		return results.FailureNone
	case connect && t.Class == results.ClassRefused:
		return results.FailureRefused
	case connect && t.Class == results.ClassUnreachable:
		return results.FailureUnreachable
	case connect && t.Class == results.ClassTimeout:
		return results.FailureConnectTimeout
	case t.Class != results.ClassReset && t.Class != results.ClassEOF:
		return results.FailureNone
	case t.Written == 0:
		return results.FailureUnsent
	}
	return results.FailureUnanswered
}

// idempotent reports whether a request with the method may be repeated although the server may have
// acted on it already (RFC 9110, 9.2.2: the safe methods, PUT and DELETE).
func idempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace,
		http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

// retriable reports whether many clients would send the request again even without a retry policy.
// They do so if the request was sent on a kept connection that ended before any byte of an answer,
// and either the kernel had taken none of the request or the method is idempotent (RFC 9110,
// 9.2.2). net/http is such a client: see persistConn.shouldRetryRequest.
func (t Try) retriable(kept bool) bool {
	switch t.failure() {
	case results.FailureUnsent:
		return kept
	case results.FailureUnanswered:
		return kept && idempotent(t.Method)
	}
	return false
}

// allows reports whether the policy allows a retry after this try, regardless of the budget.
func (r Retry) allows(t Try) bool {
	f := t.failure()
	return f != results.FailureNone && slices.Contains(r.On, vocabulary.RetryCause(f.String())) &&
		(f != results.FailureUnanswered || idempotent(t.Method) ||
			slices.Contains(r.On, vocabulary.RetryNonIdempotent))
}

// delay returns the wait between this try and the next. It depends only on the seed, the attempt
// and the try, not on the order in which attempts fail.
func (r Retry) delay(seed uint64, t Try) time.Duration {
	limit := r.MaxBackoff
	if limit == 0 {
		limit = 1<<63 - 1
	}
	wait := min(r.Backoff, limit)
	for n := 1; n < t.Number && wait > 0 && wait < limit; n++ {
		if wait > limit/2 {
			wait = limit
		} else {
			wait *= 2
		}
	}
	if r.Jitter == vocabulary.JitterFull && wait > 0 {
		random := rand.New(rand.NewPCG(seed^t.Attempt*0x9e3779b97f4a7c15, uint64(t.Number)))
		wait = time.Duration(random.Uint64N(uint64(wait) + 1))
	}
	return wait
}

// A Retrier makes the decisions of a client with a Retry policy. Only one goroutine at a time may
// use it.
type Retrier struct {
	retry  Retry
	seed   uint64
	tokens float64
}

// NewRetrier makes a Retrier with a full budget. seed determines the jitter. It returns the error
// of Validate.
func NewRetrier(r Retry, seed uint64) (*Retrier, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	r.On = slices.Clone(r.On)
	return &Retrier{retry: r, seed: seed, tokens: r.Budget.Tokens}, nil
}

// Decide reports whether to retry after this try, and how long to wait before the retry. If the
// policy lists the failure but the attempt is not retried, gaveUp is the reason. Decide must be
// called once for every try that ended, including served tries, which add tokens to the budget.
func (r *Retrier) Decide(t Try) (again bool, after time.Duration, gaveUp results.GaveUp) {
	allowed := r.retry.allows(t)
	within := r.spend(t.Class == results.ClassNone, allowed)
	if !allowed {
		return false, 0, results.GaveUpNot
	}
	after = r.retry.delay(r.seed, t)
	switch {
	case t.Number > r.retry.Max:
		gaveUp = results.GaveUpExhausted
	case after >= t.Left:
		gaveUp = results.GaveUpNoTime
	case !within:
		gaveUp = results.GaveUpBudget
	default:
		return true, after, results.GaveUpNot
	}
	return false, 0, gaveUp
}

// spend updates the budget after a try and reports whether enough tokens are left for a retry.
func (r *Retrier) spend(served, failed bool) bool {
	b := r.retry.Budget
	if b.Tokens == 0 {
		return true
	}
	switch {
	case served:
		r.tokens = min(r.tokens+b.Ratio, b.Tokens)
	case failed:
		r.tokens = max(r.tokens-1, 0)
	}
	return r.tokens > b.Tokens/2
}
