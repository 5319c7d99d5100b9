package report

import "io"

// Table prints a table of text, for what is not a run: one heading per column, rows of as many
// cells, wrapped to 100 columns as everything else here.
func Table(w io.Writer, headings []string, rows [][]string) error {
	t := &table{}
	for _, h := range headings {
		t.columns = append(t.columns, column{head: h})
	}
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, c := range row {
			cells[i] = clean(c)
		}
		t.add(cells...)
	}
	return t.text(w)
}
