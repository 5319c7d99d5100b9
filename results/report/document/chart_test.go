package document

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/results/report/chart"
)

// charted returns a document with a chart that has a table, one that has none, and an empty one.
func charted() *Document {
	table := &Table{Columns: []Column{Left("variant"), Right("lost")}}
	table.Add("close", "82"+table.Note("in 320 restarts"))
	causes := chart.Causes(chart.CausesChart{
		Title: "Causes of *loss*", Keys: []chart.Key{{Name: "refused", Colour: chart.Sky}},
		Rows: []chart.CausesRow{{Label: "close", Figure: "82 lost", Counts: []float64{82}}},
	})
	d := &Document{}
	d.Heading(1, "Restarts")
	d.Chart(&Chart{Name: "causes", Sentence: "All were <refused>.", Drawing: causes, Table: table})
	d.Chart(&Chart{Name: "again", Sentence: "Once more.", Drawing: causes})
	d.Chart(&Chart{Name: "empty", Sentence: "Nothing.", Table: table})
	return d
}

func TestChartText(t *testing.T) {
	var out bytes.Buffer
	if err := charted().Text(&out, Look{}); err != nil {
		t.Fatal(err)
	}
	want := `Restarts
════════

All were <refused>.
variant  lost
─────────────
close     82ᵃ
ᵃ in 320 restarts

Once more.
`
	if diff := cmp.Diff(out.String(), want); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
}

func TestChartMarkdown(t *testing.T) {
	d := charted()
	const table = `
| variant | lost |
|:--------|-----:|
| close   |  82ᵃ |

ᵃ in 320 restarts
`
	for images, want := range map[string]string{
		"": "# Restarts\n\nAll were &lt;refused>.\n" + table + "\nOnce more.\n",
		"../my charts": "# Restarts\n\nAll were &lt;refused>.\n" +
			"\n![Causes of \\*loss\\*](<../my charts/causes.svg>)\n" + table +
			"\nOnce more.\n\n![Causes of \\*loss\\*](<../my charts/again.svg>)\n",
	} {
		d.Images = images
		var out bytes.Buffer
		if err := d.Markdown(&out); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(out.String(), want); diff != "" {
			t.Errorf("images %q (-got +want):\n%s", images, diff)
		}
	}
}

// The page has the charts' style once, each chart, and a table that opens.
func TestChartHTML(t *testing.T) {
	d := charted()
	var out bytes.Buffer
	if err := d.HTML(&out); err != nil {
		t.Fatal(err)
	}
	page := out.String()
	for text, want := range map[string]int{
		chart.Style():                     1,
		d.Charts()[0].Drawing.Inline():    2,
		`<figure id="causes">`:            1,
		"<details><summary>Table":         1,
		"<td>close</td>":                  1,
		"All were &lt;refused&gt;.":       1,
		`<figure id="empty">`:             0,
		"http":                            0,
		"<figcaption>Once more.</figcapt": 1,
	} {
		if got := strings.Count(page, text); got != want {
			t.Errorf("%q: got %d, want %d in\n%s", text, got, want, page)
		}
	}
	out.Reset()
	plain := &Document{}
	plain.Heading(1, "Without charts")
	if err := plain.HTML(&out); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), ".chart") {
		t.Errorf("a page without charts has their style:\n%s", &out)
	}
}
