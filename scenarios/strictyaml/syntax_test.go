package strictyaml

import (
	"fmt"
	"strings"
	"testing"
)

// A syntax error is reported in words of our own, with its line and a hint.
func TestSyntax(t *testing.T) {
	tests := []struct{ text, want string }{
		{"name: x\nsteps:\n\tdo: stir\n", "f:3: not YAML: a tab is part of the indentation; indent with spaces"},
		{"steps:\n  \tdo: stir\n", "f:2: not YAML: a tab is part of the indentation; indent"},
		{"name: x\n\tsteps: y\n", "f:2: not YAML: a tab is part of the indentation; indent"},
		{"name: >\n\tx\n", "f:2: not YAML: a tab is part of the indentation; indent"},
		{"name: @x\n", "f:1: not YAML: '@' cannot start a value; put the text in quotes"},
		{"größe: 1\nname: [ü, %a]\n", "f:2: not YAML: '%' cannot start a value; put"},
		{"name: x\nmode: 'fan\n\n", "f:4: not YAML: the quotes are not closed in the text that starts on line 2; close them"},
		{"mode: \"fan\n---\n", "f:2: not YAML: the quotes are not closed in the text that starts on line 1"},
		{`name: "\q"`, "f:1: not YAML: an unknown escape after a backslash; in double quotes"},
		{`name: "\xZZ"`, "f:1: not YAML: an unknown escape after a backslash; in double quotes"},
		{`name: "\uD800"`, "f:1: not YAML: the number after a backslash is not a character; in double quotes"},
		{"name: x: y\n", "f:1: not YAML: a colon is not allowed here; write each key: value"},
		{"name:x\nmode: fan\n", "f:2: not YAML: a colon is not allowed here; write each key: value"},
		{"- a\nb: c\n", "f:2: not YAML: expected an entry (-) in the list that starts on line 1; align"},
		{"steps:\n  - do: stir\n spices: {}\n", "f:3: not YAML: expected a key in the mapping that starts on line 1; align"},
		{"name: 'it's'\n", "f:1: not YAML: expected a key in the mapping; align"},
		{"steps: [b\nname: x\n", "f:2: not YAML: expected a comma or ] in the list that starts on line 1; close"},
		{"{name: b\n", "f:2: not YAML: expected a comma or } in the mapping that starts on line 1; close"},
		{"steps: [}\n", "f:1: not YAML: expected a value; close brackets"},
		{"name: - x\n", "f:1: not YAML: a list entry (-) is not allowed here; start it"},
		{"name: ? x\n", "f:1: not YAML: a key (?) is not allowed here; align"},
		{"? a\nb\nc", "f:3: not YAML: expected a colon after the key that starts on line 2; write key: value"},
		{"name: *x\n", "f:1: not YAML: an alias (*) is not allowed; write the value where it is used"},
		{"name: &\n", "f:1: not YAML: an anchor or alias (&, *) is not allowed; write the value"},
		{"name: !<x\n", "f:1: not YAML: a tag (!) is not allowed; write the value alone"},
		{"name: !a!b c\n", "f:1: not YAML: a tag (!) is not allowed; write the value alone"},
		{"%YAML 3.0\n--- a\n", "f:1: not YAML: a line that starts with % is not allowed; remove it"},
		{"%YAML 1.1\n%YAML 1.1\n--- a\n", "f:2: not YAML: a line that starts with % is not allowed; remove it"},
		{"%FOO\n---\na", "f:1: not YAML: a line that starts with % is not allowed; remove it"},
		{"name: |0\n x\n", "f:1: not YAML: the first line of a text in several lines holds more than | or >; start"},
		{"name: >x\n", "f:1: not YAML: the first line of a text in several lines holds more than | or >; start"},
		{"name: x\n... y\n", "f:2: not YAML: expected the end of the file; remove the line"},
		{"{name: x} y\n", "f:1: not YAML: expected the end of the file; align"},
		{"name: \"x\"#y\n", "f:1: not YAML: expected a space before #; add one"},
	}
	for _, test := range tests {
		_, _, err := parse(test.text)
		if got := fmt.Sprint(err); !strings.HasPrefix(got, test.want) {
			t.Errorf("%q:\ngot  %s\nwant %s…", test.text, got, test.want)
		}
	}
}
