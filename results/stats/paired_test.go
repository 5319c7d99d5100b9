package stats

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/results"
)

// The number of subsets of 1 to 8 with sum n, for n from 0 to 10, is the number of partitions of n
// into distinct parts, without those that have 9 or 10 as a part.
func TestSignedRankChances(t *testing.T) {
	var got []float64
	for _, chance := range signedRankChances(signedRanks(8))[:11] {
		got = append(got, 256*chance)
	}
	if diff := cmp.Diff([]float64{1, 1, 1, 2, 2, 3, 4, 5, 6, 7, 8}, got, near); diff != "" {
		t.Errorf("subsets (-want +got):\n%s", diff)
	}
}

// The values are the largest significant T, two-sided, from the table in Wilcoxon & Wilcox, Some
// Rapid Approximate Statistical Procedures, 1964. The interval starts at Walsh average T+1.
func TestSignedRankCut(t *testing.T) {
	tests := []struct {
		level float64
		table map[int]int // pairs → T
	}{
		{0.95, map[int]int{
			6: 0, 7: 2, 8: 3, 9: 5, 10: 8, 11: 10, 12: 13, 13: 17, 14: 21, 15: 25, 16: 29, 20: 52,
			25: 89, 30: 137,
		}},
		{0.99, map[int]int{
			8: 0, 9: 1, 10: 3, 11: 5, 12: 7, 13: 9, 14: 12, 15: 15, 16: 19, 20: 37,
		}},
	}
	for _, test := range tests {
		for n, want := range test.table {
			if k, reached := signedRankCut(n, test.level); k-1 != want || reached < test.level {
				t.Errorf("n = %d: got T = %d at %v, want %d at %v or more", n, k-1, reached, want,
					test.level)
			}
		}
	}
	for n, level := range map[int]float64{5: 0.95, 7: 0.99} {
		if k, _ := signedRankCut(n, level); k != 0 {
			t.Errorf("n = %d: got an interval at %v, want none", n, level)
		}
	}
}

func TestSignedRankP(t *testing.T) {
	tests := []struct {
		name        string
		differences []float64
		want        float64
	}{
		{"six of one sign", []float64{6, 1, 5, 2, 4, 3}, 2. / 64},
		{"six of the other", []float64{-6, -1, -5, -2, -4, -3}, 2. / 64},
		{
			"the smallest of eight against the rest", []float64{-1, 2, 3, 4, 5, 6, 7, 8},
			2 * 2. / 256,
		},
		{"zeros are left out", []float64{0, 6, 1, 5, 0, 2, 4, 3}, 2. / 64},
		{"only zeros", []float64{0, 0}, 1},
		{"no difference overall", []float64{1, -2, -3, 4}, 1},
		// All ranks are 3½, so this is the sign test, with at most two heads in six.
		{"all tied", []float64{1, 1, 1, 1, -1, -1}, 2 * (1 + 6 + 15) / 64.},
		// The ranks are 1½, 1½, 3, 4. Three subsets have a sum of at most 1½: the empty one, the
		// first rank, and the second.
		{"some tied", []float64{-1, 1, 2, 3}, 2 * 3. / 16},
		{
			"a ratio and its inverse tie",
			[]float64{math.Log(1.1), math.Log(1 / 1.1), math.Log(1.5)}, 2 * 3. / 8,
		},
	}
	for _, test := range tests {
		if got := signedRankP(test.differences); math.Abs(got-test.want) > 1e-9 {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
}

// Just above exactPairs the approximation must be close to the exact values.
func TestSignedRankOfMany(t *testing.T) {
	const n = exactPairs + 1
	chances := signedRankChances(signedRanks(n))
	upTo := func(sum int) (p float64) {
		for _, chance := range chances[:sum+1] {
			p += chance
		}
		return p
	}
	for _, every := range []int{3, 4, 8, 61} { // one difference in this many is negative
		differences, negative := make([]float64, n), 0
		for i := range differences {
			differences[i] = float64(i + 1)
			if (i+1)%every == 0 {
				differences[i] *= -1
				negative += i + 1
			}
		}
		if got, want := signedRankP(differences), 2*upTo(negative); math.Abs(got-want) > 1e-3 {
			t.Errorf("one in %d: p %v, want %v", every, got, want)
		}
	}
	k, reached := signedRankCut(n, Confidence)
	want, further := 1-2*upTo(k-1), 1-2*upTo(k+1)
	if want < Confidence || further >= Confidence || math.Abs(reached-want) > 1e-3 {
		t.Errorf("Walsh average %d at %v: the level is %v, two further in %v", k, reached, want,
			further)
	}
}

// The Walsh averages of powers of 2 are all different and easy to order.
func TestPairedDifference(t *testing.T) {
	tests := []struct {
		name        string
		differences []float64
		want        results.Summary
		p           float64
	}{
		{
			// The Walsh averages are 1, 1½, 2, 2½, 3, 4, 4½, 5, 6, 8, 8½ … 32. The center is the
			// 11th of 21. T = 0: the interval is from the first average to the last.
			"six", []float64{1, 2, 4, 8, 16, 32},
			results.Summary{
				Center: 8.5, Lo: new(1.), Hi: new(32.), Confidence: 1 - 2./64, N: 6,
				Method: results.MethodSignedRank,
			},
			2. / 64,
		},
		{
			// The 14th and 15th of the 28 averages are 12 and 16. T = 2: the interval is from the
			// third, 2, to the third last, 40.
			"seven", []float64{64, 1, 2, 4, 8, 16, 32},
			results.Summary{
				Center: 14, Lo: new(2.), Hi: new(40.), Confidence: 1 - 2*3./128, N: 7,
				Method: results.MethodSignedRank,
			},
			2. / 128,
		},
		{
			"too few", []float64{1, 2, 3, 4, 5},
			results.Summary{
				Center: 3, N: 5, Method: results.MethodNone,
				Warnings: []string{"need ≥ 6 blocks for a 95 % interval, have 5"},
			},
			2. / 32,
		},
	}
	for _, test := range tests {
		got, p := PairedDifference(test.differences, Confidence)
		if diff := cmp.Diff(test.want, got, near); diff != "" || math.Abs(p-test.p) > 1e-9 {
			t.Errorf("%s: p %v, want %v (-want +got):\n%s", test.name, p, test.p, diff)
		}
	}
}

func TestPairedRatio(t *testing.T) {
	same := make([]float64, 8)
	for i := range same {
		same[i] = 1.5
	}
	got, p := PairedRatio(same, Confidence)
	want := results.Summary{
		Center: 1.5, Lo: new(1.5), Hi: new(1.5), Confidence: 1 - 2*5./256, N: 8,
		Method: results.MethodSignedRank,
	}
	if diff := cmp.Diff(want, got, near); diff != "" || p != 2./256 {
		t.Errorf("all 1.5: p %v, want 2/256 (-want +got):\n%s", p, diff)
	}
	// 2 to the powers 1, 2, 4 … 32, as above.
	got, _ = PairedRatio([]float64{2, 4, 16, 256, 1 << 16, 1 << 32}, Confidence)
	want = results.Summary{
		Center: math.Exp2(8.5), Lo: new(2.), Hi: new(math.Exp2(32)), Confidence: 1 - 2./64, N: 6,
		Method: results.MethodSignedRank,
	}
	if diff := cmp.Diff(want, got, near); diff != "" {
		t.Errorf("powers (-want +got):\n%s", diff)
	}
	got, _ = PairedRatio([]float64{2, 3}, Confidence)
	if got.Lo != nil || !strings.Contains(got.Warnings[0], "need ≥ 6 blocks") {
		t.Errorf("two: got %+v", got)
	}
}
