package report

import (
	"strings"
	"testing"

	"reuseport-bench/results"
	"reuseport-bench/results/metrics"
	"reuseport-bench/results/report/document"
)

// A figure that cannot be known is printed as missing, with the reason, even if an older run has
// stored it.
func TestUnpredicted(t *testing.T) {
	variant := func(timeout string, step results.Step, stored bool) *results.Variant {
		v := &results.Variant{Labels: map[string]string{"timeout": timeout},
			Summary: map[string]results.Summary{
				metrics.LostPerStep: {Center: 7},
			}}
		if stored {
			v.Summary[metrics.PredictedLost] = results.Summary{Center: 311}
		}
		v.Trials = []*results.Trial{{Valid: true, TimeoutNS: 3e9, ControlPlane: "embedded",
			Steps: []results.Step{step}}}
		return v
	}
	dead, lost := int64(622e6), 311.0
	known := variant("900ms", results.Step{Endpoints: 1, DeadNS: &dead, PredictedLost: &lost}, true)
	older := variant("3s", results.Step{Endpoints: 1, DeadNS: &dead}, true)
	unknown := variant("1s", results.Step{Endpoints: 1, DeadNS: &dead, Unpredicted: "it ends " +
		"about then"}, false)
	table := figureTable(&results.Scenario{}, []*results.Variant{known, older, unknown},
		serviceColumns)
	var column []string
	for i, c := range table.Columns {
		for _, row := range table.Rows {
			if c.Head == "predicted" {
				column = append(column, row[i])
			}
		}
	}
	if got, want := strings.Join(column, " "), "311 –ᵃ –ᵇ"; got != want {
		t.Errorf("predicted: %q, want %q", got, want)
	}
	for _, note := range []string{"older run", "about then"} {
		if text := markdown(t, table); strings.Count(text, note) != 1 {
			t.Errorf("no note %q in\n%s", note, text)
		}
	}
	// No variant has a figure, but the reason is still printed.
	alone := figureTable(&results.Scenario{}, []*results.Variant{unknown}, serviceColumns)
	if text := markdown(t, alone); !strings.Contains(text, "about then") {
		t.Errorf("alone:\n%s", text)
	}
}

func markdown(t *testing.T, table *document.Table) string {
	t.Helper()
	var d document.Document
	d.Table(table)
	var b strings.Builder
	if err := d.Markdown(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
