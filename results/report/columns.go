package report

import (
	"slices"
	"strings"
)

// A Column is a column of the tables of reports.
type Column struct {
	Head    string   // in the form that OneLine returns
	Metrics []string // metrics that it shows in any table; none: Head is a term or Doc is set
	Doc     string   // what it shows, if neither a metric nor a term
}

// otherColumns are the columns that show neither a metric nor a term. Lists of losses are first,
// then tables of the ledger, comparisons, gates and claims.
var otherColumns = []Column{
	{Head: "took", Doc: "The time from when a lost attempt was due to its end."},
	{Head: "source", Doc: "The client's address and port of a lost attempt's connection."},
	{Head: "phase: error", Doc: "The phase in which a lost attempt failed, and the error that " +
		"its client got."},
	{Head: "server", Doc: "What the servers' side recorded about an attempt."},
	{Head: "from", Doc: "The start of a window of a trial, from the first scheduled attempt."},
	{Head: "overflows", Doc: "How many connections the kernel refused in a window because an " +
		"accept queue was full."},
	{Head: "migrations", Doc: "How many connections the kernel moved in a window from the accept " +
		"queue of a closing listener to another."},
	{Head: "the kernel's counter", Doc: "A counter of the kernel that must count the same as " +
		"the ledger."},
	{Head: "kernel", Doc: "How much the kernel's counter rose during the trials."},
	{Head: "what the ledger counted", Doc: "The attempts that the kernel's counter should count, " +
		"too."},
	{Head: "difference", Doc: "The kernel's count minus the ledger's."},
	{Head: "client", Doc: "What the client recorded about an attempt."},
	{Head: "cause, inferred", Doc: "The cause that the ledger inferred without the kernel's " +
		"events."},
	{Head: "by the kernel's word", Doc: "The cause according to the kernel's events."},
	{Head: "base", Doc: "The figure of the run that the other run is compared with."},
	{Head: "head", Doc: "The figure of the run that is judged: compare BASE HEAD."},
	{Head: "change", Doc: "How much head differs from base, in percent or in the metric's unit, " +
		"with its interval."},
	{Head: "p", Doc: "The p value of the change, adjusted by Holm's method for everything that " +
		"the scenario compares."},
	{Head: "n", Doc: "The number of trials, or pairs of trials, that the change was computed " +
		"from."},
	{Head: "outcome", Doc: "What a change means. = is the same, and ? is an interval too wide " +
		"to tell. ? +N: about N more trials of each would tell."},
	{Head: "metric", Doc: "The figure that is compared, and its unit."},
	{Head: "variant, metric", Doc: "A variant, and below it the figures that are compared, with " +
		"their units."},
	{Head: "expected", Doc: "The expectation of a gate, as in the scenario file."},
	{Head: "figures", Doc: "The figures by which a gate was decided."},
	{Head: "verdict", Doc: "How a claim came out: holds, fails, conditional or not tested."},
	{Head: "what it says, and what decides it here", Doc: "The sentence of a claim, and the " +
		"figures of this run that decide it."},
}

// Columns returns every column of the tables of reports. Columns of figures come first, in the
// order of a report.
func Columns() []Column {
	var all []Column
	for _, c := range slices.Concat(
		restartLossColumns, closedColumns, []figureColumn{neverSentColumn}, switchColumns,
		steadyLossColumns, searchColumns, coldStartColumns, serviceColumns, podColumns,
		sharingColumns, roundTripColumns, retryColumns, responseColumns, spreadColumns,
		workColumns, waitColumns, costColumns, ratioColumns,
		briefRestartColumns, briefStepColumns, briefSteadyColumns,
	) {
		head := OneLine(c.head)
		i := slices.IndexFunc(all, func(c Column) bool { return c.Head == head })
		if i < 0 {
			i, all = len(all), append(all, Column{Head: head})
		}
		if c.metric != "" && !slices.Contains(all[i].Metrics, c.metric) {
			all[i].Metrics = append(all[i].Metrics, c.metric)
		}
	}
	return append(all, otherColumns...)
}

// OneLine returns a column's head in one line, without the unit or confidence in brackets.
func OneLine(head string) string {
	head, _, _ = strings.Cut(strings.ReplaceAll(head, "\n", " "), " [")
	return head
}
