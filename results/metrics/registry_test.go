package metrics

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/results"
	"reuseport-bench/results/resultstest"
	"reuseport-bench/results/unit"
)

// A compared metric has a threshold. Rates are compared by difference, because they are often 0.
// Names are unique.
func TestRegistry(t *testing.T) {
	names, benches := map[string]bool{}, map[string]bool{}
	for _, m := range All() {
		if names[m.Name] || m.Bench != "" && benches[m.Bench] {
			t.Errorf("%s, %q: duplicate name", m.Name, m.Bench)
		}
		names[m.Name], benches[m.Bench] = true, true
		if m.Doc == "" {
			t.Errorf("%s: no Doc", m.Name)
		}
		if m.Compared() && (m.Threshold <= 0 || m.Better == "") {
			t.Errorf("%s: compared, better %q and threshold %v", m.Name, m.Better, m.Threshold)
		}
		if m.Tally != nil && (m.Pool != nil || m.Scale != results.ScaleDifference) {
			t.Errorf("%s counts events, but has one value per trial, or no difference", m.Name)
		}
		if timed := strings.HasSuffix(m.Name, "_ns"); timed != (m.Unit == unit.Nanoseconds) {
			t.Errorf("%s: in unit %d", m.Name, m.Unit)
		}
	}
	if _, ok := Find("of_a_newer_program"); ok {
		t.Error("Find found an unknown metric")
	}
}

// In all trials of the runs in the repository, every value of a metric lies in its range.
func TestRanges(t *testing.T) {
	files, err := filepath.Glob("../baseline/*/run.json.gz")
	if err != nil || len(files) == 0 {
		t.Fatalf("no runs: %v", err)
	}
	negative := map[string]bool{}
	for _, file := range files {
		run, err := results.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range run.Scenarios {
			for _, v := range s.Variants {
				for i, trial := range v.Trials {
					for _, m := range All() {
						lo, hi := m.Range()
						x, ok := m.Of(trial)
						if ok && !(lo <= x && x <= hi) {
							t.Errorf("%s: trial %d of %s: %s is %v, not within %v to %v", file, i,
								results.LabelString(v.Labels), m.Name, x, lo, hi)
						}
						negative[m.Name] = negative[m.Name] || x < 0
					}
				}
			}
		}
	}
	for _, name := range []string{PodReady, Wait} {
		if !negative[name] {
			t.Errorf("%s was never negative; is there a reason for Signed?", name)
		}
	}
}

func TestGatingMetrics(t *testing.T) {
	search := &results.Trial{Valid: true, Search: &results.Search{PerSecond: 1}}
	found := &results.Trial{Valid: true, Search: &results.Search{Setting: "server.backlog"}}
	tests := []struct {
		name   string
		trials []*results.Trial
		want   []string
	}{
		{"search", []*results.Trial{search}, []string{HighestRate}},
		{
			"search for a setting", []*results.Trial{found},
			[]string{LeastDuration, LeastNumber, GreatestDuration, GreatestNumber},
		},
		{
			"restarts", []*results.Trial{resultstest.RestartTrial(0)},
			[]string{DroppedPerRestart, Gap, "response_p50_ns", "response_p99_ns"},
		},
		{
			"steady", []*results.Trial{resultstest.RestartTrial()},
			[]string{DroppedPerAttempt, "response_p50_ns", "response_p99_ns", ServersCPUPerAttempt},
		},
	}
	for _, test := range tests {
		got := Gating(test.trials)
		if diff := cmp.Diff(test.want, got); diff != "" || len(got) > MaxGating {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}
