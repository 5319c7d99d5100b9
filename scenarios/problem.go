package scenarios

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Problem is one thing that is wrong with a scenario file.
type Problem struct {
	File string
	Line int    // from 1; 0: the file as a whole
	What string // what is wrong
	Hint string // what to do about it; may be empty
}

// String is "file:line: what is wrong; hint".
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

// Problems is the error of Load and Parse for a scenario that is not valid.
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

// problemsError sorts found by line and says which file it is about; nil when there is nothing.
func problemsError(file string, found []Problem) error {
	if len(found) == 0 {
		return nil
	}
	for i := range found {
		p := &found[i]
		p.File, p.What, p.Hint = file, oneLine(p.What, 512), oneLine(p.Hint, 512)
	}
	slices.SortStableFunc(found, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	return &Problems{Problems: slices.Compact(found)}
}

// oneLine keeps what a file says from spilling over: control characters become blanks, and what is
// longer than limit bytes is cut off.
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

// nearest returns the candidate that word was probably meant to be, or "".
func nearest(word string, candidates []string) string {
	best, least := "", 1+max(1, min(3, len(word)/3))
	for _, candidate := range candidates {
		if d := editDistance(word, candidate, least); d < least {
			best, least = candidate, d
		}
	}
	return best
}

// didYouMean is the hint for a word that is not one of candidates: the nearest, or otherwise and
// all of them.
func didYouMean(word string, candidates []string, otherwise string) string {
	if near := nearest(word, candidates); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return otherwise + " " + strings.Join(candidates, ", ")
}

// editDistance is the number of insertions, deletions and substitutions of one byte, and swaps of
// two neighbours, that turn a into b (optimal string alignment); limit if there are more.
func editDistance(a, b string, limit int) int {
	if d := len(a) - len(b); d >= limit || -d >= limit {
		return limit
	}
	previous, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next := make([]int, len(b)+1)
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], previous[j-2]+1)
			}
		}
		previous, row = row, next
	}
	return min(row[len(b)], limit)
}
