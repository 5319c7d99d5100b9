package report

import (
	"fmt"
	"io"

	"reuseport-bench/results"
	"reuseport-bench/results/report/document"
)

// Options says which parts of a run to print, and how. The zero value prints the whole run for a
// file.
type Options struct {
	// Scenarios are the names of the scenarios to print. Empty means all scenarios.
	Scenarios []string
	// Width is the width of text in columns; see document.Look. 0 means document.DefaultWidth.
	Width int
	// Colour prints verdicts in colour, and intervals and notes in dim text.
	Colour bool
	// Path is the run's path as the user gave it. Brief prints it in commands. "" means the newest
	// run.
	Path string
	// Page is the path of the run's HTML page, or "" if there is none.
	Page string
}

func (o Options) look() document.Look { return document.Look{Width: o.Width, Colour: o.Colour} }

// Select returns the scenarios in the run that o selects. An unknown name is an error.
func (o Options) Select(run *results.Run) ([]*results.Scenario, error) {
	if len(o.Scenarios) == 0 {
		return run.Scenarios, nil
	}
	var out []*results.Scenario
	for _, name := range o.Scenarios {
		s := run.Scenario(name)
		if s == nil {
			return nil, fmt.Errorf("scenario %q is not in this run; it has %s",
				name, scenarioList(run))
		}
		out = append(out, s)
	}
	return out, nil
}

// Text prints the whole report of the run for a terminal. Brief prints one screen.
func Text(w io.Writer, run *results.Run, opts Options) error {
	d, err := runDocument(run, opts)
	if err != nil {
		return err
	}
	return d.Text(w, opts.look())
}

// Markdown prints the run in GitHub's Markdown, for documents and pull requests.
func Markdown(w io.Writer, run *results.Run, opts Options) error {
	d, err := runDocument(run, opts)
	if err != nil {
		return err
	}
	return d.Markdown(w)
}

// HTML prints the run as one page with charts. The page needs no other files and no scripts.
func HTML(w io.Writer, run *results.Run, opts Options) error {
	d, err := pageDocument(run, opts)
	if err != nil {
		return err
	}
	return d.HTML(w)
}

// JSON prints the run in the form of run.json.
func JSON(w io.Writer, run *results.Run, opts Options) error {
	scenarios, err := opts.Select(run)
	if err != nil {
		return err
	}
	selected := *run
	selected.Scenarios = scenarios
	return results.EncodeJSON(w, &selected)
}
