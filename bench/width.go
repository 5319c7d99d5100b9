package main

import (
	"io"
	"os"
	"strconv"

	"golang.org/x/term"

	"reuseport-bench/results/report/document"
)

// textWidth returns how many columns text takes on w: those of a terminal, within
// document.MinWidth and MaxWidth, or MaxWidth in files and pipes. COLUMNS in the environment
// replaces either (POSIX.1-2024, Base Definitions, 8.3).
func textWidth(w io.Writer) int {
	width, err := strconv.Atoi(os.Getenv("COLUMNS"))
	if err != nil || width <= 0 {
		width = terminalWidth(w)
	}
	return max(document.MinWidth, min(width, document.MaxWidth))
}

// terminalWidth returns how many columns a terminal has, or document.MaxWidth if w is none.
func terminalWidth(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return document.MaxWidth
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width <= 0 { // a terminal may not know its size
		return document.MaxWidth
	}
	return width
}
