package main

import (
	"os"
	"strconv"

	"golang.org/x/term"

	"reuseport-bench/results/report/document"
)

// textWidth returns how many columns text takes on f: those of the terminal, within
// document.MinWidth and MaxWidth. What goes to files and pipes does not depend on a terminal: it
// takes MaxWidth. COLUMNS in the environment replaces either (POSIX.1-2024, Base Definitions, 8.3).
func textWidth(f *os.File) int {
	width, err := strconv.Atoi(os.Getenv("COLUMNS"))
	if err != nil || width <= 0 {
		width = terminalWidth(f)
	}
	return max(document.MinWidth, min(width, document.MaxWidth))
}

// terminalWidth returns how many columns a terminal has, or document.MaxWidth if it is not known.
func terminalWidth(f *os.File) int {
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width <= 0 {
		return document.MaxWidth
	}
	return width
}
