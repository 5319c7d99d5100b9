package report

import (
	"fmt"
	"io"
	"strings"

	pretty "github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// This file alone knows go-pretty. It wraps and splits itself, so that the width holds for any
// content, and leaves alignment and padding to the library. Every process of this program runs the initialisation of what it imports,
// each of 256 workers too: go-pretty's takes a hundredth of the memory that tablewriter's did.

const (
	// maxWidth is the width of text output, in columns.
	maxWidth = 100
	// between is the space between two columns.
	between = 2
	// narrow is the width under which a column is not wrapped within words; the table is split instead.
	narrow = 24
	// widest bounds any column of a split table, so that any one fits beside the first.
	widest = (maxWidth - between) / 2
)

// A report is the same wherever it is printed: the locale does not widen symbols.
func init() { text.OverrideRuneWidthEastAsianWidth(false) }

// displayWidth is how many columns of a terminal s takes.
func displayWidth(s string) int {
	return text.StringWidthWithoutEscSequences(s)
}

// text prints the table, split if it must be, then its notes.
func (t *table) text(w io.Writer) error {
	for i, part := range t.split(maxWidth) {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if err := part.render(w); err != nil {
			return err
		}
	}
	for i, note := range t.notes {
		marked := mark(i+1) + " "
		if err := writeWrapped(w, note, marked, strings.Repeat(" ", displayWidth(marked))); err != nil {
			return err
		}
	}
	return nil
}

// split divides the table's columns so that each part fits into width, wrapping cells first.
func (t *table) split(width int) []*table {
	widths := t.widths()
	if shrunk, ok := t.shrink(widths, width); ok {
		return []*table{t.wrapped(shrunk)}
	}
	// The first column stands in every part, so a narrow one makes fewer parts.
	widths[0] = min(widths[0], max(narrow, t.longestWord(0)), widest)
	for i, c := range t.columns {
		if !c.right {
			widths[i] = min(widths[i], max(narrow, width/3))
		}
		widths[i] = min(widths[i], widest)
	}
	wrapped := t.wrapped(widths)
	widths = wrapped.widths()
	var parts []*table
	for first := 1; first < len(t.columns); {
		last, total := first, widths[0]
		for last < len(t.columns) && (last == first || total+between+widths[last] <= width) {
			total += between + widths[last]
			last++
		}
		parts = append(parts, wrapped.part(first, last))
		first = last
	}
	return parts
}

// part is the table's first column and columns first to last−1.
func (t *table) part(first, last int) *table {
	p := &table{columns: append([]column{t.columns[0]}, t.columns[first:last]...), ruled: t.ruled}
	for _, row := range t.rows {
		p.rows = append(p.rows, append([]string{row[0]}, row[first:last]...))
	}
	return p
}

// widths of the columns as they stand.
func (t *table) widths() []int {
	widths := make([]int, len(t.columns))
	for i, c := range t.columns {
		widths[i] = blockWidth(c.head)
		for _, row := range t.rows {
			widths[i] = max(widths[i], blockWidth(row[i]))
		}
	}
	return widths
}

// blockWidth is the width of the widest line of s.
func blockWidth(s string) int {
	widest := 0
	for line := range strings.Lines(s) {
		widest = max(widest, displayWidth(strings.TrimSuffix(line, "\n")))
	}
	return widest
}

// shrink narrows text columns, widest first, until all fit into width; it reports whether they do.
func (t *table) shrink(widths []int, width int) ([]int, bool) {
	out := append([]int(nil), widths...)
	least := make([]int, len(out))
	for i := range least {
		least[i] = min(t.longestWord(i), narrow)
	}
	for {
		total := between * (len(out) - 1)
		victim := -1
		for i, w := range out {
			total += w
			if !t.columns[i].right && w > least[i] && (victim < 0 || w > out[victim]) {
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

// longestWord is the width that column i needs without breaking words.
func (t *table) longestWord(i int) int {
	words := strings.Fields(t.columns[i].head)
	for _, row := range t.rows {
		words = append(words, strings.Fields(row[i])...)
	}
	longest := 0
	for _, word := range words {
		longest = max(longest, displayWidth(word))
	}
	return longest
}

// wrapped is the table with every cell wrapped to its column's width.
func (t *table) wrapped(widths []int) *table {
	out := &table{columns: make([]column, len(t.columns)), ruled: t.ruled}
	for i, c := range t.columns {
		out.columns[i] = column{wrap(c.head, widths[i]), c.right}
	}
	for _, row := range t.rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = wrap(cell, widths[i])
		}
		out.rows = append(out.rows, cells)
	}
	return out
}

// render prints one table that fits.
func (t *table) render(w io.Writer) error {
	writer := t.writer()
	style := pretty.Style{Box: pretty.BoxStyle{MiddleHorizontal: "─", PaddingRight: strings.Repeat(" ", between)}}
	style.Options.SeparateHeader, style.Options.SeparateRows = true, t.ruled
	writer.SetStyle(style)
	out := writer.Render()
	// The last column's padding is of no use to anyone, and the rule runs over it.
	for line := range strings.Lines(out) {
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), strings.Repeat("─", between))
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " ")); err != nil {
			return err
		}
	}
	return nil
}

// markdown prints the table as GitHub's Markdown has them, however wide.
func (t *table) markdown(w io.Writer) error {
	escaped := &table{columns: make([]column, len(t.columns))}
	for i, c := range t.columns {
		escaped.columns[i] = column{escapeCell(c.head), c.right}
	}
	for _, row := range t.rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = escapeCell(cell)
		}
		escaped.rows = append(escaped.rows, cells)
	}
	writer := escaped.writer()
	writer.SetStyle(pretty.Style{Markdown: pretty.MarkdownOptions{PadContent: true}})
	_, err := io.WriteString(w, writer.RenderMarkdown()+"\n")
	return err
}

// writer has the table as it is: nothing is rewritten, nothing wrapped.
func (t *table) writer() pretty.Writer {
	writer := pretty.NewWriter()
	heads := make(pretty.Row, len(t.columns))
	configs := make([]pretty.ColumnConfig, len(t.columns))
	for i, c := range t.columns {
		align := text.AlignLeft
		if c.right {
			align = text.AlignRight
		}
		heads[i], configs[i] = c.head, pretty.ColumnConfig{Number: i + 1, Align: align, AlignHeader: align}
	}
	writer.SetColumnConfigs(configs)
	writer.AppendHeader(heads)
	for _, row := range t.rows {
		cells := make(pretty.Row, len(row))
		for i, cell := range row {
			cells[i] = cell
		}
		writer.AppendRow(cells)
	}
	return writer
}

// wrap breaks s into lines of at most width columns, between words where it can.
func wrap(s string, width int) string {
	var out []string
	for _, line := range strings.Split(s, "\n") {
		out = append(out, wrapLine(line, width)...)
	}
	return strings.Join(out, "\n")
}

func wrapLine(line string, width int) []string {
	if displayWidth(line) <= width {
		return []string{line}
	}
	var lines []string
	current := ""
	for _, word := range strings.Fields(line) {
		if current != "" && displayWidth(current)+1+displayWidth(word) <= width {
			current += " " + word
			continue
		}
		if current != "" {
			lines = append(lines, current)
		}
		for displayWidth(word) > width {
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

// cut takes as many whole characters off word as fit into width, at least one.
func cut(word string, width int) (head, rest string) {
	at := 0
	for i, r := range word {
		if i > 0 && displayWidth(word[:i+len(string(r))]) > width {
			break
		}
		at = i + len(string(r))
	}
	return word[:at], word[at:]
}

// writeWrapped prints text in lines of at most maxWidth, the first after prefix, the others after indent.
func writeWrapped(w io.Writer, text, prefix, indent string) error {
	room := maxWidth - max(displayWidth(prefix), displayWidth(indent))
	for line := range strings.SplitSeq(wrap(text, room), "\n") {
		if _, err := fmt.Fprintln(w, strings.TrimRight(prefix+line, " ")); err != nil {
			return err
		}
		prefix = indent
	}
	return nil
}

// Fold prints text in lines of at most maxWidth columns. What is too long for one goes on in the next, with the same indentation and four more,
// and as a comment if it was one.
func Fold(w io.Writer, text string) error {
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if displayWidth(line) <= maxWidth {
			if _, err := fmt.Fprintln(w, line); err != nil {
				return err
			}
			continue
		}
		rest := strings.TrimLeft(line, "# ")
		prefix := strings.TrimSuffix(line, rest)
		if err := writeWrapped(w, rest, prefix, prefix+"    "); err != nil {
			return err
		}
	}
	return nil
}
