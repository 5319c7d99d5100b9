package results

import "slices"

// The label of the A/A arm, a second measurement of the baseline that every scenario with gates
// makes. If it differs from the first, the measurement cannot be repeated on this machine, and the
// scenario's gates and comparisons are void.
const (
	LabelArm   = "arm"
	ArmControl = "control"
)

// armAgain is the value of ArmControl in older runs.
const armAgain = "again"

// renameArm replaces the label that older runs give the A/A arm with today's.
func renameArm(labels map[string]string) {
	if labels[LabelArm] == armAgain {
		labels[LabelArm] = ArmControl
	}
}

// IsAA reports whether the variant is an A/A arm.
func (v *Variant) IsAA() bool { return v.Labels[LabelArm] == ArmControl }

// ControlArm returns the scenario's A/A arm, or nil.
func (s *Scenario) ControlArm() *Variant {
	i := slices.IndexFunc(s.Variants, (*Variant).IsAA)
	if i < 0 {
		return nil
	}
	return s.Variants[i]
}

// BaselineVariant returns the variant that the scenario's comparisons start from, or nil if it is
// missing.
func (s *Scenario) BaselineVariant() *Variant {
	baseline := LabelString(s.Baseline)
	i := slices.IndexFunc(s.Variants, func(v *Variant) bool {
		return LabelString(v.Labels) == baseline
	})
	if i < 0 {
		return nil
	}
	return s.Variants[i]
}
