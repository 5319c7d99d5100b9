package document

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/pkg/twwidth"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"
)

// Only this file uses tablewriter. The library aligns, pads and draws; this file wraps and splits,
// because the library's own wrapping gives every column the same share of the width, truncates
// words that are wider than their column, and cannot print a table whose columns do not fit.

// Between is the space between two columns of a table.
const Between = 2

// narrow returns the smallest width to which a column is narrowed by breaking words. If columns
// would have to be narrower, the table is split instead. Two columns of this width fit beside each
// other.
func narrow(width int) int { return min(24, (width-Between)/2) }

// DisplayWidth returns the number of terminal columns that s takes, without its escape sequences.
// It does not depend on the locale. It measures as tablewriter does.
func DisplayWidth(s string) int {
	return twwidth.WidthWithOptions(s, twwidth.Options{EastAsianWidth: false})
}

// text prints the caption, the table in lines of at most look.Width columns, and the notes. It
// splits the table if necessary.
func (t *Table) text(w io.Writer, look Look) error {
	if t.Caption != "" {
		if err := writeLines(w, look.Width, t.Caption); err != nil {
			return err
		}
	}
	for i, part := range t.split(look.Width) {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if look.Colour {
			part.colour()
		}
		if err := part.render(w); err != nil {
			return err
		}
	}
	var below strings.Builder
	for i, note := range t.notes.texts() {
		marked := mark(i) + " "
		indent := strings.Repeat(" ", DisplayWidth(marked))
		if err := writeWrapped(&below, look.Width, note, marked, indent); err != nil {
			return err
		}
	}
	notes := below.String()
	if look.Colour {
		notes = coloured(dim, strings.TrimSuffix(notes, "\n")) +
			notes[len(strings.TrimSuffix(notes, "\n")):]
	}
	_, err := io.WriteString(w, notes)
	return err
}

// colour puts escape sequences around verdicts and intervals.
func (t *Table) colour() {
	for _, row := range t.Rows {
		for i, c := range t.Columns {
			switch {
			case c.Tone != nil:
				row[i] = coloured(colours[c.Tone(row[i])], row[i])
			case c.Right:
				row[i] = dimIntervals(row[i])
			}
		}
	}
}

// split divides the table's columns into parts that fit into width. Before it splits the table, it
// tries to make it fit by wrapping cells.
func (t *Table) split(width int) []*Table {
	widths := t.widths()
	if shrunk, ok := t.shrink(widths, width); ok {
		return []*Table{t.wrapped(shrunk)}
	}
	// Limit each column to half of the width, so that it fits beside the first column, which is in
	// every part. A narrow first column leaves room for more columns, so there are fewer parts.
	widest := (width - Between) / 2
	widths[0] = min(widths[0], max(narrow(width), t.longestWord(0)), widest)
	for i, c := range t.Columns {
		if !c.Right {
			widths[i] = min(widths[i], max(narrow(width), width/3))
		}
		widths[i] = min(widths[i], widest)
	}
	wrapped := t.wrapped(widths)
	widths = wrapped.widths()
	var parts []*Table
	for first := 1; first < len(t.Columns); {
		last, total := first, widths[0]
		for last < len(t.Columns) && (last == first || total+Between+widths[last] <= width) {
			total += Between + widths[last]
			last++
		}
		parts = append(parts, wrapped.part(first, last))
		first = last
	}
	return parts
}

// part returns a table with the first column and columns first to last−1.
func (t *Table) part(first, last int) *Table {
	p := &Table{Ruled: t.Ruled, Plain: t.Plain}
	p.Columns = append([]Column{t.Columns[0]}, t.Columns[first:last]...)
	for _, row := range t.Rows {
		p.Rows = append(p.Rows, append([]string{row[0]}, row[first:last]...))
	}
	return p
}

// widths returns the widths of the columns if no cell is wrapped. An empty column has width 1, as
// tablewriter draws it.
func (t *Table) widths() []int {
	widths := make([]int, len(t.Columns))
	for i, c := range t.Columns {
		widths[i] = max(blockWidth(c.Head), 1)
		for _, row := range t.Rows {
			widths[i] = max(widths[i], blockWidth(row[i]))
		}
	}
	return widths
}

// blockWidth returns the width of the widest line of s.
func blockWidth(s string) int {
	widest := 0
	for line := range strings.Lines(s) {
		widest = max(widest, DisplayWidth(strings.TrimSuffix(line, "\n")))
	}
	return widest
}

// shrink narrows text columns, always the widest one, until all columns fit into width. It returns
// false if they cannot fit.
func (t *Table) shrink(widths []int, width int) ([]int, bool) {
	out := append([]int(nil), widths...)
	least := make([]int, len(out))
	for i := range least {
		least[i] = min(t.longestWord(i), narrow(width))
	}
	for {
		total := Between * (len(out) - 1)
		victim := -1
		for i, w := range out {
			total += w
			if !t.Columns[i].Right && w > least[i] && (victim < 0 || w > out[victim]) {
				victim = i
			}
		}
		switch {
		case total <= width:
			return out, true
		case victim < 0:
			return nil, false
		}
		out[victim]--
	}
}

// longestWord returns the width that column i needs if no word is broken.
func (t *Table) longestWord(i int) int {
	words := strings.Fields(t.Columns[i].Head)
	for _, row := range t.Rows {
		words = append(words, strings.Fields(row[i])...)
	}
	longest := 0
	for _, word := range words {
		longest = max(longest, DisplayWidth(word))
	}
	return longest
}

// wrapped returns the table with every cell wrapped to its column's width.
func (t *Table) wrapped(widths []int) *Table {
	out := &Table{Columns: slices.Clone(t.Columns), Ruled: t.Ruled, Plain: t.Plain}
	for i := range out.Columns {
		out.Columns[i].Head = wrap(out.Columns[i].Head, widths[i])
	}
	for _, row := range t.Rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = wrap(cell, widths[i])
		}
		out.Rows = append(out.Rows, cells)
	}
	return out
}

// render prints a table that fits into the width.
func (t *Table) render(w io.Writer) error {
	rules := tw.Off
	if t.Ruled {
		rules = tw.On
	}
	look := renderer.NewBlueprint(tw.Rendition{
		Borders: tw.BorderNone,
		Symbols: tw.NewSymbolCustom("rules only").WithRow("─").
			WithColumn(strings.Repeat(" ", Between)).WithCenter(strings.Repeat("─", Between)),
		Settings: tw.Settings{Separators: tw.Separators{BetweenRows: rules}},
	})
	out, err := t.draw(look, tw.CellConfig{Padding: tw.CellPadding{Global: tw.PaddingNone}})
	if err != nil {
		return err
	}
	for line := range strings.Lines(out) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// markdown prints the table as GitHub's Markdown, at any width.
func (t *Table) markdown(w io.Writer) error {
	headed := *t
	headed.Plain = false // in Markdown every table has a header row
	out, err := headed.draw(renderer.NewMarkdown(), tw.CellConfig{
		Padding: tw.CellPadding{Global: tw.PaddingDefault},
		Filter:  tw.CellFilter{Global: escapeCells},
	})
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, out)
	return err
}

// draw returns the table as the renderer draws it, with this configuration of cells. It turns off
// three defaults of tablewriter: rewriting headers ("p50" to "P 50"), trimming cells, and measuring
// by the locale. It returns a string because tablewriter ignores write errors.
func (t *Table) draw(look tw.Renderer, cells tw.CellConfig) (string, error) {
	heads := make([]string, len(t.Columns))
	aligns := make([]tw.Align, len(t.Columns))
	for i, c := range t.Columns {
		heads[i], aligns[i] = c.Head, tw.AlignLeft
		if c.Right {
			aligns[i] = tw.AlignRight
		}
	}
	cells.Formatting.AutoFormat = tw.Off
	cells.Alignment.PerColumn = aligns
	var out strings.Builder
	writer := tablewriter.NewTable(&out,
		tablewriter.WithRenderer(look),
		tablewriter.WithHeaderConfig(cells),
		tablewriter.WithRowConfig(cells),
		tablewriter.WithBehavior(tw.Behavior{TrimSpace: tw.Off, TrimTab: tw.Off, TrimLine: tw.Off}),
		tablewriter.WithEastAsian(tw.Off))
	if !t.Plain {
		writer.Header(heads)
	}
	if err := writer.Bulk(t.Rows); err != nil {
		return "", fmt.Errorf("table: %w", err)
	}
	if err := writer.Render(); err != nil {
		return "", fmt.Errorf("table: %w", err)
	}
	return out.String(), nil
}

// wrap breaks s into lines of at most width columns, between words if possible.
func wrap(s string, width int) string {
	var out []string
	for _, line := range strings.Split(s, "\n") {
		out = append(out, wrapLine(line, width)...)
	}
	return strings.Join(out, "\n")
}

func wrapLine(line string, width int) []string {
	if DisplayWidth(line) <= width {
		return []string{line}
	}
	var lines []string
	current := ""
	for _, word := range strings.Fields(line) {
		if current != "" && DisplayWidth(current)+1+DisplayWidth(word) <= width {
			current += " " + word
			continue
		}
		if current != "" {
			lines = append(lines, current)
		}
		for DisplayWidth(word) > width {
			var head string
			head, word = cut(word, width)
			lines = append(lines, head)
		}
		current = word
	}
	if current != "" {
		lines = append(lines, current)
	}
	return lines
}

// cut splits word after as many whole characters as fit into width, but at least one. If the second
// half of these has a hyphen or a similar character, it splits after the last such character.
func cut(word string, width int) (head, rest string) {
	at := 0
	for i, r := range word {
		if i > 0 && DisplayWidth(word[:i+len(string(r))]) > width {
			break
		}
		at = i + len(string(r))
	}
	if i := strings.LastIndexAny(word[:at], "-/_=.,:+"); DisplayWidth(word[:i+1]) > width/2 {
		at = i + 1
	}
	return word[:at], word[at:]
}

// Shorten returns s as one line of at most width columns. If s is longer, it cuts off the end.
func Shorten(s string, width int) string {
	s = strings.ReplaceAll(Clean(s), "\n", " ")
	if DisplayWidth(s) <= width {
		return s
	}
	at := 0
	for i := range s {
		if DisplayWidth(s[:i]) >= width {
			break
		}
		at = i
	}
	return s[:at] + "…"
}

// writeWrapped prints text in lines of at most width columns. The first line begins with prefix,
// the others with indent.
func writeWrapped(w io.Writer, width int, text, prefix, indent string) error {
	room := max(1, width-max(DisplayWidth(prefix), DisplayWidth(indent)))
	for line := range strings.SplitSeq(wrap(text, room), "\n") {
		if _, err := fmt.Fprintln(w, strings.TrimRight(prefix+line, " ")); err != nil {
			return err
		}
		prefix = indent
	}
	return nil
}

// Fold prints text in lines of at most width columns, without tabs and control characters. It
// continues a line that is too long on the next line, indented by four more columns. If the line is
// a comment, so is its continuation.
func Fold(w io.Writer, width int, text string) error {
	width = columns(width)
	for line := range strings.Lines(Clean(text)) {
		line = strings.TrimSuffix(line, "\n")
		if DisplayWidth(line) <= width {
			if _, err := fmt.Fprintln(w, line); err != nil {
				return err
			}
			continue
		}
		rest := strings.TrimLeft(line, "# ")
		prefix := strings.TrimSuffix(line, rest)
		if DisplayWidth(prefix) > width/2 { // indented too far, or not a comment
			prefix, rest = "", line
		}
		if err := writeWrapped(w, width, rest, prefix, prefix+"    "); err != nil {
			return err
		}
	}
	return nil
}

// WriteTable prints a table as text, in lines of at most width columns. Each row has as many cells
// as there are headings.
func WriteTable(w io.Writer, width int, headings []string, rows [][]string) error {
	width = columns(width)
	t := &Table{}
	for _, h := range headings {
		t.Columns = append(t.Columns, Left(h))
	}
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, c := range row {
			cells[i] = Clean(c)
		}
		t.Add(cells...)
	}
	return t.text(w, Look{Width: width})
}
