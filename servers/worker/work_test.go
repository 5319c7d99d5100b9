package worker

import (
	"math"
	"slices"
	"testing"
	"time"

	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers"
)

func TestDistributions(t *testing.T) {
	const n = 100_000
	mean := 2 * time.Millisecond
	slow := 10 * time.Millisecond
	for _, tt := range []struct {
		name string
		work servers.Work
		// The mean and standard deviation of the service time, in ns, and the share of requests
		// that take more than 3 ms.
		mean, deviation, above float64
	}{
		{"none", servers.Work{}, 0, 0, 0},
		{"fixed by default", servers.Work{Sleep: mean}, 2e6, 0, 0},
		{"fixed", servers.Work{Burn: mean, Distribution: vocabulary.DistributionFixed}, 2e6, 0, 0},
		{"exponential", servers.Work{Sleep: mean, Distribution: vocabulary.DistributionExponential}, 2e6, 2e6, math.Exp(-1.5)},
		{"exponential burn", servers.Work{Burn: mean, Distribution: vocabulary.DistributionExponential}, 2e6, 2e6, math.Exp(-1.5)},
		// 0.95 × 2 ms + 0.05 × 10 ms; 8 ms × √(0.05 × 0.95)
		{"bimodal", servers.Work{Sleep: mean, Distribution: vocabulary.DistributionBimodal, Slow: slow, SlowShare: 0.05}, 2.4e6, 8e6 * math.Sqrt(0.0475), 0.05},
		{"bimodal with 0 as the usual time", servers.Work{Distribution: vocabulary.DistributionBimodal, Slow: slow, SlowShare: 0.5}, 5e6, 5e6, 0.5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorks(tt.work, 7, 1, 2)
			sum, above := 0.0, 0
			for range n {
				d := w.next()
				sum += float64(d)
				if d > 3*time.Millisecond {
					above++
				}
			}
			// Five standard errors: one in two million seeds would be further off, and the seed is
			// fixed.
			if got, slack := sum/n, 5*tt.deviation/math.Sqrt(n); math.Abs(got-tt.mean) > slack+1 {
				t.Errorf("mean %.0f ns, want %.0f ± %.0f", got, tt.mean, slack)
			}
			share, slack := float64(above)/n, 5*math.Sqrt(tt.above*(1-tt.above)/n)
			if math.Abs(share-tt.above) > slack {
				t.Errorf("share over 3 ms: %.4f, want %.4f ± %.4f", share, tt.above, slack)
			}
		})
	}
}

func TestDistributionsAreSeeded(t *testing.T) {
	draw := func(seed uint64, id, generation int) []time.Duration {
		work := servers.Work{
			Sleep: time.Millisecond, Distribution: vocabulary.DistributionExponential,
		}
		w := newWorks(work, seed, id, generation)
		var all []time.Duration
		for range 10 {
			all = append(all, w.next())
		}
		return all
	}
	first := draw(1, 2, 3)
	if again := draw(1, 2, 3); !slices.Equal(first, again) {
		t.Errorf("the same worker draws %v, then %v", first, again)
	}
	for _, other := range [][]time.Duration{draw(2, 2, 3), draw(1, 3, 3), draw(1, 2, 4)} {
		if slices.Equal(first, other) {
			t.Errorf("two workers draw the same: %v", other)
		}
	}
}
