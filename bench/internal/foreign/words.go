package foreign

import (
	"errors"
	"fmt"
	"slices"

	"github.com/mattn/go-shellwords"
)

func (c Command) empty() bool { return c.Line == "" && len(c.List) == 0 }

// words returns the program and its arguments. lookup must return the value of one of the server's
// environment variables. place names the command in errors.
func (c Command) words(
	vars Variables, lookup func(string) (string, bool), place string,
) (words []string, err error) {
	switch {
	case c.Line != "" && len(c.List) > 0:
		return nil, fmt.Errorf("%s: has both a line and a list", place)
	case c.Line != "":
		line, err := vars.render(place, c.Line)
		if err != nil {
			return nil, err
		}
		if words, err = split(line, lookup); err != nil {
			return nil, fmt.Errorf("%s: %q: %w", place, line, err)
		}
	default:
		for i, word := range c.List {
			word, err := vars.render(fmt.Sprintf("%s[%d]", place, i), word)
			if err != nil {
				return nil, err
			}
			words = append(words, word)
		}
	}
	if len(words) == 0 || words[0] == "" {
		return nil, fmt.Errorf("%s: names no program", place)
	}
	return words, nil
}

// split splits a line into words by a shell's rules, but runs no shell.
func split(line string, lookup func(string) (string, bool)) ([]string, error) {
	var unset []string
	parser := shellwords.NewParser()
	parser.ParseEnv = true
	parser.Getenv = func(name string) string {
		value, ok := lookup(name)
		if !ok && !slices.Contains(unset, name) {
			unset = append(unset, name)
		}
		return value
	}
	words, err := parser.Parse(line)
	switch {
	case err != nil:
		return nil, errors.New("a quote, a backslash or a bracket has no end; " + throughShell)
	case parser.Position >= 0:
		operator := string([]rune(line)[parser.Position])
		return nil, fmt.Errorf("%q is for a shell, and none runs it; quote it, or %s",
			operator, throughShell)
	case len(unset) > 0:
		return nil, fmt.Errorf("the environment variable $%s is not set; add it to env, "+
			"or quote it with '…'", unset[0])
	}
	return words, nil
}

const throughShell = "start a shell: sh -c 'exec …'"
