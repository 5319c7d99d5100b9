package worker

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers"
)

// TestEverySelectorAttachment checks that attachments has every selector that is not an eBPF
// program.
func TestEverySelectorAttachment(t *testing.T) {
	var want []vocabulary.Selector
	for _, s := range vocabulary.Selectors() {
		if !s.BPF {
			want = append(want, s.Name)
		}
	}
	slices.Sort(want)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(attachments)), want); diff != "" {
		t.Errorf("attachments (-got +want):\n%s", diff)
	}
}

// TestEveryDistribution checks that every distribution except the fixed one varies service times.
func TestEveryDistribution(t *testing.T) {
	for _, d := range vocabulary.Distributions() {
		w := newWorks(servers.Work{
			Sleep: time.Millisecond, Distribution: d.Name, Slow: time.Second, SlowShare: 0.5,
		}, 1, 0, 0)
		times := map[time.Duration]bool{}
		for range 100 {
			times[w.next()] = true
		}
		if spreads := len(times) > 1; spreads == (d.Name == vocabulary.DistributionFixed) {
			t.Errorf("%s: %d different service times", d.Name, len(times))
		}
	}
}
