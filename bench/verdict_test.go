package main

import (
	"errors"
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
