package document

import (
	"bytes"
	"strings"
	"testing"
)

// The items of a pointed list are bold up to their first colon, where there is bold print.
func TestPoints(t *testing.T) {
	d := &Document{}
	d.Points([]string{"Drain *first*: it lost none: really.", "No point."})
	d.List([]string{"A list: nothing is bold."})
	for name, test := range map[string]struct {
		print func(*Document, *bytes.Buffer) error
		want  []string
	}{
		"html": {func(d *Document, out *bytes.Buffer) error { return d.HTML(out) }, []string{
			"<li><b>Drain *first*:</b> it lost none: really.</li>", "<li>No point.</li>",
			"<li>A list: nothing is bold.</li>",
		}},
		"markdown": {func(d *Document, out *bytes.Buffer) error { return d.Markdown(out) },
			[]string{
				"- **Drain \\*first\\*:** it lost none: really.\n- No point.\n",
				"- A list: nothing is bold.\n",
			}},
		"text": {func(d *Document, out *bytes.Buffer) error { return d.Text(out, Look{}) },
			[]string{"  - Drain *first*: it lost none: really.\n"}},
	} {
		var out bytes.Buffer
		if err := test.print(d, &out); err != nil {
			t.Fatal(err)
		}
		for _, want := range test.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: %q lacks %q", name, out.String(), want)
			}
		}
	}
}
