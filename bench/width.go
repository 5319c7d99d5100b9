package main

import (
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/term"

	"reuseport-bench/results/report/document"
)

// textWidth returns how many columns text takes on w: those of a terminal, within
// document.MinWidth and MaxWidth, or document.DefaultWidth in files and pipes. COLUMNS in the
// environment replaces either (POSIX.1-2024, Base Definitions, 8.3).
func textWidth(w io.Writer) int {
	width, err := strconv.Atoi(os.Getenv("COLUMNS"))
	if err != nil || width <= 0 {
		width = terminalWidth(w)
	}
	return max(document.MinWidth, min(width, document.MaxWidth))
}

// terminalWidth returns how many columns a terminal has, or document.DefaultWidth if w is none.
func terminalWidth(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return document.DefaultWidth
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width <= 0 { // a terminal may not know its size
		return document.DefaultWidth
	}
	return width
}

// isTerminal reports whether w is a terminal.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// A colourMode is the value of --color.
type colourMode string

// The colour modes.
const (
	colourAuto   colourMode = "auto" // on a terminal
	colourAlways colourMode = "always"
	colourNever  colourMode = "never"
)

// String, Set and Type make it a pflag.Value.
func (m *colourMode) String() string { return string(*m) }

// Type returns the key of flagValues.
func (m *colourMode) Type() string { return "colour" }

// Set sets the mode.
func (m *colourMode) Set(text string) error {
	switch mode := colourMode(text); mode {
	case colourAuto, colourAlways, colourNever:
		*m = mode
		return nil
	}
	return fmt.Errorf("must be %s", flagValues[m.Type()])
}

// look returns how text is to be printed on standard output. In colour mode auto NO_COLOR, if it is
// not empty, turns colours off (https://no-color.org), and so does a terminal without them.
func (s *session) look() document.Look {
	look := document.Look{Width: s.width}
	switch s.colour {
	case colourAlways:
		look.Colour = true
	case colourAuto:
		look.Colour = s.terminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	}
	return look
}
