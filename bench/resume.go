package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"

	"reuseport-bench/bench/internal/plan"
	"reuseport-bench/results"
	"reuseport-bench/results/command"
	"reuseport-bench/scenarios"
	"reuseport-bench/scenarios/vocabulary"
)

// planAgain makes the plan of the run to resume. The stored run determines the scenarios and their
// settings. Names and flags on the command line may repeat these but not change them.
func (f *runFlags) planAgain(names []string, m plan.Machine, o plan.Options) (*plan.Plan, error) {
	run, err := results.LoadUnfinished(f.resume)
	if err != nil {
		return nil, err
	}
	fail := func(err error) (*plan.Plan, error) {
		return nil, fmt.Errorf("--resume %s: %w", quoted(f.resume), err)
	}
	all, err := scenariosOf(run, names)
	if err != nil {
		return fail(err)
	}
	if !f.budgetSet {
		o.AutoBudget = 0 // use the stored run's budget
	}
	if o.Only, err = f.labels(all, m); err != nil {
		return fail(err)
	}
	o.Resume = run
	p, err := plan.New(all, run.Seed, m, o)
	if err != nil {
		return fail(err)
	}
	if differ := f.differences(p, all, o.Only); len(differ) > 0 {
		return fail(fmt.Errorf("%s; a run goes on as it began: %s", strings.Join(differ, "; "),
			command.Line("run", "--resume", f.resume)))
	}
	return p, nil
}

// scenariosOf loads the scenarios of a run, in the run's order. It loads a scenario from the file
// that names gives for it, if any.
func scenariosOf(run *results.Run, names []string) (all []*scenarios.Scenario, err error) {
	given, err := loadScenarios(names)
	if err != nil {
		return nil, err
	}
	named := map[string]*scenarios.Scenario{}
	for _, s := range given {
		named[s.Name] = s
	}
	for _, stored := range run.Scenarios {
		s := named[stored.Name]
		if s == nil {
			if s, err = scenarioOf(stored); err != nil {
				return nil, err
			}
		}
		all = append(all, s)
	}
	want := slices.Sorted(slices.Values(scenarioNames(run)))
	if have := slices.Sorted(maps.Keys(named)); len(have) > 0 && !slices.Equal(have, want) {
		return nil, fmt.Errorf("it is a run of %s, not of %s; leave the names out",
			strings.Join(want, ", "), strings.Join(have, ", "))
	}
	return all, nil
}

// scenarioOf loads a scenario of a stored run again: the embedded scenario if the run used it,
// otherwise the file that the run used.
func scenarioOf(stored *results.Scenario) (*scenarios.Scenario, error) {
	var embedded *scenarios.Scenario
	if name := vocabulary.ScenarioName(stored.Name); slices.Contains(scenarios.Names(), name) {
		var err error
		embedded, err = scenarios.Load(name)
		if err != nil || embedded.SHA256 == stored.SHA256 {
			return embedded, err
		}
	}
	s, err := scenarios.Load(cmp.Or(stored.File, stored.Name))
	switch {
	case err == nil && (embedded == nil || s.SHA256 == stored.SHA256):
		return s, nil
	case embedded != nil:
		return embedded, nil // the run used another version of the scenario; the plan says so
	}
	from := "a file"
	if stored.File != "" {
		from = quoted(stored.File)
	}
	why := err.Error()
	if errors.Is(err, fs.ErrNotExist) || stored.File == "" {
		why = "it is not there now"
	}
	return nil, fmt.Errorf("scenario %q was read from %s: %s; name the file after the directory",
		stored.Name, from, why)
}

// differences lists the flags that contradict the run.
func (f *runFlags) differences(
	p *plan.Plan, all []*scenarios.Scenario, only scenarios.Labels,
) (differ []string) {
	say := func(format string, args ...any) {
		differ = append(differ, fmt.Sprintf(format, args...))
	}
	for _, s := range p.Scenarios {
		began := strconv.Itoa(s.Blocks())
		if len(s.Looks) > 0 {
			began = trialsAuto
		}
		if f.trials != "" && f.trials != began {
			say("--trials %s, and %s was begun with %s", f.trials, s.Spec.Name, began)
		}
		if f.budgetSet && began != trialsAuto {
			say("--budget, and %s was begun without --trials auto", s.Spec.Name)
		}
	}
	if len(only) > 0 {
		asked, err := plan.New(all, p.Seed, p.Machine, plan.Options{Only: only})
		if err != nil || !slices.EqualFunc(asked.Scenarios, p.Scenarios, sameVariants) {
			say("--only %s, and it was begun with other variants", only)
		}
	}
	return differ
}

func sameVariants(a, b *plan.Scenario) bool {
	same := func(v, w *plan.Variant) bool { return v.Labels.Equal(w.Labels) }
	return a.Spec == b.Spec && slices.EqualFunc(a.Variants, b.Variants, same)
}
