package results

import "reuseport-bench/results/unit"

// The scales on which a metric of two variants is compared.
const (
	ScaleRatio      = "ratio"      // head ÷ base
	ScaleDifference = "difference" // head − base: of what may well be 0
)

// The outcomes of a Delta.
const (
	DeltaWorse   = "worse"
	DeltaBetter  = "better"
	DeltaDiffers = "differs" // of a metric that is neither
	// DeltaNone: no difference could be told, or none that matters.
	DeltaNone = "none"
)

// The verdicts of a Delta are its outcomes, with "none" told apart.
const (
	// VerdictSame: the whole interval lies within the threshold.
	VerdictSame = "same"
	// VerdictUnknown: the interval is too wide to tell, or there is none.
	VerdictUnknown = "unknown"
)

// A Delta is what a metric of one variant, the head, is against that of another, the base.
type Delta struct {
	Metric string  `json:"metric"`
	Scale  string  `json:"scale"`  // ratio | difference
	Base   Summary `json:"base"`   // each by itself
	Head   Summary `json:"head"`   //
	Change Summary `json:"change"` // head ÷ base, or head − base; n is blocks, or where the trials are no pairs those of the smaller side
	Paired bool    `json:"paired"` // by block
	// P is the probability of a change at least as large where nothing differs; PAdjusted is
	// Holm's, over the comparisons of the scenario.
	P         float64 `json:"p"`
	PAdjusted float64 `json:"p_adjusted"`
	// Threshold is the least change that matters: a share of the base, or for a difference the
	// metric's unit.
	Threshold float64 `json:"threshold"`
	Outcome   string  `json:"outcome"`
	// Verdict is the outcome where that is not "none", else "same" or "unknown".
	Verdict string `json:"verdict"`
	// MoreTrials is about how many more blocks, or trials of the smaller side, would tell what is
	// unknown, if they vary as those seen; null: it is known, or nobody can tell.
	MoreTrials *int `json:"more_trials,omitempty"`
	// Unlike is why the two are not like for like, whatever the change; empty: nothing is known
	// against it.
	Unlike string `json:"unlike,omitempty"`
}

// String is the change with its interval, for messages: "ratio 1.12 [1.05, 1.2], p 0.004".
func (d Delta) String() string {
	change := unit.Spread(d.Change.Center, d.Change.Lo, d.Change.Hi, func(x float64) string { return unit.Digits(x, 3) })
	return d.Metric + " " + d.Scale + " " + change + ", p " + unit.PValue(d.PAdjusted)
}
