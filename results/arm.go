package results

import "slices"

// A scenario with gates measures its baseline twice, the second time under this label: the A/A arm.
// Where the two measurements differ, the machine did not repeat itself, and the scenario's gates
// and comparisons are void.
const (
	LabelArm   = "arm"
	ArmControl = "control"
)

// armAgain is the value of ArmControl in older runs.
const armAgain = "again"

// renameArm replaces an older run's label of the A/A arm with today's.
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
