// Package document prints headings, paragraphs, lists and tables: as text for terminals, as
// GitHub's Markdown, or as one HTML page. It knows nothing of their content.
package document

import (
	"strings"
	"unicode"
)

// A Document is what every format for people prints. The formats differ only in their markup.
type Document struct {
	blocks []block
}

// A block is a heading, a paragraph, a lead, a list or a *Table.
type block any

type heading struct {
	level int // 1 to 3
	text  string
}

// paragraph is text of one or more lines. A leading one introduces the next block.
type paragraph struct {
	text    string
	leading bool
}

// list is a bullet list.
type list []string

// A Table is a table whose first column names the rows. If the table must be split, each part has
// the first column.
type Table struct {
	Caption string // a line above the table; "": none
	Columns []Column
	Rows    [][]string
	Ruled   bool // with a rule between rows, for rows of several lines
	Plain   bool // as text without header row and rules: a list whose items have columns
	Unnoted bool // without notes: Note has no effect

	notes notes
}

// A Column is a column of a table. Its head may have several lines.
type Column struct {
	Head  string
	Right bool // holds numbers, aligned to the right
	// Tone returns the tone in which a cell is printed if text has colours. Nil: the cells have no
	// tone.
	Tone func(cell string) Tone
}

// A Tone says how good the news in a cell is.
type Tone int

// The tones.
const (
	Neutral Tone = iota
	Good
	Bad
	Open // neither, or not known
)

// Left returns a column of text, aligned to the left.
func Left(head string) Column { return Column{Head: Clean(head)} }

// Toned returns the column with cells printed in the tone that tone returns for each.
func (c Column) Toned(tone func(cell string) Tone) Column {
	c.Tone = tone
	return c
}

// Right returns a column of numbers, aligned to the right.
func Right(head string) Column { return Column{Head: Clean(head), Right: true} }

// Heading adds a heading. Its level is 1 to 3.
func (d *Document) Heading(level int, text string) {
	d.blocks = append(d.blocks, heading{level, Clean(text)})
}

// Paragraph adds a paragraph. The text may have several lines.
func (d *Document) Paragraph(text string) {
	d.blocks = append(d.blocks, paragraph{text: Clean(text)})
}

// Lead adds a paragraph that introduces the next block. In text no blank line separates the two.
func (d *Document) Lead(text string) {
	d.blocks = append(d.blocks, paragraph{text: Clean(text), leading: true})
}

// List adds a bullet list, unless it is empty.
func (d *Document) List(items []string) {
	if len(items) == 0 {
		return
	}
	d.blocks = append(d.blocks, list(CleanAll(items)))
}

// Table adds t unless it is empty.
func (d *Document) Table(t *Table) {
	if len(t.Rows) > 0 {
		t.Caption = Clean(t.Caption)
		d.blocks = append(d.blocks, t)
	}
}

// Add appends a row. A cell may have several lines.
func (t *Table) Add(cells ...string) {
	t.Rows = append(t.Rows, CleanAll(cells))
}

// Clean makes a string from a file safe to print. It replaces control characters, which could move
// a terminal's cursor, by "�", and tabs by spaces.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// CleanAll returns the strings, each after Clean.
func CleanAll(all []string) []string {
	cleaned := make([]string, len(all))
	for i, s := range all {
		cleaned[i] = Clean(s)
	}
	return cleaned
}

// Empty reports whether nothing was added to the document.
func (d *Document) Empty() bool { return len(d.blocks) == 0 }
