package reference

import (
	"slices"
	"strings"
	"testing"

	"reuseport-bench/results/report"
	"reuseport-bench/results/terms"
)

func entries() []Entry {
	commands := []Command{{Name: "run", Use: "run [NAME]", Doc: "Run scenarios",
		Flags: []Flag{{Name: "trials", Type: "int", Default: "8", Doc: "how many blocks"}}}}
	return Entries(commands, []Status{{Code: 3, Doc: "could not measure"}})
}

// Every entry says what its word is, and every related word is explained, too.
func TestEntries(t *testing.T) {
	all := entries()
	for _, e := range all {
		if e.Doc == "" || e.Kind == "" {
			t.Errorf("%s: kind %q, text %q", e.Name, e.Kind, e.Doc)
		}
		for _, word := range e.Related {
			if len(Find(all, word)) == 0 {
				t.Errorf("%s (%s): the related word %q is not explained", e.Name, e.Kind, word)
			}
		}
	}
}

// Every column of a report shows a metric or is a term.
func TestColumns(t *testing.T) {
	for _, c := range report.Columns() {
		if _, isTerm := terms.Find(c.Head); !isTerm && len(c.Metrics) == 0 {
			t.Errorf("the column %q has no metric and is no term", c.Head)
		}
	}
}

func TestFind(t *testing.T) {
	for word, want := range map[string][]string{
		"reset_at_close": {kindCause},
		"gap":            {kindTerm},
		"load.rate":      {kindSetting},
		"load.rate=2/s":  {kindSetting},
		"stop=drain":     {"stop mode"},
		"kill":           {"stop mode", "step"},
		"GAP_NS":         {kindMetric},
		"valid/all":      {kindTerm},
		"its p99":        {kindColumn},
		"3":              {kindStatus},
		"run":            {kindTerm, kindCommand},
		"even-spread":    {kindClaim},
		"drop window":    {kindTerm},
		"nothing":        nil,
	} {
		var got []string
		for _, e := range Find(entries(), word) {
			got = append(got, e.Kind)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", word, got, want)
		}
	}
}

// A generated document has a heading for each link into it.
func TestLinks(t *testing.T) {
	for name, text := range map[string]string{
		"reference": Reference(nil, nil), "glossary": Glossary(),
	} {
		anchors := map[string]bool{}
		for line := range strings.Lines(text) {
			heading, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " ")
			if ok && strings.HasPrefix(line, "#") {
				anchors[anchor(strings.TrimSpace(heading))] = true
			}
		}
		for _, part := range strings.Split(text, "](#")[1:] {
			if link, _, _ := strings.Cut(part, ")"); !anchors[link] {
				t.Errorf("%s: no heading for the link #%s", name, link)
			}
		}
	}
}

func TestAnchor(t *testing.T) {
	for heading, want := range map[string]string{
		"drop window": "drop-window", "≤ 3/R": "-3r", "Jain's index": "jains-index",
		"χ² p": "χ-p", "Values of timeline[].do": "values-of-timelinedo",
	} {
		if got := anchor(heading); got != want {
			t.Errorf("anchor(%q) = %q, want %q", heading, got, want)
		}
	}
}

func TestSentence(t *testing.T) {
	for phrase, want := range map[string]string{
		"start one more worker":   "Start one more worker.",
		"accept(2) that blocks":   "accept(2) that blocks.",
		"lost_per_attempt of all": "lost_per_attempt of all.",
		"A sentence.":             "A sentence.",
		"":                        "",
	} {
		if got := sentence(phrase); got != want {
			t.Errorf("sentence(%q) = %q, want %q", phrase, got, want)
		}
	}
}
