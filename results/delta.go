package results

import "reuseport-bench/results/unit"

// The scales on which a metric of two variants is compared.
const (
	ScaleRatio      = "ratio"      // head ÷ base
	ScaleDifference = "difference" // head − base: for metrics that are often 0
)

// The outcomes of a Delta.
const (
	DeltaWorse   = "worse"
	DeltaBetter  = "better"
	DeltaDiffers = "differs" // the metric has no better direction
	// DeltaNone: no difference was found, or none that matters.
	DeltaNone = "none"
)

// The verdicts of a Delta. They are its outcomes, but "same" or "unknown" instead of "none".
const (
	// VerdictSame: the whole interval of the change lies within the threshold.
	VerdictSame = "same"
	// VerdictUnknown: the interval is missing, or too wide for another verdict.
	VerdictUnknown = "unknown"
)

// A Delta compares a metric of one variant, the head, with that of another variant, the base.
type Delta struct {
	Metric string  `json:"metric"`
	Scale  string  `json:"scale"` // ratio | difference
	Base   Summary `json:"base"`  // the base alone
	Head   Summary `json:"head"`  // the head alone
	// Change is head ÷ base, or head − base. Its n is the number of blocks or, if the trials are
	// not paired, the smaller of the two numbers of trials.
	Change Summary `json:"change"`
	Paired bool    `json:"paired"` // by block
	// P is the probability of a change at least this large if base and head do not differ.
	// PAdjusted is P after Holm's adjustment for all comparisons of the scenario.
	P         float64 `json:"p"`
	PAdjusted float64 `json:"p_adjusted"`
	// Threshold is the smallest change that matters: a share of the base for a ratio, a value in
	// the metric's unit for a difference.
	Threshold float64 `json:"threshold"`
	Outcome   string  `json:"outcome"`
	// Verdict is the same as Outcome, except that "none" is replaced by "same" or "unknown".
	Verdict string `json:"verdict"`
	// MoreTrials estimates the number of further blocks that would decide an unknown verdict, if
	// they vary like those measured. Without pairing, it is the number of further trials of the
	// side with fewer. It is null if the verdict is known or nothing can be estimated.
	MoreTrials *int `json:"more_trials,omitempty"`
	// Unlike is the reason why the two variants are not comparable, whatever the change. It is
	// empty if no reason is known.
	Unlike string `json:"unlike,omitempty"`
}

// String writes the change with its interval, for messages: "gap_ns difference 12 [5, 20], p
// 0.004".
func (d Delta) String() string {
	digits := func(x float64) string { return unit.Digits(x, 3) }
	change := unit.Spread(d.Change.Center, d.Change.Lo, d.Change.Hi, digits)
	return d.Metric + " " + d.Scale + " " + change + ", p " + unit.PValue(d.PAdjusted)
}
