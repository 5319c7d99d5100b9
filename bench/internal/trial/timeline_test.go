package trial

import (
	"testing"

	"reuseport-bench/scenarios/vocabulary"
)

// TestActions checks that actions has exactly the steps of the vocabulary.
func TestActions(t *testing.T) {
	known := map[vocabulary.StepName]bool{}
	for _, k := range vocabulary.StepKinds() {
		if known[k.Name] = true; actions[k.Name] == nil {
			t.Errorf("step %s is not implemented", k.Name)
		}
	}
	for name := range actions {
		if !known[name] {
			t.Errorf("%q is implemented, and not a step of the vocabulary", name)
		}
	}
}
