// Package document prints headings, paragraphs, lists and tables: as text for terminals, as
// GitHub's Markdown, as one HTML page. It knows nothing of what they say.
package document

import (
	"slices"
	"strings"
	"unicode"
)

// A Document is what every format for people prints; only the marks around it differ.
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

// list is a bullet list.
type list []string

// A Table's first column names the row; it is repeated when the table must be split.
type Table struct {
	Columns []Column
	Rows    [][]string
	Ruled   bool // a rule between rows: for rows of many lines

	notes []string // notes[i] is marked by mark(i+1)
}

// A Column of a table: its head, which may have several lines.
type Column struct {
	Head  string
	Right bool // numbers
}

// Left is a column of text, aligned to the left.
func Left(head string) Column { return Column{Head: Clean(head)} }

// Right is a column of numbers, aligned to the right.
func Right(head string) Column { return Column{Head: Clean(head), Right: true} }

// Heading adds a heading of a level, 1 to 3.
func (d *Document) Heading(level int, text string) {
	d.blocks = append(d.blocks, heading{level, Clean(text)})
}

// Paragraph adds a paragraph; it may have several lines.
func (d *Document) Paragraph(text string) { d.blocks = append(d.blocks, paragraph(Clean(text))) }

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

// Note returns the marks of the notes with these texts, adding those that are new.
func (t *Table) Note(texts ...string) string {
	var marks []string
	for _, text := range texts {
		text = Clean(text)
		i := slices.Index(t.notes, text)
		if i < 0 {
			i = len(t.notes)
			t.notes = append(t.notes, text)
		}
		marks = append(marks, mark(i+1))
	}
	return strings.Join(marks, "⁺")
}

// mark writes n in superscript digits.
func mark(n int) string {
	const digits = "⁰¹²³⁴⁵⁶⁷⁸⁹"
	superscript := []rune(digits)
	if n < 10 {
		return string(superscript[n])
	}
	return mark(n/10) + string(superscript[n%10])
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
