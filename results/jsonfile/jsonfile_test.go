package jsonfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

type document struct {
	Checksum *string           `json:"checksum,omitempty"`
	Name     string            `json:"name"`
	Count    int               `json:"count"`
	Share    float64           `json:"share"`
	Good     bool              `json:"good"`
	At       time.Time         `json:"at"`
	Took     time.Duration     `json:"took_ns"`
	Labels   map[string]string `json:"labels"`
	Parts    []*part           `json:"parts"`
	Empty    []int             `json:"empty,omitempty"`
}

type part struct {
	Numbers []int64 `json:"numbers"`
	Inner   *part   `json:"inner"`
}

// limits are large enough for small texts.
var limits = Limits{Bytes: 1 << 20}

func decode(t *testing.T, text string, l Limits) (document, error) {
	t.Helper()
	var v document
	d := NewDecoder(strings.NewReader(text), l)
	return v, d.Decode(&v, Part[part](d, math.MaxInt, nil))
}

// Encode writes what encoding/json writes, except that characters that are not printable are
// escaped.
func TestEncode(t *testing.T) {
	v := document{
		Name: "<a & b>\u2028 \x1b[31m \x7f \u009b \u202e \U000e0041 \t größe", Count: -3,
		Share: 1e-7,
		At:    time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC), Took: time.Second,
		Labels: map[string]string{"b": "2", "a": "1"}, Parts: []*part{{Numbers: []int64{1, 2}}, {}},
	}
	var want bytes.Buffer
	old := json.NewEncoder(&want)
	old.SetEscapeHTML(false)
	old.SetIndent("", Indent)
	if err := old.Encode(v); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := EncodeIndented(&got, v); err != nil {
		t.Fatal(err)
	}
	as := strings.NewReplacer("\x7f", `\u007f`, "\u009b", `\u009b`, "\u202e", `\u202e`,
		"\U000e0041", `\udb40\udc41`)
	if diff := cmp.Diff(as.Replace(want.String()), got.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, write := range []func(io.Writer, any) error{Encode, EncodeIndented, folded} {
		var text bytes.Buffer
		if err := write(&text, v); err != nil {
			t.Fatal(err)
		}
		if again, err := decode(t, text.String(), limits); err != nil || !cmp.Equal(v, again) {
			t.Errorf("%v; read again (-want +got):\n%s", err, cmp.Diff(v, again))
		}
	}
	n, err := EncodedSize([]int{1, 2})
	if want := int64(len("[1,2]")); err != nil || n != want {
		t.Errorf("size %d, %v; want %d", n, err, want)
	}
	if err := Encode(io.Discard, document{Parts: []*part{}, Share: math.NaN()}); err == nil ||
		err.Error() != "share: unsupported value: NaN" {
		t.Errorf("NaN: %v", err)
	}
	if err := Encode(iotest.TruncateWriter(nil, 0), v); err != nil {
		t.Errorf("a writer that discards everything: %v", err)
	}
}

// Characters are not split, however the output is divided into writes.
func TestPrintable(t *testing.T) {
	const text = "a\u009b\U000e0041größe"
	for size := 1; size < 6; size++ {
		var out bytes.Buffer
		p := &printable{w: &out}
		for rest := text; rest != ""; {
			n := min(size, len(rest))
			if _, err := p.Write([]byte(rest[:n])); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if want := `a\u009b\udb40\udc41größe`; out.String() != want {
			t.Errorf("in writes of %d bytes: %q, want %q", size, out.String(), want)
		}
	}
}

// The checksum depends only on the content, and not on indentation or on where the checksum is
// stored.
func TestChecksum(t *testing.T) {
	sum := func(text string) string {
		t.Helper()
		got := map[string]bool{}
		whole := strings.NewReader(text)
		for _, r := range []io.Reader{whole, iotest.OneByteReader(strings.NewReader(text))} {
			var v map[string]any
			d := NewDecoder(r, limits)
			if err := d.Decode(&v); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			s, _ := d.Checksum()
			got[s] = true
		}
		if len(got) != 1 {
			t.Errorf("%s: the checksum depends on the sizes of reads", text)
		}
		for s := range got {
			return s
		}
		return ""
	}
	const name = `"checksum":"x"`
	for _, same := range [][]string{
		{`{}`, ` { } `, `{` + name + `}`, "{\n " + name + "\n}\n"},
		{
			`{"a":1}`, "{\n\t\"a\" : 1\r\n}", `{` + name + `,"a":1}`, `{"a":1,` + name + `}`,
			`{ "a" :1, "checksum" : [1,{"checksum":"y,}"}] }`,
		},
		{`{"a":{"checksum":1},"check":2,"checksums":3}`,
			`{"a":{"checksum":1},` + name + `,"check":2,"checksums":3}`,
			`{` + name + `,"a":{"checksum":1},"check":2,"checksums":3}`},
		{`{"a":"{ \"checksum\":","b":[]}`, `{"a":"{ \"checksum\":" , "b" : [ ] ,` + name + `}`},
	} {
		want := sum(same[0])
		for _, text := range same[1:] {
			if got := sum(text); got != want {
				t.Errorf("%s and %s have different checksums", same[0], text)
			}
		}
		var v any
		if err := json.Unmarshal([]byte(same[0]), &v); err != nil {
			t.Fatal(err)
		}
		if got, err := Checksum(json.RawMessage(same[0])); err != nil || got != want {
			t.Errorf("%s: Checksum is %s, Decoder.Checksum %s, %v", same[0], got, want, err)
		}
	}
	seen := map[string]string{}
	for _, text := range []string{
		`{}`, `{"a":1}`, `{"a":2}`, `{"b":1}`, `{"a":"1"}`, `{"a":" 1"}`, `{"a":"1 "}`, `{"a":[1]}`,
		`{"a":[1,1]}`, `{"a":[11]}`, `{"a":{"checksum":1}}`, `{"a":{"checksum":2}}`,
		`{"checksum2":1}`,
		`{"a":1,"b":2}`, `{"b":2,"a":1}`,
	} {
		s := sum(text)
		if other, ok := seen[s]; ok {
			t.Errorf("%s and %s have the same checksum", text, other)
		}
		seen[s] = text
	}
	d := NewDecoder(strings.NewReader("{\"name\":\"a\",\n\n \"checksum\":\"x\"}"), limits)
	var v document
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	if _, line := d.Checksum(); line != 3 || v.Checksum == nil || *v.Checksum != "x" {
		t.Errorf("the checksum %v is on line %d, want 3", v.Checksum, line)
	}
}

// Errors have a line, a path, and plain words.
func TestDecodeErrors(t *testing.T) {
	for _, test := range []struct {
		text   string
		want   string
		line   int
		syntax bool
	}{
		{"", "it is empty", 1, true},
		{" \n\n ", "it is empty", 1, true},
		{"\x1f\x8b\x08", `not JSON: invalid character '\x1f' at start of value`, 1, true},
		{"{\n\"name\":\n\"a", "it ends in the middle", 3, true},
		{"{\n\"parts\":[{},\n{\"numbers\":[1,\n2", "it ends in the middle", 4, true},
		{
			"{\n\"name\":\"a\" \"count\":1}",
			"not JSON: invalid character '\"' after object value (expecting ',' or '}')", 2, true,
		},
		{"{\"name\":\"a\",\n\n\"name\":\"b\"}", `"name" appears twice`, 3, true},
		{"{}\n{}", "there is more data after the end of the JSON value", 2, true},
		{"{}\nx", "not JSON: invalid character 'x' at start of value", 2, true},
		{"{\"name\":\"\xff\"}", "not JSON: invalid UTF-8", 1, true},
		{"[]", "expected an object, found an array", 1, false},
		{"{\n\"Name\":\"a\"}", `unknown field "Name"`, 2, false},
		{
			"{\n\"parts\":[{},\n{\"inner\":{\"colour\x1b\":1}}]}", "not JSON: invalid character", 3,
			true,
		},
		{
			"{\n\"parts\":[{},\n{\"inner\":{\"colo\\u001b\":1}}]}",
			`parts[1].inner: unknown field "colo\x1b"`, 3, false,
		},
		{
			"{\n\"parts\":[{},\n{\"inner\":\n{\"numbers\":[1,2.5]}}]}",
			"parts[1].inner.numbers[1]: expected a whole number, found 2.5", 4, false,
		},
		{
			"{\"labels\":{\"a.b\":\n1}}", `labels["a.b"]: expected a string, found a number`, 2,
			false,
		},
		{
			"{\"labels\":{\"\":null,\"x\":[]}}", `labels.x: expected a string, found an array`, 1,
			false,
		},
		{
			"{\"count\":9223372036854775808}",
			"count: expected a whole number, found one that is too large: 9223372036854775808", 1,
			false,
		},
		{
			"{\"share\":1e999}", "share: expected a number, found one that is too large: 1e999", 1,
			false,
		},
		{"{\"good\":\"true\"}", "good: expected true or false, found a string", 1, false},
		{
			"{\"good\":true,\"name\":false}", "name: expected a string, found true or false", 1,
			false,
		},
		{
			"{\"at\":\"now\"}",
			`at: expected a time such as "2026-03-04T05:06:07Z", found a string`, 1, false,
		},
		{"{\"parts\":{}}", "parts: expected an array, found an object", 1, false},
		{
			"{\"" + strings.Repeat("n", 90) + "\":1}",
			`unknown field "` + strings.Repeat("n", maxName) + `…"`, 1, false,
		},
	} {
		_, err := decode(t, test.text, limits)
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%q: %v, want an *Error", test.text, err)
			continue
		}
		if !strings.HasPrefix(e.Error(), test.want) || e.Line != test.line ||
			e.Syntax != test.syntax {
			t.Errorf("%q: line %d, syntax %t: %v\nwant line %d, syntax %t: %s", test.text, e.Line,
				e.Syntax, e, test.line, test.syntax, test.want)
		}
	}
	broken := errors.New("broken")
	_, err := io.ReadAll(iotest.ErrReader(broken))
	d := NewDecoder(io.MultiReader(strings.NewReader("{\n"), iotest.ErrReader(err)), limits)
	var e *Error
	if err := d.Decode(&document{}); !errors.As(err, &e) || e.Line != 2 ||
		!errors.Is(err, broken) ||
		e.Syntax {
		t.Errorf("a reader that fails: %v", err)
	}
}

// Part and Start report where values begin.
func TestPlaces(t *testing.T) {
	const text = "{\"parts\": [\n\n {\"numbers\":\n[]},\n{\n}, {}]}"
	var lines []int
	d := NewDecoder(strings.NewReader(text), limits)
	err := d.Decode(&document{}, Part[part](d, 3, func(line int) { lines = append(lines, line) }))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{3, 5, 6}, lines); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var e *Error
	d = NewDecoder(strings.NewReader(text), limits)
	if err := d.Decode(&document{}, Part[part](d, 2, nil)); !errors.As(err, &e) || !e.TooLarge {
		t.Errorf("three parts, at most two allowed: %v", err)
	}
	var places []Place
	d = NewDecoder(strings.NewReader(text), limits)
	err = d.Decode(&document{}, Start[part](d, func(at Place) { places = append(places, at) }))
	if err != nil {
		t.Fatal(err)
	}
	want := []Place{{3, "parts[0]"}, {5, "parts[1]"}, {6, "parts[2]"}}
	if diff := cmp.Diff(want, places); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMember(t *testing.T) {
	for text, want := range map[string]string{
		`{"a":[{}],"name":"x","b":`: "", `{"a":1}`: "EOF", `[]`: "EOF",
		`{"a":`: "it ends in the middle", `{"name":1}`: "name: expected a string",
	} {
		var name string
		err := NewDecoder(strings.NewReader(text), limits).Member("name", &name)
		if want == "" && (err != nil || name != "x") ||
			want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)) {
			t.Errorf("%s: %q, %v; want %q", text, name, err, want)
		}
	}
}

// endless returns a reader that returns head, then text repeated without end.
func endless(head, text string) io.Reader {
	return io.MultiReader(strings.NewReader(head), &repeated{text: text})
}

type repeated struct {
	text string
	at   int
}

func (r *repeated) Read(p []byte) (n int, err error) {
	for n < len(p) {
		c := copy(p[n:], r.text[r.at:])
		n, r.at = n+c, (r.at+c)%len(r.text)
	}
	return n, nil
}

// A text beyond the limits is refused before it uses much memory.
func TestLimits(t *testing.T) {
	for name, text := range map[string]io.Reader{
		"white space":      endless("", " "),
		"white space in {": endless("{", "\n"),
		"zeros":            endless("", "\x00"),
		"a text":           endless(`{"name":"`, "a"),
		"a name":           endless(`{"`, "a"),
		"a number":         endless(`{"count":`, "1"),
		"nested arrays":    endless("", "["),
		"members":          endless(`{"labels":{"a":""`, `,"b":""`),
		"numbers":          endless(`{"parts":[{"numbers":[1`, ",1"),
		"empty parts":      endless(`{"parts":[{}`, ",{}"),
		"parts of numbers": endless(`{"parts":[{}`, `,{"numbers":[1,2,3,4,5,6,7,8]}`),
		"nested parts":     endless(`{"parts":[`, `{"inner":`),
		"nulls":            endless(`{"parts":[null`, `,null`),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		d := NewDecoder(text, Limits{Bytes: 64 << 20, Piece: 2 << 20, Memory: NewBudget(4 << 20)})
		err := d.Decode(&document{}, Part[part](d, math.MaxInt, nil))
		runtime.ReadMemStats(&after)
		if took := (after.TotalAlloc - before.TotalAlloc) >> 20; took > 64 {
			t.Errorf("%s: took %d MiB", name, took)
		}
		var e *Error
		if !errors.As(err, &e) ||
			!e.TooLarge && !e.Syntax && !strings.Contains(e.What, "unknown") &&
				!strings.Contains(e.What, "expected") {
			t.Errorf("%s: %v", name, err)
		}
		blanks := strings.HasPrefix(name, "white space")
		if blanks != strings.HasSuffix(err.Error(), "64 KiB of white space") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Memory's estimate is close to what the runtime allocates for a value.
func TestMemory(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	all := make([]document, 1000)
	for i := range all {
		all[i].Name = strings.Repeat("n", i)
		all[i].Labels = map[string]string{}
		for k := range 10 {
			all[i].Labels[strings.Repeat("k", k)] = strings.Repeat("v", 2*k)
		}
		all[i].Parts = []*part{{Numbers: make([]int64, 100)}, nil, {Inner: &part{}}}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	want, got := int64(after.HeapAlloc-before.HeapAlloc), Memory(&all)
	if got < want*3/4 || got > want*3/2 {
		t.Errorf("%d bytes; the runtime took %d", got, want)
	}
	runtime.KeepAlive(all)
}

// folded encodes a value with a depth of 1.
func folded(w io.Writer, v any) error { return EncodeFolded(w, v, 1) }

// Lists and objects inside of depth others are on one line. Strings keep their spaces, quotes and
// brackets.
func TestEncodeFolded(t *testing.T) {
	v := map[string]any{
		"a b": []any{map[string]any{"c d": `[ "e\ `, "f": []int{1, 2}}, []int{}, 7},
		"g":   "h: {",
	}
	want := `{
  "a b": [
    {"c d":"[ \"e\\ ","f":[1,2]},
    [],
    7
  ],
  "g": "h: {"
}
`
	var got bytes.Buffer
	if err := EncodeFolded(&got, v, 2); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
