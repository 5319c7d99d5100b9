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
	DeltaDiffers = "differs" // for a metric without a better direction
	// DeltaNone: no difference was found, or none that matters.
	DeltaNone = "none"
)

// The verdicts of a Delta are its outcomes, with "none" split in two.
const (
	// VerdictSame: the whole interval lies within the threshold.
	VerdictSame = "same"
	// VerdictUnknown: the interval is too wide to tell, or missing.
	VerdictUnknown = "unknown"
)

// A Delta compares a metric of one variant, the head, with that of another variant, the base.
type Delta struct {
	Metric string  `json:"metric"`
	Scale  string  `json:"scale"` // ratio | difference
	Base   Summary `json:"base"`  // by itself
	Head   Summary `json:"head"`  // by itself
	// Change is head ÷ base, or head − base. Its n is the number of blocks or, if the trials are
	// not paired, the number of trials of the smaller side.
	Change Summary `json:"change"`
	Paired bool    `json:"paired"` // by block
	// P is the probability of a change at least this large if nothing differs. PAdjusted is P after
	// Holm's adjustment for all comparisons of the scenario.
	P         float64 `json:"p"`
	PAdjusted float64 `json:"p_adjusted"`
	// Threshold is the smallest change that matters: a share of the base for a ratio, a value in
	// the metric's unit for a difference.
	Threshold float64 `json:"threshold"`
	Outcome   string  `json:"outcome"`
	// Verdict is the same as Outcome, except that "none" is replaced by "same" or "unknown".
	Verdict string `json:"verdict"`
	// MoreTrials estimates how many more blocks, or trials of the smaller side, would decide an
	// unknown verdict, if they vary like those seen. Null: the verdict is known, or there is no
	// estimate.
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
