// Package command writes the command lines that messages suggest, so that they can be pasted into a
// shell.
package command

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"
)

// name is the program's name in messages.
const name = "reuseport-bench"

// Program returns the command that starts this program, as the user typed it, for example
// bin/reuseport-bench. If the program has another name, such as that of a test, it returns
// reuseport-bench.
func Program() string { return program(os.Args[0]) }

func program(typed string) string {
	if filepath.Base(typed) != name {
		return name
	}
	return Quote(Path(typed))
}

// Line returns the command line that runs this program with these arguments.
func Line(arguments ...string) string {
	words := []string{Program()}
	for _, argument := range arguments {
		words = append(words, Quote(argument))
	}
	return strings.Join(words, " ")
}

// Path returns path with "./" in front if it looks like an option.
func Path(path string) string {
	if strings.HasPrefix(path, "-") {
		return "./" + path
	}
	return path
}

// Quote returns a word that a POSIX shell reads as s. Single quotes preserve every character except
// the single quote (POSIX.1-2024, Shell Command Language, 2.2.2). Characters that are not printable
// could move a terminal's cursor, so Quote returns a command substitution in which printf(1) writes
// them. It loses a newline at the end of s (2.6.3).
func Quote(s string) string {
	switch {
	case s != "" && !strings.ContainsFunc(s, special):
		return s
	case !utf8.ValidString(s) || strings.ContainsFunc(s, unprintable):
		return `"$(printf '` + escape(s) + `')"`
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// plain has the characters, besides letters and digits, without a special meaning in any shell.
const plain = "%+,-./:=@_"

func special(r rune) bool {
	letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
	return !letter && !strings.ContainsRune(plain, r)
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// escape writes s as a format of printf(1). The format does not begin with "-", and single quotes
// around it suffice to quote it.
func escape(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c >= utf8.RuneSelf || c < ' ' || strings.IndexByte("\x7f%\\'-", c) >= 0 {
			fmt.Fprintf(&b, `\%03o`, c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
