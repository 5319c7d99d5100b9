package strictyaml

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"
)

// recipe is the content of the files that the tests decode.
type recipe struct {
	Name   string        `yaml:"name"`
	Oven   oven          `yaml:",inline"`
	Steps  []step        `yaml:"steps"`
	Spices spices        `yaml:"spices,omitempty"`
	Rest   *int          `yaml:"rest,omitempty"`
	Vegan  bool          `yaml:"vegan"`
	Notes  string        `yaml:"-"`
	Wait   time.Duration `yaml:"wait"`
}

type oven struct {
	Mode string  `yaml:"mode"`
	Heat degrees `yaml:"heat"`
}

type step struct {
	Do    string  `yaml:"do"`
	Share float64 `yaml:"share,omitempty"`
}

// degrees is a TextDecoder. It is written as "180C".
type degrees int

func (d degrees) String() string { return strconv.Itoa(int(d)) + "C" }

func (d *degrees) DecodeText(text string, s Setting) *Problem {
	number, ok := strings.CutSuffix(text, "C")
	n, err := strconv.Atoi(number)
	switch {
	case !ok || err != nil:
		return &Problem{What: fmt.Sprintf("%q is not a temperature", text), Hint: s.hint()}
	case !s.Allows(float64(n)):
		return s.OutOfRange(text, func(x float64) string { return degrees(x).String() })
	}
	*d = degrees(n)
	return nil
}

// spices is a NodeDecoder and a NodeEncoder. It maps names to amounts.
type spices map[string]string

func (s *spices) DecodeYAML(d *Decoder, n *yaml.Node, path string) {
	*s = spices{}
	d.Pairs(n, path, func(key, value *yaml.Node) { (*s)[key.Value] = value.Value })
}

func (s spices) EncodeYAML() *yaml.Node {
	mapping := Flow(&yaml.Node{Kind: yaml.MappingNode})
	for name, amount := range s {
		mapping.Content = append(mapping.Content, Scalar(name), Scalar(amount))
	}
	return mapping
}

func recipes() *Format {
	modes := []Choice{{Value: "fan"}, {Value: "grill"}, {Value: "bottom"}}
	return &Format{
		Noun: "recipe", FirstLine: "name: soup", Template: "the cookbook",
		MaxSize: 500, MaxDepth: 5, MaxLen: 8,
		Settings: []Setting{
			{Path: "mode", Choices: modes, Joined: true, Default: "fan", Example: "fan+grill"},
			{Path: "heat", Min: 50, Max: 250, Default: "180C", Example: "200C"},
			{Path: "steps[].do", Choices: []Choice{{Value: "stir"}, {Value: "bake"}}},
			{Path: "steps[].share", Above: true, Max: 1},
			{Path: "rest", Min: 5, Max: 60, OrZero: true},
			{Path: "wait", Max: float64(time.Hour), Example: "5m"},
			{Path: "elsewhere", Default: "1"}, // the struct has no such field
		},
	}
}

func parse(text string) (*recipe, *Decoder, error) {
	r := &recipe{}
	root, d := recipes().Parse([]byte(text))
	if root != nil {
		d.Decode(root, r)
	}
	return r, d, d.Err("f")
}

func TestDecode(t *testing.T) {
	rest, none := 10, 0
	tests := []struct {
		name, text string
		want       recipe
	}{
		{"defaults", "name: x\n", recipe{Name: "x", Oven: oven{Mode: "fan", Heat: 180}}},
		{"zero beside a range", "name: x\nrest: 0\n", recipe{
			Name: "x", Oven: oven{Mode: "fan", Heat: 180}, Rest: &none,
		}},
		{"everything", `name: "7"
mode: grill+bottom
heat: 200C
steps: [{do: stir, share: 0.5}, {do: bake}]
spices: {salt: 5g}
rest: 10
vegan: true
wait: 1m30s
`, recipe{
			Name: "7", Oven: oven{Mode: "grill+bottom", Heat: 200},
			Steps:  []step{{Do: "stir", Share: 0.5}, {Do: "bake"}},
			Spices: spices{"salt": "5g"}, Rest: &rest, Vegan: true, Wait: 90 * time.Second,
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, _, err := parse(test.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(*got, test.want); diff != "" {
				t.Errorf("Decode (-got +want):\n%s", diff)
			}
			text, err := Marshal(got)
			if err != nil {
				t.Fatal(err)
			}
			again, _, err := parse(string(text))
			if err != nil {
				t.Fatalf("%v, in:\n%s", err, text)
			}
			again.Steps = append([]step(nil), again.Steps...) // an empty list becomes nil
			if diff := cmp.Diff(*again, test.want); diff != "" {
				t.Errorf("after Marshal (-got +want):\n%s\n%s", diff, text)
			}
		})
	}
}

func TestProblems(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string
	}{
		{"empty", "", []string{`f:1: the file is empty; start from the cookbook`}},
		{"largest", "name: x\n#" + strings.Repeat("x", 490) + "\n", nil},
		{"large", strings.Repeat("#", 501), []string{
			`f: the file is larger than 500 bytes; a recipe fits a page; split it, or name ` +
				`another file`,
		}},
		{"deep", "steps: [[[[[x]]]]]\n", []string{
			`f:1: steps[0]: expected a mapping, found a list; write {key: value}, or indented ` +
				`lines of key: value`,
		}},
		{"too deep", "steps: [[[[[[x]]]]]]\n", []string{
			`f:1: lists and mappings are nested more than 5 deep; close the brackets that are ` +
				`open, or indent less`,
		}},
		{"too deep by indentation", "a:\n b:\n  c:\n   d:\n    e:\n     f: 1\n", []string{
			`f:6: lists and mappings are nested more than 5 deep; close the brackets that are ` +
				`open, or indent less`,
		}},
		{"not UTF-8", "name: x\nmode: \"\xff\"\n", []string{
			`f:2: the file is not UTF-8 text; save it as UTF-8`,
		}},
		{"UTF-16", "\xff\xfen\x00a\x00", []string{`f:1: the file is not UTF-8 text; save it as UTF-8`}},
		{"UTF-16 without a mark", "\x00n\x00a", []string{
			`f:1: the file holds a NUL byte; remove it, or save the file as UTF-8 if it is ` +
				`UTF-16 or UTF-32`,
		}},
		{"escape", "name: x\nmode: \x1b[31m\n", []string{
			`f:2: the file holds the control character U+001B; remove it, or write it in double ` +
				`quotes as "\u001B"`,
		}},
		{"not a mapping", "- soup\n", []string{
			`f:1: a recipe is a mapping, this is a list; start with a line such as name: soup`,
		}},
		{"two documents", "name: x\n---\nname: y\n", []string{
			`f:2: a second document starts here; put each recipe in a file of its own`,
		}},
		{"indirection, and another problem", "name: &a x\nmode: *a\nvegan: maybe\n", []string{
			`f:1: anchor &a is not allowed; write the value where it is used`,
			`f:2: alias *a is not allowed; write the value where it is used`,
			`f:3: vegan: expected true or false, found the text "maybe"; write true or false`,
		}},
		{"unknown keys", "name: x\nhaet: 200C\ncolour: red\n", []string{
			`f:2: unknown key "haet"; did you mean "heat"?`,
			`f:3: unknown key "colour"; known here: name, mode, heat, steps, spices, rest, ` +
				`vegan, wait`,
		}},
		{"field without a key", "name: x\nnotes: none\n", []string{
			`f:2: unknown key "notes"; known here: name, mode, heat, steps, spices, rest, vegan, ` +
				`wait`,
		}},
		{"by line, with paths of elements", "steps: [{do: bake, share: 0}]\nheat: 20C\nrest: 4\n",
			[]string{
				`f:1: steps[0].share: 0 is out of range; allowed: more than 0, up to 1`,
				`f:2: heat: 20C is out of range; allowed: 50C to 250C`,
				`f:3: rest: 4 is out of range; allowed: 5 to 60, or 0`,
			}},
		{"joined choices", "mode: fan+gril\n", []string{
			`f:1: mode: unknown value "gril"; did you mean "grill"? (allowed: fan, grill, ` +
				`bottom);` +
				` join several by +, for example fan+grill`,
		}},
		{"joined twice", "mode: fan+fan\n", []string{`f:1: mode: "fan" is named twice; name each once, for example fan+grill`}},
		{"own syntax", "heat: hot\nspices: [salt]\n", []string{
			`f:1: heat: "hot" is not a temperature; for example 200C`,
			`f:2: spices: expected a mapping, found a list; write {key: value}, or indented ` +
				`lines of key: value`,
		}},
		{"durations", "wait: 5\n", []string{
			`f:1: wait: 5 has no unit; write 5ms, say; units are ns, us, ms, s, m, h`,
		}},
		{"keys", "name: x\nname: y\n? [a]\n: 1\n<<: {wait: 1s}\n", []string{
			`f:2: key "name" is given twice; the first is on line 1; remove one`,
			`f:3: a key is a list; keys are plain words`,
			`f:5: merge key << is not allowed; write the value where it is used`,
		}},
		{"types", "name: [x]\nheat:\nsteps: all\nrest: 9.5\nvegan: 1\nwait: soon\n", []string{
			`f:1: name: expected a single value, found a list; write one text, in quotes if it ` +
				`holds brackets, commas, # or a colon`,
			`f:2: heat: expected a single value, found nothing; for example 200C`,
			`f:3: steps: expected a list, found the text "all"; write [...], or lines that start ` +
				`with a hyphen`,
			`f:4: rest: expected a whole number, found the number 9.5; allowed: 5 to 60, or 0`,
			`f:5: vegan: expected true or false, found the number 1; write true or false`,
			`f:6: wait: "soon" is not a duration; write a number and a unit (ns, us, ms, s, m, ` +
				`h), for example 5m`,
		}},
		{"number in quotes", "rest: \"7\"\n", []string{
			`f:1: rest: expected a whole number, found the text "7"; write it without quotes`,
		}},
		{"null for a switch", "vegan:\n", []string{
			`f:1: vegan: expected a single value, found nothing; write true or false`,
		}},
		{"broken", "name: x\nsteps: [\n", []string{
			`f:3: not YAML: expected a value; ` + closeHint,
		}},
		{"tag", "name: !!str x\n", []string{`f:1: tag !!str is not allowed; write the value alone`}},
		{"many keys", "spices: {" + strings.Repeat("x: 1, ", 9) + "}\n", []string{
			`f:1: spices: 9 keys; at most 8`,
		}},
		{"long list", "steps: [" + strings.Repeat("{}, ", 9) + "]\n", []string{`f:1: steps: 9 entries; at most 8`}},
		{"control characters", "mode: \"a\\nb\"\n", []string{
			`f:1: mode: unknown value "a\nb"; allowed: fan, grill, bottom; join several by +,` +
				` for example fan+grill`,
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := parse(test.text)
			var got []string
			if err != nil {
				got = strings.Split(err.Error(), "\n")
			}
			if diff := cmp.Diff(got, test.want); diff != "" {
				t.Errorf("problems (-got +want):\n%s", diff)
			}
		})
	}
}

// Neither a value with a problem nor the values inside it are trusted. Neighbouring values are.
func TestTrusts(t *testing.T) {
	_, d, _ := parse("name: x\nsteps:\n- {do: stir}\n- {do: fry}\nhaet: 200C\n")
	for path, want := range map[string]bool{
		"name": true, "steps[0].do": true, "steps[1].do": false, "steps[1].do.how": false,
		"heat":  false, // the unknown key haet is probably a misspelling of heat
		"steps": true,  // trusted as a list; TrustsAll looks inside
	} {
		if got := d.Trusts(path); got != want {
			t.Errorf("Trusts(%q) = %t, want %t", path, got, want)
		}
	}
	if d.Trusts("name", "heat") {
		t.Error("Trusts of a good and a bad value = true, want false")
	}
	for path, want := range map[string]bool{
		"name": true, "steps": false, "steps[0]": true, "steps[1]": false,
	} {
		if got := d.TrustsAll(path); got != want {
			t.Errorf("TrustsAll(%q) = %t, want %t", path, got, want)
		}
	}
	for path, want := range map[string]int{"steps[1].do": 4, "steps[1].share": 4, "rest": 1} {
		if got := d.Line(path); got != want {
			t.Errorf("Line(%q) = %d, want %d", path, got, want)
		}
	}
}

// Err also returns problems that the caller has recorded with Fail and Add. Fail distrusts a value;
// Add does not.
func TestFailAndAdd(t *testing.T) {
	_, d, err := parse("name: x\nrest: 10\n")
	if err != nil {
		t.Fatal(err)
	}
	d.Fail(2, "rest", "too long", "eat")
	d.Add(Problem{Line: 1, What: "name and rest do not rhyme", Hint: "sing"})
	d.Fail(1, "", "x"+strings.Repeat("ö", 400), "cut it")
	want := []string{
		"f:1: name and rest do not rhyme; sing",
		"f:1: x" + strings.Repeat("ö", 255) + "…; cut it",
		"f:2: rest: too long; eat",
	}
	if diff := cmp.Diff(strings.Split(d.Err("f").Error(), "\n"), want); diff != "" {
		t.Errorf("Err (-got +want):\n%s", diff)
	}
	if d.Found() != 3 || d.Trusts("rest") || !d.Trusts("name") {
		t.Errorf("%d problems, trusts rest: %t, name: %t; want 3, false, true",
			d.Found(), d.Trusts("rest"), d.Trusts("name"))
	}
}

// Err lists the problems on the first lines, each once, and counts the other problems.
func TestManyProblems(t *testing.T) {
	_, d, _ := parse("name: x\n")
	for line := 30; line > 0; line-- {
		d.Add(Problem{Line: line, What: "b", Hint: "mend"})
		d.Add(Problem{Line: line, What: "a", Hint: "mend"})
		d.Add(Problem{Line: line, What: "b", Hint: "mend"})
	}
	lines := strings.Split(d.Err("f").Error(), "\n")
	if got, want := len(lines), maxProblems+1; got != want {
		t.Fatalf("%d lines, want %d", got, want)
	}
	got := append(lines[:3], lines[maxProblems-1:]...)
	want := []string{"f:1: b; mend", "f:1: a; mend", "f:2: b; mend", "f:10: a; mend", "and 40 more"}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("Err (-got +want):\n%s", diff)
	}
	if d.Found() != 60 {
		t.Errorf("found %d problems, want 60", d.Found())
	}
}

// Messages contain no characters on which a terminal could act. Such characters are replaced in
// text from the file, and the name of the file is quoted.
func TestPrintable(t *testing.T) {
	p := Problem{File: "a\x1b.yaml", Line: 2, What: "x", Hint: "y"}
	if got, want := p.String(), `"a\x1b.yaml":2: x; y`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := Quote(strings.Repeat("\x80", 600)), `"…"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	_, d, _ := parse("name: x\n")
	d.Add(Problem{Line: 1, What: "a\r\x1b[31m\u009b\u202eb", Hint: "c\nd\x00"})
	if got, want := d.Err("f").Error(), "f:1: a  [31m  b; c d "; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLookup(t *testing.T) {
	r := &recipe{Oven: oven{Heat: 90}, Wait: time.Minute}
	for path, want := range map[string]string{
		"heat": "90C", "wait": "1m", "vegan": "false", "steps[].share": "0", "name": "",
		"notes": "none", "-": "none", "heat.low": "none", "heat[]": "none", "steps.do": "none",
	} {
		got := "none"
		if field, ok := Lookup(r, path); ok {
			got = Text(field)
		}
		if got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func TestNearest(t *testing.T) {
	words := strings.Fields("kill close drain migrate inherit handoff tableflip lb-drain shutdown")
	const all = "there are others"
	tests := []struct{ word, want, hint string }{
		{"close", "close", `did you mean "close"?`},
		{"closed", "close", `did you mean "close"?`},
		{"clsoe", "close", `did you mean "close"?`},
		{"drian", "drain", `did you mean "drain"?`},
		{"hand-off", "handoff", `did you mean "handoff"?`},
		{"stop", "", all},
		{"", "", all},
		{"hand", "", `did you mean "handoff"?`},
		{"drain-lb", "", `did you mean "drain" or "lb-drain"?`},
		{"it", "", all},
	}
	for _, test := range tests {
		if got := Nearest(test.word, words); got != test.want {
			t.Errorf("Nearest(%q) = %q, want %q", test.word, got, test.want)
		}
		if got := DidYouMean(test.word, words, all); got != test.hint {
			t.Errorf("DidYouMean(%q) = %q, want %q", test.word, got, test.hint)
		}
	}
}

func TestFormatDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 1500: "1.5us", 90 * time.Second: "1m30s", time.Minute: "1m", time.Hour: "1h",
		time.Hour + time.Second: "1h0m1s", -20 * time.Millisecond: "-20ms",
	} {
		if got := FormatDuration(d); got != want {
			t.Errorf("FormatDuration(%d) = %q, want %q", d, got, want)
		}
	}
}

// An optional value, which is a pointer, can be decoded from a scalar. If the scalar is not a
// number, the value stays unchanged.
func TestPointers(t *testing.T) {
	var r recipe
	if got := Text(&r.Rest); got != "" {
		t.Errorf("a missing value is written %q, want \"\"", got)
	}
	field, _ := Lookup(&r, "rest")
	setting := recipes().Setting("rest")
	if p := DecodeScalar(Scalar("soon"), field, setting); p == nil || r.Rest != nil {
		t.Errorf("got %v, and the problem %v", r.Rest, p)
	}
	if p := DecodeScalar(Scalar("20"), field, setting); p != nil || *r.Rest != 20 {
		t.Errorf("got %v, and the problem %v", r.Rest, p)
	}
	if got := Text(field); got != "20" {
		t.Errorf("the value is written %q, want \"20\"", got)
	}
}
