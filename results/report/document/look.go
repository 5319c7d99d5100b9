package document

import (
	"regexp"
	"strings"
	"sync"
)

// A Look says how text is printed. The zero value is for files and pipes.
type Look struct {
	Width  int  // columns, MinWidth to MaxWidth; 0: DefaultWidth
	Colour bool // print verdicts in colour, intervals and notes dim
}

const (
	// MinWidth and MaxWidth bound the width of text, whatever Look.Width is.
	MinWidth, MaxWidth = 40, 160
	// DefaultWidth is the width of text, in columns, if it is not printed to a terminal.
	DefaultWidth = 100
)

// columns returns the number of columns that text takes if Look.Width is width.
func columns(width int) int {
	if width == 0 {
		return DefaultWidth
	}
	return max(MinWidth, min(width, MaxWidth))
}

// The escape sequences of colours: SGR in ECMA-48, 8.3.117.
const (
	dim    = "\x1b[2m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	reset  = "\x1b[0m"
)

var colours = map[Tone]string{Good: green, Bad: red, Open: yellow}

// coloured puts the escape sequence before each line of the text, and the sequence that resets it
// after each line.
func coloured(sequence, text string) string {
	if sequence == "" || text == "" {
		return text
	}
	return sequence + strings.ReplaceAll(text, "\n", reset+"\n"+sequence) + reset
}

// bracketed matches text in brackets. It is compiled at the first call.
var bracketed = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`\[[^\[\]\n]*\]`)
})

// dimIntervals makes text in brackets dim.
func dimIntervals(text string) string {
	return bracketed().ReplaceAllString(text, dim+"$0"+reset)
}
