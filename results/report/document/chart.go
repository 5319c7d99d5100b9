package document

import (
	"fmt"
	"io"

	"reuseport-bench/results/report/chart"
)

// A Chart is a drawing with a sentence that says what to see, and the table of its figures. Text
// prints the sentence and the table.
type Chart struct {
	Name     string // the name of the chart's file and of its anchor; unique in the document
	Sentence string
	Drawing  chart.Drawing
	Table    *Table // nil: no table
}

// Chart adds c, unless its drawing is empty.
func (d *Document) Chart(c *Chart) {
	if c.Drawing.Empty() {
		return
	}
	c.Name = slug(c.Name) // it becomes the name of a file
	c.Sentence, c.Drawing.Title = Clean(c.Sentence), Clean(c.Drawing.Title)
	if c.Table != nil {
		c.Table.Caption = Clean(c.Table.Caption)
	}
	d.blocks = append(d.blocks, c)
}

// Charts returns the document's charts.
func (d *Document) Charts() []*Chart {
	var all []*Chart
	for _, b := range d.blocks {
		if c, ok := b.(*Chart); ok {
			all = append(all, c)
		}
	}
	return all
}

// File is the name of the file that Markdown expects the chart's Drawing.File in.
func (c *Chart) File() string { return c.Name + ".svg" }

// tabled reports whether the chart has a table with rows.
func (c *Chart) tabled() bool { return c.Table != nil && len(c.Table.Rows) > 0 }

func (c *Chart) text(w io.Writer, look Look) error {
	if err := writeLines(w, look.Width, c.Sentence); err != nil || !c.tabled() {
		return err
	}
	return c.Table.text(w, look)
}

// markdown prints the sentence, an image if there is a directory of images, and the table.
func (c *Chart) markdown(w io.Writer, images string) error {
	_, err := fmt.Fprintln(w, EscapeMarkdown(c.Sentence))
	if err == nil && images != "" {
		_, err = fmt.Fprintf(w, "\n![%s](<%s/%s>)\n", EscapeMarkdown(c.Drawing.Title), images,
			c.File())
	}
	if err != nil || !c.tabled() {
		return err
	}
	fmt.Fprintln(w)
	return markdownTable(w, c.Table)
}
