// Package report prints runs: as text for terminals, Markdown for design documents, HTML for
// browsers, JSON for programs, job summaries and annotations for GitHub Actions; and comparisons of
// runs. Package formats has the other formats for programs.
//
// The rules of output:
//
//   - Text lines have at most 100 columns, whatever the run holds. A table that does not fit wraps its
//     first column, then continues as a second table with the same first column.
//   - One scale per column, its unit in the header: "p99 [ms]".
//   - An interval stands in brackets after its figure: "0.42 [0.31, 0.57]", at 95 % or the next
//     level above that so few trials allow. No brackets: too few trials, and a note says so.
//   - "≤ 3/80" in a column of losses: none in 80 restarts; see stats.Rate.
//   - "–" means that the variant has no such figure. "~" is kept for "no significant difference".
//   - What qualifies a figure is a numbered note under its table, the mark beside the figure.
//   - Invalid trials are counted and their reasons listed; they are in no figure.
//   - In the table of a comparison, which has three figures a row, "± 8 %" stands instead of the brackets of two of them: how far the
//     farther end of the interval is, as benchstat prints it.
//   - Skipped variants are listed with the reason.
package report
