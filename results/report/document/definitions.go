package document

import (
	"io"
	"strings"
)

// A Definition is a word and its explanation.
type Definition struct{ Word, Text string }

// WriteDefinitions prints definitions in lines of at most width columns. The words are in a column
// indented by two, and the texts are beside them. If no definition has a word, the texts are
// indented by two.
func WriteDefinitions(w io.Writer, width int, all []Definition) error {
	width = columns(width)
	widest := 0
	for _, d := range all {
		widest = max(widest, DisplayWidth(d.Word))
	}
	column := Between // where the texts start
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
