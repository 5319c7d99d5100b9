package stored

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/results"
	"reuseport-bench/results/compare"
	"reuseport-bench/results/metrics"
	"reuseport-bench/results/resultstest"
	"reuseport-bench/results/summary"
)

// A run from an older program gets metrics that are new, and keeps its figures.
func TestNewMetricsOfStoredRuns(t *testing.T) {
	run, err := Load("../baseline/ci")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, s := range run.Scenarios {
		for _, v := range s.Variants {
			for dropped, lost := range map[string]string{
				metrics.DroppedPerAttempt: metrics.LostPerAttempt,
				metrics.DroppedPerRestart: metrics.LostPerRestart,
			} {
				l, known := v.Summary[lost]
				d, ok := v.Summary[dropped]
				if ok != known || d.Center != l.Center || d.N != l.N {
					t.Errorf("%s %s: %s %v of %d, %s %v of %d", s.Name,
						results.LabelString(v.Labels), dropped, d.Center, d.N, lost, l.Center, l.N)
				}
				seen++
			}
		}
	}
	if seen == 0 {
		t.Error("the run has no variants")
	}
	v := &results.Variant{
		Trials:  []*results.Trial{resultstest.RestartTrial(3)},
		Summary: map[string]results.Summary{metrics.LostPerRestart: {Center: 77}},
	}
	refresh(&results.Run{Scenarios: []*results.Scenario{{Variants: []*results.Variant{v}}}})
	lost := v.Summary[metrics.LostPerRestart].Center
	dropped := v.Summary[metrics.DroppedPerRestart].Center
	if lost != 77 || dropped != 3 {
		t.Errorf("lost %v and dropped %v per restart; want the stored 77, and 3", lost, dropped)
	}
}

// A run from an older program keeps its figures, and gets the warnings and metrics that this
// program adds.
func TestLoadRefreshes(t *testing.T) {
	run := resultstest.NewRun()
	run.FinishedAt = new(run.StartedAt.Add(time.Minute))
	trial := resultstest.RestartTrial(0, 0)
	trial.ScheduleLagP99NS, trial.ResponseNS = new(int64(150e6)), &results.Percentiles{P99: 200e6}
	v := run.Scenarios[0].Variants[0]
	v.Trials = []*results.Trial{trial}
	summary.FillRun(run)
	delete(v.Summary, metrics.ScheduleLag)
	lo, hi := 0.1, 0.2
	v.Summary["of_an_older_program"] = results.Summary{Center: 7}
	v.Summary[metrics.LostPerRestart] = results.Summary{
		Center: 0.3, Lo: &lo, Hi: &hi, N: 3, Method: "bootstrap",
	}
	p99 := v.Summary["response_p99_ns"]
	p99.Warnings = []string{"includes schedule lag, p99 1.5e+02 ms"}
	v.Summary["response_p99_ns"] = p99
	change := results.Summary{Center: 0, Lo: new(-1.), Hi: new(1.), N: 8}
	run.Scenarios[0].AA = []*results.Delta{{
		Metric: metrics.Gap, Scale: results.ScaleDifference, Change: change, P: 1, PAdjusted: 1,
		Threshold: 1e6, Outcome: results.DeltaNone,
	}}
	dir := t.TempDir()
	s, err := results.Create(dir, run)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Finish(run); err != nil {
		t.Fatal(err)
	}
	again, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	loaded := again.Scenarios[0]
	got := loaded.Variants[0].Summary
	if got["of_an_older_program"].Center != 7 || got[metrics.ScheduleLag].Center != 150e6 {
		t.Errorf("metrics: got %v", got)
	}
	want := results.Summary{Center: 0.3, Lo: &lo, Hi: &hi, N: 3, Method: "bootstrap", TooFew: true}
	if diff := cmp.Diff(want, got[metrics.LostPerRestart]); diff != "" {
		t.Errorf("a figure that this program computes differently (-want +got):\n%s", diff)
	}
	warnings := strings.Join(got["response_p99_ns"].Warnings, "\n")
	if !strings.Contains(warnings, "p99 150 ms") || strings.Contains(warnings, "e+02") {
		t.Errorf("an unchanged figure has the warnings %q", warnings)
	}
	if v := loaded.AA[0].Verdict; v != results.VerdictSame {
		t.Errorf("the A/A arm has the verdict %q", v)
	}
}

// An older run, which labels the A/A arm differently, can be compared with a new run.
func TestOldRunIsComparedWithNew(t *testing.T) {
	stored := func(arm string, started time.Duration, control int64) []*results.Run {
		run := resultstest.NewRun()
		run.StartedAt = run.StartedAt.Add(started)
		run.FinishedAt = new(run.StartedAt.Add(time.Minute))
		s := run.Scenarios[0]
		s.Trials, s.Baseline = 8, resultstest.CloseLabels()
		s.Variants[1].Labels = resultstest.CloseLabels()
		s.Variants[1].Labels[results.LabelArm] = arm
		for i, v := range s.Variants {
			for block := range s.Trials {
				trial := resultstest.RestartTrial(0)
				trial.Block = block
				trial.ResponseNS.P50 = 1000 + int64(block) + int64(i)*control
				v.Trials = append(v.Trials, trial)
			}
		}
		dir := t.TempDir()
		store, err := results.Create(dir, run)
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Finish(run); err != nil {
			t.Fatal(err)
		}
		all, err := LoadAll(dir)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	today := stored(results.ArmControl, time.Hour, 0)
	for control, void := range map[int64]int{0: 0, 700: 1} {
		options := compare.Options{Metrics: []string{metrics.ResponseP50}}
		c, err := compare.Runs(stored("again", 0, control), today, options)
		if err != nil {
			t.Fatal(err)
		}
		s := c.Scenarios[0]
		if len(s.Variants) != 1 || len(s.Unmeasured)+len(s.Warnings) > 0 {
			t.Errorf("compared %d variants, want the baseline; unmeasured %q, warnings %q",
				len(s.Variants), s.Unmeasured, s.Warnings)
		}
		if len(s.Void) != void {
			t.Errorf("an old A/A arm that is %d ns slower: void %q, want %d", control, s.Void, void)
		}
	}
}

// A run of a scenario that has been renamed is read under the current name. A scenario from a
// user's own file keeps its name.
func TestLoadRenames(t *testing.T) {
	for file, want := range map[string]string{
		"": "rolling-restart", "scenarios/rolling-restart.yaml": "restart",
		"bench/scenarios/rolling-restart.yaml": "restart", "my.yaml": "rolling-restart",
	} {
		s := &results.Scenario{Name: "rolling-restart", File: file}
		run := &results.Run{Scenarios: []*results.Scenario{s}}
		refresh(run)
		if s.Name != want {
			t.Errorf("of file %q: the name is %q, want %q", file, s.Name, want)
		}
		for _, name := range []string{"restart", "rolling-restart"} {
			if run.Scenario(name) != s {
				t.Errorf("of file %q: not found as %q", file, name)
			}
		}
	}
}
