package stats

import (
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/results"
)

// horseKicks returns the textbook Poisson sample: deaths by horse kick in 10 of 14 Prussian corps
// over 20 years (L. von Bortkiewicz, Das Gesetz der kleinen Zahlen, 1898). The mean is 0.61, the
// variance 0.611.
func horseKicks() (counts []int64, exposure []float64) {
	for deaths, years := range []int{109, 65, 22, 3, 1} {
		for range years {
			counts = append(counts, int64(deaths))
			exposure = append(exposure, 1)
		}
	}
	return counts, exposure
}

func TestDispersion(t *testing.T) {
	kicks, years := horseKicks()
	tests := []struct {
		name     string
		counts   []int64
		exposure []float64
		want     float64
	}{
		{"horse kicks", kicks, years, 0.610955 / 0.61},
		{"one cluster of four in four", []int64{0, 0, 0, 4}, []float64{1, 1, 1, 1}, 4},
		{"equal counts", []int64{2, 2, 2}, []float64{1, 1, 1}, 0},
		// The rate is 0.5, so 1 and 5 are expected: (2−1)²/1 + (4−5)²/5 over one degree of freedom.
		{"unequal exposure", []int64{2, 4}, []float64{2, 10}, 1.2},
	}
	for _, test := range tests {
		if got := Dispersion(test.counts, test.exposure); math.Abs(got-test.want) > 1e-5 {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
}

// The limits for k events are from the table in Garwood (1936), also in Ulm, Am. J. Epidemiol. 131
// (1990) 373.
func TestGarwood(t *testing.T) {
	for _, test := range []struct{ k, level, lo, hi float64 }{
		{1, 0.95, 0.025318, 5.571643},
		{2, 0.95, 0.242209, 7.224688},
		{5, 0.95, 1.623486, 11.668332},
		{10, 0.95, 4.795389, 18.390356},
		{100, 0.95, 81.363952, 121.627}, // 81.36 to 121.63
		{1, 0.99, 0.005013, 7.430},
		{10, 0.99, 3.717, 21.398},
	} {
		lo, hi := garwood(test.k, (1-test.level)/2)
		if math.Abs(lo-test.lo) > 5e-4 || math.Abs(hi-test.hi) > 1e-3 {
			t.Errorf("k = %v at %v: got %v to %v, want %v to %v", test.k, test.level, lo, hi,
				test.lo, test.hi)
		}
	}
}

func TestRate(t *testing.T) {
	ones := func(n int) []float64 { return slices.Repeat([]float64{1}, n) }
	want := func(center, lo, hi float64, n int, method string) results.Summary {
		return results.Summary{
			Center: center, Lo: &lo, Hi: &hi, Confidence: 0.95, N: n, Method: method,
		}
	}
	tests := []struct {
		name     string
		counts   []int64
		exposure []float64
		want     results.Summary
	}{
		{
			"even: Poisson", slices.Repeat([]int64{1}, 10), ones(10),
			want(1, 0.4795389, 1.8390356, 10, results.MethodPoisson),
		},
		{
			"per attempt: Poisson over the exposure", []int64{5, 5}, []float64{1000, 1000},
			want(0.005, 4.795389/2000, 18.390356/2000, 2, results.MethodPoisson),
		},
		{
			// φ is 4, so the events count as one. Garwood's limits are −ln(1 − tail), and the x
			// with (1+x)·e⁻ˣ = tail. Student's t with 3 degrees of freedom is 3.182446 at 97.5 %;
			// the normal tail beyond it is 7.302·10⁻⁴.
			"one cluster of four in four", []int64{0, 0, 0, 4}, ones(4),
			want(1, 0.000730450, 9.581304, 4, results.MethodQuasiPoisson),
		},
		{
			"the same, per 1000 attempts", []int64{0, 0, 0, 4}, slices.Repeat([]float64{1000}, 4),
			want(0.001, 0.000730450/1000, 9.581304/1000, 4, results.MethodQuasiPoisson),
		},
		{
			"none: rule of three", slices.Repeat([]int64{0}, 300), ones(300),
			want(0, 0, 0.01, 300, results.MethodRuleOfThree),
		},
		{
			// φ is 1, but the sum of the 20 quotients is rounded up.
			"one in twenty: Poisson", append(slices.Repeat([]int64{0}, 19), 1), ones(20),
			want(0.05, 0.0253178/20, 5.5716434/20, 20, results.MethodPoisson),
		},
		{
			"one restart does not show clusters", []int64{3}, ones(1),
			results.Summary{Center: 3, N: 1, Method: results.MethodNone, Warnings: []string{
				"only one count: it does not show whether events come in clusters, so no interval",
			}},
		},
	}
	for _, test := range tests {
		got := Rate(test.counts, test.exposure, Confidence)
		if diff := cmp.Diff(test.want, got, near); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

// Rate chooses its method according to whether the dispersion is above 1. If every count is 0 or 2,
// the dispersion is 2 × zeros ÷ (n−1), where zeros is the number of counts that are 0.
func TestRateChoosesByDispersion(t *testing.T) {
	for _, test := range []struct {
		zeros, twos int
		want        string
	}{
		{4, 6, results.MethodPoisson},      // 0.89
		{5, 4, results.MethodQuasiPoisson}, // 1.25
		{7, 3, results.MethodQuasiPoisson}, // 1.56
	} {
		counts := slices.Repeat([]int64{0}, test.zeros)
		counts = append(counts, slices.Repeat([]int64{2}, test.twos)...)
		exposure := slices.Repeat([]float64{1}, len(counts))
		if got := Rate(counts, exposure, Confidence); got.Method != test.want {
			t.Errorf("dispersion %.2f: got %s, want %s", Dispersion(counts, exposure), got.Method,
				test.want)
		}
	}
}

// At another level the rule of three has another bound: 4.605/300 for 300 without events at 99 %.
func TestRuleOfThreeAtLevel(t *testing.T) {
	got := Rate([]int64{0, 0}, []float64{100, 200}, 0.99)
	want := results.Summary{
		Lo: new(0.), Hi: new(4.605170 / 300), Confidence: 0.99, N: 2,
		Method: results.MethodRuleOfThree,
	}
	if diff := cmp.Diff(want, got, near); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Two different counts have no interval. For all other arguments that Rate passes to garwood,
// garwood returns finite numbers.
func TestGarwoodIsDefined(t *testing.T) {
	for _, level := range []float64{0.95, 0.98, 0.995, 0.9999} {
		for _, counts := range [][]int64{{15, 1}, {0, 7}, {1000, 3, 0}, {0, 0, 0, 0, 40}} {
			s := Rate(counts, slices.Repeat([]float64{1}, len(counts)), level)
			if len(counts) == 2 && (s.Method != results.MethodNone || len(s.Warnings) != 1) {
				t.Errorf("%v at %v: %+v, want no interval", counts, level, s)
			}
		}
	}
	for k := 1e-3; k < 1e7; k *= 1.7 {
		for tail := 0.2; tail > leastTail; tail /= 2 {
			lo, hi := garwood(k, tail)
			if !(lo <= k && hi >= k) || math.IsNaN(lo) || math.IsInf(hi, 0) {
				t.Errorf("%v events, tail %v: [%v, %v]", k, tail, lo, hi)
			}
		}
	}
}
