package document

import (
	"io"
	"strings"
)

// A Definition is a word and what is said about it.
type Definition struct{ Word, Text string }

// WriteDefinitions prints definitions in lines of at most width columns: the words below each
// other, indented by two, and the texts beside them. Without any word the texts are indented by
// two.
func WriteDefinitions(w io.Writer, width int, all []Definition) error {
	width = columns(width)
	widest := 0
	for _, d := range all {
		widest = max(widest, DisplayWidth(d.Word))
	}
	column := Between // where the texts begin
	if widest > 0 {
		column += widest + Between
	}
	indent := strings.Repeat(" ", column)
	for _, d := range all {
		prefix := strings.Repeat(" ", Between) + Clean(d.Word)
		prefix += strings.Repeat(" ", column-DisplayWidth(prefix))
		if err := writeWrapped(w, width, Clean(d.Text), prefix, indent); err != nil {
			return err
		}
	}
	return nil
}
