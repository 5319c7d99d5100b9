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
	{Head: "source", Doc: "The client's address and port of the connection of a lost attempt."},
	{Head: "phase: error", Doc: "The phase in which a lost attempt failed, and the error that " +
		"its client got."},
	{Head: "server", Doc: "The servers' record of an attempt."},
	{Head: "from", Doc: "The start of a part (window) of a trial, counted from the first " +
		"scheduled attempt."},
	{Head: "overflows", Doc: "The number of connections that the kernel refused in a window " +
		"because an accept queue was full."},
	{Head: "migrations", Doc: "The number of connections that the kernel moved in a window from " +
		"the accept queue of a closing listener to another queue."},
	{Head: "the kernel's counter", Doc: "A counter of the kernel that must agree with the ledger."},
	{Head: "kernel", Doc: "The increase of the kernel's counter during the trials."},
	{Head: "what the ledger counted", Doc: "The attempts in the ledger that the kernel's " +
		"counter should also count."},
	{Head: "difference", Doc: "The kernel's count minus the ledger's count."},
	{Head: "client", Doc: "The client's record of an attempt."},
	{Head: "cause, inferred", Doc: "The cause that the ledger inferred without the kernel's " +
		"events."},
	{Head: "by the kernel's word", Doc: "The cause according to the kernel's events."},
	{Head: "base", Doc: "The figure of the base run, with which the head run is compared."},
	{Head: "head", Doc: "The figure of the head run, which is judged: compare BASE HEAD."},
	{Head: "change", Doc: "The difference between head and base, in percent or in the metric's " +
		"unit, with its interval."},
	{Head: "p", Doc: "The p value of the change, adjusted by Holm's method for everything that " +
		"the scenario compares."},
	{Head: "n", Doc: "The number of trials, or pairs of trials, from which the change was " +
		"computed."},
	{Head: "outcome", Doc: "The meaning of a change. = means that base and head are the same, " +
		"and ? that the interval is too wide to tell. ? +N means that about N more trials of " +
		"each would tell."},
	{Head: "metric", Doc: "The figure that is compared, and its unit."},
	{Head: "variant, metric", Doc: "A variant, and below it the figures that are compared, with " +
		"their units."},
	{Head: "expected", Doc: "The expectation of a gate, as in the scenario file."},
	{Head: "figures", Doc: "The figures that decided a gate."},
	{Head: "verdict", Doc: "The verdict on a claim: holds, fails, conditional or not tested."},
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
