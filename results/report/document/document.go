// Package document prints headings, paragraphs, lists, tables and charts: as text for terminals, as
// GitHub's Markdown, or as one HTML page. It knows nothing of their content.
package document

import (
	"strings"
	"unicode"
)

// A Document is the content that every format for people prints. The formats differ only in their
// markup.
type Document struct {
	// Images is the directory in which Markdown finds the files of the charts. If it is "", the
	// Markdown has no images.
	Images string

	blocks []block
}

// A block is a heading, a paragraph, a list, a *Table, a *Chart, code, or an end of a fold.
type block any

type heading struct {
	level int // 1 to 3
	text  string
}

// paragraph is text of one or more lines. If it is a lead, it introduces the next block.
type paragraph struct {
	text    string
	leading bool
}

// fold is the summary of a part that is folded away, and foldEnd is its end.
type (
	fold    string
	foldEnd struct{}
)

// code is text that is printed as it is.
type code string

// list is a bullet list. If it is pointed, each item begins with its point, in bold.
type list struct {
	items   []string
	pointed bool
}

// A Table is a table whose first column names the rows. If the table must be split, each part has
// the first column.
type Table struct {
	Caption string // a line above the table; "": no line
	Columns []Column
	Rows    [][]string
	Ruled   bool // text has a rule between rows, for rows of several lines
	Plain   bool // text has no header row and no rules: a list whose items have columns
	Unnoted bool // the table has no notes: Note has no effect

	notes notes
}

// A Column is a column of a table. Its head may have several lines.
type Column struct {
	Head  string
	Right bool // the column holds numbers, aligned to the right
	// About explains the head. HTML shows it while the pointer is on the head.
	About string
	// Tone returns the tone in which a cell is printed if the text has colours. If Tone is nil,
	// cells have no tone.
	Tone func(cell string) Tone
}

// A Tone says how good or bad a cell's content is. It decides the colour.
type Tone int

// The tones.
const (
	Neutral Tone = iota
	Good
	Bad
	Open // neither good nor bad, or not known
)

// Left returns a column of text, aligned to the left.
func Left(head string) Column { return Column{Head: Clean(head)} }

// Toned returns a copy of the column in which each cell has the tone that the function returns for
// it.
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

// Lead adds a paragraph that introduces the next block. In text, no blank line separates the
// paragraph from the block.
func (d *Document) Lead(text string) {
	d.blocks = append(d.blocks, paragraph{text: Clean(text), leading: true})
}

// List adds a bullet list, unless it is empty.
func (d *Document) List(items []string) { d.list(items, false) }

// Points is like List. In HTML and Markdown, each item is bold up to its first colon.
func (d *Document) Points(items []string) { d.list(items, true) }

func (d *Document) list(items []string, pointed bool) {
	if len(items) > 0 {
		d.blocks = append(d.blocks, list{CleanAll(items), pointed})
	}
}

// cut returns the point of an item and the text after it.
func (l list) cut(item string) (point, text string) {
	before, after, ok := strings.Cut(item, ": ")
	if !ok || !l.pointed {
		return "", item
	}
	return before + ":", " " + after
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
// a terminal's cursor, with "�", and tabs with spaces.
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

// CleanAll returns the strings, with Clean applied to each.
func CleanAll(all []string) []string {
	cleaned := make([]string, len(all))
	for i, s := range all {
		cleaned[i] = Clean(s)
	}
	return cleaned
}

// Fold begins a part of the document that HTML and Markdown fold away under a summary. In text the
// part is not folded. EndFold ends it.
func (d *Document) Fold(summary string) { d.blocks = append(d.blocks, fold(Clean(summary))) }

// EndFold ends the part that Fold began.
func (d *Document) EndFold() { d.blocks = append(d.blocks, foldEnd{}) }

// Code adds text that is printed as it is, in lines.
func (d *Document) Code(text string) { d.blocks = append(d.blocks, code(Clean(text))) }

// Empty reports whether nothing was added to the document.
func (d *Document) Empty() bool { return len(d.blocks) == 0 }
