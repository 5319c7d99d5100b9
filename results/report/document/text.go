package document

import (
	"fmt"
	"io"
	"strings"
)

// Text prints the document in lines of at most MaxWidth columns.
func (d *Document) Text(w io.Writer) error {
	for i, b := range d.blocks {
		if i > 0 {
			fmt.Fprintln(w)
		}
		var err error
		switch b := b.(type) {
		case heading:
			err = b.textTo(w)
		case paragraph:
			err = writeLines(w, string(b))
		case list:
			for _, item := range b {
				if err = writeWrapped(w, item, "  - ", "    "); err != nil {
					break
				}
			}
		case *Table:
			err = b.text(w)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// textTo underlines the two upper levels.
func (h heading) textTo(w io.Writer) error {
	if err := writeLines(w, h.text); err != nil {
		return err
	}
	under := map[int]string{1: "═", 2: "─"}[h.level]
	if under == "" {
		return nil
	}
	_, err := fmt.Fprintln(w, strings.Repeat(under, min(MaxWidth, blockWidth(h.text))))
	return err
}

func writeLines(w io.Writer, text string) error {
	for line := range strings.SplitSeq(text, "\n") {
		if err := writeWrapped(w, line, "", ""); err != nil {
			return err
		}
	}
	return nil
}
