package strictyaml

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Problem is one thing that is wrong with a file.
type Problem struct {
	File string
	Line int    // from 1; 0: the file as a whole
	What string // what is wrong
	Hint string // what to do about it; may be empty
}

// String returns "file:line: what is wrong; hint".
func (p Problem) String() string {
	s := p.File
	if p.Line > 0 {
		s += fmt.Sprintf(":%d", p.Line)
	}
	s += ": " + p.What
	if p.Hint != "" {
		s += "; " + p.Hint
	}
	return s
}

// Problems is the error for a file that is not valid.
type Problems struct {
	Problems []Problem // by line, never empty
}

// Error lists the problems, one a line.
func (p *Problems) Error() string {
	lines := make([]string, len(p.Problems))
	for i, problem := range p.Problems {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "\n")
}

// Err returns all problems found so far as *Problems, sorted by line and with the name of the file;
// nil if there are none.
func (d *Decoder) Err(file string) error {
	if len(d.problems) == 0 {
		return nil
	}
	found := slices.Clone(d.problems)
	for i := range found {
		p := &found[i]
		p.File, p.What, p.Hint = file, oneLine(p.What, maxText), oneLine(p.Hint, maxText)
	}
	slices.SortStableFunc(found, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	return &Problems{Problems: slices.Compact(found)}
}

// maxText is how many bytes of a problem's text are kept: it may quote a file of any length.
const maxText = 512

// oneLine replaces control characters by blanks and cuts off what is longer than limit bytes, so
// that text quoted from a file stays on its line.
func oneLine(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
	if len(s) <= limit {
		return s
	}
	for !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit] + "…"
}
