package document

import (
	_ "embed"
	"html/template"
	"io"
	"strconv"
)

//go:embed page.html
var pageTemplate string

// HTML prints the document as one page that needs no other files and no scripts.
func (d *Document) HTML(w io.Writer) error {
	page, err := template.New("page").Funcs(template.FuncMap{"mark": mark}).Parse(pageTemplate)
	if err != nil {
		return err
	}
	var blocks []htmlBlock
	for _, b := range d.blocks {
		blocks = append(blocks, newHTMLBlock(b))
	}
	return page.Execute(w, blocks)
}

// An htmlBlock is a block for the HTML template. Exactly one of its fields is set.
type htmlBlock struct {
	H1, H2, H3, Paragraph string
	List                  []string
	Table                 *htmlTable
}

type htmlTable struct {
	Caption string
	Heads   []htmlCell
	Rows    [][]htmlCell
	Notes   []string
}

type htmlCell struct {
	Text  string
	Right bool
}

func newHTMLBlock(b block) htmlBlock {
	switch b := b.(type) {
	case heading:
		switch b.level {
		case 1:
			return htmlBlock{H1: b.text}
		case 2:
			return htmlBlock{H2: b.text}
		}
		return htmlBlock{H3: b.text}
	case paragraph:
		return htmlBlock{Paragraph: b.text}
	case list:
		return htmlBlock{List: b}
	case *Table:
		return htmlBlock{Table: b.html()}
	}
	panic("document: unknown block " + strconv.Quote(template.HTMLEscaper(b)))
}

func (t *Table) html() *htmlTable {
	out := &htmlTable{Caption: t.Caption, Notes: t.notes.texts()}
	for _, c := range t.Columns {
		out.Heads = append(out.Heads, htmlCell{c.Head, c.Right})
	}
	for _, row := range t.Rows {
		cells := make([]htmlCell, len(row))
		for i, cell := range row {
			cells[i] = htmlCell{cell, t.Columns[i].Right}
		}
		out.Rows = append(out.Rows, cells)
	}
	return out
}
