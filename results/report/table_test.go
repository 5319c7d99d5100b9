package report

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/results"
	"reuseport-bench/results/unit"
)

func rendered(t *testing.T, table *table) string {
	t.Helper()
	var out bytes.Buffer
	if err := table.text(&out); err != nil {
		t.Fatal(err)
	}
	return "\n" + out.String()
}

// The library would write "P 50 [MS]", trim and pad on its own: none of it.
func TestTableText(t *testing.T) {
	plain := &table{columns: []column{{head: "variant"}, {"p50 [µs]", true}, {head: "note_x"}}}
	plain.add("a", "1"+plain.note("first"), "")
	plain.add("b b", "22"+plain.note("second", "first"), "two\nlines")
	want := `
variant  p50 [µs]  note_x
─────────────────────────
a              1¹
b b         22²⁺¹  two
                   lines
¹ first
² second
`
	if diff := cmp.Diff(want, rendered(t, plain)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTableRules(t *testing.T) {
	ruled := &table{columns: []column{{head: "a"}, {head: "b"}}, ruled: true}
	ruled.add("1", "2")
	ruled.add("3", "4")
	if diff := cmp.Diff("\na  b\n────\n1  2\n────\n3  4\n", rendered(t, ruled)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Spaces at either end of a cell, empty lines in it and equal neighbours stay as they are.
func TestTableKeepsCells(t *testing.T) {
	table := &table{columns: []column{{head: " a "}, {"camelCase", true}, {head: "b"}}}
	table.add("  x", "same", "same")
	table.add("-\n\n-", "1 ", "")
	table.add("-", "same", "same")
	want := `
 a   camelCase  b
────────────────────
  x       same  same
-           1

-
-         same  same
`
	if diff := cmp.Diff(want, rendered(t, table)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A column in which nothing stands has a width, too.
func TestTableEmptyColumn(t *testing.T) {
	for width := maxWidth - between - 3; width <= maxWidth; width++ {
		table := &table{columns: []column{{head: "a"}, {}}}
		table.add(strings.Repeat("w ", width/2)+strings.Repeat("w", width%2), "")
		for line := range strings.Lines(rendered(t, table)) {
			if w := displayWidth(strings.TrimSuffix(line, "\n")); w > maxWidth {
				t.Errorf("%d columns: %q", w, line)
			}
		}
	}
}

// Nothing in a cell ends it, starts another line, or becomes markup.
func TestTableMarkdown(t *testing.T) {
	table := &table{columns: []column{{head: "a|b"}, {"p50\n[µs]", true}}}
	table.add("one|two\\|", "1")
	table.add(" <b>\n`c`", "")
	want := "" +
		`| a\|b             | p50<br>[µs] |` + "\n" +
		`|:-----------------|------------:|` + "\n" +
		`| one\|two\\\|     |           1 |` + "\n" +
		"|  &lt;b><br>\\`c\\` |             |\n"
	var out strings.Builder
	if err := table.markdown(&out); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Wrapping comes before splitting, and each part repeats the first column.
func TestTableWrapsThenSplits(t *testing.T) {
	wide := &table{columns: []column{{head: "variant"}}}
	cells := []string{"sockets=reuseport stop=migrate"}
	for range 5 {
		wide.columns = append(wide.columns, column{strings.Repeat("h", 13), true})
		cells = append(cells, "1")
	}
	wide.add(cells...)
	want := `
variant            hhhhhhhhhhhhh  hhhhhhhhhhhhh  hhhhhhhhhhhhh  hhhhhhhhhhhhh  hhhhhhhhhhhhh
────────────────────────────────────────────────────────────────────────────────────────────
sockets=reuseport              1              1              1              1              1
stop=migrate
`
	if diff := cmp.Diff(want, rendered(t, wide)); diff != "" {
		t.Errorf("wrapped (-want +got):\n%s", diff)
	}
	wide.columns = append(wide.columns, column{"more", true})
	wide.columns = append(wide.columns, column{"and more", true})
	wide.rows[0] = append(wide.rows[0], "2", "3")
	want = `
variant            hhhhhhhhhhhhh  hhhhhhhhhhhhh  hhhhhhhhhhhhh  hhhhhhhhhhhhh  hhhhhhhhhhhhh  more
──────────────────────────────────────────────────────────────────────────────────────────────────
sockets=reuseport              1              1              1              1              1     2
stop=migrate

variant            and more
───────────────────────────
sockets=reuseport         3
stop=migrate
`
	if diff := cmp.Diff(want, rendered(t, wide)); diff != "" {
		t.Errorf("split (-want +got):\n%s", diff)
	}
}

// Whatever the cells hold: no line too wide, and no character lost.
func TestTableFitsAnything(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	alphabet := []string{"a", "b=", "1", "漢", "é", "e\u0301", "👩‍🚀", " ", "\n", "-", "µ", "±"}
	text := func() string {
		var s strings.Builder
		for range random.IntN(60) * random.IntN(4) {
			s.WriteString(alphabet[random.IntN(len(alphabet))])
		}
		return s.String()
	}
	for range 25 {
		columns := 2 + random.IntN(12)
		table := &table{ruled: random.IntN(2) == 0}
		for range columns {
			table.columns = append(table.columns, column{clean(text()), random.IntN(2) == 0})
		}
		for range 1 + random.IntN(4) {
			cells := make([]string, columns)
			for i := range cells {
				cells[i] = text()
			}
			table.add(cells...)
		}
		out := rendered(t, table)
		for line := range strings.Lines(out) {
			if w := displayWidth(strings.TrimSuffix(line, "\n")); w > maxWidth {
				t.Fatalf("%d columns: %q", w, line)
			}
		}
		for _, row := range table.rows {
			for _, cell := range row[1:] { // the first column is repeated
				if strings.Count(out, "漢") < strings.Count(cell, "漢") {
					t.Fatalf("characters of %q are missing in:\n%s", cell, out)
				}
			}
		}
	}
}

func TestWrap(t *testing.T) {
	for _, test := range []struct {
		in    string
		width int
		want  string
	}{
		{"one two three", 7, "one two\nthree"},
		{"exactly", 7, "exactly"},
		{"eight888", 7, "eight88\n8"},
		{"a eight888", 7, "a\neight88\n8"},
		{"漢字漢", 5, "漢字\n漢"},
		{"漢", 1, "漢"},
		{"keep\nbreaks", 9, "keep\nbreaks"},
		{"", 5, ""},
	} {
		if got := wrap(test.in, test.width); got != test.want {
			t.Errorf("wrap(%q, %d): got %q, want %q", test.in, test.width, got, test.want)
		}
	}
}

func TestFold(t *testing.T) {
	word := strings.Repeat("w", 28)
	long := strings.Join([]string{word, word, word, word}, " ")
	three := strings.Join([]string{word, word, word}, " ")
	for in, want := range map[string]string{
		"":                              "",
		"  as   it is\n":                "  as   it is\n",
		"no end":                        "no end\n",
		"\n\n":                          "\n\n",
		"  " + long + "\n":              "  " + three + "\n      " + word + "\n",
		"#   " + long:                   "#   " + three + "\n#       " + word + "\n",
		"# a\tb\x1b[1m":                 "# a b\ufffd[1m\n",
		strings.Repeat("a  ", 33) + "z": strings.Repeat("a  ", 33) + "z\n",
	} {
		var out strings.Builder
		if err := Fold(&out, in); err != nil || out.String() != want {
			t.Errorf("%q: %v, got %q, want %q", in, err, out.String(), want)
		}
	}
}

func TestFigure(t *testing.T) {
	ms, one := unit.Scale{Name: "ms", Factor: 1e6}, unit.Plain()
	none := results.Summary{Lo: ptr(0.), Hi: ptr(0.0375), N: 80, Method: results.MethodRuleOfThree}
	some := results.Summary{Center: 2.5e6, Lo: ptr(2e6), Hi: ptr(3e6)}
	for _, test := range []struct {
		name     string
		summary  results.Summary
		of       unit.Unit
		in       unit.Scale
		interval bool
		want     string
	}{
		{"with interval", some, unit.Nanoseconds, ms, true, "2.50 [2.00, 3.00]"},
		{"without", some, unit.Nanoseconds, ms, false, "2.50"},
		{"too few trials", results.Summary{Center: 2.5e6}, unit.Nanoseconds, ms, true, "2.50"},
		{"no loss", none, unit.PerRestart, one, true, "≤ 3/80"},
		{"no loss, as a rate", none, unit.PerAttempt, one, true, "≤ 0.0375"},
		{"tiny p", results.Summary{Center: 1e-9}, unit.Probability, one, false, "< 0.001"},
		{"none in few restarts", results.Summary{N: 2, Lo: ptr(0.), Hi: ptr(1.5), Method: results.MethodRuleOfThree, TooFew: true}, unit.PerRestart, one, true, "0 in 2: too few"},
		{"some in few", results.Summary{Center: 4. / 3, N: 3, Lo: ptr(0.1), Hi: ptr(9.), TooFew: true}, unit.PerRestart, one, true, "4 in 3: too few"},
		{"few, as a time", results.Summary{Center: 2.5e6, N: 3, TooFew: true}, unit.Nanoseconds, ms, true, "too few"},
		{"a small share", results.Summary{Lo: ptr(0.), Hi: ptr(6.25e-5), Method: results.MethodRuleOfThree}, unit.PerAttempt, one, true, "≤ 0.0000625"},
		{"p", results.Summary{Center: 0.03}, unit.Probability, one, false, "0.0300"},
	} {
		if got := figure(test.summary, test.of, test.in, test.interval); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

func TestCPUSet(t *testing.T) {
	for _, test := range []struct {
		cpus []int
		want string
	}{
		{nil, "any"}, {[]int{3}, "3"}, {[]int{0, 1, 2, 5, 7, 8}, "0-2,5,7-8"}, {[]int{2, 0, 1, 1}, "0-2"},
	} {
		if got := cpuSet(test.cpus); got != test.want {
			t.Errorf("%v: got %s, want %s", test.cpus, got, test.want)
		}
	}
}

func TestMark(t *testing.T) {
	for n, want := range map[int]string{1: "¹", 9: "⁹", 10: "¹⁰", 123: "¹²³"} {
		if got := mark(n); got != want {
			t.Errorf("mark(%d): got %s, want %s", n, got, want)
		}
	}
}

// Books that do not balance must say so.
func TestBalance(t *testing.T) {
	trial := &results.Trial{Attempts: 10, Served: 7, LostByCause: map[string]int64{"refused": 2, "client": 0}, Residual: 1}
	if got, want := balance([]*results.Trial{trial}), "1 valid trial: 10 attempts ≠ 7 served + 2 refused; residual 1"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	trial.Served = 8
	if got, want := balance([]*results.Trial{trial, trial}), "2 valid trials: 20 attempts = 16 served + 4 refused; residual 2"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
