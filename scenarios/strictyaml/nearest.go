package strictyaml

import (
	"fmt"
	"strings"
	"unicode"
)

// Nearest returns the candidate of which word is probably a misspelling, or "".
func Nearest(word string, candidates []string) string {
	if near := similar(word, candidates); len(near) > 0 {
		return near[0]
	}
	return ""
}

// mostNear is the maximum number of candidates in a hint.
const mostNear = 3

// Near returns up to three candidates that the user may have meant by word: the candidates with the
// most similar spelling or, if no spelling is similar, the candidates that contain word or a part
// of it.
func Near(word string, candidates []string) []string {
	near := similar(word, candidates)
	if len(near) == 0 {
		near = related(word, candidates)
	}
	return near[:min(len(near), mostNear)]
}

// DidYouMean returns the hint for a word that is not one of candidates. The hint names the
// candidates that Near returns. If there are none, the hint is the text otherwise.
func DidYouMean(word string, candidates []string, otherwise string) string {
	near := Near(word, candidates)
	for i, candidate := range near {
		near[i] = fmt.Sprintf("%q", candidate)
	}
	switch n := len(near); n {
	case 0:
		return otherwise
	case 1:
		return "did you mean " + near[0] + "?"
	default:
		return fmt.Sprintf("did you mean %s or %s?", strings.Join(near[:n-1], ", "), near[n-1])
	}
}

// similar returns the candidates with the least edit distance from word, if that distance is small.
func similar(word string, candidates []string) (near []string) {
	least := 1 + max(1, min(3, len(word)/3))
	for _, candidate := range candidates {
		switch d := editDistance(word, candidate, least+1); {
		case d < least:
			near, least = []string{candidate}, d
		case d == least && len(near) > 0:
			near = append(near, candidate)
		}
	}
	return near
}

// leastPart bounds the lengths, in bytes, that the function related considers. It searches only for
// words of at least leastPart bytes, and only for parts of words that are longer than leastPart.
const leastPart = 3

// related returns the candidates that contain word. If there are none, it returns the candidates
// that contain a part of word. A part is a run of letters and digits.
func related(word string, candidates []string) []string {
	if len(word) < leastPart {
		return nil
	}
	if near := having(candidates, word); len(near) > 0 {
		return near
	}
	apart := func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }
	var parts []string
	for _, part := range strings.FieldsFunc(word, apart) {
		if len(part) > leastPart {
			parts = append(parts, part)
		}
	}
	return having(candidates, parts...)
}

// having returns the candidates that contain at least one of parts.
func having(candidates []string, parts ...string) (all []string) {
	for _, candidate := range candidates {
		for _, part := range parts {
			if strings.Contains(candidate, part) {
				all = append(all, candidate)
				break
			}
		}
	}
	return all
}

// editDistance returns the least number of edits that turn a into b, or limit if it is larger. An
// edit inserts, deletes or substitutes a byte, or swaps two adjacent bytes (optimal string
// alignment).
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
