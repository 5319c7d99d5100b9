package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/bench/internal/plan"
	"reuseport-bench/results"
)

const ownScenario = `
name: my-restart
about: A file of one's own.
load: {rate: 50/s, duration: 500ms}
matrix: [{sockets: [shared, reuseport]}]
trials: 3
`

// begun starts a run with these flags and scenario names, but runs no trial. It returns the plan
// and the run directory.
func begun(t *testing.T, f runFlags, names ...string) (*plan.Plan, string) {
	t.Helper()
	p, err := f.plan(names, nil)
	if err != nil {
		t.Fatal(err)
	}
	run := &results.Run{SchemaVersion: results.SchemaVersion, Seed: p.Seed}
	for _, sp := range p.Scenarios {
		s := &results.Scenario{
			Name: sp.Spec.Name, SHA256: sp.Spec.SHA256, File: sp.Spec.File, MinValid: sp.MinValid,
			Trials: sp.Blocks(), Looks: sp.Looks, BudgetNS: int64(sp.Budget),
		}
		for _, v := range sp.Variants {
			s.Variants = append(s.Variants, &results.Variant{Labels: v.Labels})
		}
		run.Scenarios = append(run.Scenarios, s)
	}
	dir := filepath.Join(t.TempDir(), "a run")
	store, err := results.Create(dir, run)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	return p, dir
}

func TestResume(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "my.yaml", ownScenario)
	two, quick := runFlags{trials: "2"}, runFlags{quick: true}
	only := runFlags{only: []string{"stop=drain"}}
	auto := runFlags{trials: trialsAuto, budget: time.Hour, budgetSet: true}
	for name, test := range map[string]struct {
		began runFlags
		names []string
		again runFlags // the flags beside --resume, which may repeat those of the run
	}{
		"default suite":    {},
		"numbers differ":   {names: []string{"scale", "steady"}},
		"own file":         {names: []string{"my.yaml"}},
		"fewer trials":     {began: two, names: []string{"steady"}, again: two},
		"quick":            {began: quick, names: []string{"restart-matrix", "steady"}},
		"only":             {began: only, names: []string{"restart-matrix"}, again: only},
		"auto":             {began: auto, names: []string{"ci-restart"}},
		"auto, said again": {began: auto, names: []string{"ci-restart"}, again: auto},
	} {
		t.Run(name, func(t *testing.T) {
			began, dir := begun(t, test.began, test.names...)
			for _, names := range [][]string{nil, test.names} {
				f := test.again
				f.resume = dir
				again, err := f.plan(names, nil)
				if err != nil {
					t.Fatalf("%q: %v", names, err)
				}
				if diff := cmp.Diff(planText(t, began), planText(t, again)); diff != "" {
					t.Errorf("%q: (-began +again)\n%s", names, diff)
				}
			}
		})
	}
}

// If flags or names differ from those of the run, --resume is refused. The error names the command
// that continues the run.
func TestResumeDiffers(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "my.yaml", ownScenario)
	const goOn = "reuseport-bench run --resume '" // the directory has a space in its name
	for name, test := range map[string]struct {
		began runFlags
		of    string
		again runFlags
		names []string
		want  []string
	}{
		"other scenario": {
			of: "steady", names: []string{"roll"},
			want: []string{"a run of steady, not of roll"},
		},
		"more scenarios": {
			of: "steady", names: []string{"steady", "roll"},
			want: []string{"not of roll, steady"},
		},
		"trials": {
			of: "steady", again: runFlags{trials: "3"},
			want: []string{"--trials 3, and steady was begun with", goOn},
		},
		"auto": {
			of: "ci-restart", again: runFlags{trials: trialsAuto},
			want: []string{"--trials auto, and ci-restart was begun with 12", goOn},
		},
		"budget": {
			of: "steady", again: runFlags{budget: 1, budgetSet: true},
			want: []string{"begun without --trials auto", goOn},
		},
		"only": {
			of: "steady", again: runFlags{only: []string{"sockets=shared"}},
			want: []string{"--only sockets=shared, and it was begun with other variants", goOn},
		},
		"file is gone": {
			of:   "my.yaml",
			want: []string{"my.yaml", "name the file", `"my-restart"`},
		},
		"file is not there": {of: "my.yaml", names: []string{"no.yaml"}, want: []string{"no.yaml"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, dir := begun(t, test.began, test.of)
			if test.of == "my.yaml" {
				defer write(t, "my.yaml", ownScenario)
				if err := os.Remove("my.yaml"); err != nil {
					t.Fatal(err)
				}
			}
			f := test.again
			f.resume = dir
			_, err := f.plan(test.names, nil)
			if err == nil {
				t.Fatal("taken")
			}
			for _, want := range append(test.want, dir) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v; want %q", err, want)
				}
			}
		})
	}
	_, dir := begun(t, runFlags{}, "my.yaml")
	write(t, "my.yaml", ownScenario+"workers: 3\n")
	_, err := (&runFlags{resume: dir}).plan(nil, nil)
	if err == nil || !strings.Contains(err.Error(), "is not what it was") {
		t.Errorf("an edited file: %v", err)
	}
	write(t, "moved.yaml", ownScenario)
	if _, err := (&runFlags{resume: dir}).plan([]string{"moved.yaml"}, nil); err != nil {
		t.Errorf("the file of the run, elsewhere: %v", err)
	}
}

func planText(t *testing.T, p *plan.Plan) string {
	t.Helper()
	var b strings.Builder
	if err := p.Describe(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}
