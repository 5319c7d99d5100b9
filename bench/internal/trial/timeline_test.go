package trial

import (
	"testing"

	"reuseport-bench/scenarios/vocabulary"
)

// Each table of actions has exactly the steps that the vocabulary has for its servers.
func TestActions(t *testing.T) {
	for _, k := range vocabulary.StepKinds() {
		if own := k.Plain || k.Pods; own != (actions[k.Name] != nil) {
			t.Errorf("step %s is for workers of this program: %t; implemented: %t", k.Name, own,
				!own)
		}
		if k.Command != (commandActions[k.Name] != nil) {
			t.Errorf("step %s is for third-party servers: %t; implemented: %t", k.Name, k.Command,
				!k.Command)
		}
	}
}
