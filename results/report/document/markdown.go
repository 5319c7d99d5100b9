package document

import (
	"fmt"
	"io"
	"strings"
)

// Markdown prints the document as GitHub's Markdown.
func (d *Document) Markdown(w io.Writer) error {
	for i, b := range d.blocks {
		if i > 0 {
			fmt.Fprintln(w)
		}
		var err error
		switch b := b.(type) {
		case heading:
			_, err = fmt.Fprintf(w, "%s %s\n", strings.Repeat("#", b.level), EscapeMarkdown(b.text))
		case paragraph:
			_, err = fmt.Fprintln(w, EscapeMarkdown(b.text))
		case list:
			err = markdownList(w, b)
		case fold:
			_, err = fmt.Fprintf(w, "<details>\n<summary>%s</summary>\n", EscapeMarkdown(string(b)))
		case foldEnd:
			_, err = fmt.Fprintln(w, "</details>")
		case code:
			_, err = fmt.Fprintf(w, "```\n%s\n```\n", strings.TrimRight(string(b), "\n"))
		case *Table:
			err = markdownTable(w, b)
		case *Chart:
			err = b.markdown(w, d.Images)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// markdownTable prints a table with its caption and its notes.
func markdownTable(w io.Writer, t *Table) error {
	if t.Caption != "" {
		fmt.Fprintf(w, "%s\n\n", EscapeMarkdown(t.Caption))
	}
	if err := t.markdown(w); err != nil || len(t.notes) == 0 {
		return err
	}
	fmt.Fprintln(w)
	return markdownNotes(w, t.notes.texts())
}

func markdownList(w io.Writer, items list) error {
	for _, item := range items.items {
		point, text := items.cut(strings.ReplaceAll(EscapeMarkdown(item), "\n", " "))
		if point != "" {
			point = "**" + point + "**"
		}
		if _, err := fmt.Fprintf(w, "- %s%s\n", point, text); err != nil {
			return err
		}
	}
	return nil
}

// markdownNotes prints notes. It puts a backslash, Markdown's line break, after each note except
// the last.
func markdownNotes(w io.Writer, notes []string) error {
	lines := make([]string, len(notes))
	for i, note := range notes {
		lines[i] = mark(i) + " " + EscapeMarkdown(note)
	}
	_, err := fmt.Fprintln(w, strings.Join(lines, "\\\n"))
	return err
}

var markdownEscapes = strings.NewReplacer(`\`, `\\`, "`", "\\`", "*", `\*`, "<", "&lt;", "|", `\|`)

// EscapeMarkdown escapes a string from a file so that the string is not taken for markup. It leaves
// underscores as they are, because within words they are not markup in GitHub's Markdown.
func EscapeMarkdown(s string) string { return markdownEscapes.Replace(s) }

// escapeCells applies EscapeMarkdown to the cells of a row. Each cell has one line.
func escapeCells(cells []string) []string {
	escaped := make([]string, len(cells))
	for i, cell := range cells {
		escaped[i] = strings.ReplaceAll(EscapeMarkdown(cell), "\n", "<br>")
	}
	return escaped
}
