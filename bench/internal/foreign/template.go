package foreign

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Variables are the values of the variables in templates, by name: {{address}}, {{host}}, {{port}},
// {{workers}}, {{generation}}, {{directory}}, {{vars.NAME}} and, in the actions of a restart,
// {{main}}, the PID of the main process.
type Variables map[string]string

// mainVariable is the name of the variable {{main}}. It has no value before there is a main
// process.
const mainVariable = "main"

// Check returns an error if the configuration contradicts itself, or one of its texts is not a
// valid template. So mistakes are found before anything is started.
func (c Config) Check() error {
	if err := c.withDefaults().checkReady(); err != nil {
		return err
	}
	vars := c.variables(1)
	if _, err := c.Start.words(vars, c.environment(vars).lookup, "start"); err != nil {
		return err
	}
	if !c.Ready.Run.empty() {
		if _, err := c.Ready.Run.words(vars, c.environment(vars).lookup, "ready.run"); err != nil {
			return err
		}
	}
	for _, f := range c.Files {
		if err := f.check(); err != nil {
			return err
		}
		if _, err := vars.render("files."+f.Name, f.Text); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Env)) {
		if _, err := vars.render("env."+name, c.Env[name]); err != nil {
			return err
		}
	}
	return nil
}

// check returns an error if the file's path leads out of the home directory, or the file has two
// contents.
func (f File) check() error {
	if !filepath.IsLocal(f.Name) {
		return fmt.Errorf("files.%s: not a path below the server's directory", f.Name)
	}
	if f.Copy != "" && f.Text != "" {
		return fmt.Errorf("files.%s: has both a text and a file to copy", f.Name)
	}
	return nil
}

// variables returns the variables for a generation.
func (c Config) variables(generation int) Variables {
	vars := Variables{
		"address":    c.Address.String(),
		"host":       c.Address.Addr().String(),
		"port":       strconv.Itoa(int(c.Address.Port())),
		"workers":    strconv.Itoa(c.Workers),
		"generation": strconv.Itoa(generation),
		"directory":  homeDirectory,
	}
	for name, value := range c.Vars {
		vars["vars."+name] = value
	}
	return vars
}

// set returns a copy of the variables with the given values. It fails if one of the names is not a
// variable.
func (v Variables) set(values map[string]string) (Variables, error) {
	v = maps.Clone(v)
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if _, known := v[name]; !known {
			return nil, fmt.Errorf("set: unknown variable %q; %s", name, v.known())
		}
		v[name] = values[name]
	}
	return v, nil
}

// render returns the text with each variable replaced by its value. Errors contain place, which
// names the text, and the line and column in the text.
func (v Variables) render(place, text string) (string, error) {
	var b strings.Builder
	rest := text
	for {
		before, after, found := strings.Cut(rest, "{{")
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		at := position(text, len(text)-len(after)-len("{{"))
		line, _, _ := strings.Cut(after, "\n")
		name, _, closed := strings.Cut(line, "}}")
		value, known := v[strings.TrimSpace(name)]
		switch {
		case !closed:
			return "", fmt.Errorf("%s:%s: \"{{\" without \"}}\" on its line; %s",
				place, at, ownBraces)
		case !known:
			return "", fmt.Errorf("%s:%s: unknown variable {{%s}}; %s; %s",
				place, at, name, v.known(), ownBraces)
		}
		b.WriteString(value)
		rest = after[len(name)+len("}}"):]
	}
}

const ownBraces = "a file with braces of its own is given by the path of a copy"

func (v Variables) known() string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(v)) {
		names = append(names, "{{"+name+"}}")
	}
	return "known are " + strings.Join(names, ", ")
}

// position returns the line and column of an offset, both counted from 1.
func position(text string, offset int) string {
	before := text[:offset]
	line := strings.Count(before, "\n")
	column := len([]rune(before[strings.LastIndexByte(before, '\n')+1:]))
	return fmt.Sprintf("%d:%d", line+1, column+1)
}
