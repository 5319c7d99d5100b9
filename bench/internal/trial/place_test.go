package trial

import (
	"os"
	"slices"
	"testing"
	"time"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/bench/internal/plan"
)

// All threads of this process are confined while it is settled, and only then; where they ran is
// read back.
func TestSettle(t *testing.T) {
	cpus, err := kernel.UsableCPUs()
	if err != nil {
		t.Fatal(err)
	}
	mine := cpus[len(cpus)-1:]
	s := &stage{plan: &plan.Plan{Machine: plan.Machine{CPUs: cpus}, CPUs: plan.Placement{Harness: mine}}}
	back, err := s.settle()
	if err != nil {
		t.Fatal(err)
	}
	wantPlaces(t, "settled", mine)
	busy := make(chan struct{})
	go func() {
		defer close(busy)
		for end := time.Now().Add(5 * time.Millisecond); time.Now().Before(end); {
		}
	}()
	<-busy
	if err := back(); err != nil {
		t.Fatal(err)
	}
	wantPlaces(t, "and back", cpus)
	if th := s.seen.threads; th == nil || th.N == 0 || !slices.Equal(th.Ran, mine) || !slices.Equal(th.Allowed, mine) {
		t.Errorf("threads %+v, want all on %v", th, mine)
	}
}

func wantPlaces(t *testing.T, when string, cpus []int) {
	t.Helper()
	places, err := kernel.Places(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for thread, place := range places {
		if !slices.Equal(place.Allowed, cpus) {
			t.Errorf("%s: thread %d may run on %v, want %v", when, thread, place.Allowed, cpus)
		}
	}
}
