package results

import "testing"

// Blocks twice as slow as each other: the pairs' quotients all are 1.5, whatever the blocks did. A block of one only, an
// invalid trial and a baseline of 0 are left out.
func TestRatio(t *testing.T) {
	var v, base Variant
	for block, ms := range []int64{1, 2, 4, 8, 16, 32, 64} {
		v.Trials = append(v.Trials, &Trial{Valid: true, Block: block, ResponseNS: &Percentiles{P99: 3 * ms}})
		base.Trials = append(base.Trials, &Trial{Valid: true, Block: block, ResponseNS: &Percentiles{P99: 2 * ms}})
	}
	v.Trials = append(v.Trials, &Trial{Valid: true, Block: 7, ResponseNS: &Percentiles{P99: 1000}})
	v.Trials = append(v.Trials, &Trial{Valid: true, Block: 8, ResponseNS: &Percentiles{P99: 1000}})
	base.Trials = append(base.Trials, &Trial{Valid: false, Block: 7, ResponseNS: &Percentiles{P99: 1}})
	base.Trials = append(base.Trials, &Trial{Valid: true, Block: 8, ResponseNS: &Percentiles{P99: 0}})
	s, ok := Ratio(&v, &base, "response_p99_ns")
	if !ok || s.Center != 1.5 || s.Lo == nil || *s.Lo != 1.5 || *s.Hi != 1.5 || s.N != 7 {
		t.Errorf("got %+v, %v; want 1.5 [1.5, 1.5] of 7 blocks", s, ok)
	}
	if _, ok := Ratio(&v, &Variant{}, "response_p99_ns"); ok {
		t.Error("a ratio to nothing")
	}
}
