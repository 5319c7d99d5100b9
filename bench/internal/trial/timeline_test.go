package trial

import (
	"testing"

	"reuseport-bench/scenarios/vocabulary"
)

// TestActions checks that each table of actions implements exactly the steps that the vocabulary
// allows for workers of this program and for third-party servers.
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
