package report

import (
	"fmt"
	"io"
	"strings"

	"reuseport-bench/results"
)

// Markdown prints the run in GitHub's Markdown, to be pasted into documents and pull requests.
func Markdown(w io.Writer, run *results.Run, opts Options) error {
	d, err := runDocument(run, opts)
	if err != nil {
		return err
	}
	return d.markdown(w)
}

func (d *document) markdown(w io.Writer) error {
	for i, b := range d.blocks {
		if i > 0 {
			fmt.Fprintln(w)
		}
		var err error
		switch b := b.(type) {
		case heading:
			_, err = fmt.Fprintf(w, "%s %s\n", strings.Repeat("#", b.level), escapeMarkdown(b.text))
		case paragraph:
			_, err = fmt.Fprintln(w, escapeMarkdown(string(b)))
		case list:
			err = markdownList(w, b)
		case *table:
			if err = b.markdown(w); err == nil && len(b.notes) > 0 {
				fmt.Fprintln(w)
				err = markdownNotes(w, b.notes)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func markdownList(w io.Writer, items list) error {
	for _, item := range items {
		if _, err := fmt.Fprintf(w, "- %s\n", strings.ReplaceAll(escapeMarkdown(item), "\n", " ")); err != nil {
			return err
		}
	}
	return nil
}

// markdownNotes puts a backslash, Markdown's line break, after every note but the last.
func markdownNotes(w io.Writer, notes []string) error {
	lines := make([]string, len(notes))
	for i, note := range notes {
		lines[i] = mark(i+1) + " " + escapeMarkdown(note)
	}
	_, err := fmt.Fprintln(w, strings.Join(lines, "\\\n"))
	return err
}

var markdownEscapes = strings.NewReplacer(`\`, `\\`, "`", "\\`", "*", `\*`, "<", "&lt;", "|", `\|`)

// escapeMarkdown keeps what came from a file from being taken for markup. Underscores within words
// are none in GitHub's Markdown.
func escapeMarkdown(s string) string { return markdownEscapes.Replace(s) }

// escapeCells is escapeMarkdown for the cells of a table's row, each of which has one line.
func escapeCells(cells []string) []string {
	escaped := make([]string, len(cells))
	for i, cell := range cells {
		escaped[i] = strings.ReplaceAll(escapeMarkdown(cell), "\n", "<br>")
	}
	return escaped
}
