package report

import (
	"slices"
	"strings"
	"unicode"
)

// A document is what every human-readable format prints; only the marks around it differ.
type document struct {
	blocks []block
}

// A block is one of heading, paragraph, list and *table.
type block any

type heading struct {
	level int // 1 to 3
	text  string
}

type paragraph string

// list is a bullet list.
type list []string

// A table's first column names the row; it is repeated when the table must be split.
type table struct {
	columns []column
	rows    [][]string
	notes   []string // notes[i] is marked by mark(i+1)
	ruled   bool     // a rule between rows: for rows of many lines
}

type column struct {
	head  string
	right bool // numbers
}

func (d *document) heading(level int, text string) {
	d.blocks = append(d.blocks, heading{level, clean(text)})
}
func (d *document) paragraph(text string) { d.blocks = append(d.blocks, paragraph(clean(text))) }

func (d *document) list(items []string) {
	if len(items) == 0 {
		return
	}
	cleaned := make(list, len(items))
	for i, item := range items {
		cleaned[i] = clean(item)
	}
	d.blocks = append(d.blocks, cleaned)
}

// table adds t unless it is empty.
func (d *document) table(t *table) {
	if len(t.rows) > 0 {
		d.blocks = append(d.blocks, t)
	}
}

// add appends a row; a cell may have several lines.
func (t *table) add(cells ...string) {
	row := make([]string, len(cells))
	for i, cell := range cells {
		row[i] = clean(cell)
	}
	t.rows = append(t.rows, row)
}

// note returns the marks of the notes with these texts, adding those that are new.
func (t *table) note(texts ...string) string {
	var marks []string
	for _, text := range texts {
		text = clean(text)
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

// clean makes what came from a file safe to print: control characters, which could move a
// terminal's cursor, become "�"; tabs become spaces.
func clean(s string) string {
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
