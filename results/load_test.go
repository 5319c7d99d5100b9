package results

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// startedIn returns finished runs, one that started at each of these minutes.
func startedIn(minutes ...int) (runs []*Run) {
	for _, m := range minutes {
		r := newRun()
		r.StartedAt = startedAt().Add(time.Duration(m) * time.Minute)
		r.FinishedAt = new(r.StartedAt.Add(time.Minute))
		runs = append(runs, r)
	}
	return runs
}

func saveRun(t *testing.T, dir string, run *Run) {
	t.Helper()
	s, err := Create(dir, run)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Finish(run); err != nil {
		t.Fatal(err)
	}
}

func TestLoadAll(t *testing.T) {
	dir := t.TempDir()
	// The order of the names differs from the order of the times.
	for i, run := range startedIn(2, 0, 1) {
		saveRun(t, filepath.Join(dir, fmt.Sprintf("block-%d", i)), run)
	}
	if err := os.MkdirAll(filepath.Join(dir, "log"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "notes.txt"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	runs, err := LoadAll(dir)
	if err != nil {
		t.Fatal(err)
	}
	var minutes []int
	for _, r := range runs {
		minutes = append(minutes, int(r.StartedAt.Sub(startedAt()).Minutes()))
	}
	if diff := cmp.Diff([]int{0, 1, 2}, minutes); diff != "" {
		t.Errorf("minutes (-want +got):\n%s", diff)
	}
	one := filepath.Join(dir, "block-0")
	for _, path := range []string{one, filepath.Join(one, RunFile)} {
		if runs, err := LoadAll(path); err != nil || len(runs) != 1 {
			t.Errorf("%s: %d runs, %v", path, len(runs), err)
		}
	}
}

func TestLoadAllErrors(t *testing.T) {
	empty := t.TempDir()
	_, err := LoadAll(empty)
	wantError(t, err, "no run in "+empty, "reuseport-bench run")
	if !errors.Is(err, ErrNoRun) {
		t.Errorf("got %v, want ErrNoRun", err)
	}
	_, err = LoadAll(filepath.Join(empty, "nothing"))
	wantError(t, err, "no run at "+filepath.Join(empty, "nothing"))

	// A damaged run is an error; it is not skipped.
	dir := t.TempDir()
	for i, run := range startedIn(0, 1) {
		saveRun(t, filepath.Join(dir, fmt.Sprint(i)), run)
	}
	file := filepath.Join(dir, "1", RunFile)
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, content[:len(content)/2], 0o666); err != nil {
		t.Fatal(err)
	}
	_, err = LoadAll(dir)
	wantError(t, err, file+":", "cut off")
}

// Older runs label the A/A arm differently. Load replaces that label with today's, in run.json and
// in trials.jsonl, so that old and new runs can be compared.
func TestLoadRenamesTheControlArm(t *testing.T) {
	old := func() map[string]string { return map[string]string{"stop": "close", LabelArm: "again"} }
	run := newRun()
	s := run.Scenarios[0]
	s.Baseline = map[string]string{"stop": "close"}
	s.Variants = []*Variant{{Labels: map[string]string{"stop": "close"}}, {Labels: old()}}
	s.Gates = []GateResult{{Labels: old()}}
	dir := t.TempDir()
	store, err := Create(dir, run)
	if err != nil {
		t.Fatal(err)
	}
	appendTrial(t, store, old(), restartTrial(1))
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	read, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	got := read.Scenarios[0]
	if v := got.ControlArm(); v == nil || v.Labels[LabelArm] != ArmControl || len(v.Trials) != 1 {
		t.Errorf("A/A arm %+v, want one with a trial and %s=%s", v, LabelArm, ArmControl)
	}
	if arm := got.Gates[0].Labels[LabelArm]; arm != ArmControl {
		t.Errorf("the gate's labels have %s=%s", LabelArm, arm)
	}
	if b := got.BaselineVariant(); b == nil || b.IsAA() {
		t.Errorf("baseline %+v", b)
	}
}
