// Package stored reads stored runs, with what this program knows beyond the one that wrote them.
package stored

import (
	"reuseport-bench/results"
	"reuseport-bench/results/compare"
	"reuseport-bench/results/summary"
)

// Load reads a run, see results.Load, computes the summaries that it lacks, and adds what an older
// program did not know.
func Load(path string) (*results.Run, error) {
	run, err := results.Load(path)
	if err != nil {
		return nil, err
	}
	refresh(run)
	return run, nil
}

// refresh gives a run that an older program wrote what this one knows besides: metrics, what there
// is to say about a figure, verdicts. The figures stay as they were written, also those that were
// computed in another way.
func refresh(r *results.Run) {
	for _, s := range r.Scenarios {
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

// LoadAll is results.LoadAll of runs as Load returns them.
func LoadAll(path string) ([]*results.Run, error) {
	all, err := results.LoadAll(path)
	for _, run := range all {
		refresh(run)
	}
	return all, err
}
