package document

import (
	"regexp"
	"strings"
	"sync"
)

// A Look is how text is printed. The zero value is for files and pipes.
type Look struct {
	Width  int  // columns, MinWidth to MaxWidth; 0: DefaultWidth
	Colour bool // verdicts in colour, intervals and notes dim
}

const (
	// MinWidth and MaxWidth bound the columns that text takes, whatever Look.Width asks for.
	MinWidth, MaxWidth = 40, 160
	// DefaultWidth is how many columns text takes where no terminal has a width.
	DefaultWidth = 100
)

// columns returns how many columns text takes that is to take width.
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

// coloured returns the text between the escape sequences, each line by itself.
func coloured(sequence, text string) string {
	if sequence == "" || text == "" {
		return text
	}
	return sequence + strings.ReplaceAll(text, "\n", reset+"\n"+sequence) + reset
}

// bracketed matches what stands in brackets. It is compiled when it is first called.
var bracketed = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`\[[^\[\]\n]*\]`)
})

// dimIntervals returns the text with what stands in brackets dim.
func dimIntervals(text string) string {
	return bracketed().ReplaceAllString(text, dim+"$0"+reset)
}
