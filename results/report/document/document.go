// Package document prints headings, paragraphs, lists and tables: as text for terminals, as
// GitHub's Markdown, as one HTML page. It does not know what they say.
package document

import (
	"strings"
	"unicode"
)

// A Document is what every format for people prints; the formats differ in the marks around it.
type Document struct {
	blocks []block
}

// A block is one of heading, paragraph, list and *Table.
type block any

type heading struct {
	level int // 1 to 3
	text  string
}

type paragraph string

// lead is a paragraph that introduces the next block.
type lead string

// list is a bullet list.
type list []string

// A Table's first column names the row; it is repeated when the table must be split.
type Table struct {
	Caption string // a line above the table; "": none
	Columns []Column
	Rows    [][]string
	Ruled   bool // a rule between rows: for rows of many lines
	Plain   bool // as text without heads and rules: a list whose items have columns
	Unnoted bool // no notes, whatever Note is given

	notes notes
}

// A Column of a table: its head, which may have several lines.
type Column struct {
	Head  string
	Right bool // numbers
	// Tone returns the tone in which a cell is printed, where text has colours. Nil: none has one.
	Tone func(cell string) Tone
}

// A Tone is how good the news in a cell is.
type Tone int

// The tones.
const (
	Neutral Tone = iota
	Good
	Bad
	Open // neither, or not known
)

// Left is a column of text, aligned to the left.
func Left(head string) Column { return Column{Head: Clean(head)} }

// Toned returns the column with cells printed in the tone that tone returns for them.
func (c Column) Toned(tone func(cell string) Tone) Column {
	c.Tone = tone
	return c
}

// Right is a column of numbers, aligned to the right.
func Right(head string) Column { return Column{Head: Clean(head), Right: true} }

// Heading adds a heading of a level, 1 to 3.
func (d *Document) Heading(level int, text string) {
	d.blocks = append(d.blocks, heading{level, Clean(text)})
}

// Paragraph adds a paragraph; it may have several lines.
func (d *Document) Paragraph(text string) { d.blocks = append(d.blocks, paragraph(Clean(text))) }

// Lead adds a paragraph that introduces the next block. As text there is no blank line between the
// two.
func (d *Document) Lead(text string) { d.blocks = append(d.blocks, lead(Clean(text))) }

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
		d.blocks = append(d.blocks, t)
	}
}

// Add appends a row; a cell may have several lines.
func (t *Table) Add(cells ...string) {
	t.Rows = append(t.Rows, CleanAll(cells))
}

// Clean makes what came from a file safe to print: control characters, which could move a
// terminal's cursor, become "�"; tabs become spaces.
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

// CleanAll returns what Clean makes of each string.
func CleanAll(all []string) []string {
	cleaned := make([]string, len(all))
	for i, s := range all {
		cleaned[i] = Clean(s)
	}
	return cleaned
}

// Empty reports whether nothing was added.
func (d *Document) Empty() bool { return len(d.blocks) == 0 }
