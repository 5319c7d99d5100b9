package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"reuseport-bench/scenarios"
)

// mostLines has the maximum number of lines of some documents. For other documents in docs the
// maximum is documentLines.
var mostLines = map[string]int{
	"README.md": 155, "ARCHITECTURE.md": 150,
	// The lists of scenarios are generated. The other two are searched rather than read.
	"docs/scenarios.md": 230, "docs/own-server.md": 225, "docs/glossary.md": 1000,
	"docs/reference.md": 1100,
}

const documentLines = 205

// Documents are short, and their links to each other and to files in the repository work.
func TestDocumentLinks(t *testing.T) {
	documents := repositoryFiles(t, ".md")
	for path, text := range documents {
		most, listed := mostLines[path]
		if !listed && strings.HasPrefix(path, "docs/") {
			most, listed = documentLines, true
		}
		if n := strings.Count(text, "\n"); listed && n > most {
			t.Errorf("%s has %d lines, want at most %d", path, n, most)
		}
		for _, link := range links(text) {
			file, anchor, _ := strings.Cut(link, "#")
			target := path
			if file != "" {
				target = filepath.Join(filepath.Dir(path), file)
			}
			if _, err := os.Stat(filepath.Join("..", target)); err != nil {
				t.Errorf("%s: the link %s leads nowhere", path, link)
			} else if anchor != "" && !anchors(documents[target])[anchor] {
				t.Errorf("%s: the link %s: no such heading in %s", path, link, target)
			}
		}
	}
}

var (
	codeBlock = regexp.MustCompile("(?ms)^```.*?^```$")
	// scenarioBlock matches a code block that contains a whole scenario.
	scenarioBlock = regexp.MustCompile("(?ms)^```yaml\n(name: .*?)^```$")
	inlineLink    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
)

// links returns the targets of a document's links, except for web addresses.
func links(text string) (targets []string) {
	for _, m := range inlineLink.FindAllStringSubmatch(codeBlock.ReplaceAllString(text, ""), -1) {
		if !strings.Contains(m[1], "://") {
			targets = append(targets, m[1])
		}
	}
	return targets
}

// Documents' examples of whole scenarios are valid.
func TestDocumentScenarios(t *testing.T) {
	examples := 0
	for path, text := range repositoryFiles(t, ".md") {
		for _, m := range scenarioBlock.FindAllStringSubmatch(text, -1) {
			examples++
			if _, err := scenarios.Parse(path, []byte(m[1])); err != nil {
				t.Errorf("%s: %v\n%s", path, err, m[1])
			}
		}
	}
	if examples == 0 {
		t.Error("no examples")
	}
}

// anchors returns the anchors that GitHub makes from a document's headings: lower case, with spaces
// replaced by hyphens and punctuation removed.
func anchors(text string) map[string]bool {
	found := map[string]bool{}
	for line := range strings.Lines(codeBlock.ReplaceAllString(text, "")) {
		heading, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " ")
		if !ok || !strings.HasPrefix(line, "#") {
			continue
		}
		found[strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return r
			}
			return -1
		}, strings.ToLower(strings.TrimSpace(heading)))] = true
	}
	return found
}

func TestAnchors(t *testing.T) {
	found := anchors("# A round trip: away?\n```\n# no heading\n```\n### `kube.x`, y\n")
	if !found["a-round-trip-away"] || !found["kubex-y"] || len(found) != 2 {
		t.Errorf("got %v", found)
	}
	got := links("[a](b.md#c) [web](https://x.y/z)\n```\n[no](link)\n```\n[own](#d)")
	if len(got) != 2 || got[0] != "b.md#c" || got[1] != "#d" {
		t.Errorf("got links %q", got)
	}
}
