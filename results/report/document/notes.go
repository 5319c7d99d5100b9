package document

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// notes are the notes of a table. Texts that differ only in numbers share one note.
type notes []note

type note struct {
	shape string   // a text without its numbers
	texts []string // all texts with that shape, each once
}

// Note adds a note for each text, unless the table already has the note. It returns the marks of
// these notes, each mark once. If the table is Unnoted, it adds nothing and returns "".
func (t *Table) Note(texts ...string) string {
	if t.Unnoted {
		return ""
	}
	var numbers []int
	for _, text := range texts {
		numbers = append(numbers, t.notes.add(Clean(text)))
	}
	slices.Sort(numbers)
	marks := ""
	for _, i := range slices.Compact(numbers) {
		marks += mark(i)
	}
	return marks
}

// add returns the index of the note with that text, and adds the note if it is new.
func (all *notes) add(text string) int {
	shape := number().ReplaceAllString(text, "#")
	i := slices.IndexFunc(*all, func(n note) bool { return n.shape == shape })
	if i < 0 {
		i = len(*all)
		*all = append(*all, note{shape: shape})
	}
	if n := &(*all)[i]; !slices.Contains(n.texts, text) {
		n.texts = append(n.texts, text)
	}
	return i
}

// texts returns the texts of the notes, in the order of their marks.
func (all notes) texts() []string {
	out := make([]string, len(all))
	for i, n := range all {
		out[i] = n.String()
	}
	return out
}

// letters are the superscript letters of Unicode, which has no q.
const letters = "ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ"

// mark returns the mark of note i: a superscript letter, with primes once all letters are used.
func mark(i int) string {
	all := []rune(letters)
	return string(all[i%len(all)]) + strings.Repeat("′", i/len(all))
}

// number matches the numbers in which texts of the same note may differ. It is compiled at the
// first call.
var number = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`[0-9]+(\.[0-9]+)?`)
})

// String returns the note's text. Where the texts have different numbers, it writes a range.
func (n note) String() string {
	first := n.texts[0]
	if len(n.texts) == 1 {
		return first
	}
	least, most := number().FindAllString(first, -1), number().FindAllString(first, -1)
	for _, text := range n.texts[1:] {
		for i, x := range number().FindAllString(text, -1) {
			if value(x) < value(least[i]) {
				least[i] = x
			}
			if value(x) > value(most[i]) {
				most[i] = x
			}
		}
	}
	i := -1
	return number().ReplaceAllStringFunc(first, func(x string) string {
		if i++; least[i] == most[i] {
			return x
		}
		return least[i] + "–" + most[i]
	})
}

// value returns the value of a number in a text.
func value(text string) float64 {
	x, _ := strconv.ParseFloat(text, 64) // number matches only valid numbers
	return x
}

// SameButNumbers reports whether two texts are equal except for their numbers.
func SameButNumbers(a, b string) bool {
	return number().ReplaceAllString(a, "#") == number().ReplaceAllString(b, "#")
}
