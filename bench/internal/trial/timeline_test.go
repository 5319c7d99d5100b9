package trial

import (
	"testing"

	"reuseport-bench/scenarios/vocabulary"
)

// Every step of the vocabulary is implemented, and no other.
func TestActions(t *testing.T) {
	known := map[vocabulary.StepName]bool{}
	for _, k := range vocabulary.StepKinds() {
		if known[k.Name] = true; actions[k.Name] == nil {
			t.Errorf("nothing carries out %s", k.Name)
		}
	}
	for name := range actions {
		if !known[name] {
			t.Errorf("%q is no step", name)
		}
	}
}
