package results

import "fmt"

// How the interval of a Summary was computed.
const (
	// MethodNone: there is no interval; lo and hi are null.
	MethodNone = "none"
	// MethodOrder: two order statistics around the median; no assumption about the distribution.
	MethodOrder = "order_statistics"
	// MethodPoisson: Garwood's exact interval of a Poisson rate.
	MethodPoisson = "poisson"
	// MethodQuasiPoisson: Garwood's interval for as many events as the clusters are worth. Runs
	// recorded before it have "bootstrap".
	MethodQuasiPoisson = "quasi_poisson"
	// MethodSignedRank: the ratios or differences of pairs that Wilcoxon's signed-rank test does
	// not reject.
	MethodSignedRank = "signed_rank"
	// MethodRankSum: the ratios or differences of two samples that the Mann-Whitney test does not
	// reject.
	MethodRankSum = "rank_sum"
	// MethodDifference: of two rates, from the interval of each.
	MethodDifference = "mover"
	// MethodRuleOfThree: nothing was seen; hi is a one-sided 95 % bound, 3/exposure.
	MethodRuleOfThree = "rule_of_three"
)

// Bound gives the figure an interval.
func (s *Summary) Bound(lo, hi, level float64, method string) {
	s.Lo, s.Hi, s.Confidence, s.Method = &lo, &hi, level, method
}

// Warn attaches a footnote.
func (s *Summary) Warn(format string, args ...any) {
	s.Warnings = append(s.Warnings, fmt.Sprintf(format, args...))
}
