// Package terms defines the words that reports and documents use, each once. docs/glossary.md and
// 'reuseport-bench explain' are made from it. Values of settings, causes and metrics have tables of
// their own: scenarios/vocabulary, results/cause, results/metrics.
package terms

import (
	"slices"
	"strings"
)

// A Term is a word of reports and documents.
type Term struct {
	Name string
	// Also lists other spellings, such as plurals and column heads.
	Also []string
	// Doc explains the term in one or a few sentences.
	Doc string
	// Unit is the unit of measurement; "" for what is not measured.
	Unit string
	// Related lists names of other terms, and of metrics, causes and settings.
	Related []string
	// Source is a manual page, an RFC, a kernel file or a paper; "" if none is needed.
	Source string
}

// All returns every term, in alphabetical order.
func All() []Term { return slices.Clone(all) }

// Find returns the term with this name or other spelling, in any case.
func Find(name string) (Term, bool) {
	same := func(s string) bool { return strings.EqualFold(s, name) }
	i := slices.IndexFunc(all, func(t Term) bool {
		return same(t.Name) || slices.ContainsFunc(t.Also, same)
	})
	if i < 0 {
		return Term{}, false
	}
	return all[i], true
}
