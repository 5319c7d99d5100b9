// Package report prints runs: as text for terminals, Markdown for design documents, HTML for
// browsers, JSON for programs, job summaries and annotations for GitHub Actions; and comparisons of
// runs. Package formats has the other formats for programs.
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
//   - An interval stands in brackets after its figure: "0.42 [0.31, 0.57]", at 95 % or the next
//     level above that so few trials allow. No brackets: too few trials, and a note says so.
//   - Where an interval is wide, a figure has two significant digits; else three.
//   - "≤ 3/80" in a column of losses: none in 80 restarts; see stats.Rate.
//   - "–" means that the variant has no such figure. "~" is kept for "no significant difference".
//   - What qualifies a figure is a note under its table, marked by a letter beside the figure.
//     Texts that differ in numbers alone are one note.
//   - Invalid trials are counted and their reasons listed; they are in no figure.
//   - A comparison has three figures in a row. Two of them have "± 8 %" instead of brackets, as
//     benchstat prints it: the distance of the farther end of the interval.
//   - Skipped variants are listed with the reason.
package report
