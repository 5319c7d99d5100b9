package document

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func rendered(t *testing.T, table *Table) string {
	t.Helper()
	return renderedIn(t, DefaultWidth, table)
}

func renderedIn(t *testing.T, width int, table *Table) string {
	t.Helper()
	var out bytes.Buffer
	if err := table.text(&out, Look{Width: width}); err != nil {
		t.Fatal(err)
	}
	return "\n" + out.String()
}

// Heads are not rewritten ("P 50 [MS]"), and cells are not trimmed or padded.
func TestTableText(t *testing.T) {
	plain := &Table{Columns: []Column{{Head: "variant"}, {Head: "p50 [µs]", Right: true},
		{Head: "note_x"}}}
	plain.Add("a", "1"+plain.Note("first"), "")
	plain.Add("b b", "22"+plain.Note("second", "first"), "two\nlines")
	want := `
variant  p50 [µs]  note_x
─────────────────────────
a              1ᵃ
b b          22ᵃᵇ  two
                   lines
ᵃ first
ᵇ second
`
	if diff := cmp.Diff(want, rendered(t, plain)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTableRules(t *testing.T) {
	ruled := &Table{Columns: []Column{{Head: "a"}, {Head: "b"}}, Ruled: true}
	ruled.Add("1", "2")
	ruled.Add("3", "4")
	if diff := cmp.Diff("\na  b\n────\n1  2\n────\n3  4\n", rendered(t, ruled)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Leading and trailing spaces of a cell, its empty lines, and cells that equal their neighbours are
// printed unchanged.
func TestTableKeepsCells(t *testing.T) {
	table := &Table{Columns: []Column{{Head: " a "}, {Head: "camelCase", Right: true}, {Head: "b"}}}
	table.Add("  x", "same", "same")
	table.Add("-\n\n-", "1 ", "")
	table.Add("-", "same", "same")
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

// An empty column has a width of 1.
func TestTableEmptyColumn(t *testing.T) {
	for width := DefaultWidth - Between - 3; width <= DefaultWidth; width++ {
		table := &Table{Columns: []Column{{Head: "a"}, {}}}
		table.Add(strings.Repeat("w ", width/2)+strings.Repeat("w", width%2), "")
		for line := range strings.Lines(rendered(t, table)) {
			if w := DisplayWidth(strings.TrimSuffix(line, "\n")); w > DefaultWidth {
				t.Errorf("%d Columns: %q", w, line)
			}
		}
	}
}

// Text in a cell cannot end the cell, start a new line, or become markup.
func TestTableMarkdown(t *testing.T) {
	table := &Table{Columns: []Column{{Head: "a|b"}, {Head: "p50\n[µs]", Right: true}}}
	table.Add("one|two\\|", "1")
	table.Add(" <b>\n`c`", "")
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

// Cells are wrapped before the table is split, and each part repeats the first column.
func TestTableWrapsThenSplits(t *testing.T) {
	wide := &Table{Columns: []Column{{Head: "variant"}}}
	cells := []string{"sockets=reuseport stop=migrate"}
	for range 5 {
		wide.Columns = append(wide.Columns, Column{Head: strings.Repeat("h", 13), Right: true})
		cells = append(cells, "1")
	}
	wide.Add(cells...)
	want := `
variant            hhhhhhhhhhhhh  hhhhhhhhhhhhh  hhhhhhhhhhhhh  hhhhhhhhhhhhh  hhhhhhhhhhhhh
────────────────────────────────────────────────────────────────────────────────────────────
sockets=reuseport              1              1              1              1              1
stop=migrate
`
	if diff := cmp.Diff(want, rendered(t, wide)); diff != "" {
		t.Errorf("wrapped (-want +got):\n%s", diff)
	}
	wide.Columns = append(wide.Columns, Column{Head: "more", Right: true})
	wide.Columns = append(wide.Columns, Column{Head: "and more", Right: true})
	wide.Rows[0] = append(wide.Rows[0], "2", "3")
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

// Whatever the cells contain, no line is too wide and no character is lost.
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
		table := &Table{Ruled: random.IntN(2) == 0}
		for range columns {
			table.Columns = append(table.Columns,
				Column{Head: Clean(text()), Right: random.IntN(2) == 0})
		}
		for range 1 + random.IntN(4) {
			cells := make([]string, columns)
			for i := range cells {
				cells[i] = text()
			}
			table.Add(cells...)
		}
		for width := MinWidth; width <= MaxWidth; width += 20 {
			fitsIn(t, width, table)
		}
	}
}

func fitsIn(t *testing.T, width int, table *Table) {
	t.Helper()
	out := renderedIn(t, width, table)
	for line := range strings.Lines(out) {
		if w := DisplayWidth(strings.TrimSuffix(line, "\n")); w > width {
			t.Fatalf("%d columns instead of %d: %q", w, width, line)
		}
	}
	for _, row := range table.Rows {
		for _, cell := range row[1:] { // the first column is repeated
			if strings.Count(out, "漢") < strings.Count(cell, "漢") {
				t.Fatalf("characters of %q are missing in:\n%s", cell, out)
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
		{"independent-of-control-plane", 19, "independent-of-\ncontrol-plane"},
		{"a/bcdefghijkl", 9, "a/bcdefgh\nijkl"}, // the slash is in the first half
		{"keep\nbreaks", 9, "keep\nbreaks"},
		{"", 5, ""},
	} {
		if got := wrap(test.in, test.width); got != test.want {
			t.Errorf("wrap(%q, %d): got %q, want %q", test.in, test.width, got, test.want)
		}
	}
}

func TestShorten(t *testing.T) {
	for _, test := range []struct {
		in    string
		width int
		want  string
	}{
		{"fits", 4, "fits"}, {"fits not", 4, "fit…"},
		{"漢字漢", 5, "漢字…"}, {"漢字漢", 6, "漢字漢"}, {"漢字", 3, "漢…"},
		{"a\nb\x1b", 9, "a b\ufffd"}, {"", 5, ""}, {"ab", 1, "…"},
	} {
		if got := Shorten(test.in, test.width); got != test.want || DisplayWidth(got) > test.width {
			t.Errorf("Shorten(%q, %d): got %q, want %q", test.in, test.width, got, test.want)
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
		if err := Fold(&out, DefaultWidth, in); err != nil || out.String() != want {
			t.Errorf("%q: %v, got %q, want %q", in, err, out.String(), want)
		}
	}
}

func TestMark(t *testing.T) {
	for i, want := range map[int]string{0: "ᵃ", 24: "ᶻ", 25: "ᵃ′", 51: "ᵇ′′"} {
		if got := mark(i); got != want {
			t.Errorf("mark(%d): got %s, want %s", i, got, want)
		}
	}
}

// Texts that differ only in numbers share one note, which has the range of each number.
func TestNotesMerge(t *testing.T) {
	table := &Table{Columns: []Column{Left("a")}}
	marks := []string{
		table.Note("need 6, have 3", "other"), table.Note("need 6, have 12"),
		table.Note("need 6, have 3"), table.Note("need 6, have 4", "need 6, have 3"),
	}
	if diff := cmp.Diff([]string{"ᵃᵇ", "ᵃ", "ᵃ", "ᵃ"}, marks); diff != "" {
		t.Errorf("marks (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"need 6, have 3–12", "other"}, table.notes.texts()); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
	unnoted := &Table{Unnoted: true}
	if m := unnoted.Note("a"); m != "" || len(unnoted.notes) > 0 {
		t.Errorf("a table that is to have no notes has %q", m)
	}
}

// Text with colours differs from text without only by the escape sequences.
func TestColour(t *testing.T) {
	d := &Document{}
	verdict := func(cell string) Tone {
		return map[string]Tone{"pass": Good, "fail": Bad, "open or so": Open}[cell]
	}
	table := &Table{Columns: []Column{
		Left("variant"), Left("verdict").Toned(verdict), Right("x [95 %]"),
	}}
	table.Add("a", "pass", "1 [0, 2]"+table.Note("why"))
	table.Add("b", "open or so", "10")
	table.Add("c", "fail", "100 [10, 1000]")
	d.Table(table)
	for _, width := range []int{MinWidth, DefaultWidth} {
		var plain, coloured strings.Builder
		if err := d.Text(&plain, Look{Width: width}); err != nil {
			t.Fatal(err)
		}
		if err := d.Text(&coloured, Look{Width: width, Colour: true}); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(plain.String(), "\x1b") {
			t.Errorf("an escape sequence without colours: %q", plain.String())
		}
		for _, want := range []string{
			green + "pass" + reset, red + "fail" + reset, dim + "[0, 2]" + reset, dim + "ᵃ why" +
				reset,
		} {
			if !strings.Contains(coloured.String(), want) {
				t.Errorf("no %q in %q", want, coloured.String())
			}
		}
		bare := regexp.MustCompile("\x1b\\[[0-9]*m").ReplaceAllString(coloured.String(), "")
		if diff := cmp.Diff(plain.String(), bare); diff != "" {
			t.Errorf("width %d (-plain +coloured):\n%s", width, diff)
		}
	}
}

// A plain table has no header row and no rules. The caption is above the table, plain or not.
func TestPlainTable(t *testing.T) {
	table := &Table{Plain: true, Caption: "All", Columns: []Column{Left("word"), Left("text")}}
	table.Add("gate fail", strings.Repeat("text ", 8))
	table.Add("more", "text")
	want := `
All
gate fail  text text text text text text
           text text
more       text
`
	if diff := cmp.Diff(want, renderedIn(t, MinWidth, table)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Fold and Text return, and keep lines within the width, for any text and any width.
func TestFoldEnds(t *testing.T) {
	for _, text := range []string{
		strings.Repeat("#", 300), strings.Repeat(" ", 300) + "x", strings.Repeat("# ", 90) + "word",
		strings.Repeat("    ", 9) + strings.Repeat("word ", 40), "    # " + strings.Repeat("漢", 90),
	} {
		for _, width := range []int{-1, 0, 1, MinWidth, MaxWidth, 1000} {
			d := &Document{}
			d.List([]string{text})
			var folded, printed bytes.Buffer
			if err := errors.Join(Fold(&folded, width, text),
				d.Text(&printed, Look{Width: width})); err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(folded.String() + printed.String()) {
				if w := DisplayWidth(strings.TrimSuffix(line, "\n")); w > columns(width) {
					t.Errorf("width %d: a line of %d columns: %q", width, w, line)
				}
			}
		}
	}
}
