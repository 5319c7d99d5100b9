package plan

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"reuseport-bench/scenarios"
)

// A mutation changes the lines of a scenario file.
type mutation struct {
	name string
	make func(r *rand.Rand, lines []string) []string
}

// mutations are changes to a file that people, editors and failed copies may make.
var mutations = []mutation{
	{"a line deleted", func(r *rand.Rand, lines []string) []string {
		i := r.IntN(len(lines))
		return slices.Delete(lines, i, i+1)
	}},
	{"a line doubled", func(r *rand.Rand, lines []string) []string {
		i := r.IntN(len(lines))
		return slices.Insert(lines, i, lines[i])
	}},
	{"two lines swapped", func(r *rand.Rand, lines []string) []string {
		i, j := r.IntN(len(lines)), r.IntN(len(lines))
		lines[i], lines[j] = lines[j], lines[i]
		return lines
	}},
	{"a line indented", func(r *rand.Rand, lines []string) []string {
		i := r.IntN(len(lines))
		lines[i] = strings.Repeat(" ", 1+r.IntN(5)) + lines[i]
		return lines
	}},
	{"a tab", func(r *rand.Rand, lines []string) []string {
		i := r.IntN(len(lines))
		lines[i] = "\t" + strings.TrimLeft(lines[i], " ")
		return lines
	}},
	{"cut off", func(r *rand.Rand, lines []string) []string {
		i := r.IntN(len(lines))
		lines[i] = lines[i][:r.IntN(len(lines[i])+1)]
		return lines[:i+1]
	}},
	{"a value replaced", func(r *rand.Rand, lines []string) []string {
		i := r.IntN(len(lines))
		key, _, _ := strings.Cut(lines[i], ":")
		lines[i] = key + ": " + odd[r.IntN(len(odd))]
		return lines
	}},
	{"a word replaced", func(r *rand.Rand, lines []string) []string {
		i := r.IntN(len(lines))
		words := strings.FieldsFunc(lines[i], func(c rune) bool {
			return !unicode.IsLetter(c) && !unicode.IsDigit(c)
		})
		if len(words) > 0 {
			word := words[r.IntN(len(words))]
			lines[i] = strings.Replace(lines[i], word, odd[r.IntN(len(odd))], 1)
		}
		return lines
	}},
	{"a byte changed", func(r *rand.Rand, lines []string) []string {
		i := r.IntN(len(lines))
		if line := []byte(lines[i]); len(line) > 0 {
			line[r.IntN(len(line))] = byte(r.IntN(256))
			lines[i] = string(line)
		}
		return lines
	}},
	{"a character inserted", func(r *rand.Rand, lines []string) []string {
		characters := []rune("{}[]:,#&*!|>'\"%@`-?\x00\x07\x1b\u009b\u202e\ufeff\t\r;")
		i := r.IntN(len(lines))
		at := r.IntN(len(lines[i]) + 1)
		lines[i] = lines[i][:at] + string(characters[r.IntN(len(characters))]) + lines[i][at:]
		return lines
	}},
	{"a letter lost", func(r *rand.Rand, lines []string) []string {
		i := r.IntN(len(lines))
		if n := len(lines[i]); n > 0 {
			at := r.IntN(n)
			lines[i] = lines[i][:at] + lines[i][at+1:]
		}
		return lines
	}},
}

// odd are values that are wrong nearly everywhere.
var odd = []string{
	"", "~", "true", "-1", "0", "1e400", "99999999999999999999", "9223372036854775807", ".nan",
	"0.5", "1h", "5 days", "-3s", "10/s", "[1, 2]", "{a: 1}", "[]", "{}", "'", "\"", "&a x", "*a",
	"!!int 3", "<<", "? x", "- x", "|", "replace", "lost < 0", "lost / 0 == 0",
	"lost == 0; lost == 1", "gap_ns < 5ms", "\x1b[31mred", strings.Repeat("x", 3000),
	strings.Repeat("9", 400), strings.Repeat("[", 40), strings.Repeat("a.", 500),
}

// Each mutated copy of a built-in scenario is either refused, in a few printable lines with line
// numbers and hints, or it can be planned, written out and read again.
func TestMutatedScenarios(t *testing.T) {
	files, err := filepath.Glob("../../../scenarios/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	refused, accepted := map[string]int{}, 0
	for n, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for m, mutation := range mutations {
			for seed := range uint64(3) {
				r := rand.New(rand.NewPCG(uint64(n*len(mutations)+m), seed))
				lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
				lines = mutation.make(r, lines)
				name := fmt.Sprintf("%s, %s, %d", filepath.Base(file), mutation.name, seed)
				if survives(t, name, strings.Join(lines, "\n")+"\n") {
					accepted++
				} else {
					refused[mutation.name]++
				}
			}
		}
	}
	all := 0
	for _, m := range mutations {
		all += refused[m.name]
		if refused[m.name] == 0 {
			t.Errorf("%s: no file was refused", m.name)
		}
	}
	if all < 500 || accepted == 0 {
		t.Errorf("%d were refused and %d accepted; want at least 500 and 1", all, accepted)
	}
	t.Logf("%d refused, %d accepted", all, accepted)
}

// Hand-made files, with mistakes or hostile, are refused in the same way.
func TestHostileScenarios(t *testing.T) {
	const head = "name: x\nload: {rate: 100/s, duration: 1s}\nstop: close\n"
	const eight = "[1, 2, 3, 4, 5, 6, 7, 8]"
	const variants = "matrix: [{workers: " + eight + ", server.backlog: " + eight + "}]\n"
	endless := head + "timeline:\n" + strings.Repeat("- {at: 0s, every: 10ms, do: add}\n", 256)
	unstopped := head + "timeline:\n" + strings.Repeat("- {at: 0s, do: replace}\n", 256)
	gate := func(expect string) string { return head + "gates: [{expect: \"" + expect + "\"}]\n" }
	tests := map[string]string{
		"empty":              "",
		"blanks":             " \n\n \n",
		"a dot":              ".",
		"only NUL":           strings.Repeat("\x00", 100),
		"binary":             "\x7fELF\x02\x01\x01\x00\x00\x00",
		"UTF-16":             "\xff\xfen\x00a\x00m\x00e\x00:\x00",
		"UTF-16, big-endian": "\xfe\xff\x00n\x00a\x00m\x00e",
		"UTF-32":             "\xff\xfe\x00\x00n\x00\x00\x00",
		"Latin-1":            head + "about: gr\xf6\xdfe\n",
		"JSON":               `{"name": 3, "load": [1, 2`,
		"HTML":               "<!DOCTYPE html>\n<html><body>404</body></html>\n",
		"a diff":             "--- a/x.yaml\n+++ b/x.yaml\n@@ -1 +1 @@\n-name: x\n",
		"a conflict":         "<<<<<<< HEAD\nname: x\n=======\nname: y\n>>>>>>> b\n",
		"carriage returns":   strings.ReplaceAll(head, "\n", "\r") + "workers: 0\r",
		"two documents":      head + "---\n" + head,

		"anchors":       head + repeat("k%d: &a%d x\n", 2000),
		"brackets":      strings.Repeat("[", 100_000) + strings.Repeat("]", 20_000),
		"braces":        strings.Repeat("{a: ", 30_000),
		"indentation":   indentation(300),
		"questions":     strings.Repeat("? ", 60_000),
		"hyphens":       strings.Repeat("- ", 60_000),
		"many keys":     repeat("k%d: 1\n", 9000),
		"one key":       strings.Repeat("k: 1\n", 9000),
		"a long key":    head + strings.Repeat("k", 100_000) + ": 1\n",
		"a long value":  head + "sockets: " + strings.Repeat("ö", 50_000) + "\n",
		"a long number": head + "workers: " + strings.Repeat("9", 100_000) + "\n",
		"a long line":   head + "# " + strings.Repeat("x", 131_072) + "\n",

		"attempts":          "name: x\nload: {rate: 1000000/s, duration: 1h}\n",
		"many steps":        head + "timeline:\n" + strings.Repeat("- {at: 0s, do: add}\n", 257),
		"steps without end": strings.Replace(endless, "1s", "1h", 1) + variants,
		"steps and no stop": strings.Replace(unstopped, "stop: close\n", "", 1) + variants,
		"bad steps": head + "timeline:\n" +
			strings.Repeat("- {at: x, every: 1ms, do: y, for: z, who: w}\n", 256) + variants,
		"many values": head + "matrix: [{workers: [" + strings.Repeat("1, ", 256) + "1]}]\n",
		"a large product": head + "matrix: [{workers: " + eight + ", server.backlog: " + eight +
			", load.body: " + eight + "}]\n",
		"equal variants": head + "matrix:\n" + strings.Repeat("- {workers: [1]}\n", 256),
		"misspelt": head + "matrix:\n" +
			strings.Repeat("- {worker: [1], socket: [x], stopp: [y]}\n", 256),

		"many bad gates": head + "gates:\n" + strings.Repeat("- {expect: lots == 0}\n", 256),
		"a long gate":    gate(strings.Repeat("-", 100_000) + "lost == 0"),
		"a deep gate": gate(
			strings.Repeat("(", 2000) + "lost" + strings.Repeat(")", 2000) + " == 0"),
		"a gate of ranges":   gate("lost in 0..100000000"),
		"a gate that counts": gate("count(1..100000000, {# > 3}) > lost"),
		"a gate of escapes":  gate(`lost\e[31m == \u202e0`),
		"a label of escapes": head + "matrix: [{workers: [1, 2]}]\n" +
			`baseline: {"work\e[31mers": "\u009b1\u202e\n"}` + "\n",
		"a key of escapes": head + `"\e]0;owned\a": 1` + "\n",
	}
	for name, text := range tests {
		if survives(t, name, text) {
			t.Errorf("%s: accepted", name)
		}
	}
}

func repeat(format string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, strings.ReplaceAll(format, "%d", "%[1]d"), i)
	}
	return b.String()
}

// indentation returns nested mappings.
func indentation(depth int) string {
	var b strings.Builder
	for i := range depth {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

// survives checks the refusal of a file or, if it is accepted, that it can be planned, written out
// and read again. It reports whether the file is accepted.
func survives(t *testing.T, name, text string) bool {
	t.Helper()
	s, err := scenarios.Parse("f.yaml", []byte(text))
	if err != nil {
		checkRefusal(t, name, err)
		return false
	}
	if len(s.Variants) == 0 {
		t.Errorf("%s: accepted, with no variant", name)
	}
	p, err := New([]*scenarios.Scenario{s}, 1, Machine{CPUs: []int{0, 1}}, Options{})
	if err != nil {
		t.Errorf("%s: accepted, but cannot be planned: %v", name, err)
		return true
	}
	if err := p.Describe(io.Discard); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	var written bytes.Buffer
	if err := s.Explain(&written); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	if again, err := scenarios.Parse("again.yaml", written.Bytes()); err != nil {
		t.Errorf("%s: refused after writing it out: %v", name, err)
	} else if got, want := len(again.Variants), len(s.Variants); got != want {
		t.Errorf("%s: %d variants after writing it out, want %d", name, got, want)
	}
	return true
}

// checkRefusal checks the error for a file that is refused.
func checkRefusal(t *testing.T, name string, err error) {
	t.Helper()
	var problems *scenarios.Problems
	if !errors.As(err, &problems) {
		t.Errorf("%s: got error %v, want *Problems", name, err)
		return
	}
	for _, p := range problems.Problems {
		if p.What == "" || p.Hint == "" || p.Line == 0 && !strings.Contains(p.What, "larger than") {
			t.Errorf("%s: %s; want a line, what is wrong, and a hint", name, p)
		}
	}
	message := err.Error()
	if lines := strings.Count(message, "\n") + 1; lines > 21 || len(message) > 32<<10 {
		t.Errorf("%s: the message has %d lines, %d bytes; want at most 21, 32 KiB",
			name, lines, len(message))
	}
	unprintable := func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }
	if i := strings.IndexFunc(message, unprintable); i >= 0 {
		t.Errorf("%s: %q is not quoted", name, message[i:min(len(message), i+20)])
	}
	for _, word := range []string{
		"scalar", "token", "strconv", "node content", " flow ", "parsing", "unmarshal",
		"goroutine", "go-yaml",
	} {
		if strings.Contains(message, word) {
			t.Errorf("%s: the message has a library's word, %q: %s", name, word, message)
		}
	}
}
