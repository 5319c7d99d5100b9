// Package report prints runs and comparisons of runs: as text for terminals, Markdown for design
// documents, HTML for browsers, JSON for programs, and job summaries and annotations for GitHub
// Actions. Package formats has the other formats for programs.
//
// Brief prints one screen, Text the whole report. Both begin with what the run decided, in
// sentences made from its figures.
//
// The rules of output:
//
//   - Text fits the terminal, whatever the run holds. A table that does not fit wraps its text,
//     then continues as a second table with the same first column.
//   - Variants are called by the labels in which they differ, in the same order in every table.
//   - One scale per column, its unit in the header: "p99 [ms]".
//   - An interval is in brackets after its figure: "0.42 [0.31, 0.57]". Its level is 95 %, or the
//     next higher one that few trials allow. Too few trials have no interval; a note says so.
//   - A figure has two significant digits if its interval is wide, otherwise three.
//   - "≤ 3/80" in a column of losses: none in 80 restarts; see stats.Rate.
//   - "–" means that the variant has no such figure. "~" is kept for "no significant difference".
//   - A note under a table qualifies a figure, and is marked by a letter beside the figure. Texts
//     that differ only in numbers are one note.
//   - Invalid trials are counted, and their reasons listed. No figure includes them.
//   - A comparison has three figures in a row. Two of them have "± 8 %" instead of brackets, like
//     benchstat: the distance to the farther end of the interval.
//   - Skipped variants are listed with the reason.
package report
