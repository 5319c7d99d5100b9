package trial

import (
	"testing"

	"reuseport-bench/bench/internal/ledger"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers"
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

// TestClosings checks that only a restart whose trigger is known has a Closing. Without a trigger,
// the Closing would cover everything before it.
func TestClosings(t *testing.T) {
	unknown, known := &step{closed: 20}, &step{trigger: 30, closed: 40}
	unknown.Do, known.Do = vocabulary.StepRestart, vocabulary.StepRestart
	s := &stage{
		group: &servers.Group{}, book: &ledger.Book{},
		timeline: &timeline{steps: []*step{unknown, known}},
	}
	if all := s.closings(); len(all) != 1 || all[0].From != 30 || all[0].To != 40 {
		t.Errorf("closings %+v, want one, from 30 to 40", all)
	}
}
