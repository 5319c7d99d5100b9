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

// maxProblems is the maximum number of problems listed for a file. A longer list would scroll its
// beginning off the screen.
const maxProblems = 20

// Problems is the error for an invalid file.
type Problems struct {
	Problems []Problem // sorted by line; at least one
	More     int       // number of problems that are not listed
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

// Err returns the problems found so far as *Problems, sorted by line. It sets the File of each to
// file. It returns nil if there are no problems.
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

// Add records a problem without distrusting a value, for example because two values contradict each
// other. It keeps at most maxProblems, those on the first lines.
func (d *Decoder) Add(p Problem) {
	p.What, p.Hint = oneLine(p.What, maxText), oneLine(p.Hint, maxText)
	if slices.Contains(d.problems, p) {
		return
	}
	d.found++
	at, _ := slices.BinarySearchFunc(d.problems, p, func(q, p Problem) int {
		return cmp.Or(cmp.Compare(q.Line, p.Line), -1) // insert after the problems of the same line
	})
	d.problems = slices.Insert(d.problems, at, p)
	d.problems = d.problems[:min(len(d.problems), maxProblems)]
}

// maxText is the maximum length of What and of Hint of a Problem, in bytes, because these may quote
// a long value from the file.
const maxText = 512

// oneLine makes a text, which may quote a file, safe to print. It replaces unprintable characters,
// including line breaks, by spaces, and truncates the text to limit bytes.
func oneLine(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
	return cut(s, limit)
}

// cut truncates s to limit bytes and appends an ellipsis, if s is longer than limit.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit] + "…"
}

// Quote formats a word for a message: quoted as by %q, and truncated if it is longer than maxText.
func Quote(word string) string { return strconv.Quote(cut(word, maxText)) }
