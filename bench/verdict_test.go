package main

import (
	"errors"
	"strings"
	"testing"

	"reuseport-bench/results"
)

// A scenario that cannot be run here fails a run that asks for it alone, and is left out of a run of several.
func TestVerdictOfSkipped(t *testing.T) {
	why := "haproxy: not found"
	skipped := &results.Scenario{Name: "load-balancer", MinValid: 1, Variants: []*results.Variant{{SkippedReason: &why}}}
	measured := &results.Scenario{Name: "steady", MinValid: 1, Variants: []*results.Variant{{Trials: []*results.Trial{{Valid: true}}}}}
	var exit *exitError
	if err := verdict(&results.Run{Scenarios: []*results.Scenario{skipped}}); !errors.As(err, &exit) || exit.status != exitNotMeasured {
		t.Errorf("alone: %v, want exit status %d", err, exitNotMeasured)
	}
	if err := verdict(&results.Run{Scenarios: []*results.Scenario{measured, skipped}}); err != nil {
		t.Errorf("among others: %v", err)
	}
}

// A quick look whose trials all went well ends with status 3 where a gate needs more of them, and
// with 0 where there is no gate.
func TestVerdictOfQuickLook(t *testing.T) {
	look := func(valid bool, gates ...results.GateResult) error {
		return verdict(&results.Run{Scenarios: []*results.Scenario{{
			Name: "steady", Trials: 1, MinValid: 4, Gates: gates,
			Variants: []*results.Variant{{Trials: []*results.Trial{{Valid: valid}}}},
		}}})
	}
	if err := look(true); err != nil {
		t.Errorf("without gates: %v", err)
	}
	var exit *exitError
	err := look(true, results.GateResult{Expect: "lost == 0", Outcome: results.GateUndecided, Note: "quick"})
	if !errors.As(err, &exit) || exit.status != exitNotMeasured || !strings.Contains(err.Error(), "without --quick") {
		t.Errorf("with a gate: %v, want exit status %d and what to do", err, exitNotMeasured)
	}
	if err := look(false); !errors.As(err, &exit) || exit.status != exitNotMeasured {
		t.Errorf("nothing valid: %v, want exit status %d", err, exitNotMeasured)
	}
}
