package command

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// A shell splits the command line into the arguments from which Line made it.
func TestLine(t *testing.T) {
	arguments := []string{
		"run", "", "o u t", "it's", `"$HOME"`, "`id`", `back\slash`, "*?[a]", "~", "#no",
		"a;b&c|d<e>f", "!!", "{a,b}", "stop=close", "-x", "line\nbreak", "\x1b[31mred", "100%\t",
		"'\n'", "trailing space ", "größe", "bad\xff", "\u202eright to left", "%s\n\\x", "-\x1b",
	}
	line := Line(arguments...)
	if i := strings.IndexFunc(line, unprintable); i >= 0 {
		t.Errorf("%q is not escaped", line[i:])
	}
	got := words(t, line)
	if want := append([]string{"reuseport-bench"}, arguments...); !slices.Equal(got, want) {
		t.Errorf("%s\ngot  %q\nwant %q", line, got, want)
	}
	const plain = "reuseport-bench run --resume results/runs/2026-11-30T10-00-00 --only stop=close"
	if got := Line(strings.Fields(plain)[1:]...); got != plain {
		t.Errorf("got %s; want no quotes", got)
	}
}

func TestPath(t *testing.T) {
	for path, want := range map[string]string{"-x": "./-x", "a-x": "a-x", "/-x": "/-x", "": ""} {
		if got := Path(path); got != want {
			t.Errorf("%q: got %q, want %q", path, got, want)
		}
	}
}

// words returns the words that a shell reads from a line.
func words(t *testing.T, line string) []string {
	t.Helper()
	out, err := exec.Command("sh", "-c", `printf '%s\0' `+line).Output()
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
}

// A suggested command has the program's name as it was typed.
func TestProgram(t *testing.T) {
	for typed, want := range map[string]string{
		"reuseport-bench": "reuseport-bench", "bin/reuseport-bench": "bin/reuseport-bench",
		"./reuseport-bench":        "./reuseport-bench",
		"/opt/x y/reuseport-bench": "'/opt/x y/reuseport-bench'",
		"/tmp/b001/command.test":   "reuseport-bench", "": "reuseport-bench",
		"-x/reuseport-bench": "./-x/reuseport-bench",
	} {
		if got := program(typed); got != want {
			t.Errorf("%q: got %s, want %s", typed, got, want)
		}
	}
}
