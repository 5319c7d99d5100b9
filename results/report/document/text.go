package document

import (
	"fmt"
	"io"
	"strings"
)

// Text prints the document in lines of at most look.Width columns.
func (d *Document) Text(w io.Writer, look Look) error {
	look.Width = columns(look.Width)
	width := look.Width
	for i, b := range d.blocks {
		if i > 0 {
			if before, ok := d.blocks[i-1].(paragraph); !ok || !before.leading {
				fmt.Fprintln(w)
			}
		}
		var err error
		switch b := b.(type) {
		case heading:
			err = b.textTo(w, width)
		case paragraph:
			err = writeLines(w, width, b.text)
		case list:
			for _, item := range b.items {
				if err = writeWrapped(w, width, item, "  - ", "    "); err != nil {
					break
				}
			}
		case fold:
			err = writeLines(w, width, string(b))
		case foldEnd:
		case code:
			lines := strings.TrimRight(string(b), "\n")
			_, err = fmt.Fprintf(w, "    %s\n", strings.ReplaceAll(lines, "\n", "\n    "))
		case *Table:
			err = b.text(w, look)
		case *Chart:
			err = b.text(w, look)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// textTo prints the heading, underlined on levels 1 and 2.
func (h heading) textTo(w io.Writer, width int) error {
	if err := writeLines(w, width, h.text); err != nil {
		return err
	}
	under := map[int]string{1: "═", 2: "─"}[h.level]
	if under == "" {
		return nil
	}
	_, err := fmt.Fprintln(w, strings.Repeat(under, min(width, blockWidth(h.text))))
	return err
}

func writeLines(w io.Writer, width int, text string) error {
	for line := range strings.SplitSeq(text, "\n") {
		if err := writeWrapped(w, width, line, "", ""); err != nil {
			return err
		}
	}
	return nil
}
