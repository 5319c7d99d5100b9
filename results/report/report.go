package report

import (
	"fmt"
	"io"

	"reuseport-bench/results"
)

// Options says what of a run to print. The zero value prints everything.
type Options struct {
	// Scenarios are the names of those to print. Empty: all.
	Scenarios []string
}

// scenarios are those of the run that o selects; an unknown name is an error.
func (o Options) scenarios(run *results.Run) ([]*results.Scenario, error) {
	if len(o.Scenarios) == 0 {
		return run.Scenarios, nil
	}
	var out []*results.Scenario
	for _, name := range o.Scenarios {
		s := run.Scenario(name)
		if s == nil {
			return nil, fmt.Errorf("scenario %q is not in this run; it has %s", name, names(run))
		}
		out = append(out, s)
	}
	return out, nil
}

// JSON prints the run as run.json has it.
func JSON(w io.Writer, run *results.Run, opts Options) error {
	scenarios, err := opts.scenarios(run)
	if err != nil {
		return err
	}
	selected := *run
	selected.Scenarios = scenarios
	return results.EncodeJSON(w, &selected)
}
