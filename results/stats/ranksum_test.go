package stats

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/results"
)

// The differences are 1, 2 … n², so the ends of the interval are ranks. u is the largest
// significant U, two-sided at 5 %, from the tables since Mann & Whitney (1947), for example Siegel,
// Nonparametric Statistics, 1956, table K.
func TestRankSumInterval(t *testing.T) {
	for n, u := range map[int]int{4: 0, 5: 2, 6: 5, 7: 8, 8: 13, 9: 17, 10: 23, 15: 64, 20: 127} {
		var base, head []float64
		for i := range n {
			base, head = append(base, float64(-n*i)), append(head, float64(i+1))
		}
		got, _ := UnpairedDifference(base, head, 0.95)
		if got.Lo == nil || *got.Lo != float64(u+1) || *got.Hi != float64(n*n-u) ||
			got.Confidence < 0.95 {
			t.Errorf("%d and %d: got %v, want %d to %d", n, n, got, u+1, n*n-u)
		}
	}
	got, _ := UnpairedDifference([]float64{1, 2, 3}, []float64{4, 5, 6}, 0.95)
	if got.Lo != nil || len(got.Warnings) != 1 {
		t.Errorf("3 and 3: got %+v, want no interval and a warning", got)
	}
}

func TestRankSum(t *testing.T) {
	tests := []struct {
		name       string
		compare    func(base, head []float64, level float64) (results.Summary, float64)
		base, head []float64
		want       results.Summary
		p          float64
	}{
		{
			// Two of C(10,5) = 252 orders are at least as extreme; P(U ≤ 2) is 4/252. The
			// differences are 6, 7, 7 … 13, 13, 14.
			"apart", UnpairedDifference, []float64{1, 2, 3, 4, 5}, []float64{11, 12, 13, 14, 15},
			results.Summary{
				Center: 10, Lo: new(7.), Hi: new(13.), Confidence: 1 - 2*4./252, N: 5,
				Method: results.MethodRankSum,
			},
			2. / 252,
		},
		{
			// The quotients are 100·2^(i−j), which occur 1, 2, 3, 4, 5, 4, 3, 2 and 1 times.
			"apart by a factor", UnpairedRatio, []float64{1, 2, 4, 8, 16},
			[]float64{100, 200, 400, 800, 1600},
			results.Summary{
				Center: 100, Lo: new(12.5), Hi: new(800.), Confidence: 1 - 2*4./252, N: 5,
				Method: results.MethodRankSum,
			},
			2. / 252,
		},
		{
			"all the same", UnpairedDifference, []float64{3, 3, 3, 3}, []float64{3, 3, 3, 3},
			results.Summary{
				Center: 0, Lo: new(0.), Hi: new(0.), Confidence: 1 - 2./70, N: 4,
				Method: results.MethodRankSum,
			},
			1,
		},
	}
	for _, test := range tests {
		got, p := test.compare(test.base, test.head, 0.95)
		if diff := cmp.Diff(test.want, got, near); diff != "" || math.Abs(p-test.p) > 1e-9 {
			t.Errorf("%s: p %v, want %v (-want +got):\n%s", test.name, p, test.p, diff)
		}
	}
}

func TestPoissonP(t *testing.T) {
	of := func(count, units float64) Exposed { return Exposed{count, units} }
	tests := []struct {
		name       string
		base, head Exposed
		want       float64
	}{
		{"none of six", of(6, 1), of(0, 1), 2. / 64},
		{"all of six", of(0, 1), of(6, 1), 2. / 64},
		{"one of six", of(5, 1), of(1, 1), 2 * 7. / 64},
		{"half", of(3, 1), of(3, 1), 1},
		{"none at all", of(0, 1), of(0, 1), 1},
		{"none of two in three quarters of the exposure", of(2, 1), of(0, 3), 2. / 16},
		{"all of two in three quarters of it", of(0, 1), of(2, 3), 1},
		{"all of a hundred", of(0, 1), of(100, 1), math.Exp2(-99)},
	}
	for _, test := range tests {
		if got := PoissonP(test.base, test.head); math.Abs(got/test.want-1) > 1e-9 {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
}

func TestDifference(t *testing.T) {
	rate := func(center, lo, hi float64) results.Summary {
		return results.Summary{
			Center: center, Lo: &lo, Hi: &hi, Confidence: 0.95, N: 9, Method: results.MethodPoisson,
		}
	}
	none := Rate([]int64{0, 0}, []float64{50, 50}, 0.95)
	tests := []struct {
		name       string
		head, base results.Summary
		lo, hi     float64
	}{
		{"by hand", rate(5, 3, 9), rate(2, 1, 4), 3 - math.Sqrt(2*2+2*2), 3 + math.Sqrt(4*4+1*1)},
		// Without events the interval is one-sided. The two-sided bound, with 2.5 % on each side,
		// is −ln 0.025 = 3.688879; it is 3.694 if the rule's 3 is used for 2.996.
		{"base without events", rate(0.1, 0.05, 0.2), none, 0.1 - math.Hypot(0.05, 0.0369413), 0.2},
		{"both without events", none, none, -0.0369413, 0.0369413},
	}
	for _, test := range tests {
		got := Difference(test.head, test.base, 0.95)
		want := results.Summary{
			Center: test.head.Center - test.base.Center, Lo: &test.lo, Hi: &test.hi,
			Confidence: 0.95, N: test.head.N, Method: results.MethodDifference,
		}
		if diff := cmp.Diff(want, got, near); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
	alone := Rate([]int64{3}, []float64{1}, 0.95)
	if got := Difference(alone, none, 0.95); got.Lo != nil || got.Center != 3 ||
		len(got.Warnings) != 1 {
		t.Errorf("one side without interval: got %+v", got)
	}
}
