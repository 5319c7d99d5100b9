// Package formats prints runs for programs: CSV for data frames, the Go benchmark format for
// benchstat, JUnit XML for CI systems.
package formats

import (
	"encoding/csv"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"reuseport-bench/results"
	"reuseport-bench/results/metrics"
	"reuseport-bench/results/report"
	"reuseport-bench/results/report/document"
)

// CSV prints one row per trial, valid or not, for spreadsheets and data frames. The first columns
// are the scenario, one "label.…" per label of any variant, block and order. Then come validity,
// counts, one "lost_by_cause.…" per cause that occurred, and the figures of metrics.Figures. A
// field is empty if the trial lacks the figure.
func CSV(w io.Writer, run *results.Run, opts report.Options) error {
	scenarios, err := opts.Select(run)
	if err != nil {
		return err
	}
	c := newCSVColumns(scenarios)
	out := csv.NewWriter(w)
	if err := out.Write(document.CleanAll(c.head())); err != nil {
		return err
	}
	for _, s := range scenarios {
		for _, v := range s.Variants {
			for _, t := range v.Trials {
				if err := out.Write(document.CleanAll(c.row(s, v, t))); err != nil {
					return err
				}
			}
		}
	}
	out.Flush()
	return out.Error()
}

// csvColumns are the columns that depend on the run.
type csvColumns struct {
	labels, causes, figures []string
}

func newCSVColumns(scenarios []*results.Scenario) csvColumns {
	labels, causes, figures := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, s := range scenarios {
		for _, v := range s.Variants {
			for label := range v.Labels {
				labels[label] = true
			}
			for _, t := range v.Trials {
				for cause := range t.LostByCause {
					causes[cause] = true
				}
				for metric := range metrics.Figures(t) {
					figures[metric] = true
				}
			}
		}
	}
	sorted := func(set map[string]bool) []string { return slices.Sorted(maps.Keys(set)) }
	return csvColumns{sorted(labels), sorted(causes), sorted(figures)}
}

func (c csvColumns) head() []string {
	head := []string{"scenario"}
	for _, label := range c.labels {
		head = append(head, "label."+label)
	}
	head = append(head, "block", "order", "valid", "invalid_reasons",
		"attempts", "served", "lost", "dropped", "never_sent", "residual", "restarts",
		"lost_sent_after_close", "syn_retransmits")
	for _, cause := range c.causes {
		head = append(head, "lost_by_cause."+cause)
	}
	return append(head, c.figures...)
}

// unsent returns the number of attempts that the load never reached, or nil if it is unknown.
func unsent(t *results.Trial) *int64 {
	n, ok := t.Unsent()
	if !ok {
		return nil
	}
	return &n
}

func (c csvColumns) row(s *results.Scenario, v *results.Variant, t *results.Trial) []string {
	integer := func(n int64) string { return strconv.FormatInt(n, 10) }
	optional := func(n *int64) string {
		if n == nil {
			return ""
		}
		return integer(*n)
	}
	row := []string{s.Name}
	for _, label := range c.labels {
		row = append(row, v.Labels[label])
	}
	row = append(row, strconv.Itoa(t.Block), strconv.Itoa(t.Order),
		strconv.FormatBool(t.Usable()), strings.Join(t.Reasons(), "; "),
		integer(t.Attempts), integer(t.Served), integer(t.Lost), integer(t.Dropped),
		optional(unsent(t)), integer(t.Residual), strconv.Itoa(len(t.Restarts())),
		optional(t.LostSentAfterClose), optional(t.SYNRetransmits))
	for _, cause := range c.causes {
		row = append(row, integer(t.LostByCause[cause]))
	}
	figures := metrics.Figures(t)
	for _, metric := range c.figures {
		cell := ""
		if value, ok := figures[metric]; ok {
			cell = strconv.FormatFloat(value, 'f', -1, 64)
		}
		row = append(row, cell)
	}
	return row
}
