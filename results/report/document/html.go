package document

import (
	_ "embed"
	"html/template"
	"io"
	"strconv"
	"strings"
	"unicode"

	"reuseport-bench/results/report/chart"
)

//go:embed page.html
var pageTemplate string

// HTML prints the document as one page that needs no other files and no scripts.
func (d *Document) HTML(w io.Writer) error {
	page, err := template.New("page").Funcs(template.FuncMap{"mark": mark, "style": d.style}).
		Parse(pageTemplate)
	if err != nil {
		return err
	}
	var blocks []htmlBlock
	taken := map[string]int{}
	for _, b := range d.blocks {
		block := newHTMLBlock(b)
		if h, ok := b.(heading); ok {
			block.ID = slug(h.text)
			if taken[block.ID]++; taken[block.ID] > 1 {
				block.ID += "-" + strconv.Itoa(taken[block.ID])
			}
		}
		blocks = append(blocks, block)
	}
	return page.Execute(w, blocks)
}

// An htmlBlock is a block for the HTML template. Exactly one of its fields is set.
type htmlBlock struct {
	H1, H2, H3, Paragraph string
	ID                    string // of a heading
	Fold, Code            string
	FoldEnd               bool
	List                  []htmlItem
	Table                 *htmlTable
	Chart                 *htmlChart
}

// An htmlItem is an item of a list, and its point.
type htmlItem struct{ Point, Text string }

// An htmlChart is a chart that can be opened to its table.
type htmlChart struct {
	Name, Sentence string
	SVG            template.HTML
	Table          *htmlTable
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
	About string // of a head
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
	case fold:
		return htmlBlock{Fold: string(b)}
	case foldEnd:
		return htmlBlock{FoldEnd: true}
	case code:
		return htmlBlock{Code: string(b)}
	case list:
		var items []htmlItem
		for _, item := range b.items {
			point, text := b.cut(item)
			items = append(items, htmlItem{point, text})
		}
		return htmlBlock{List: items}
	case *Table:
		return htmlBlock{Table: b.html()}
	case *Chart:
		return htmlBlock{Chart: b.html()}
	}
	panic("document: unknown block " + strconv.Quote(template.HTMLEscaper(b)))
}

// slug returns the anchor of a heading: its words in lower case, joined by hyphens.
func slug(text string) string {
	words := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
	return strings.Join(words, "-")
}

func (c *Chart) html() *htmlChart {
	// Package chart escapes the text in its drawings.
	out := &htmlChart{Name: c.Name, Sentence: c.Sentence, SVG: template.HTML(c.Drawing.Inline())}
	if c.tabled() {
		out.Table = c.Table.html()
	}
	return out
}

// style returns the style sheet of the document's charts, or "" if it has none.
func (d *Document) style() template.CSS {
	if len(d.Charts()) == 0 {
		return ""
	}
	return template.CSS(chartRules + chart.Style())
}

// chartRules place charts on the page.
const chartRules = `
figure { margin: 1.5em 0; }
figcaption { white-space: pre-line; margin-bottom: .7em; }
figure summary { cursor: pointer; font-size: .87em; }
@media print {
figcaption { break-after: avoid; break-inside: avoid; }
figure > svg { break-inside: avoid; }
}
`

func (t *Table) html() *htmlTable {
	out := &htmlTable{Caption: t.Caption, Notes: t.notes.texts()}
	for _, c := range t.Columns {
		out.Heads = append(out.Heads, htmlCell{c.Head, c.Right, c.About})
	}
	for _, row := range t.Rows {
		cells := make([]htmlCell, len(row))
		for i, cell := range row {
			cells[i] = htmlCell{Text: cell, Right: t.Columns[i].Right}
		}
		out.Rows = append(out.Rows, cells)
	}
	return out
}
