package load

import (
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/results"
	"reuseport-bench/scenarios/vocabulary"
)

// retryAll returns a policy that retries every failure after which a retry is harmless.
func retryAll() Retry {
	return Retry{Max: 2, On: vocabulary.SafeRetries(), ConnectTimeout: time.Second}
}

func newRetrier(t *testing.T, r Retry, seed uint64) *Retrier {
	t.Helper()
	retrier, err := NewRetrier(r, seed)
	if err != nil {
		t.Fatal(err)
	}
	return retrier
}

// TestRetryOutcomes checks that each failure is retried if On lists its own name, and not for any
// other name.
func TestRetryOutcomes(t *testing.T) {
	const none = ""
	for _, tt := range []struct {
		name string
		try  Try
		want vocabulary.RetryCause // the only name for which it is retried
	}{
		{"served", Try{Phase: results.PhaseNone, Class: results.ClassNone, Written: 90, Read: 200}, none},
		{"refused", Try{Phase: results.PhaseConnect, Class: results.ClassRefused},
			vocabulary.RetryRefused},
		{"refused by ICMP after the request was sent", Try{Phase: results.PhaseWait, Class: results.ClassRefused, Written: 90}, none},
		{"unreachable", Try{Phase: results.PhaseConnect, Class: results.ClassUnreachable},
			vocabulary.RetryUnreachable},
		{"unreachable after the request was sent", Try{Phase: results.PhaseWait, Class: results.ClassUnreachable, Written: 90}, none},
		{"no handshake", Try{Phase: results.PhaseConnect, Class: results.ClassTimeout},
			vocabulary.RetryConnectTimeout},
		{"no answer", Try{Phase: results.PhaseWait, Class: results.ClassTimeout, Written: 90}, none},
		{"no complete answer", Try{Phase: results.PhaseBody, Class: results.ClassTimeout, Written: 90, Read: 10}, none},
		{"reset before anything was sent", Try{Phase: results.PhaseSend, Class: results.ClassReset},
			vocabulary.RetryUnsent},
		{"closed before anything was sent", Try{Phase: results.PhaseSend, Class: results.ClassEOF},
			vocabulary.RetryUnsent},
		{"reset in the handshake", Try{Phase: results.PhaseConnect, Class: results.ClassReset},
			vocabulary.RetryUnsent},
		{"reset when a part was sent",
			Try{Phase: results.PhaseSend, Class: results.ClassReset, Written: 1},
			vocabulary.RetryUnanswered},
		{"reset while waiting", Try{Phase: results.PhaseWait, Class: results.ClassReset,
			Written: 90}, vocabulary.RetryUnanswered},
		{"closed while waiting", Try{Phase: results.PhaseWait, Class: results.ClassEOF,
			Written: 90}, vocabulary.RetryUnanswered},
		{"reset when a response had begun", Try{Phase: results.PhaseBody, Class: results.ClassReset, Written: 90, Read: 1}, none},
		{"closed when a response had begun", Try{Phase: results.PhaseBody, Class: results.ClassEOF, Written: 90, Read: 100}, none},
		{"a response had begun, in an earlier phase", Try{Phase: results.PhaseWait, Class: results.ClassReset, Written: 90, Read: 1}, none},
		{"a response had begun, by the phase alone", Try{Phase: results.PhaseBody, Class: results.ClassReset, Written: 90}, none},
		{"refused, although a part was sent", Try{Phase: results.PhaseConnect, Class: results.ClassRefused, Written: 1}, none},
		{"refused, although connected", Try{Phase: results.PhaseSend, Class: results.ClassRefused}, none},
		{"an invalid response", Try{Phase: results.PhaseBody, Class: results.ClassInvalid, Written: 90, Read: 100}, none},
		{"a local error", Try{Phase: results.PhaseConnect, Class: results.ClassLocal}, none},
		{"never sent", Try{Class: results.ClassUnsent}, none},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, on := range vocabulary.SafeRetries() {
				r := newRetrier(t, Retry{Max: 1, On: []vocabulary.RetryCause{on},
					ConnectTimeout: time.Second}, 1)
				tt.try.Number, tt.try.Method, tt.try.Left = 1, http.MethodGet, time.Second
				if again, _, _ := r.Decide(tt.try); again != (on == tt.want) {
					t.Errorf("on %s: retried %v, want %v", on, again, on == tt.want)
				}
			}
		})
	}
}

// TestRetryMethods checks that a request that the server may have acted on is repeated only if
// repeating it is harmless (RFC 9110, 9.2.2).
func TestRetryMethods(t *testing.T) {
	unsent := Try{Number: 1, Phase: results.PhaseSend, Class: results.ClassReset, Left: time.Second}
	part, whole := unsent, unsent
	part.Written = 1
	whole.Phase, whole.Written = results.PhaseWait, 400
	answered := whole
	answered.Phase, answered.Read = results.PhaseBody, 1
	nonIdempotent := retryAll()
	nonIdempotent.On = append(nonIdempotent.On, vocabulary.RetryNonIdempotent)
	for _, tt := range []struct {
		method                   string
		unsent, part, whole      bool // whether retryAll retries
		allPart, allWhole, never bool // whether nonIdempotent retries
	}{
		{http.MethodGet, true, true, true, true, true, false},
		{http.MethodHead, true, true, true, true, true, false},
		{http.MethodOptions, true, true, true, true, true, false},
		{http.MethodTrace, true, true, true, true, true, false},
		{http.MethodPut, true, true, true, true, true, false},
		{http.MethodDelete, true, true, true, true, true, false},
		{http.MethodPost, true, false, false, true, true, false},
		{http.MethodPatch, true, false, false, true, true, false},
		{http.MethodConnect, true, false, false, true, true, false},
		{"get", true, false, false, true, true, false}, // not GET: case matters (RFC 9110, 9.1)
		{"", true, false, false, true, true, false},
	} {
		t.Run(tt.method, func(t *testing.T) {
			for _, c := range []struct {
				what   string
				policy Retry
				try    Try
				want   bool
			}{
				{"unsent", retryAll(), unsent, tt.unsent},
				{"sent in part", retryAll(), part, tt.part},
				{"sent", retryAll(), whole, tt.whole},
				{"sent in part, non-idempotent allowed", nonIdempotent, part, tt.allPart},
				{"sent, non-idempotent allowed", nonIdempotent, whole, tt.allWhole},
				{"answered, non-idempotent allowed", nonIdempotent, answered, tt.never},
			} {
				c.try.Method = tt.method
				if again, _, _ := newRetrier(t, c.policy, 1).Decide(c.try); again != c.want {
					t.Errorf("%s: %v, want %v", c.what, again, c.want)
				}
			}
		})
	}
}

// refusedTry returns a refused try, which most clients retry.
func refusedTry(attempt uint64, number int) Try {
	return Try{
		Attempt: attempt, Number: number, Method: http.MethodGet,
		Phase: results.PhaseConnect, Class: results.ClassRefused, Left: time.Hour,
	}
}

func TestRetryBackoff(t *testing.T) {
	ms := time.Millisecond
	for _, tt := range []struct {
		name  string
		retry Retry
		want  []time.Duration
	}{
		{"none", Retry{}, []time.Duration{0, 0, 0}},
		{"doubled", Retry{Backoff: 10 * ms}, []time.Duration{10 * ms, 20 * ms, 40 * ms, 80 * ms}},
		{"up to a limit", Retry{Backoff: 10 * ms, MaxBackoff: 35 * ms}, []time.Duration{10 * ms, 20 * ms, 35 * ms, 35 * ms}},
		{"the limit at once", Retry{Backoff: 10 * ms, MaxBackoff: 10 * ms}, []time.Duration{10 * ms, 10 * ms}},
		{"jitter named none", Retry{Backoff: 10 * ms, Jitter: vocabulary.JitterNone},
			[]time.Duration{10 * ms, 20 * ms}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.retry.Max, tt.retry.On = 10, []vocabulary.RetryCause{vocabulary.RetryRefused}
			r := newRetrier(t, tt.retry, 1)
			for i, want := range tt.want {
				if again, after, _ := r.Decide(refusedTry(0, i+1)); !again || after != want {
					t.Errorf("after try %d: %v, %v; want true, %v", i+1, again, after, want)
				}
			}
		})
	}
	// After many tries the wait is the largest duration, not a negative one.
	if got := (Retry{Backoff: time.Hour}).delay(1, refusedTry(0, 500)); got != math.MaxInt64 {
		t.Errorf("after try 500: %v", got)
	}
}

func TestRetryJitter(t *testing.T) {
	const n = 20_000
	r := Retry{Max: 3, On: []vocabulary.RetryCause{vocabulary.RetryRefused},
		Backoff: 100 * time.Millisecond, Jitter: vocabulary.JitterFull}
	for number, limit := range map[int]float64{1: 0.1, 2: 0.2, 3: 0.4} {
		var sum, squares float64
		for i := range uint64(n) {
			x := r.delay(7, refusedTry(i, number)).Seconds() / limit
			if x < 0 || x > 1 {
				t.Fatalf("try %d waits %v of its backoff", number, x)
			}
			sum, squares = sum+x, squares+x*x
		}
		// The values are uniform on [0, 1]: mean 1/2, variance 1/12. The estimate of the variance
		// has the standard deviation √((1/80 − 1/144)/n).
		mean := sum / n
		variance := squares/n - mean*mean
		if math.Abs(mean-0.5) > 5/math.Sqrt(12*n) ||
			math.Abs(variance-1./12) > 5*math.Sqrt((1./80-1./144)/n) {
			t.Errorf("try %d: mean %.4f, variance %.4f; want 0.5, 0.0833", number, mean, variance)
		}
	}
	wait := r.delay(7, refusedTry(3, 1))
	if again := r.delay(7, refusedTry(3, 1)); again != wait {
		t.Errorf("the same attempt waits %v, and %v", wait, again)
	}
	for name, other := range map[string]time.Duration{
		"another seed":     r.delay(8, refusedTry(3, 1)),
		"another attempt":  r.delay(7, refusedTry(4, 1)),
		"half a later one": r.delay(7, refusedTry(3, 2)) / 2,
	} {
		if other == wait {
			t.Errorf("%s waits just as long", name)
		}
	}
}

func TestRetryLimits(t *testing.T) {
	served := Try{Number: 1, Method: http.MethodGet, Written: 90, Read: 100, Left: time.Second}
	left := func(d time.Duration, number int) Try {
		try := refusedTry(0, number)
		try.Left = d
		return try
	}
	policy := Retry{Max: 2, Backoff: 10 * time.Millisecond,
		On: []vocabulary.RetryCause{vocabulary.RetryRefused}}
	for _, tt := range []struct {
		name   string
		retry  Retry
		tries  []Try
		again  []bool
		gaveUp results.GaveUp // after the last try
	}{
		{"the zero value", Retry{}, []Try{refusedTry(0, 1), served}, []bool{false, false}, results.GaveUpNot},
		{"served", policy, []Try{served}, []bool{false}, results.GaveUpNot},
		{"served by the last try", policy, []Try{refusedTry(0, 1), refusedTry(0, 2), {Number: 3, Written: 90, Read: 100}}, []bool{true, true, false}, results.GaveUpNot},
		{"max", policy, []Try{refusedTry(0, 1), refusedTry(0, 2), refusedTry(0, 3)}, []bool{true, true, false}, results.GaveUpExhausted},
		{"time for another", policy, []Try{left(11*time.Millisecond, 1)}, []bool{true}, results.GaveUpNot},
		{"no time for another", policy, []Try{left(10*time.Millisecond, 1)}, []bool{false}, results.GaveUpNoTime},
		{"time for the first wait, not for the second", policy, []Try{left(15*time.Millisecond, 1), left(15*time.Millisecond, 2)}, []bool{true, false}, results.GaveUpNoTime},
		{"no time left", Retry{Max: 1, On: []vocabulary.RetryCause{vocabulary.RetryRefused}},
			[]Try{left(0, 1)}, []bool{false}, results.GaveUpNoTime},
		{"not in the policy", Retry{Max: 1, On: []vocabulary.RetryCause{vocabulary.RetryUnsent}},
			[]Try{refusedTry(0, 1)}, []bool{false}, results.GaveUpNot},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRetrier(t, tt.retry, 1)
			var again []bool
			var gaveUp results.GaveUp
			for _, try := range tt.tries {
				var yes bool
				yes, _, gaveUp = r.Decide(try)
				again = append(again, yes)
			}
			if diff := cmp.Diff(tt.again, again); diff != "" || gaveUp != tt.gaveUp {
				t.Errorf("gave up %d, want %d; decisions (-want +got):\n%s",
					gaveUp, tt.gaveUp, diff)
			}
		})
	}
}

// TestRetryBudget uses the example of proposal A6: 10 tokens, so the threshold is 5. A ratio of 1/8
// avoids rounding.
func TestRetryBudget(t *testing.T) {
	r := newRetrier(t, Retry{Max: 1, On: []vocabulary.RetryCause{vocabulary.RetryRefused},
		Budget: RetryBudget{Tokens: 10, Ratio: 0.125}}, 1)
	decide := func(try Try, times int) (again int) {
		for range times {
			if yes, _, _ := r.Decide(try); yes {
				again++
			}
		}
		return again
	}
	served := Try{Number: 1, Written: 90, Read: 100}
	invalid := Try{
		Number: 1, Method: http.MethodGet, Phase: results.PhaseBody, Class: results.ClassInvalid,
		Written: 90, Read: 9,
	}
	if got := decide(served, 100); got != 0 || r.tokens != 10 {
		t.Errorf("served tries: %d retried, %v tokens; want 0 and 10", got, r.tokens)
	}
	if decide(invalid, 100); r.tokens != 10 {
		t.Errorf("%v tokens after failures that are never retried, want 10", r.tokens)
	}
	// 9, 8, 7 and 6 are above the threshold, 5 is not.
	if got := decide(refusedTry(0, 1), 20); got != 4 || r.tokens != 0 {
		t.Errorf("of 20 failures %d were retried, %v tokens left; want 4, 0", got, r.tokens)
	}
	// 48 served tries give 6 tokens. A failure takes one, and 5 is not enough. Another served try
	// adds the missing tokens.
	decide(served, 48)
	if got := decide(refusedTry(0, 1), 1); got != 0 {
		t.Error("retried at the threshold")
	}
	decide(served, 9)
	if got := decide(refusedTry(0, 1), 1); got != 1 {
		t.Errorf("not retried above the threshold: %v tokens", r.tokens)
	}
	for range 6 { // takes 6 tokens
		r.Decide(refusedTry(0, 1))
	}
	if _, _, gaveUp := r.Decide(refusedTry(0, 1)); gaveUp != results.GaveUpBudget {
		t.Errorf("gave up %d, want %d", gaveUp, results.GaveUpBudget)
	}
	// The budget is a switch. Eight served tries add the token that one failure takes, so every
	// failure is retried. Four served tries add half a token, so each failure costs half a token: 9
	// are left after the first, 5.5 after the eighth, and then never enough again.
	for served, want := range map[int]int{8: 1000, 4: 8} {
		r := newRetrier(t, Retry{Max: 1, On: []vocabulary.RetryCause{vocabulary.RetryRefused},
			Budget: RetryBudget{Tokens: 10, Ratio: 0.125}}, 1)
		got := 0
		for range 1000 {
			for range served {
				r.Decide(Try{Number: 1})
			}
			if yes, _, _ := r.Decide(refusedTry(0, 1)); yes {
				got++
			}
		}
		if got != want {
			t.Errorf("%d served tries between failures: %d of 1,000 retried, want %d",
				served, got, want)
		}
	}
}

func TestRetryValidate(t *testing.T) {
	on := []vocabulary.RetryCause{vocabulary.RetryRefused}
	for _, tt := range []struct {
		name  string
		retry Retry
		want  []string // substrings of the error; nil: valid
	}{
		{"the zero value", Retry{}, nil},
		{"everything", Retry{Max: 3, Backoff: time.Second, MaxBackoff: time.Minute,
			Jitter: vocabulary.JitterFull, On: retryCauses(), ConnectTimeout: time.Second,
			Budget: RetryBudget{10, 0.1}}, nil},
		{"negative", Retry{Max: -1, Backoff: -1, ConnectTimeout: -1}, []string{"max -1: want 0 to 10", "backoff -1ns", "connect_timeout -1ns"}},
		{"too often", Retry{Max: 11, On: on}, []string{"max 11"}},
		{"on nothing", Retry{Max: 1}, []string{"on is empty"}},
		{"on an unknown failure", Retry{Max: 1, On: []vocabulary.RetryCause{"5xx"}},
			[]string{`on "5xx": want refused, unreachable,`}},
		{"limits crossed", Retry{Max: 1, On: on, Backoff: 2, MaxBackoff: 1}, []string{"max_backoff 1ns is less than backoff 2ns"}},
		{"another jitter", Retry{Max: 1, On: on, Jitter: "equal"}, []string{`jitter "equal"`}},
		{"a handshake without a timeout",
			Retry{Max: 1, On: []vocabulary.RetryCause{vocabulary.RetryConnectTimeout}},
			[]string{"needs a connect_timeout"}},
		{"non-idempotent alone", Retry{Max: 1,
			On: []vocabulary.RetryCause{vocabulary.RetryNonIdempotent}},
			[]string{"add unanswered"}},
		{"too many tokens", Retry{Max: 1, On: on, Budget: RetryBudget{1001, 1}}, []string{"tokens 1001"}},
		{"a budget without a ratio", Retry{Max: 1, On: on, Budget: RetryBudget{10, 0}}, []string{"ratio 0"}},
		{"a ratio without tokens", Retry{Max: 1, On: on, Budget: RetryBudget{0, 0.1}}, []string{"ratio 0.1 without tokens"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := NewRetrier(tt.retry, 1)
			if (err == nil) != (len(tt.want) == 0) {
				t.Fatalf("error %v, want one with %q", err, tt.want)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want %q in it", err, want)
				}
			}
		})
	}
}
