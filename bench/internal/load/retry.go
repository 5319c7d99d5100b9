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

// Retry says whether, when and how often a client tries an attempt again. The zero value never
// does.
//
// An attempt is one request that the schedule called for; it makes one try or more. The policies
// are real clients', in what they have in common: nothing is repeated that a server may have acted
// upon, unless that does no harm (RFC 9110, 9.2.2) or On says so; nothing at all once a response
// has begun.
type Retry struct {
	// Max is how many tries an attempt may make after its first, up to results.MaxFailed.
	Max int `json:"max"`
	// Backoff is what a client waits before its second try; before each later one twice as long, up
	// to MaxBackoff (0: no limit).
	Backoff    time.Duration     `json:"backoff_ns"`
	MaxBackoff time.Duration     `json:"max_backoff_ns"`
	Jitter     vocabulary.Jitter `json:"jitter"`
	// On are the outcomes after which there is another try: retryCauses.
	On []vocabulary.RetryCause `json:"on"`
	// ConnectTimeout bounds the handshake of each try. RetryConnectTimeout needs one: without it a
	// handshake takes all the time the attempt has, and none is left to try again.
	ConnectTimeout time.Duration `json:"connect_timeout_ns"`
	// Budget bounds the tries of all attempts of one load process together. The zero value does
	// not.
	Budget RetryBudget `json:"budget"`
}

// retryCauses returns what On may name: every failure, as results call them, and
// RetryNonIdempotent, which extends RetryUnanswered to every method. The server may then act twice.
func retryCauses() []vocabulary.RetryCause {
	return append(vocabulary.SafeRetries(), vocabulary.RetryNonIdempotent)
}

// RetryBudget is gRPC's throttle (proposal A6, "Throttling Retry Attempts"): a client has Tokens at
// most and at first; a try that fails in a way that On names costs one, one that is served gives
// Ratio. While no more than half of Tokens are left, nothing is tried again. It is a switch, not a
// rate: as long as fewer than Ratio fail for each one served all are tried again, with more soon
// none.
type RetryBudget struct {
	Tokens float64 `json:"tokens"` // 0: no budget
	Ratio  float64 `json:"ratio"`
}

// Tries is how many an attempt may make, the first included.
func (r Retry) Tries() uint64 { return uint64(r.Max) + 1 }

// Validate says all that is wrong with the policy.
func (r Retry) Validate() error {
	var errs []error
	wrong := func(is bool, format string, values ...any) {
		if is {
			errs = append(errs, fmt.Errorf("retry: "+format, values...))
		}
	}
	wrong(r.Max < 0 || r.Max > results.MaxFailed, "max %d: want 0 to %d", r.Max, results.MaxFailed)
	names := vocabulary.Join(retryCauses(), ", ")
	wrong(r.Max > 0 && len(r.On) == 0, "max %d, but on is empty; name what is tried again: %s",
		r.Max, names)
	wrong(r.Backoff < 0, "backoff %v: want 0 or more", r.Backoff)
	wrong(r.MaxBackoff != 0 && r.MaxBackoff < r.Backoff, "max_backoff %v is less than backoff %v", r.MaxBackoff, r.Backoff)
	wrong(r.Jitter != "" && r.Jitter != vocabulary.JitterNone &&
		r.Jitter != vocabulary.JitterFull, "jitter %q: want none or full", r.Jitter)
	wrong(r.ConnectTimeout < 0, "connect_timeout %v: want 0 or more", r.ConnectTimeout)
	for _, on := range r.On {
		wrong(!slices.Contains(retryCauses(), on), "on %q: want %s", on, names)
	}
	on := func(cause vocabulary.RetryCause) bool { return slices.Contains(r.On, cause) }
	wrong(on(vocabulary.RetryConnectTimeout) &&
		r.ConnectTimeout == 0, "on %s needs a connect_timeout, less than the request's",
		vocabulary.RetryConnectTimeout)
	wrong(on(vocabulary.RetryNonIdempotent) &&
		!on(vocabulary.RetryUnanswered), "on %s extends %s; name that, too",
		vocabulary.RetryNonIdempotent, vocabulary.RetryUnanswered)
	b := r.Budget
	wrong(b.Tokens < 0 || b.Tokens > 1000, "budget: tokens %v: want 0 to 1000", b.Tokens) // A6
	wrong(b.Tokens > 0 && b.Ratio <= 0, "budget: ratio %v: want more than 0", b.Ratio)
	wrong(b.Tokens == 0 && b.Ratio != 0, "budget: ratio %v without tokens", b.Ratio)
	return errors.Join(errs...)
}

// Try is one try and what became of it.
type Try struct {
	Attempt uint64 // its number in the schedule, over all processes
	Number  int    // of the try, from 1
	Method  string // of the request, in capitals (methods are case-sensitive: RFC 9110, 9.1)
	Phase   results.Phase
	Class   results.Class // ClassNone: served
	Written int           // bytes of the request that the kernel has taken
	Read    int           // bytes of the response that have come
	// Left is what is left of the attempt's timeout.
	Left time.Duration
}

// failure is what the try met, as far as there may be another after it.
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

// idempotent methods may be repeated although the server may have acted on the first (RFC 9110,
// 9.2.2: the safe ones, PUT and DELETE).
func idempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

// may says that the policy allows another try after this one, whatever the budget says.
func (r Retry) may(t Try) bool {
	f := t.failure()
	return f != results.FailureNone && slices.Contains(r.On, vocabulary.RetryCause(f.String())) &&
		(f != results.FailureUnanswered || idempotent(t.Method) ||
			slices.Contains(r.On, vocabulary.RetryNonIdempotent))
}

// after is the wait between the try and the next: a function of the seed, the attempt and the try,
// so that it does not depend on the order in which attempts fail.
func (r Retry) after(seed uint64, t Try) time.Duration {
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

// A Retrier is a client under a Retry policy: it decides. One goroutine at a time may use it.
type Retrier struct {
	retry  Retry
	seed   uint64
	tokens float64
}

// NewRetrier makes a Retrier with a full budget. The seed is the jitter's. The error is Validate's.
func NewRetrier(r Retry, seed uint64) (*Retrier, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	r.On = slices.Clone(r.On)
	return &Retrier{retry: r, seed: seed, tokens: r.Budget.Tokens}, nil
}

// Decide says whether there is to be another try after this one, and after what wait; or what
// stands against it, if the policy names what the try met. It must be called once for every try
// that ended, also for those served: they fill the budget.
func (r *Retrier) Decide(t Try) (again bool, after time.Duration, gaveUp results.GaveUp) {
	may := r.retry.may(t)
	within := r.spend(t.Class == results.ClassNone, may)
	if !may {
		return false, 0, results.GaveUpNot
	}
	after = r.retry.after(r.seed, t)
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

// spend enters a try into the budget and says whether there is enough left for another.
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
