package main

import (
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/term"

	"reuseport-bench/results/report/document"
)

// textWidth returns the width of text on w in columns, from document.MinWidth to MaxWidth. It is
// the terminal's width, or document.DefaultWidth for files and pipes. COLUMNS in the environment
// overrides both (POSIX.1-2024, Base Definitions, 8.3).
func textWidth(w io.Writer) int {
	width, err := strconv.Atoi(os.Getenv("COLUMNS"))
	if err != nil || width <= 0 {
		width = terminalWidth(w)
	}
	return max(document.MinWidth, min(width, document.MaxWidth))
}

// terminalWidth returns the columns of the terminal w, or document.DefaultWidth for other writers.
func terminalWidth(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return document.DefaultWidth
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width <= 0 { // some terminals do not know their size
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
	colourAuto   colourMode = "auto" // colours only on a terminal
	colourAlways colourMode = "always"
	colourNever  colourMode = "never"
)

// String, Set and Type implement pflag.Value.
func (m *colourMode) String() string { return string(*m) }

// Type returns the mode's key in flagValues.
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

// look returns the look of text on standard output. In colour mode auto, colours are off if
// NO_COLOR is not empty (https://no-color.org) or if the terminal does not support colours.
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
