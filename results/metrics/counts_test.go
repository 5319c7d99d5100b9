package metrics

import (
	"testing"

	"reuseport-bench/results"
)

// Only usable trials count. The residual also covers the other trials, because a residual makes its
// trial unusable. A count that no usable trial measured has no total.
func TestTotal(t *testing.T) {
	v := &results.Variant{Trials: []*results.Trial{
		{
			Valid: true, Attempts: 10, Lost: 3, LostByCause: map[string]int64{"timeout": 2},
			LostByPhase: map[string]int64{"wait": 3}, LostSentAfterClose: new(int64(1)),
		},
		{Valid: true, Attempts: 20, Lost: 4, LostByCause: map[string]int64{"timeout": 1}},
		{Valid: true, Attempts: 40, Residual: 5, Retries: &results.Retries{Masked: 7}},
		{Attempts: 80, Lost: 9},
	}}
	for name, want := range map[string]int64{
		"attempts": 30, "lost": 7, "residual": 5, "lost_sent_after_close": 1,
		"lost_by_cause.timeout": 3, "lost_by_cause.unknown": 0, "lost_by_phase.wait": 3,
		"masked": -1, "repeated": -1, "handled_twice": -1,
	} {
		c, ok := FindCount(name)
		if !ok {
			t.Errorf("no count %s", name)
			continue
		}
		if got, counted := c.Total(v); counted != (want >= 0) || counted && got != want {
			t.Errorf("%s: got %d, %t; want %d", name, got, counted, want)
		}
	}
	if _, ok := FindCount("gap_ns"); ok {
		t.Error("FindCount found gap_ns, which is not a count")
	}
}
