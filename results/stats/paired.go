package stats

import (
	"cmp"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"

	"reuseport-bench/results"
)

// exactPairs is the largest number of pairs for which the signed-rank distribution is computed
// exactly. For more pairs it is approximated.
const exactPairs = 60

// PairedRatio summarizes the quotients of pairs, all of them positive. The center is their
// pseudomedian (Hodges & Lehmann, Ann. Math. Statist. 34 (1963) 598). The interval has all ratios
// that Wilcoxon's exact signed-rank test does not reject at 1 − level; p is the test's p value for
// a ratio of 1. An interval at 95 % needs six pairs; with fewer, lo and hi are null and a warning
// says so. PairedRatio panics without ratios.
//
// The test ranks logarithms, so that a ratio and its inverse count equally. It assumes that the
// logarithms are symmetric about their center. They are if base and head do not differ, whatever
// their distribution: the trials of a block run in random order, so a ratio is as likely as its
// inverse. A bootstrap of the median has two faults: with 8 pairs it covers too rarely
// (TestIntervalCoverage), and its p is not exact if base and head do not differ.
func PairedRatio(ratios []float64, level float64) (s results.Summary, p float64) {
	logs := make([]float64, len(ratios))
	for i, r := range ratios {
		logs[i] = math.Log(r)
	}
	s, p = signedRank(logs, level)
	s.Center = math.Exp(s.Center)
	if s.Lo != nil {
		s.Bound(math.Exp(*s.Lo), math.Exp(*s.Hi), s.Confidence, s.Method)
	}
	return s, p
}

// PairedDifference is like PairedRatio, but for differences of pairs. It suits values that may be
// 0, which have no ratio.
func PairedDifference(differences []float64, level float64) (s results.Summary, p float64) {
	return signedRank(differences, level)
}

func signedRank(differences []float64, level float64) (results.Summary, float64) {
	n := len(differences)
	walsh := make([]float64, 0, n*(n+1)/2)
	for i, a := range differences {
		for _, b := range differences[i:] {
			walsh = append(walsh, (a+b)/2)
		}
	}
	slices.Sort(walsh)
	s := results.Summary{Center: middle(walsh), N: n, Method: results.MethodNone}
	rank, reached := signedRankCut(n, level)
	if rank == 0 {
		s.Warn("need ≥ %d blocks for a %.4g %% interval, have %d", PairsFor(level), 100*level, n)
	} else {
		s.Bound(walsh[rank-1], walsh[len(walsh)-rank], reached, results.MethodSignedRank)
	}
	return s, signedRankP(differences)
}

// PairsFor returns the smallest number of pairs that have an interval at the level. The probability
// that all n differences have the same sign is 2^(1−n).
func PairsFor(level float64) int {
	return int(math.Ceil(1 - math.Log2(1-level)))
}

// signedRankCut returns the largest k, 1-based, such that the k-th Walsh averages from both ends
// bound the center at the level. It also returns the level reached. It returns 0, 0 if even the
// outermost averages do not reach the level.
func signedRankCut(n int, level float64) (k int, reached float64) {
	if n <= exactPairs {
		below := 0.0
		for w, chance := range signedRankChances(signedRanks(n)) {
			below += chance
			if 1-2*below < level-1e-12 {
				break
			}
			k, reached = w+1, 1-2*below
		}
		return k, reached
	}
	mean, sd := signedRankMoments(n)
	normal := distuv.Normal{Mu: mean, Sigma: sd}
	k = int(math.Floor(normal.Quantile((1 - level) / 2)))
	return k, 1 - 2*normal.CDF(float64(k)-0.5)
}

func signedRankMoments(n int) (mean, sd float64) {
	m := float64(n)
	return m * (m + 1) / 4, math.Sqrt(m * (m + 1) * (2*m + 1) / 24)
}

// signedRanks returns 1 to n.
func signedRanks(n int) []int {
	ranks := make([]int, n)
	for i := range ranks {
		ranks[i] = i + 1
	}
	return ranks
}

// signedRankChances returns the distribution of the sum of a random subset of the ranks. Each rank
// is in the subset with probability ½.
func signedRankChances(ranks []int) []float64 {
	total := 0
	for _, r := range ranks {
		total += r
	}
	chances := make([]float64, total+1)
	chances[0] = 1
	reach := 0
	for _, r := range ranks {
		reach += r
		for s := reach; s >= 0; s-- {
			with := 0.0
			if s >= r {
				with = chances[s-r]
			}
			chances[s] = (chances[s] + with) / 2
		}
	}
	return chances
}

// signedRankP returns the two-sided p of Wilcoxon's test that differences are symmetric about 0. It
// is exact for up to exactPairs pairs, including ties. Differences of 0 have no direction and are
// left out, as in Wilcoxon's paper.
func signedRankP(differences []float64) float64 {
	apart := slices.DeleteFunc(slices.Clone(differences), func(d float64) bool { return d == 0 })
	if len(apart) == 0 {
		return 1
	}
	slices.SortFunc(apart, func(a, b float64) int { return cmp.Compare(math.Abs(a), math.Abs(b)) })
	ranks := make([]int, len(apart)) // doubled, so that the means of tied ranks are integers
	positive, squares := 0, 0.0
	for i := 0; i < len(apart); {
		j := i
		// The tolerance makes a ratio and its inverse a tie despite rounding.
		for j < len(apart) && math.Abs(apart[j]) <= math.Abs(apart[i])*(1+1e-12) {
			j++
		}
		for k := i; k < j; k++ {
			ranks[k] = i + 1 + j
			squares += float64(ranks[k]) * float64(ranks[k])
			if apart[k] > 0 {
				positive += ranks[k]
			}
		}
		i = j
	}
	total := len(apart) * (len(apart) + 1)
	smaller := min(positive, total-positive)
	if len(apart) > exactPairs {
		const continuity = 1 // half a rank; ranks are doubled here
		distance := math.Abs(float64(positive) - float64(total)/2)
		z := (distance - continuity) / math.Sqrt(squares/4)
		return min(1, 2*distuv.UnitNormal.CDF(-max(0, z)))
	}
	p := 0.0
	for _, chance := range signedRankChances(ranks)[:smaller+1] {
		p += chance
	}
	return min(1, 2*p)
}
