package scenarios

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Every embedded scenario is in exactly one group, and groups contain no other names.
func TestGroups(t *testing.T) {
	var names []string
	for _, g := range Groups() {
		names = append(names, g.Names...)
	}
	slices.Sort(names)
	if diff := cmp.Diff(names, Names()); diff != "" {
		t.Errorf("in groups (-got +want):\n%s", diff)
	}
}

// A renamed scenario can still be loaded by its former name.
func TestOldNames(t *testing.T) {
	s, err := Load("rolling-restart")
	if err != nil {
		t.Fatal(err)
	}
	if s.Name != "restart" {
		t.Errorf("rolling-restart is %s, want restart", s.Name)
	}
}
