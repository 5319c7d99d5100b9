package strictyaml

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"reuseport-bench/results/input"
)

// Problem is a mistake in a file.
type Problem struct {
	File string
	Line int    // from 1; 0 for the file as a whole
	What string // what is wrong
	Hint string // what to do about it
}

// String returns "file:line: what is wrong; hint".
func (p Problem) String() string {
	s := input.Name(p.File)
	if p.Line > 0 {
		s += fmt.Sprintf(":%d", p.Line)
	}
	return s + ": " + p.What + "; " + p.Hint
}

// maxProblems is the maximum number of problems listed for a file. More would scroll the first ones
// off the screen.
const maxProblems = 20

// Problems is the error of an invalid file.
type Problems struct {
	Problems []Problem // the first ones by line, at least one
	More     int       // number of other problems
}

// Error lists the problems, one per line, and says how many more there are.
func (p *Problems) Error() string {
	lines := make([]string, len(p.Problems))
	for i, problem := range p.Problems {
		lines[i] = problem.String()
	}
	if p.More > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", p.More))
	}
	return strings.Join(lines, "\n")
}

// Err returns the problems found so far as *Problems, sorted by line and with the name of the file.
// It returns nil if there are none.
func (d *Decoder) Err(file string) error {
	if len(d.problems) == 0 {
		return nil
	}
	first := slices.Clone(d.problems)
	for i := range first {
		first[i].File = file
	}
	return &Problems{Problems: first, More: d.found - len(first)}
}

// Add records a problem without distrusting a value, for example that values contradict each other.
// It keeps only the first maxProblems by line.
func (d *Decoder) Add(p Problem) {
	p.What, p.Hint = oneLine(p.What, maxText), oneLine(p.Hint, maxText)
	if slices.Contains(d.problems, p) {
		return
	}
	d.found++
	at, _ := slices.BinarySearchFunc(d.problems, p, func(q, p Problem) int {
		return cmp.Or(cmp.Compare(q.Line, p.Line), -1) // after those of the same line
	})
	d.problems = slices.Insert(d.problems, at, p)
	d.problems = d.problems[:min(len(d.problems), maxProblems)]
}

// maxText is the maximum length of each text of a problem, in bytes. The text may quote a long
// value from the file.
const maxText = 512

// oneLine makes text that may quote a file safe to print. It replaces characters that are not
// printable, including line breaks, by spaces, and cuts the text off after limit bytes.
func oneLine(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
	return cut(s, limit)
}

// cut shortens s to limit bytes plus an ellipsis, if s is longer.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit] + "…"
}

// Quote returns a word for a message: quoted as by %q, and cut off if it is very long.
func Quote(word string) string { return strconv.Quote(cut(word, maxText)) }
