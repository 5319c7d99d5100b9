package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// checkText returns a Problem for the first byte or character in data that cannot be in a text
// file, or nil.
func checkText(data []byte) *Problem {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		what, hint := "", "save it as UTF-8"
		switch {
		case r == utf8.RuneError && size == 1:
			what = "the file is not UTF-8 text"
		case r == 0:
			what = "the file holds a NUL byte"
			hint = "remove it, or save the file as UTF-8 if it is UTF-16 or UTF-32"
		// These characters are not c-printable in YAML 1.2. Nor are surrogates, but these are
		// invalid in UTF-8 anyway.
		case r < ' ' && !strings.ContainsRune("\t\n\r", r), r == 0xFFFE, r == 0xFFFF:
			what = fmt.Sprintf("the file holds the control character %U", r)
			hint = `remove it, or write it in double quotes as "\u` + fmt.Sprintf(`%04X"`, r)
		}
		if what != "" {
			return &Problem{Line: 1 + bytes.Count(data[:i], []byte("\n")), What: what, Hint: hint}
		}
		i += size
	}
	return nil
}

// A syntaxRule replaces a message of the YAML library by words of our own.
type syntaxRule struct {
	message string // a part of the library's message
	what    string
	hint    string
	opens   bool // whether a construct is not closed; the message then adds its first line
}

const (
	quoteHint  = "put text in quotes if it holds quotes, brackets, commas, # or a colon"
	closeHint  = "close brackets that are open, and " + quoteHint
	alignHint  = "align the lines that belong together, and " + quoteHint
	escapeHint = `in double quotes write \\ for a backslash, or use single quotes`
	inlineHint = "write the value where it is used"
	plainHint  = "write the value alone"
)

// syntaxRules are tried in order.
var syntaxRules = []syntaxRule{
	{"directive", "a line that starts with % is not allowed", "remove it", false},
	{"incompatible YAML document", "a line that starts with % is not allowed", "remove it", false},
	{"found a tab", "a tab is part of the indentation", "indent with spaces", false},
	{"scanning a block scalar", "the first line of a text in several lines holds more than | or >",
		"start the text on the next line", false},
	{"block sequence entries", "a list entry (-) is not allowed here",
		"start it on a line of its own, or write the list as [a, b]", false},
	{"mapping values", "a colon is not allowed here",
		"write each key: value on a line of its own, with a space after the colon; " + alignHint,
		false},
	{"mapping keys", "a key (?) is not allowed here", alignHint, false},
	{"expected ':'", "expected a colon after the key", "write key: value", true},
	{"expected key", "expected a key in the mapping", alignHint, true},
	{"expected '-'", "expected an entry (-) in the list", alignHint, true},
	{"expected ',' or '}'", "expected a comma or } in the mapping", closeHint, true},
	{"expected ',' or ']'", "expected a comma or ] in the list", closeHint, true},
	{"expected node content", "expected a value", closeHint, false},
	{"expected <document", "expected the end of the file", alignHint, false},
	{"document-end marker", "expected the end of the file", "remove the line that starts with ...",
		false},
	{"unknown escape", "an unknown escape after a backslash", escapeHint, false},
	{"hexadecimal number", "an unknown escape after a backslash", escapeHint, false},
	{"escape code", "the number after a backslash is not a character", escapeHint, false},
	{"scanning a quoted scalar", "the quotes are not closed in the text", "close them", true},
	{"without preceding whitespace", "expected a space before #",
		"add one, or put the text in quotes", false},
	{"unknown anchor", "an alias (*) is not allowed", inlineHint, false},
	{"scanning an a", "an anchor or alias (&, *) is not allowed", inlineHint, false},
	{"tag", "a tag (!) is not allowed", plainHint, false},
}

// syntaxProblem returns the Problem for data that is not YAML. err is the error of the YAML
// library.
func (d *Decoder) syntaxProblem(err error, data []byte) Problem {
	var load *yaml.LoadError
	if !errors.As(err, &load) {
		return Problem{Line: 1, What: "not YAML: " + err.Error(), Hint: alignHint}
	}
	p := Problem{Line: max(1, load.Mark.Line), What: load.Message, Hint: alignHint}
	message := load.Message + " " + load.ContextMsg
	switch {
	case strings.Contains(message, "max depth"):
		p.What = fmt.Sprintf("lists and mappings are nested more than %d deep", d.Format.MaxDepth)
		p.Hint = "close the brackets that are open, or indent less"
		return p
	case strings.Contains(message, "cannot start any token"):
		p.What, p.Hint = badStart(data, load.Mark)
	}
	for _, rule := range syntaxRules {
		if !strings.Contains(message, rule.message) {
			continue
		}
		p.What, p.Hint = rule.what, rule.hint
		if start := load.ContextMark.Line; rule.opens && start > 0 && start != p.Line {
			p.What += fmt.Sprintf(" that starts on line %d", start)
		}
		break
	}
	p.What = "not YAML: " + p.What
	if lines := strings.Split(string(data), "\n"); p.Line <= len(lines) &&
		strings.Contains(lines[p.Line-1], "{{") {
		p.Hint = "put a text that starts with {{ in quotes"
	}
	return p
}

// badStart describes the character at the position at, with which no value can begin.
func badStart(data []byte, at yaml.Mark) (what, hint string) {
	lines := bytes.Split(data, []byte("\n"))
	if at.Line > len(lines) {
		return "expected a value", quoteHint
	}
	line := []rune(string(lines[at.Line-1]))
	switch column := at.Column - 1; {
	case column < 0 || column >= len(line):
		return "expected a value", quoteHint
	case line[column] == '\t':
		return "a tab is part of the indentation", "indent with spaces"
	default:
		return fmt.Sprintf("%q cannot start a value", line[column]), "put the text in quotes"
	}
}
