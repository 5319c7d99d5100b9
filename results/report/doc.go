// Package report prints runs and comparisons of runs: as text for terminals, Markdown for design
// documents, HTML for browsers, JSON for programs, and job summaries and annotations for GitHub
// Actions. Package formats has the other formats for programs.
//
// Brief prints one screen, Text the whole report. Both begin with what the run decided, in
// sentences made from its figures.
//
// The rules of output:
//
//   - Text fits the terminal, whatever the run contains. A table that is too wide wraps its cells.
//     If it is still too wide, it continues as a second table with the same first column.
//   - Variants are named by the labels in which they differ, in the same order in every table.
//   - Each column has one scale, with the unit in the header: "p99 [ms]".
//   - An interval is in brackets after its figure: "0.42 [0.31, 0.57]". Its level is the lowest
//     that the number of trials allows and that is at least 95 %. If there are too few trials for
//     an interval, a note says so.
//   - A figure has two significant digits if its interval is wide, otherwise three.
//   - "≤ 3/80" in a column of losses means that none was lost in 80 restarts; see stats.Rate.
//   - "–" means that the variant has no such figure. "~" is kept for "no significant difference".
//   - A note under a table qualifies a figure. A letter beside the figure refers to the note. Texts
//     that differ only in numbers share one note.
//   - Reports give the number of invalid trials and list the reasons. No figure includes these
//     trials.
//   - A row of a comparison has the figures of base and head, and the change. For base and head it
//     has "± 8 %" instead of an interval, as benchstat has: the distance to the interval's farther
//     end.
//   - Skipped variants are listed with the reason.
package report
