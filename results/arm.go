package results

import "slices"

// A gated scenario measures its baseline twice, the second time under this label: the A/A arm.
// Where the two differ, the machine did not repeat itself, and the scenario's gates and comparisons
// are void.
const (
	LabelArm   = "arm"
	ArmControl = "control"
)

// armAgain is ArmControl in runs that were written before it was called so.
const armAgain = "again"

// renameArm gives an A/A arm of an older run the label that it has today.
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

// BaselineVariant is the variant that the scenario's comparisons start from, or nil if it is not
// there.
func (s *Scenario) BaselineVariant() *Variant {
	i := slices.IndexFunc(s.Variants, func(v *Variant) bool { return LabelString(v.Labels) == LabelString(s.Baseline) })
	if i < 0 {
		return nil
	}
	return s.Variants[i]
}
