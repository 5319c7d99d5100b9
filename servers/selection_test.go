package servers

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/scenarios/vocabulary"
)

// TestEverySelectorProgram checks that programs has a program for every selector that the
// vocabulary calls an eBPF program.
func TestEverySelectorProgram(t *testing.T) {
	var want []vocabulary.Selector
	for _, s := range vocabulary.Selectors() {
		if s.BPF {
			want = append(want, s.Name)
		}
	}
	slices.Sort(want)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(programs)), want); diff != "" {
		t.Errorf("programs (-got +want):\n%s", diff)
	}
}
