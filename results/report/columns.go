package report

import (
	"slices"
	"strings"
)

// A Column is a column of the tables of figures.
type Column struct {
	Head    string   // as printed, but in one line and without the unit
	Metrics []string // what it shows in any table; empty: the head is a term
}

// Columns returns every column of the tables of figures, in the order of a report.
func Columns() []Column {
	var all []Column
	for _, c := range slices.Concat(
		restartLossColumns, closedColumns, []figureColumn{neverSentColumn}, switchColumns,
		steadyLossColumns, searchColumns, coldStartColumns, serviceColumns, podColumns,
		sharingColumns, roundTripColumns, retryColumns, responseColumns, spreadColumns,
		workColumns, waitColumns, costColumns,
	) {
		head := oneLine(c.head)
		i := slices.IndexFunc(all, func(c Column) bool { return c.Head == head })
		if i < 0 {
			i, all = len(all), append(all, Column{Head: head})
		}
		if c.metric != "" && !slices.Contains(all[i].Metrics, c.metric) {
			all[i].Metrics = append(all[i].Metrics, c.metric)
		}
	}
	return all
}

// oneLine returns a column's head in one line, without the unit in brackets.
func oneLine(head string) string {
	head, _, _ = strings.Cut(head, " [")
	return strings.ReplaceAll(head, "\n", " ")
}
