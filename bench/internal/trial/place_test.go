package trial

import (
	"os"
	"slices"
	"testing"
	"time"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/bench/internal/plan"
)

// TestPrepareHarness checks that prepareHarness confines all threads of this process, and that the
// returned function undoes this and records where the threads ran.
func TestPrepareHarness(t *testing.T) {
	cpus, err := kernel.UsableCPUs()
	if err != nil {
		t.Fatal(err)
	}
	mine := cpus[len(cpus)-1:]
	s := &stage{plan: &plan.Plan{
		Machine: plan.Machine{CPUs: cpus}, CPUs: plan.Placement{Harness: mine},
	}}
	restore, err := s.prepareHarness()
	if err != nil {
		t.Fatal(err)
	}
	wantPlaces(t, "prepared", mine)
	busy := make(chan struct{})
	go func() {
		defer close(busy)
		for end := time.Now().Add(5 * time.Millisecond); time.Now().Before(end); {
		}
	}()
	<-busy
	if err := restore(); err != nil {
		t.Fatal(err)
	}
	wantPlaces(t, "restored", cpus)
	th := s.seen.threads
	if th == nil || th.N == 0 || !slices.Equal(th.Ran, mine) || !slices.Equal(th.Allowed, mine) {
		t.Errorf("got threads %+v, want all on %v", th, mine)
	}
}

// wantPlaces checks that all threads of this process may run on cpus.
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
