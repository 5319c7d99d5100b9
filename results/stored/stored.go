// Package stored reads stored runs, and adds what older versions of the program did not store.
package stored

import (
	"strings"

	"reuseport-bench/results"
	"reuseport-bench/results/compare"
	"reuseport-bench/results/summary"
	"reuseport-bench/scenarios/vocabulary"
)

// Load reads a run as results.Load does. It computes missing summaries, and adds what an older
// version did not store.
func Load(path string) (*results.Run, error) {
	run, err := results.Load(path)
	if err != nil {
		return nil, err
	}
	refresh(run)
	return run, nil
}

// refresh brings an older run up to date: it renames scenarios, and adds metrics, warnings and
// verdicts that the program that wrote the run did not have. Stored figures stay, even if this
// program would compute different ones.
func refresh(r *results.Run) {
	for _, s := range r.Scenarios {
		rename(s)
		for _, v := range s.Variants {
			written := v.Summary
			summary.Fill(v)
			for metric, was := range written {
				now, known := v.Summary[metric]
				if known && now.Method == was.Method && now.Center == was.Center && now.N == was.N {
					was.Warnings = now.Warnings
				}
				was.TooFew = now.TooFew
				v.Summary[metric] = was
			}
		}
		for _, d := range s.AA {
			compare.GiveVerdict(d)
		}
	}
}

// rename gives a built-in scenario its current name. A scenario from a user's own file keeps its
// name.
func rename(s *results.Scenario) {
	if strings.HasSuffix(s.File, "scenarios/"+s.Name+".yaml") {
		s.Name = vocabulary.ScenarioName(s.Name)
	}
}

// LoadAll reads runs as results.LoadAll does, and refreshes them as Load does.
func LoadAll(path string) ([]*results.Run, error) {
	all, err := results.LoadAll(path)
	for _, run := range all {
		refresh(run)
	}
	return all, err
}
