package results

import "fmt"

// The methods of computing the interval of a Summary.
const (
	// MethodNone: there is no interval; lo and hi are null.
	MethodNone = "none"
	// MethodOrder: two order statistics around the median, for any distribution.
	MethodOrder = "order_statistics"
	// MethodPoisson: Garwood's exact interval of a Poisson rate.
	MethodPoisson = "poisson"
	// MethodQuasiPoisson: Garwood's interval for the effective number of independent events, which
	// is smaller where losses come in clusters. Older runs have "bootstrap" instead.
	MethodQuasiPoisson = "quasi_poisson"
	// MethodSignedRank: the ratios or differences of pairs that Wilcoxon's signed-rank test does
	// not reject.
	MethodSignedRank = "signed_rank"
	// MethodRankSum: the ratios or differences of two samples that the Mann-Whitney test does not
	// reject.
	MethodRankSum = "rank_sum"
	// MethodDifference: the difference of two rates, computed from the interval of each (MOVER).
	MethodDifference = "mover"
	// MethodRuleOfThree: the count is 0; hi is a one-sided 95 % bound, 3/exposure.
	MethodRuleOfThree = "rule_of_three"
)

// Bound sets the figure's interval.
func (s *Summary) Bound(lo, hi, level float64, method string) {
	s.Lo, s.Hi, s.Confidence, s.Method = &lo, &hi, level, method
}

// Warn adds a warning, which reports print as a footnote.
func (s *Summary) Warn(format string, args ...any) {
	s.Warnings = append(s.Warnings, fmt.Sprintf(format, args...))
}
